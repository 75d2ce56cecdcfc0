"""Tables say what the counts say.

Layout, differences to phase 0, what is not decoded, what cannot be compared.
"""

import json
import math
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from transcripts import INFERENCE, Rows, write_scored

from espnet_topdown.errors import TopdownError
from espnet_topdown.results.compare import compare_sets
from espnet_topdown.results.pages import (
    PhaseResult,
    cascade_page,
    compare,
    experiment_results,
    write_cascade,
)

SPEAKERS, EACH = 6, 4
P_SQRT_11 = math.erfc(math.sqrt(11 / 2))  # two-sided normal tail at z = sqrt(11), 0.00091


def sentences(wrong: int = 0) -> Rows:
    """24 sentences of 4 words by 6 speakers; in the first `wrong` of them a word is replaced."""
    last = ["NINE" if k < wrong else "TEN" for k in range(SPEAKERS * EACH)]
    return [
        (f"s{k % SPEAKERS}-u{k:02d}", f"s{k % SPEAKERS}", ["ONE", "TWO", "SIX", word])
        for k, word in enumerate(last)
    ]


def phase(
    directory: Path,
    name: str,
    kind: str,
    *,
    wrong: int | None = None,
    cut: str | None = None,
    **more: object,
) -> PhaseResult:
    """A phase with `wrong` errors in 96 words on the set "test"; None: not decoded."""
    (directory / name).mkdir(parents=True)
    if wrong is not None:
        write_scored(directory / name, "test", sentences(), sentences(wrong))
    given = (
        dict(
            accepted=None, best=False, seed=0, epochs=3, hours=0.5, dev=0.5, curve=(0.3, None, 0.5)
        )
        | more
    )
    return PhaseResult(
        name, kind, cut, 0.25, dev_name="valid acc max", directory=directory / name, **given
    )


@pytest.fixture
def rows(tmp_path: Path) -> list[PhaseResult]:
    return [
        phase(tmp_path, "base", "base", wrong=12),
        phase(
            tmp_path, "p1", "top_down", cut="decoder", wrong=6, accepted=True, best=True, seed=1000
        ),
        phase(tmp_path, "p2", "top_down", cut="encoder.1", wrong=18, accepted=False, seed=2000),
        phase(tmp_path, "r1", "restart", seed=1000),
    ]


def test_cascade_by_hand(rows: list[PhaseResult]) -> None:
    tables = cascade_page(rows)
    phases, words, characters = tables.tables
    assert phases.rows[1] == (
        "p1",
        "top_down",
        "decoder",
        "25.0 %",
        "0.5000",
        "yes",
        "best",
        "1000",
        "3",
        "0.5",
    )
    counts = ("24", "96", "93.8", "6.3", "0.0", "0.0", "6.3", "25.0")
    # 6 of 24 utterances with one error fewer, of 4 words each: k of them in a resample give -k /
    # 0.96 points, and binomial(24, 1/4) has 2.5 % and less below 2 and above 10. One per speaker:
    # 6.25 points in every resample of them. 12 segments, differences six times 1 and six times 0:
    # mean 1/2, variance 3/11, z = sqrt(11)
    assert words.rows[1] == (
        "p1",
        "top_down",
        "decoder",
        "1000",
        *counts,
        "-6.25",
        "-10.42 to -2.08",
        "<0.001 (<0.001)",
    )
    assert words.rows[0][-3:] == ("-", "-", "-") and words.rows[2][-1] == "-"
    assert words.rows[3] == ("r1", "restart", "-", "1000", "not decoded", *["-"] * 10)
    assert characters.heading == f"CER: test ({INFERENCE})"
    assert words.notes[0] == "96 reference words, 24 utterances, 6 speakers."
    assert "proves that the commands work" in words.notes[1]
    assert (
        "10000 resamples of the 24 utterances and of the 6 speakers, the wider of each end"
        in words.notes[2]
    )
    assert "there are as few as 12" in words.notes[-1]
    data = json.loads(tables.json())
    assert data["sets"][0]["cells"][1]["change"]["points"] == -6.25
    assert data["sets"][0]["cells"][1]["change"]["interval"] == pytest.approx(
        [-10 / 0.96, -2 / 0.96]
    )
    assert data["sets"][0]["cells"][1]["score"]["errors"] == 6
    assert data["sets"][0]["cells"][3]["score"] is None


