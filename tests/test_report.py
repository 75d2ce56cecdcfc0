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

from espnet_topdown.report import layer_state, write_html  # noqa: E402

LAYERS = [("embed", 10), ("encoder.0", 2000), ("decoder", 300), ("output", 40)]
NAMES = [name for name, _ in LAYERS]


def test_page_is_whole_and_self_contained(tmp_path: Path) -> None:
    rows = [
        phase(tmp_path, "base", "base", wrong=12),
        phase(tmp_path, "p<1>", "top_down", cut="decoder", wrong=6, best=True, frozen=("decoder", "output")),
    ]
    page = write_html(tmp_path / "out", rows, LAYERS).read_text(encoding="utf-8")
    assert "p&lt;1&gt;" in page and "p<1>" not in page and page.count("<table>") == 3
    assert page.count('src="data:image/png;base64,') == 3
    assert not re.search(r"""(src|href)\s*=\s*["'](?!data:)|url\((?!#)|@import|<script""", page)
    svg = ElementTree.fromstring(re.search(r"<svg.*?</svg>", page, re.DOTALL)[0])
    titles = [title.text for title in svg.iter("{http://www.w3.org/2000/svg}title")]
    assert len(titles) == 8 and Counter(t.split(" ", 2)[2] for t in titles) == {
        "fresh and trained": 6,
        "kept and frozen": 2,
    }
    texts = [text.text for text in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[:4] == ["output (40)", "decoder (300)", "encoder.0 (2,000)", "embed (10)"]  # output on top


BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
QUIET = ("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-sync")


@pytest.mark.skipif(BROWSER is None, reason="no chromium on PATH")
def test_page_is_drawn_by_a_real_browser(tmp_path: Path) -> None:
    """The layer picture's frozen cells and every plot arrive as pixels."""
    import matplotlib.image

    rows = [
        phase(tmp_path, "base", "base", wrong=12),
        phase(tmp_path, "p1", "top_down", cut="decoder", wrong=6, best=True, frozen=("decoder", "output")),
    ]
    page, picture = write_html(tmp_path / "out", rows, LAYERS), tmp_path / "page.png"
    options = ["--headless", "--no-sandbox", *QUIET, f"--user-data-dir={tmp_path}/profile", "--window-size=1200,3000"]
    command = [BROWSER, *options, f"--screenshot={picture}", page.as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    pixels = (matplotlib.image.imread(picture)[..., :3] * 255).round().astype(int)
    blue = (pixels == (0x00, 0x72, 0xB2)).all(axis=-1)  # Okabe-Ito blue: kept and frozen
    assert blue[:500].sum() > 2000  # two cells of the layer picture
    drawn = (pixels < 250).any(axis=-1).any(axis=1)
    assert drawn[1200:].sum() > 300  # tables and plots further down


@pytest.mark.parametrize(
    ("kind", "cut", "frozen", "states"),
    [
        ("base", None, (), "fresh fresh fresh fresh"),
        ("top_down", "decoder", ("decoder", "output"), "fresh fresh frozen frozen"),
        ("unfrozen", "decoder", (), "fresh fresh kept kept"),
        ("continue", None, (), "kept kept kept kept"),
        ("bottom_up", "decoder", ("embed", "encoder.0"), "frozen frozen fresh fresh"),
    ],
)
def test_state_of_each_layer(tmp_path: Path, kind: str, cut: str | None, frozen: tuple[str, ...], states: str) -> None:
    row = phase(tmp_path, "p1", kind, cut=cut, frozen=frozen)
    assert " ".join(layer_state(row, NAMES, name) for name in NAMES) == states
