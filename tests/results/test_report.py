"""The page holds layers, tables and pictures, and needs nothing from elsewhere."""

import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")

from test_tables import phase  # noqa: E402

from espnet_topdown.results.compare import PhaseResult  # noqa: E402
from espnet_topdown.results.pages import write_cascade  # noqa: E402
from espnet_topdown.results.report import layer_state, verdict  # noqa: E402

LAYERS = [("embed", 10), ("encoder.0", 2000), ("decoder.0", 300), ("output", 40)]
NAMES = [name for name, _ in LAYERS]


def write_html(directory: Path, rows: list[PhaseResult]) -> Path:
    write_cascade(directory, rows, LAYERS)
    return directory / "report.html"


def test_page_is_whole_and_self_contained(tmp_path: Path) -> None:
    rows = [
        phase(tmp_path, "base", "base", wrong=12),
        phase(
            tmp_path,
            "p<1>",
            "top_down",
            cut="decoder",
            wrong=6,
            best=True,
            frozen=("decoder.0", "output"),
        ),
    ]
    page = write_html(tmp_path / "out", rows).read_text(encoding="utf-8")
    assert "p&lt;1&gt;" in page and "p<1>" not in page and page.count("<table>") == 3
    assert page.count('src="data:image/png;base64,') == 3
    assert (
        "<h1>out</h1><p>1 top-down phase, 0 controls: dev selects p&lt;1&gt;, cut decoder" in page
    )
    assert (
        page.index("Error by cut")
        < page.index("<svg")
        < page.index("<table>")
        < page.index("<details><summary>CER")
    )
    assert not re.search(r"""(src|href)\s*=\s*["'](?!data:)|url\((?!#)|@import|<script""", page)
    svg = ElementTree.fromstring(re.search(r"<svg.*?</svg>", page, re.DOTALL)[0])
    titles = [title.text for title in svg.iter("{http://www.w3.org/2000/svg}title")]
    assert len(titles) == 8 and Counter(t.split(" ", 2)[2] for t in titles) == {
        "fresh and trained": 6,
        "kept and frozen": 2,
    }
    texts = [text.text for text in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[:4] == [
        "output (40)",
        "decoder.0 (300)",
        "encoder.0 (2,000)",
        "embed (10)",
    ]  # output on top


BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
QUIET = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-sync",
)


@pytest.mark.skipif(BROWSER is None, reason="no chromium on PATH")
def test_page_is_drawn_by_a_real_browser(tmp_path: Path) -> None:
    """The layer picture's frozen cells and every plot arrive as pixels."""
    import matplotlib.image

    rows = [
        phase(tmp_path, "base", "base", wrong=12),
        phase(
            tmp_path,
            "p1",
            "top_down",
            cut="decoder",
            wrong=6,
            best=True,
            frozen=("decoder.0", "output"),
        ),
    ]
    page, picture = write_html(tmp_path / "out", rows), tmp_path / "page.png"
    options = [
        "--headless",
        "--no-sandbox",
        *QUIET,
        f"--user-data-dir={tmp_path}/profile",
        "--window-size=1200,3000",
    ]
    command = [BROWSER, *options, f"--screenshot={picture}", page.as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    pixels = (matplotlib.image.imread(picture)[..., :3] * 255).round().astype(int)
    blue = (pixels == (0x00, 0x72, 0xB2)).all(axis=-1)  # Okabe-Ito blue: kept and frozen
    assert blue[:1500].sum() > 2000  # two cells of the layer picture
    drawn = (pixels < 250).any(axis=-1).any(axis=1)
    assert drawn[1500:].sum() > 300  # tables and plots further down


@pytest.mark.skipif(
    BROWSER is None or not shutil.which("pdftotext"), reason="no chromium or pdftotext on PATH"
)
def test_printed_page_loses_no_column(tmp_path: Path) -> None:
    rows = [phase(tmp_path, "base", "base", wrong=12)]
    rows += [
        phase(tmp_path, f"p{k}", "top_down", cut="decoder", wrong=6, best=not k, seed=1000 + k)
        for k in range(12)
    ]
    page, printed = write_html(tmp_path / "out", rows), tmp_path / "page.pdf"
    options = ["--headless", "--no-sandbox", *QUIET, f"--user-data-dir={tmp_path}/profile"]
    command = [BROWSER, *options, f"--print-to-pdf={printed}", page.as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    text = subprocess.run(
        ["pdftotext", "-layout", printed, "-"], check=True, capture_output=True, text=True
    ).stdout
    assert (
        text.count("-10.42 to -2.08") >= 12 and "<0.001 (<0.001)" in text
    )  # the two columns on the right
    assert (
        text.split("kept and trained")[0].count("p11") >= 1
    )  # the last column of the layer picture


def test_verdict_is_devs(tmp_path: Path) -> None:
    base = phase(tmp_path, "base", "base", dev=0.5, best=True)
    worse = phase(tmp_path, "p1", "top_down", cut="decoder", dev=0.4, accepted=False)
    control = phase(tmp_path, "r1", "restart")
    expected = (
        "1 top-down phase, 1 control: none is better than phase 0 on dev (valid acc max 0.5000)."
    )
    assert verdict([base, worse, control]) == expected
    assert verdict([base]) == "Phases finished: 0; nothing is selected yet."


@pytest.mark.parametrize(
    ("kind", "cut", "frozen", "states"),
    [
        ("base", None, (), "fresh fresh fresh fresh"),
        ("top_down", "decoder", ("decoder.0", "output"), "fresh fresh frozen frozen"),
        ("unfrozen", "decoder", (), "fresh fresh kept kept"),
        ("continue", None, (), "kept kept kept kept"),
        ("bottom_up", "decoder", ("embed", "encoder.0"), "frozen frozen fresh fresh"),
    ],
)
def test_state_of_each_layer(
    tmp_path: Path, kind: str, cut: str | None, frozen: tuple[str, ...], states: str
) -> None:
    row = phase(tmp_path, "p1", kind, cut=cut, frozen=frozen)
    assert " ".join(layer_state(row, NAMES, name) for name in NAMES) == states