def test_markdown_and_terminal_hold_the_same_cells(rows: list[PhaseResult]) -> None:
    tables = cascade_page(rows)
    assert "|p2|top_down|encoder.1|25.0 %|0.5000|no||2000|3|0.5|" in tables.markdown().splitlines()
    assert any(
        line.split()[:4] == ["p2", "top_down", "encoder.1", "2000"]
        for line in tables.terminal().splitlines()
    )


def test_few_speakers_are_not_resampled(tmp_path: Path) -> None:
    few = [(f"s{k % 2}-u{k}", f"s{k % 2}", ["A"]) for k in range(6)]
    rows = [phase(tmp_path, "base", "base"), phase(tmp_path, "p1", "top_down")]
    for row in rows:
        write_scored(row.directory, "test", few, few)
    assert [(found.units, found.speakers) for found in compare_sets(rows)] == [
        (("utterances",), 2)
    ] * 2


def test_many_speakers_are_resampled_alone(tmp_path: Path) -> None:
    many = [(f"s{k % 20:02d}-u{k:02d}", f"s{k % 20:02d}", ["A"]) for k in range(40)]
    rows = [phase(tmp_path, "base", "base"), phase(tmp_path, "p1", "top_down")]
    for row in rows:
        write_scored(row.directory, "test", many, many)
    assert [(found.units, found.speakers) for found in compare_sets(rows)] == [
        (("speakers",), 20)
    ] * 2
    assert "of the 20 speakers;" in cascade_page(rows).markdown()


def test_each_cascade_has_its_own_phase_0_and_seeds_are_read_together(tmp_path: Path) -> None:
    rows = []
    for name, base, changed in (("one", 12, 6), ("two", 18, 18)):
        seed = len(rows)
        rows.append(phase(tmp_path / name, "base", "base", wrong=base, seed=seed))
        rows.append(
            phase(
                tmp_path / name,
                "p1",
                "top_down",
                cut="decoder",
                wrong=changed,
                seed=seed + 1000,
                best=True,
            )
        )
    found = compare_sets(rows)[0]
    assert [cell.change and cell.change.points for cell in found.cells] == [None, -6.25, None, 0.0]
    base, group = found.groups
    assert (base.kind, base.error_rates, base.change) == ("base", (12.5, 18.75), None)
    assert (group.names, group.seeds, group.change.points) == (("p1",), (1000, 1002), -3.125)
    assert found.cells[1].test.z == pytest.approx(math.sqrt(11))
    assert found.cells[1].p_holm == pytest.approx(2 * P_SQRT_11)
    assert (found.cells[3].test.segments, found.cells[3].p_holm) == (18, 1.0)
    assert "seeds together" in cascade_page(rows).markdown()


def test_only_seeds_of_one_experiment_are_read_together(tmp_path: Path) -> None:
    """Controls of one kind with other settings, or another parent, are other experiments."""
    rows = []
    for name in ("one", "two"):
        seed = len(rows)
        rows.append(phase(tmp_path / name, "base", "base", wrong=12, seed=seed))
        for number, settings in enumerate(("plain", "asgd", "parent phase2")):
            directory = tmp_path / name
            rows.append(
                phase(
                    directory,
                    f"c{number}",
                    "continue",
                    wrong=6,
                    seed=seed + 1000,
                    settings=settings,
                )
            )
    groups = compare_sets(rows)[0].groups
    assert [(g.names, len(g.seeds)) for g in groups] == [
        (("base",), 2),
        (("c0",), 2),
        (("c1",), 2),
        (("c2",), 2),
    ]


