"""A cascade on one self-contained HTML page: which layers each phase froze, the tables, the plots.

Nothing is loaded from elsewhere: pictures are data URIs and the layer picture is inline SVG.
"""

import base64
from collections.abc import Mapping, Sequence
from html import escape

from espnet_topdown.plan.kinds import BASE_KIND, KINDS, TOP_DOWN
from espnet_topdown.plan.plan import Sides
from espnet_topdown.results.compare import PhaseResult
from espnet_topdown.table import Page, Table

LAYER_HEIGHT, PHASE_WIDTH, GAP = 22, 96, 8  # pixels
STYLE = """body{font:14px/1.5 system-ui,sans-serif;max-width:90rem;margin:2rem auto;padding:0 1rem;color:#111}
.scroll{overflow-x:auto}table{border-collapse:collapse;margin:.5rem 0;white-space:nowrap}
th,td{border-bottom:1px solid #bbb;padding:.15rem .5rem;text-align:right}th:first-child,td:first-child{text-align:left}
thead th{border-bottom:2px solid #333}ul{margin-top:0;color:#333}img{max-width:100%;height:auto}
svg text{font:12px system-ui,sans-serif}summary{font-weight:bold;font-size:1.3em;margin:1rem 0}
@page{size:A4 landscape;margin:10mm}
@media print{body{font-size:9px;max-width:none;margin:0}.scroll{overflow:visible}th,td{padding:.1rem .3rem}
svg{max-width:100%;height:auto}img{max-width:80%}h2,img,tr,svg{break-inside:avoid}h2{break-after:avoid}}"""
FILLS = {"frozen": "#0072B2", "kept": "url(#kept)", "fresh": "#ffffff"}
WORDS = {"frozen": "kept and frozen", "kept": "kept and trained", "fresh": "fresh and trained"}


def html(
    name: str,
    rows: Sequence[PhaseResult],
    layer_rows: Sequence[tuple[str, int]],
    page: Page,
    pictures: Mapping[str, bytes],
) -> str:
    """The page of a cascade.

    Args:
        name: of the cascade.
        rows: phases in their order.
        layer_rows: (layer name, parameters), from the bottom to the top.
        page: what `pages.cascade_page` gave.
        pictures: what `plots.draw` gave, file name -> PNG.
    """
    first = [_image(key, png) for key, png in pictures.items() if key == "error_by_cut.png"]
    others = [_image(key, png) for key, png in pictures.items() if key != "error_by_cut.png"]
    parts = [
        f"<h1>{escape(name)}</h1><p>{escape(verdict(rows))}</p>",
        *first,
        _layers(rows, layer_rows),
    ]
    parts += [*map(_table, page.tables), *others]
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(name)}:'
        f" {escape(page.title)}</title>"
        '<meta name="viewport" content="width=device-width"><link rel="icon"'
        f' href="data:,"><style>{STYLE}</style>'
        f"</head><body>{''.join(parts)}</body></html>\n"
    )


def verdict(rows: Sequence[PhaseResult]) -> str:
    """What dev decided, as a sentence."""
    tried = [row for row in rows if row.kind == TOP_DOWN]
    best = next((row for row in rows if row.best), None)
    if best is None or best.dev is None or not tried:
        return f"Phases finished: {len(tried)}; nothing is selected yet."
    controls = len(rows) - len(tried) - 1
    counted = (
        f"{len(tried)} top-down phase{'s' if len(tried) > 1 else ''}, {controls}"
        f" control{'' if controls == 1 else 's'}"
    )
    if best.kind == BASE_KIND:
        return f"{counted}: none is better than phase 0 on dev ({best.dev_name} {best.dev:.4f})."
    base = rows[0].dev
    against = f", phase 0 {base:.4f}" if base is not None else ""
    return (
        f"{counted}: dev selects {best.name}, cut {best.cut} ({best.dev_name}"
        f" {best.dev:.4f}{against})."
    )


