"""A cascade on one self-contained HTML page: which layers each phase froze, the tables, the plots.

Nothing is loaded from elsewhere: pictures are data URIs and the layer picture is inline SVG.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from html import escape

from espnet_topdown.plan.kinds import TOP_DOWN
from espnet_topdown.results import plots
from espnet_topdown.results.cells import log_digits
from espnet_topdown.results.rows import PhaseResult
from espnet_topdown.table import Page, counted

# Pixels of the layer picture.
LAYER_HEIGHT = 22
PHASE_WIDTH = 96
GAP = 8
CHARACTER = 7
LINE_HEIGHT = 15
LEGEND_WIDTH = 900
STYLE = """
body { font: 14px/1.5 system-ui, sans-serif; max-width: 90rem; margin: 2rem auto; padding: 0 1rem;
  color: #111 }
.scroll { overflow-x: auto }
table { border-collapse: collapse; margin: .5rem 0; white-space: nowrap }
th, td { border-bottom: 1px solid #bbb; padding: .15rem .5rem; text-align: right }
th:first-child, td:first-child { text-align: left }
thead th { border-bottom: 2px solid #333 }
ul { margin-top: 0; color: #333 }
img { max-width: 100%; height: auto }
svg text { font: 12px system-ui, sans-serif }
summary { font-weight: bold; font-size: 1.3em; margin: 1rem 0 }
@page { size: A4 landscape; margin: 10mm }
@media print {
  body { font-size: 9px; max-width: none; margin: 0 }
  .scroll { overflow: visible }
  th, td { padding: .1rem .3rem }
  svg { max-width: 100%; height: auto }
  img { max-width: 80%; max-height: 180mm }
  details:not([open]) > :not(summary) { display: block }
  ::details-content { content-visibility: visible }
  h2, img, tr, svg { break-inside: avoid }
  h2 { break-after: avoid }
}
"""
FILLS = {
    "frozen": "#0072B2",
    "slow": "#56B4E9",
    "kept": "url(#kept)",
    "loaded": "#CC79A7",
    "fresh": "#ffffff",
}
WORDS = {
    "frozen": "kept and frozen",
    "slow": "kept, trained slowly",
    "kept": "kept and trained",
    "loaded": "loaded, not drawn",
    "fresh": "fresh and trained",
}
KEPT_PATTERN = (
    '<defs><pattern id="kept" width="7" height="7" patternUnits="userSpaceOnUse"'
    ' patternTransform="rotate(45)"><rect width="7" height="7" fill="#fff"/>'
    '<rect width="3" height="7" fill="#E69F00"/></pattern></defs>'
)


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
        pictures: the `png` of `plots.Pictures`, file name -> PNG.
    """
    images = {file: _image(file, png) for file, png in pictures.items()}
    # The main result stands first.
    main_image = images.pop(plots.ERROR_BY_CUT, "")
    tables = [table.html(is_folded=table.heading.startswith("CER")) for table in page.tables]
    parts = [
        f"<h1>{escape(name)}</h1><p>{escape(verdict(rows))}</p>",
        _facts(page.facts),
        main_image,
        _layers(rows, layer_rows),
        *tables,
        *images.values(),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(name)}: {escape(page.title)}</title>"
        '<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">'
        f"<style>{STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def _facts(facts: Sequence[str]) -> str:
    if not facts:
        return ""
    items = "".join(f"<li>{escape(fact)}</li>" for fact in facts)
    return f"<ul>{items}</ul>"


def verdict(rows: Sequence[PhaseResult]) -> str:
    """What dev decided, as a sentence."""
    tried = [row for row in rows if row.is_tried]
    controls = sum(row.is_control for row in rows)
    best = next((row for row in rows if row.best), None)
    if best is None or best.dev is None or not tried:
        return f"Phases finished: {len(tried)}; nothing is selected yet."
    what = "top-down phase" if {row.kind for row in tried} == {TOP_DOWN} else "phase"
    trained = f"{counted(len(tried), what)}, {counted(controls, 'control')}"
    dev = f"{best.criterion.name} {log_digits(best.dev)}"
    if best.is_base:
        return f"{trained}: none is better than phase 0 on dev ({dev})."
    base = rows[0].dev
    if best.dev_set:
        # Phase 0 was measured on that set once more.
        base = best.base_dev
        dev += f" on {best.dev_set}"
    if base is not None:
        dev += f", phase 0 {log_digits(base)}"
    where = f"cut {best.cut}" if best.cut else best.kind
    return f"{trained}: dev selects {best.name}, {where} ({dev})."


def _image(file: str, png: bytes) -> str:
    title = plots.title(file)
    data = base64.b64encode(png).decode("ascii")
    source = f"data:image/png;base64,{data}"
    return f'<h2>{title.capitalize()}</h2><img alt="{escape(title)}" src="{source}">'


def layer_state(row: PhaseResult, layer: str) -> str:
    """What a phase did with a layer: "frozen", "slow", "kept", "loaded" or "fresh".

    Kept is copied and trained on, slow the same at a factor of the learning rate, loaded starts
    from a pre-trained checkpoint, fresh is drawn.
    """
    # A tied tensor can freeze a layer below the cut, so what was recorded goes before the rest.
    if layer in row.frozen:
        return "frozen"
    if layer in row.loaded:
        return "loaded"
    if layer not in row.factors:
        return "fresh"
    return "kept" if row.factors[layer] == 1 else "slow"


def _layer_words(row: PhaseResult, layer: str) -> str:
    """What a phase did with a layer, in words, with its factor where it learns at one."""
    state = layer_state(row, layer)
    factor = f", {row.factors[layer]:.3g} of the learning rate" if state == "slow" else ""
    return f"{row.name}: {layer} {WORDS[state]}{factor}"


def _layers(rows: Sequence[PhaseResult], layer_rows: Sequence[tuple[str, int]]) -> str:
    """The stack of layers, output on top, a column a phase."""
    names = [name for name, _ in layer_rows]
    labels = {name: f"{name} ({parameters:,})" for name, parameters in layer_rows}
    left = 12 + CHARACTER * max(map(len, labels.values()), default=0)
    titles = [broken(row.name) for row in rows]
    # Names stand on as many lines as the longest needs.
    top = 8 + LINE_HEIGHT * max(map(len, titles), default=1)
    marks = []
    for level, name in enumerate(reversed(names)):
        y = top + LAYER_HEIGHT * level
        marks.append(_text(left - 8, y + 15, labels[name], anchor="end"))
        for column, row in enumerate(rows):
            x = left + (PHASE_WIDTH + GAP) * column
            state = layer_state(row, name)
            marks.append(_layer_mark(x, y, state, _layer_words(row, name)))
            if state == "slow":
                middle = x + PHASE_WIDTH / 2
                marks.append(_text(middle, y + 15, f"{row.factors[name]:.3g}", anchor="middle"))
    for column, row in enumerate(rows):
        middle = left + (PHASE_WIDTH + GAP) * column + PHASE_WIDTH / 2
        lines = titles[column]
        if row.best:
            lines = [*lines[:-1], f"{lines[-1]} *"]
        first = top - 8 - LINE_HEIGHT * (len(lines) - 1)
        for number, line in enumerate(lines):
            marks.append(_text(middle, first + LINE_HEIGHT * number, line, anchor="middle"))
    bottom = top + LAYER_HEIGHT * len(names)
    marks += _legend(left, bottom + 16)
    width = left + max((PHASE_WIDTH + GAP) * len(rows), LEGEND_WIDTH)
    height = bottom + 46
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="layers of each phase"'
        f' width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
        f"{KEPT_PATTERN}{''.join(marks)}</svg>"
    )
    return f'<h2>Layers (parameters), output on top</h2><div class="scroll">{svg}</div>'


def _legend(x: int, y: int) -> list[str]:
    marks = []
    for place, (state, words) in enumerate(WORDS.items()):
        left = x + 150 * place
        marks.append(
            f'<rect x="{left}" y="{y}" width="16" height="16" fill="{FILLS[state]}" stroke="#333"/>'
        )
        marks.append(_text(left + 22, y + 13, words))
    return [*marks, _text(x + 150 * len(WORDS), y + 13, "* selected on dev")]


def _layer_mark(x: float, y: float, state: str, title: str) -> str:
    return (
        f'<rect x="{x}" y="{y}" width="{PHASE_WIDTH}" height="{LAYER_HEIGHT - 2}"'
        f' fill="{FILLS[state]}" stroke="#333"><title>{escape(title)}</title></rect>'
    )


def _text(x: float, y: float, text: str, *, anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'


def broken(name: str) -> list[str]:
    """A phase's name in lines as wide as its column, broken behind underscores and slashes."""
    most = PHASE_WIDTH // CHARACTER
    lines = [""]
    for part in re.findall(r"[^_/]*[_/]|[^_/]+", name):
        if lines[-1] and len(lines[-1]) + len(part) > most:
            lines.append("")
        lines[-1] += part
    return [line if len(line) <= most else f"{line[: most - 1]}…" for line in lines]