def test_p_values_are_corrected_over_all_sets_of_a_page(rows: list[PhaseResult]) -> None:
    for row, wrong in ((rows[0], 8), (rows[1], 0)):
        write_scored(row.directory, "eval", sentences(), sentences(wrong))
    cells = {f.dataset: f.cells[1] for f in compare_sets(rows) if f.metric == "wer"}
    assert (cells["eval"].test.p, cells["test"].test.p) == (2 / 2**8, pytest.approx(P_SQRT_11))
    assert (cells["eval"].p_holm, cells["test"].p_holm) == (2 / 2**8, pytest.approx(2 * P_SQRT_11))


def test_several_sets_stand_side_by_side(rows: list[PhaseResult]) -> None:
    """As the parts of eval2000 do."""
    for row, wrong in ((rows[0], 8), (rows[1], 0)):
        write_scored(row.directory, "eval", sentences(), sentences(wrong))
    overview = cascade_page(rows).tables[1]
    assert overview.heading == f"WER of all sets ({INFERENCE})"
    assert overview.header == ("phase", "kind", "cut", "seed", "eval", "test")
    assert [line[4:] for line in overview.rows] == [
        ("8.3", "12.5"),
        ("0.0 (-8.33)", "6.3 (-6.25)"),
        ("-", "18.8 (+6.25)"),
        ("-", "-"),
    ]


def test_equal_segments_are_marked_as_a_sign_test(rows: list[PhaseResult]) -> None:
    for row, wrong in ((rows[0], 8), (rows[1], 0)):
        write_scored(row.directory, "test", sentences(), sentences(wrong))
    words = cascade_page(rows[:2]).tables[1]
    assert words.rows[1][-1] == "0.008 (0.008) sign" and words.notes[-1].startswith("sign:")


def test_files_in_another_order_are_paired_by_utterance(rows: list[PhaseResult]) -> None:
    write_scored(rows[0].directory, "test", sentences(), sentences(3))
    write_scored(rows[1].directory, "test", sentences()[::-1], sentences(3)[::-1])
    assert compare_sets(rows)[0].cells[1].change.interval == (0.0, 0.0)


def test_cascades_are_compared_by_words_and_characters_alone(rows: list[PhaseResult]) -> None:
    folder = rows[0].directory / INFERENCE / "test"
    shutil.copytree(folder / "score_wer", folder / "score_ter")
    assert [found.metric for found in compare_sets(rows)] == ["wer", "cer"]
    assert "### TER" in experiment_results(rows[0].directory)


def test_different_utterances_cannot_be_compared(rows: list[PhaseResult]) -> None:
    write_scored(rows[1].directory, "test", sentences()[1:], sentences()[1:])
    with pytest.raises(
        TopdownError, match=r"are not the same reference \(23 and 24 utterances; .* differs\)"
    ):
        compare_sets(rows)


def test_another_text_of_the_same_length_cannot_be_compared(rows: list[PhaseResult]) -> None:
    other = [(name, speaker, ["FIVE", *words[1:]]) for name, speaker, words in sentences()]
    write_scored(rows[1].directory, "test", other, other)
    with pytest.raises(
        TopdownError, match=r"not the same reference .* differs\), so test cannot be compared"
    ):
        compare_sets(rows)


def test_a_language_model_shows_perplexities_and_no_error_rates(tmp_path: Path) -> None:
    base = phase(tmp_path, "base", "base", perplexity={"test": 70.25})
    rows = [base, phase(tmp_path, "p1", "top_down", dev=float("nan"))]
    (section,) = cascade_page(rows).tables
    assert section.header[-1] == "ppl test" and [row[-1] for row in section.rows] == ["70.25", "-"]
    assert (
        json.loads(cascade_page(rows).json(), parse_constant=pytest.fail)["phases"][1]["dev"]
        is None
    )


def test_nothing_decoded_is_said(tmp_path: Path) -> None:
    (section,) = cascade_page([phase(tmp_path, "base", "base")]).tables
    assert section.notes[-1] == "No phase was decoded, so there are no error rates."
    with pytest.raises(TopdownError, match="no phase is finished"):
        cascade_page([])


