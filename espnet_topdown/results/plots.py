"""Which pictures the numbers of a cascade allow, and their files: PNG for pages, PDF for papers."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from espnet_topdown.results import error_picture, pictures
from espnet_topdown.results.comparison import SetComparison
from espnet_topdown.results.rows import PhaseResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DEV_CURVES = "dev_curves.png"
ERROR_BY_CUT = "error_by_cut.png"
SHARE_AND_COST = "share_and_cost.png"


@dataclass(frozen=True)
class Pictures:
    """The pictures of a page, by file name: for pages as PNG, for papers the same as PDF."""

    png: Mapping[str, bytes] = field(default_factory=dict)
    pdf: Mapping[str, bytes] = field(default_factory=dict)


def figures(rows: Sequence[PhaseResult], sets: Sequence[SetComparison]) -> dict[str, "Figure"]:
    """All pictures that the numbers allow, as name of the PNG file -> figure.

    Args:
        rows: phases in their order.
        sets: what `compare.compare_sets` made of them.
    """
    drawn = {SHARE_AND_COST: pictures.share_and_cost(rows)}
    if any(pictures.points_of(row.curve) for row in rows):
        drawn[DEV_CURVES] = pictures.dev_curves(rows)
    panels = error_picture.error_panels(rows, sets)
    if panels:
        drawn[ERROR_BY_CUT] = error_picture.error_by_cut(rows, panels)
    return drawn


def title(name: str) -> str:
    """What the picture in the file `name` shows, in words."""
    return name.removesuffix(".png").replace("_", " ")


def pdf(figure: "Figure") -> bytes:
    """The figure as PDF for a paper: the same bytes each time, letters that a publisher takes."""
    from matplotlib import rc_context

    stream = io.BytesIO()
    # Type 3 fonts, matplotlib's default, are refused by IEEE's checker of PDFs.
    with rc_context({"pdf.fonttype": 42}):
        figure.savefig(stream, format="pdf", metadata={"CreationDate": None})
    return stream.getvalue()


def png(figure: "Figure") -> bytes:
    """The figure as PNG with a palette, a third of the size that true colour has."""
    from PIL import Image

    drawn, stream = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=150)
    # Lines of few colours on white: 64 hold all of them and their smooth edges.
    picture = Image.open(drawn).convert("RGB").quantize(64, dither=Image.Dither.NONE)
    picture.save(stream, format="png", optimize=True, dpi=(150, 150))
    return stream.getvalue()


def pictures_of(rows: Sequence[PhaseResult], sets: Sequence[SetComparison]) -> Pictures:
    """All pictures that the numbers allow, drawn once; the arguments are `figures`'s."""
    from matplotlib import rc_context

    # No name is a formula, whatever stands in it.
    with rc_context({"text.parse_math": False}):
        drawn = figures(rows, sets)
        return Pictures(
            png={name: png(figure) for name, figure in drawn.items()},
            pdf={f"{Path(name).stem}.pdf": pdf(figure) for name, figure in drawn.items()},
        )
