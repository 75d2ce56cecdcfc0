"""Pages hold the tables that suit what was asked for, and files are replaced whole."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from made_phases import compared, phase, sentences
from transcripts import INFERENCE, write_scored

from espnet_topdown.cli import main
from espnet_topdown.errors import TopdownError
from espnet_topdown.results.experiments import compare, experiment_results
from espnet_topdown.results.pages import cascade_page, write_cascade
from espnet_topdown.results.rows import PhaseResult


def test_markdown_and_terminal_hold_the_same_cells(rows: list[PhaseResult]) -> None:
    page = cascade_page(rows, compared(rows))
    assert (
        "|p2|top_down|encoder.1|25.0 %|0.500|no||2000|3|30.0 min|3 (30.0 min)|"
        in page.markdown().splitlines()
    )
    cells = [line.split()[:4] for line in page.terminal().splitlines()]
    assert ["p2", "top_down", "encoder.1", "2000"] in cells


def test_tables_of_a_cascade_stand_in_order(rows: list[PhaseResult], tmp_path: Path) -> None:
    second = phase(tmp_path / "second", "base", "base", wrong=9, seed=1)
    rows = [*rows, second]
    headings = [table.heading for table in cascade_page(rows, compared(rows)).tables]
    sets = [f"WER: test ({INFERENCE})", f"CER: test ({INFERENCE})"]
    assert headings == ["Phases", *sets]


def test_a_page_without_error_rates_is_json(tmp_path: Path) -> None:
    rows = [phase(tmp_path, "base", "base", dev=float("nan"), perplexity={"test": 70.25})]
    data = json.loads(cascade_page(rows, []).json(), parse_constant=pytest.fail)
    assert data["phases"][0]["dev"] is None


def test_written_files_replace_older_ones(rows: list[PhaseResult], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    out = tmp_path / "cascade"
    for several in (rows, rows[:2]):
        sets = compared(several)
        page = cascade_page(several, sets)
        written = write_cascade(out, several, sets, [("decoder", 10)], page)
    text = (out / "RESULTS.md").read_text()
    assert "|p1|" in text
    assert "|p2|" not in text
    assert "![error by cut](images/error_by_cut.png)" in text
    data = (out / "results.json").read_text()
    assert [row["name"] for row in json.loads(data)["phases"]] == ["base", "p1"]
    assert str(tmp_path) not in data
    names = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    images = []
    for name in ("dev_curves", "error_by_cut", "share_and_cost"):
        images += [f"images/{name}.pdf", f"images/{name}.png"]
    assert names == ["RESULTS.md", *images, "report.html", "results.json"]
    assert sorted(written) == names


def test_experiment_results_have_espnets_layout(rows: list[PhaseResult]) -> None:
    exp = rows[0].directory
    write_scored(exp, "org/dev", sentences(), sentences(24))
    scored = exp / INFERENCE / "test"
    shutil.copytree(scored / "score_wer", scored / "score_ter")
    lines = experiment_results(exp).splitlines()
    assert lines[1:3] == ["# RESULTS", "## Environments"]
    assert lines[3].startswith("- date: `")
    assert any(line.startswith("- python version: `3.") for line in lines)
    start = lines.index(f"## {exp}")
    assert lines[start + 1 : start + 6] == [
        "### WER",
        "",
        "|dataset|Snt|Wrd|Corr|Sub|Del|Ins|Err|S.Err|",
        "|---|---|---|---|---|---|---|---|---|",
        f"|{INFERENCE}/test|24|120|90.0|10.0|0.0|0.0|10.0|50.0|",
    ]
    own = lines.index(f"## {exp}/{INFERENCE}")
    assert own > start
    assert lines[own + 5] == "|org/dev|24|120|80.0|20.0|0.0|0.0|20.0|100.0|"
    assert "### TER" in lines[start:own]


def test_signatures_that_git_would_show_are_no_lines_of_the_page(
    rows: list[PhaseResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with the user's ``log.showSignature``."""
    git = tmp_path / "bin/git"
    git.parent.mkdir()
    shown = 'case "$*" in *--no-show-signature*) ;; *) echo "Good signature" ;; esac'
    git.write_text(f"#!/bin/sh\n{shown}\necho 0a1b2c\necho Sat Nov 28\n")
    git.chmod(0o755)
    monkeypatch.setenv("PATH", f"{git.parent}:{os.environ['PATH']}")
    exp = rows[0].directory
    write_scored(exp, "org/dev", sentences(), sentences(24))
    lines = experiment_results(exp).splitlines()
    assert lines[lines.index("- Git hash: `0a1b2c`") + 1] == "  - Commit date: `Sat Nov 28`"


def test_two_experiments_side_by_side(rows: list[PhaseResult]) -> None:
    page = compare(rows[0].directory, rows[1].directory)
    words = page.tables[0]
    assert words.rows[1][0] == "p1"
    assert words.rows[1][-3:] == ("-5.00", "-8.33 to -1.67", "<0.001 (<0.001)")
    with pytest.raises(TopdownError, match=f"share no scored set.*found {INFERENCE}/test and none"):
        compare(rows[0].directory, rows[3].directory)


def test_command_prints_results_and_errors_without_traceback(rows: list[PhaseResult]) -> None:
    command = [sys.executable, "-m", "espnet_topdown", "results"]
    done = subprocess.run([*command, rows[0].directory], capture_output=True, text=True)
    assert done.returncode == 0
    assert f"|{INFERENCE}/test|24|120|" in done.stdout
    failed = subprocess.run([*command, rows[3].directory], capture_output=True, text=True)
    assert failed.returncode == 1
    assert "decode and score first" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_the_command_prints_tables_for_papers_and_spreadsheets(
    rows: list[PhaseResult], capsys: pytest.CaptureFixture[str]
) -> None:
    both = ["results", str(rows[0].directory), str(rows[1].directory)]
    main([*both, "--latex"])
    said = capsys.readouterr().out
    assert said.startswith("% \\usepackage{booktabs}\n")
    assert r"    p1 & 24 & 120 & " in said
    assert r" & $-$5.00 & $-$8.33 to $-$1.67 & \textless{}0.001 (\textless{}0.001) \\" in said
    main([*both, "--csv"])
    lines = list(csv.DictReader(io.StringIO(capsys.readouterr().out, newline="")))
    (cells,) = [line for line in lines if line["experiment"] == "p1" and "WER" in line["table"]]
    assert (cells["Err"], cells["Err - first"]) == ("5.0", "-5.00")
    for form in ("json", "latex", "csv"):
        with pytest.raises(SystemExit, match="1"):
            main(["results", str(rows[0].directory), f"--{form}"])
        assert f"--{form} is for cascades and for two" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main([*both, "--csv", "--latex"])
    assert "--latex: not allowed with argument --csv" in capsys.readouterr().err


def test_tables_load_without_torch_espnet_or_matplotlib() -> None:
    code = "import sys, espnet_topdown.results.pages; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert {"espnet_topdown.results.report", "espnet_topdown.results.plots"} <= loaded
    assert not loaded & {"torch", "espnet2", "matplotlib", "kaldialign", "scipy"}