def _image(name: str, png: bytes) -> str:
    title = name.removesuffix(".png").replace("_", " ")
    data = base64.b64encode(png).decode("ascii")
    return (
        f'<h2>{title.capitalize()}</h2><img alt="{escape(title)}"'
        f' src="data:image/png;base64,{data}">'
    )


def _table(section: Table) -> str:
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in section.header)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in section.rows
    )
    notes = "".join(f"<li>{escape(note)}</li>" for note in section.notes)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    body = f'<div class="scroll">{table}</div>{f"<ul>{notes}</ul>" if notes else ""}'
    if section.heading.startswith("CER"):
        return f"<details><summary>{escape(section.heading)}</summary>{body}</details>"
    return f"<h2>{escape(section.heading)}</h2>{body}"


def layer_state(row: PhaseResult, layers: Sequence[str], layer: str) -> str:
    """What a phase did with a layer: "frozen", "kept" (copied and trained on) or "fresh"."""
    if layer in row.frozen:
        return "frozen"
    if row.kind not in KINDS or KINDS[row.kind].freezes:
        return "fresh"
    return "kept" if layer in Sides.of(row.kind, row.cut, layers).kept else "fresh"


def _layers(rows: Sequence[PhaseResult], layer_rows: Sequence[tuple[str, int]]) -> str:
    """The stack of layers, output on top, a column a phase."""
    layers = [name for name, _ in layer_rows]
    left = 12 + 7 * max([len(f"{name} ({count:,})") for name, count in layer_rows], default=0)
    width, top = left + (PHASE_WIDTH + GAP) * len(rows), 24
    height = top + LAYER_HEIGHT * len(layers) + 46
    marks = []
    for level, (name, count) in enumerate(reversed(layer_rows)):
        y = top + LAYER_HEIGHT * level
        marks.append(
            f'<text x="{left - 8}" y="{y + 15}" text-anchor="end">{escape(name)} ({count:,})</text>'
        )
        for column, row in enumerate(rows):
            state = layer_state(row, layers, name)
            x = left + (PHASE_WIDTH + GAP) * column
            marks.append(
                f'<rect x="{x}" y="{y}" width="{PHASE_WIDTH}" height="{LAYER_HEIGHT - 2}"'
                f' fill="{FILLS[state]}" stroke="#333"><title>{escape(row.name)}: {escape(name)}'
                f" {WORDS[state]}</title></rect>"
            )
    for column, row in enumerate(rows):
        x = left + (PHASE_WIDTH + GAP) * column + PHASE_WIDTH / 2
        title = f"{_short(row.name)}{' *' if row.best else ''}"
        marks.append(f'<text x="{x}" y="16" text-anchor="middle">{escape(title)}</text>')
    marks += _legend(left, height - 30)
    pattern = (
        '<defs><pattern id="kept" width="7" height="7" patternUnits="userSpaceOnUse"'
        ' patternTransform="rotate(45)"><rect width="7" height="7" fill="#fff"/><rect width="3"'
        ' height="7" fill="#E69F00"/></pattern></defs>'
    )
    full = max(width, left + 580)
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="layers of each phase"'
        f' width="{full}" height="{height}" viewBox="0 0 {full}'
        f' {height}">{pattern}{"".join(marks)}</svg>'
    )
    return f'<h2>Layers (parameters), output on top</h2><div class="scroll">{svg}</div>'


def _short(name: str) -> str:
    return name if len(name) <= 14 else f"{name[:13]}…"


def _legend(x: int, y: int) -> list[str]:
    marks = []
    for place, (state, words) in enumerate(WORDS.items()):
        at = x + 150 * place
        marks.append(
            f'<rect x="{at}" y="{y}" width="16" height="16" fill="{FILLS[state]}" stroke="#333"/>'
        )
        marks.append(f'<text x="{at + 22}" y="{y + 13}">{words}</text>')
    marks.append(f'<text x="{x + 450}" y="{y + 13}">* selected on dev</text>')
    return marks