def test_written_files_replace_older_ones(rows: list[PhaseResult], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    out = tmp_path / "cascade"
    write_cascade(out, rows, [("decoder", 10)])
    write_cascade(out, rows[:2], [("decoder", 10)])
    text = (out / "RESULTS.md").read_text()
    assert "|p1|" in text and "|p2|" not in text and "](images/error_by_cut.png)" in text
    assert [row["name"] for row in json.loads((out / "results.json").read_text())["phases"]] == [
        "base",
        "p1",
    ]
    assert str(tmp_path) not in (out / "results.json").read_text()
    names = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    images = [f"images/{name}.png" for name in ("dev_curves", "error_by_cut", "share_and_cost")]
    assert names == ["RESULTS.md", *images, "report.html", "results.json"]


def test_experiment_results_have_espnets_layout(tmp_path: Path, rows: list[PhaseResult]) -> None:
    exp = rows[0].directory
    write_scored(exp, "org/dev", sentences(), sentences(24))
    lines = experiment_results(exp).splitlines()
    assert lines[1:3] == ["# RESULTS", "## Environments"] and lines[3].startswith("- date: `")
    assert any(line.startswith("- python version: `3.") for line in lines)
    header = [
        "|dataset|Snt|Wrd|Corr|Sub|Del|Ins|Err|S.Err|",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    start = lines.index(f"## {exp}")
    assert lines[start + 1 : start + 6] == [
        "### WER",
        "",
        *header,
        f"|{INFERENCE}/test|24|96|87.5|12.5|0.0|0.0|12.5|50.0|",
    ]
    own = lines.index(f"## {exp}/{INFERENCE}")
    assert own > start and lines[own + 5] == "|org/dev|24|96|75.0|25.0|0.0|0.0|25.0|100.0|"


def test_two_experiments_side_by_side(rows: list[PhaseResult]) -> None:
    tables = compare(rows[0].directory, rows[1].directory)
    assert tables.tables[0].rows[1][0] == "p1"
    assert tables.tables[0].rows[1][-3:] == ("-6.25", "-10.42 to -2.08", "<0.001 (<0.001)")
    with pytest.raises(TopdownError, match=f"share no scored set.*found {INFERENCE}/test and none"):
        compare(rows[0].directory, rows[3].directory)


def test_case_counts_on_demand(tmp_path: Path) -> None:
    rows = [phase(tmp_path, "base", "base")]
    write_scored(rows[0].directory, "test", [("s-1", "s", ["A"])], [("s-1", "s", ["a"])])
    rates = [
        compare_sets(rows, case_sensitive=case)[0].cells[0].score.err_rate for case in (False, True)
    ]
    assert rates == [0.0, 100.0]


def test_command_prints_results_and_errors_without_traceback(rows: list[PhaseResult]) -> None:
    command = [sys.executable, "-m", "espnet_topdown.results.pages"]
    done = subprocess.run([*command, rows[0].directory], capture_output=True, text=True)
    assert done.returncode == 0 and f"|{INFERENCE}/test|24|96|" in done.stdout
    failed = subprocess.run([*command, rows[3].directory], capture_output=True, text=True)
    assert (
        failed.returncode == 1
        and "decode and score first" in failed.stderr
        and "Traceback" not in failed.stderr
    )


def test_tables_load_without_torch_espnet_or_matplotlib() -> None:
    code = (
        "import sys, espnet_topdown.results.pages, espnet_topdown.results.report;"
        " print(*sys.modules)"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "espnet_topdown.results.report" in loaded and not {
        "torch",
        "espnet2",
        "matplotlib",
        "kaldialign",
    } & set(loaded)


def test_a_base_that_was_not_decoded_leaves_no_difference(
    rows: list[PhaseResult], tmp_path: Path
) -> None:
    bare = replace(rows[0], directory=rows[3].directory)
    assert [cell.change for cell in compare_sets([bare, *rows[1:]])[0].cells] == [None] * 4
