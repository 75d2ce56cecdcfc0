"""The pages of cascades, and which page suits the directories that a user names.

Scores are read here. Comparing is left to `espnet_topdown.results.compare`, single tables to
`espnet_topdown.results.tables`, experiments of no cascade to `espnet_topdown.results.experiments`.
"""

import contextlib
import errno
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path

import espnet_topdown
from espnet_topdown import files
from espnet_topdown.cascade.cascade import Cascade
from espnet_topdown.cascade.header import read_header
from espnet_topdown.cascade.ledger import Ledger
from espnet_topdown.cascade.paths import HEADER, is_cascade, seen_from
from espnet_topdown.errors import TopdownError
from espnet_topdown.experiment.phase_dir import START
from espnet_topdown.files import replacing, write_json, write_text
from espnet_topdown.grouping import grouped
from espnet_topdown.results import cache, contrasts, plots, report
from espnet_topdown.results.cache import Reader
from espnet_topdown.results.compare import compare_sets
from espnet_topdown.results.comparison import SetComparison, of_words
from espnet_topdown.results.contrasts import CascadeRows
from espnet_topdown.results.decodings import config_notes, matched
from espnet_topdown.results.experiments import compare, experiment_results
from espnet_topdown.results.page_data import phase_data, set_data
from espnet_topdown.results.phase_table import phases_table
from espnet_topdown.results.questions import Runs
from espnet_topdown.results.rows import PhaseResult, phase_results
from espnet_topdown.results.seal import on_dev, sealed_facts
from espnet_topdown.results.tables import (
    overview_tables,
    set_table,
)
from espnet_topdown.table import Page, Table, counted

# Of a reader who may not write, or of a file system that nobody may write to.
_NOT_OURS = (errno.EACCES, errno.EPERM, errno.EROFS)


@files.hashing_once()
def results_of(
    directories: Sequence[Path], *, case_sensitive: bool = False, output: Path | None = None
) -> Page | str:
    """What suits the directories: one cascade, several, one experiment, or two experiments.

    A single cascade gets RESULTS.md, results.json, images/ and report.html in its directory.

    Args:
        directories: of cascades, or of experiments that were decoded and scored.
        case_sensitive: sclite's ``-s``.
        output: directory that gets RESULTS.md and what else there is to write.

    Raises:
        TopdownError: cascades and experiments mixed, more than two experiments, one given twice, or
            a bad score.
    """
    are_cascades = set(map(is_cascade, directories))
    if len(are_cascades) > 1 or (are_cascades == {False} and len(directories) > 2):
        raise TopdownError("results takes cascades only, one experiment, or two experiments")
    if len(set(map(Path.resolve, directories))) < len(directories):
        asked = ", ".join(map(str, directories))
        raise TopdownError(f"results compares different directories, and {asked} names one twice")
    if are_cascades == {True}:
        return _cascade_results(directories, Reader(case_sensitive), output)
    sealed = sealed_facts(map(_base_of, directories))
    if len(directories) == 2 and not sealed:
        page = compare(*directories, case_sensitive=case_sensitive)
        if output is not None:
            _write(output, page, plots.Pictures())
        return page
    if sealed:
        text = "\n".join(["# RESULTS", *(f"- {fact}" for fact in sealed), ""])
    else:
        text = experiment_results(directories[0], case_sensitive=case_sensitive)
    if output is not None:
        write_text(output / "RESULTS.md", text)
    return text


def _base_of(experiment: Path) -> Path:
    """The base of a phase's cascade, of one set aside too; what is no phase is its own."""
    for directory in islice(experiment.resolve().parents, 2):
        header = read_header(directory / HEADER)
        if header:
            return seen_from(directory, header["base"])
    return experiment


