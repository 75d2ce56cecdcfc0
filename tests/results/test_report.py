"""The page holds layers, tables and pictures, and needs nothing from elsewhere."""

import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")

from made_phases import compared, phase  # noqa: E402

from espnet_topdown.results.pages import cascade_page, write_cascade  # noqa: E402
from espnet_topdown.results.report import broken, layer_state, verdict  # noqa: E402
from espnet_topdown.results.rows import PhaseResult  # noqa: E402

LAYERS = [("embed", 10), ("encoder.0", 2000), ("decoder.0", 300), ("output", 40)]
NAMES = [name for name, _ in LAYERS]
UPPER = {"decoder.0": 1.0, "output": 1.0}
SVG = "{http://www.w3.org/2000/svg}"


def write_html(directory: Path, rows: list[PhaseResult]) -> Path:
    sets = compared(rows)
    write_cascade(directory, rows, sets, LAYERS, cascade_page(rows, sets))
    return directory / "report.html"


def two_phases(directory: Path, name: str) -> list[PhaseResult]:
    frozen = ("decoder.0", "output")
    base = phase(directory, "base", "base", wrong=12)
    top = phase(directory, name, "top_down", cut="decoder", wrong=6, best=True, frozen=frozen)
    return [base, top]


def test_page_is_whole_and_self_contained(tmp_path: Path) -> None:
    page = write_html(tmp_path / "out", two_phases(tmp_path, "p<1>")).read_text(encoding="utf-8")
    assert "p&lt;1&gt;" in page
    assert "p<1>" not in page
    assert page.count("<table>") == 3
    assert page.count('src="data:image/png;base64,') == 3
    head = "<h1>out</h1><p>1 top-down phase, 0 controls: dev selects p&lt;1&gt;, cut decoder"
    assert head in page
    order = ("Error by cut", "<svg", "<table>", "<details><summary>CER", "Dev curves")
    places = [page.index(text) for text in order]
    assert places == sorted(places)
    from_elsewhere = r"""(src|href)\s*=\s*["'](?!data:)|url\((?!#)|@import|<script"""
    assert not re.search(from_elsewhere, page)


def test_layers_are_drawn_with_the_output_on_top(tmp_path: Path) -> None:
    page = write_html(tmp_path / "out", two_phases(tmp_path, "p1")).read_text(encoding="utf-8")
    svg = ElementTree.fromstring(re.search(r"<svg.*?</svg>", page, re.DOTALL)[0])
    states = [title.text.split(" ", 2)[2] for title in svg.iter(f"{SVG}title")]
    assert Counter(states) == {"fresh and trained": 6, "kept and frozen": 2}
    texts = [text.text for text in svg.iter(f"{SVG}text")]
    assert texts[:4] == ["output (40)", "decoder.0 (300)", "encoder.0 (2,000)", "embed (10)"]


BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-sync",
)


def browse(tmp_path: Path, page: Path, *options: str) -> None:
    command = [BROWSER, *QUIET, f"--user-data-dir={tmp_path}/profile", *options, page.as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=120)


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no chromium on PATH")
def test_page_is_drawn_by_a_real_browser(tmp_path: Path) -> None:
    """The layer picture's frozen cells and every plot arrive as pixels."""
    import matplotlib.image

    page = write_html(tmp_path / "out", two_phases(tmp_path, "p1"))
    picture = tmp_path / "page.png"
    browse(tmp_path, page, "--window-size=1200,3000", f"--screenshot={picture}")
    pixels = (matplotlib.image.imread(picture)[..., :3] * 255).round().astype(int)
    # Okabe and Ito's blue is kept and frozen: two cells of the layer picture.
    blue = (pixels == (0x00, 0x72, 0xB2)).all(axis=-1)
    assert blue[:1500].sum() > 2000
    # Tables and plots stand further down.
    drawn = (pixels < 250).any(axis=-1).any(axis=1)
    assert drawn[1500:].sum() > 300


