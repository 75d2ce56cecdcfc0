"""Results of cascades and experiments, from their records: which rows a table has.

Counting and writing are those of `espnet_topdown.results.pages`; this says what to hand over.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from espnet_topdown import files
from espnet_topdown.cascade.cascade import Cascade
from espnet_topdown.cascade.paths import is_cascade
from espnet_topdown.errors import TopdownError
from espnet_topdown.plan.kinds import BASE_KIND, KINDS
from espnet_topdown.plan.plan import BASE, Phase
from espnet_topdown.results import pages
from espnet_topdown.results.compare import PhaseResult
from espnet_topdown.table import Page

PERPLEXITY = "perplexity.json"  # what `espnet_topdown.bin.perplexity` leaves in an experiment


def tables_of(directories: Sequence[Path], *, case_sensitive: bool = False) -> Page | str:
    """The tables that suit the directories.

    One cascade, several, one experiment, or two experiments.

    A single cascade also gets its RESULTS.md, results.json, images/ and report.html.

    Raises:
        TopdownError: cascades and experiments mixed, or more than two experiments.
    """
    are_cascades = [is_cascade(directory) for directory in directories]
    if all(are_cascades):
        cascades = [Cascade.reopen(directory) for directory in directories]
        rows = [row for cascade in cascades for row in phase_results(cascade)]
        if len(cascades) > 1:
            return pages.cascade_page(rows, case_sensitive=case_sensitive)
        layers = list(cascades[0].facts.parameters.items())
        return pages.write_cascade(directories[0], rows, layers, case_sensitive=case_sensitive)
    if any(are_cascades) or len(directories) > 2:
        raise TopdownError("results takes cascades only, one experiment, or two experiments")
    if len(directories) == 2:
        return pages.compare(*directories, case_sensitive=case_sensitive)
    return pages.experiment_results(directories[0], case_sensitive=case_sensitive)


def phase_results(cascade: Cascade) -> list[PhaseResult]:
    """Phase 0 and every finished phase, in the plan's order."""
    records = cascade.read_records()
    judgement = cascade.judge(records)
    base = PhaseResult(
        name=BASE,
        kind=BASE_KIND,
        cut=None,
        frozen_share=0.0,
        dev=judgement.dev[BASE],
        dev_name=cascade.criterion.name,
        accepted=None,
        best=judgement.best == BASE,
        seed=cascade.base.seed,
        epochs=len(cascade.facts.epochs),
        hours=_hours(cascade),
        directory=cascade.base.directory,
        curve=tuple(cascade.criterion.curve(cascade.facts.epochs)),
        perplexity=_perplexity(cascade.base.directory),
        parameters=cascade.facts.total,
    )
    rows = [base]
    for phase in cascade.phases:
        record = records.get(phase.name)
        if record is None:
            continue
        frozen, total = cascade.facts.frozen_parameters(phase)
        rows.append(
            PhaseResult(
                name=phase.name,
                kind=phase.kind,
                cut=phase.cut,
                frozen_share=frozen / total,
                dev=judgement.dev[phase.name],
                dev_name=cascade.criterion.name,
                accepted=judgement.accepted.get(phase.name),
                best=judgement.best == phase.name,
                seed=phase.seed,
                epochs=record["epochs"],
                hours=record["hours"],
                directory=cascade.paths.phase_dir(phase.name),
                curve=tuple(record["dev"]["curve"]),
                perplexity=_perplexity(cascade.paths.phase_dir(phase.name)),
                frozen=cascade.facts.frozen_layers(phase),
                settings=_settings(phase),
                parameters=total,
            )
        )
    return rows


def _settings(phase: Phase) -> str:
    """What makes two phases of one kind and cut the same experiment, their seeds apart.

    A restart has no parent.
    """
    names = (
        "dropout",
        "tied",
        "init_param",
        "train",
        *(("parent",) if KINDS[phase.kind].has_parent else ()),
    )
    return json.dumps({name: getattr(phase, name) for name in names}, sort_keys=True, default=str)


def _perplexity(directory: Path) -> dict[str, float] | None:
    """Perplexities by text and way of counting; None where there are none."""
    path = directory / PERPLEXITY
    if not path.exists():
        return None
    return {
        f"{Path(row['text']).parent.name} ({row['kind']})": row["perplexity"]
        for row in files.read_json(path)
    }


def _hours(cascade: Cascade) -> float | None:
    """Hours of the base's epochs, None where they were not recorded."""
    seconds = [
        row.get(part, {}).get("time") for row in cascade.facts.epochs for part in ("train", "valid")
    ]
    known = [s for s in seconds if s is not None]
    return sum(known) / 3600 if known else None