def _cascade_results(directories: Sequence[Path], reader: Reader, output: Path | None) -> Page:
    cascades = list(map(Cascade.reopen, directories))
    rows, parts = parts_of(cascades)
    sealed = sealed_facts(cascade.paths.base for cascade in cascades)
    if sealed:
        rows = list(map(on_dev, rows))
    facts = [*facts_of(cascades), *sealed]
    unfinished = unfinished_of(cascades)
    single = len(cascades) == 1
    # Several cascades have no place that is theirs.
    place = directories[0] if output is None and single else output
    differing = [] if sealed else config_notes(rows)
    made_of = cache.fingerprint(rows, reader, [*facts, *differing], unfinished)
    known = cache.read_page(place, made_of)
    if known is not None:
        return known
    counted_sets = [{} if sealed else reader.decoded(row.directory) for row in rows]
    decoded, notes = matched(rows, counted_sets)
    selected_on = set().union(*map(Cascade.valid_sets, cascades))
    sets = compare_sets(rows, decoded, selected_on=selected_on)
    dated = [
        *facts,
        f"made: {time.strftime('%Y-%m-%d')} by espnet_topdown {espnet_topdown.__version__}",
    ]
    page = cascade_page(
        rows, sets, parts=parts, unfinished=unfinished, facts=dated, notes=[*notes, *differing]
    )
    if place is None:
        return page
    with _told_where_not_ours(place):
        if single:
            layers = list(cascades[0].facts.parameters.items())
            written = write_cascade(place, rows, sets, layers, page)
        else:
            written = _write(place, page, plots.pictures_of(rows, sets))
        cache.keep_page(place, made_of, page, written)
    return page