@pytest.mark.slow
@pytest.mark.skipif(
    BROWSER is None or not shutil.which("pdftotext"), reason="no chromium or pdftotext on PATH"
)
def test_printed_page_loses_no_column(tmp_path: Path) -> None:
    rows = [phase(tmp_path, "base", "base", wrong=12)]
    for k in range(12):
        given = {"wrong": 6, "best": not k, "seed": 1000 + k}
        rows.append(phase(tmp_path, f"p{k}", "top_down", cut="decoder", **given))
    printed = tmp_path / "page.pdf"
    browse(tmp_path, write_html(tmp_path / "out", rows), f"--print-to-pdf={printed}")
    command = ["pdftotext", "-layout", printed, "-"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    # The two columns on the right.
    assert text.count("-8.33 to -1.67") >= 12
    assert "<0.001 (<0.001)" in text
    # The last column of the layer picture.
    assert "p11" in text.split("kept and trained")[0]


def test_verdict_is_devs(tmp_path: Path) -> None:
    base = phase(tmp_path, "base", "base", dev=0.5, best=True)
    worse = phase(tmp_path, "p1", "top_down", cut="decoder", dev=0.4, accepted=False)
    control = phase(tmp_path, "r1", "restart", role="control")
    expected = (
        "1 top-down phase, 1 control: none is better than phase 0 on dev (valid acc max 0.500)."
    )
    assert verdict([base, worse, control]) == expected
    assert verdict([base, control]) == "Phases finished: 0; nothing is selected yet."


def test_verdict_counts_in_plurals(tmp_path: Path) -> None:
    base = phase(tmp_path, "base", "base", dev=0.5)
    first = phase(tmp_path, "p1", "top_down", cut="decoder", dev=0.4)
    best = phase(tmp_path, "p2", "top_down", cut="encoder.1", dev=0.6, best=True)
    expected = (
        "2 top-down phases, 0 controls: dev selects p2, cut encoder.1 (valid acc max 0.600, phase"
        " 0 0.500)."
    )
    assert verdict([base, first, best]) == expected


@pytest.mark.parametrize(
    ("kind", "cut", "frozen", "factors", "states"),
    [
        ("base", None, (), {}, "fresh fresh fresh fresh"),
        ("top_down", "decoder", ("decoder.0", "output"), {}, "fresh fresh frozen frozen"),
        ("unfrozen", "decoder", (), UPPER, "fresh fresh kept kept"),
        ("continue", None, (), dict.fromkeys(NAMES, 1.0), "kept kept kept kept"),
        ("restart", None, (), {}, "fresh fresh fresh fresh"),
        ("bottom_up", "decoder", ("embed", "encoder.0"), {}, "frozen frozen fresh fresh"),
        ("slow", "decoder", (), {**UPPER, "output": 0.1}, "fresh fresh kept slow"),
    ],
)
def test_state_of_each_layer(
    tmp_path: Path,
    kind: str,
    cut: str | None,
    frozen: tuple[str, ...],
    factors: dict[str, float],
    states: str,
) -> None:
    row = phase(tmp_path, "p1", kind, cut=cut, frozen=frozen, factors=factors)
    assert " ".join(layer_state(row, name) for name in NAMES) == states


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("phase1", ["phase1"]),
        ("bottom_up_phase1", ["bottom_up_", "phase1"]),
        ("cascade_slow/restart_phase12", ["cascade_slow/", "restart_", "phase12"]),
        ("averylongnamewithoutbreaks", ["averylongnam…"]),
    ],
)
def test_names_of_controls_are_read_in_full(name: str, lines: list[str]) -> None:
    assert broken(name) == lines


def test_a_fresh_layer_from_a_checkpoint_is_loaded_and_a_frozen_one_frozen(tmp_path: Path) -> None:
    frozen = ("embed", "decoder.0", "output")
    row = phase(
        tmp_path, "p1", "top_down", cut="decoder", frozen=frozen, loaded=("embed", "encoder.0")
    )
    states = [layer_state(row, name) for name in NAMES]
    assert states == ["frozen", "loaded", "frozen", "frozen"]