@contextlib.contextmanager
def _told_where_not_ours(place: Path) -> Iterator[None]:
    """Who may only read still sees what came out, and is told that it was not written."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NOT_OURS:
            raise
        where = f"{place}: {error.strerror}"
        print(f"note: {where}; RESULTS.md and the pictures were not written", file=sys.stderr)


def parts_of(cascades: Sequence[Cascade]) -> tuple[list[PhaseResult], list[CascadeRows]]:
    """The rows of a page, and which of them each cascade has; phase 0 of a base stands once.

    Rows of several cascades carry their cascade's name.
    """
    by_base = grouped(cascades, lambda cascade: cascade.base.directory.resolve())
    names = _names(cascades)
    rows: list[PhaseResult] = []
    parts = []
    for of_base in by_base.values():
        base_place = len(rows)
        results = [phase_results(cascade) for cascade in of_base]
        # The only phase 0 of a page is everybody's; of several it can be the best of one.
        base_name = names[of_base[0].paths.directory] if len(by_base) > 1 else ""
        is_best = any(phase0.best for phase0, *_ in results)
        rows.append(_renamed(replace(results[0][0], best=is_best), base_name))
        for cascade, (phase0, *phases) in zip(of_base, results, strict=True):
            name = names[cascade.paths.directory]
            places = (base_place, *range(len(rows), len(rows) + len(phases)))
            rows += [_renamed(phase, name) for phase in phases]
            runs = Runs(cascade.base.seed, cascade.criterion, (phase0, *phases))
            parts.append(CascadeRows(name, runs, places))
    return rows, parts


def _names(cascades: Sequence[Cascade]) -> dict[Path, str]:
    """Directory -> what its cascade is called on a page of several; "" on one of its own."""
    directories = [cascade.paths.directory for cascade in cascades]
    names = {directory: directory.resolve().name for directory in directories}
    if len(names) == 1:
        names = dict.fromkeys(names, "")
    elif len(set(names.values())) < len(names):
        names = dict(zip(directories, map(str, directories), strict=True))
    return names


def _renamed(row: PhaseResult, cascade: str) -> PhaseResult:
    return replace(row, name=_full_name(cascade, row.name))


def _full_name(cascade: str, phase: str) -> str:
    return f"{cascade}/{phase}" if cascade else phase


def facts_of(cascades: Sequence[Cascade]) -> list[str]:
    """Name, base, plan and versions of each cascade."""
    facts = []
    for cascade in cascades:
        controls = sum(phase.is_control for phase in cascade.phases)
        phases = counted(len(cascade.phases) - controls, "phase")
        facts.append(
            f"{cascade.paths.directory.resolve().name}:"
            f" {phases} and {counted(controls, 'control')} (its {cascade.paths.plan.name}),"
            f" base {cascade.base.directory.name}, dev criterion {cascade.criterion.name}"
        )
    versions = dict.fromkeys(chain.from_iterable(map(_versions, cascades)))
    if versions:
        facts.append(f"trained by: {', '.join(versions)}")
    return facts


def _versions(cascade: Cascade) -> Iterable[str]:
    """Programs that trained a cascade, such as "torch 2.12.1"."""
    if "version" in cascade.base.config:
        yield f"espnet {cascade.base.config['version']}"
    for phase in cascade.phases:
        start = cascade.paths.phase_dir(phase.name) / START
        if start.exists():
            for program, version in files.read_object(start).get("versions", {}).items():
                yield f"{program} {version}"


def unfinished_of(cascades: Sequence[Cascade]) -> list[str]:
    """What the plans ask for and is not there, each with the reason."""
    names = _names(cascades)
    unfinished = []
    for cascade in cascades:
        records = cascade.read_records()
        skipped = cascade.judge(records).skipped
        attempts = Ledger(cascade.paths.ledger).last_attempts()
        # A phase whose end the ledger does not have was interrupted.
        fates = {
            name: attempt.get("outcome") or "interrupted" for name, attempt in attempts.items()
        }
        fates |= dict.fromkeys(skipped, "skipped by the stopping rule")
        for phase in cascade.phases:
            if phase.name not in records:
                name = _full_name(names[cascade.paths.directory], phase.name)
                unfinished.append(f"{name} ({fates.get(phase.name, 'not begun')})")
    return unfinished


def cascade_page(
    rows: Sequence[PhaseResult],
    sets: Sequence[SetComparison],
    *,
    parts: Sequence[CascadeRows] = (),
    unfinished: Sequence[str] = (),
    facts: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Page:
    """The phases of a cascade, on each decoded set their errors against phase 0, and contrasts.

    Args:
        rows: phases in their order, each cascade beginning with its phase 0; several cascades
            (seeds) may follow one another.
        sets: what `compare_sets` made of them.
        parts: the cascades that the rows are of, for phases against their controls.
        unfinished: what the plans ask for and is not there.
        facts: names, plans, versions and date.
        notes: on decodings that are missing.
    """
    phases = phases_table(rows, decoded=bool(sets), unfinished=unfinished)
    phases = replace(phases, notes=[*phases.notes, *notes])
    tables = [phases, *overview_tables(rows, sets)]
    tables += [set_table(rows, compared) for compared in sets]
    tables += filter(None, _contrast_tables(rows, sets, parts))
    data = {
        "facts": list(facts),
        "unfinished": list(unfinished),
        "phases": list(map(phase_data, rows)),
        "sets": [set_data(rows, compared) for compared in sets],
    }
    return Page("Cascade results", tables, data, facts)


def _contrast_tables(
    rows: Sequence[PhaseResult], sets: Sequence[SetComparison], parts: Sequence[CascadeRows]
) -> Iterable[Table | None]:
    by_heading = {
        "Cascade against cascade": contrasts.of_cascades(parts),
        "Phases against their controls": contrasts.of_controls(parts),
    }
    for heading, row_pairs in by_heading.items():
        yield from (
            contrasts.error_table(heading, row_pairs, rows, compared) for compared in of_words(sets)
        )
        yield contrasts.dev_table(heading, row_pairs, rows)


def write_cascade(
    directory: Path,
    rows: Sequence[PhaseResult],
    sets: Sequence[SetComparison],
    layers: Sequence[tuple[str, int]],
    page: Page,
) -> list[str]:
    """Write RESULTS.md, results.json, report.html and images/, each file whole or not at all.

    Args:
        directory: that gets them.
        rows: phases in their order.
        sets: what `compare_sets` made of them.
        layers: (layer name, parameters), from the bottom to the top.
        page: what `cascade_page` made of them.

    Returns:
        the names of these files.
    """
    pictures = plots.pictures_of(rows, sets)
    written = _write(directory, page, pictures)
    html = report.html(directory.resolve().name, rows, layers, page, pictures.png)
    write_text(directory / "report.html", html)
    return [*written, "report.html"]


def _write(directory: Path, page: Page, pictures: plots.Pictures) -> list[str]:
    """Write RESULTS.md, results.json and images/*.{png,pdf}; the names of these."""
    drawn = {
        f"images/{name}": content for name, content in {**pictures.png, **pictures.pdf}.items()
    }
    for name, content in drawn.items():
        with replacing(directory / name) as temporary:
            temporary.write_bytes(content)
    images = "".join(f"\n![{plots.title(name)}](images/{name})\n" for name in pictures.png)
    write_text(directory / "RESULTS.md", page.markdown() + images)
    write_json(directory / "results.json", page.data)
    return [*drawn, "RESULTS.md", "results.json"]
