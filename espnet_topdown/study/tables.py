"""RESULTS.md of studies, from the records of their seeds alone.

Contrasts at equal budget, cuts, cost, pictures.

Every number and every verdict follows from hypotheses and dev curves. How records come about is the
part of `espnet_topdown.study.study`, what is compared with what that of
`espnet_topdown.study.contrasts`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from espnet_topdown.errors import TopdownError
from espnet_topdown.files import replacing, write_text
from espnet_topdown.plan.kinds import BASE_KIND, CANDIDATE, CONTROL, CONTROL_KINDS, TOP_DOWN
from espnet_topdown.results import plots, significance
from espnet_topdown.results.compare import PhaseResult, SetComparison, compare_sets
from espnet_topdown.results.scoring import Key
from espnet_topdown.results.scoring import Pair as Texts
from espnet_topdown.results.tables import (
    phases_table,
    seeds_table,
    set_table,
)
from espnet_topdown.study import perplexity
from espnet_topdown.study.contrasts import (
    Contrast,
    Decoded,
    Record,
    questions,
    selected,
    texts_of,
    variant,
)
from espnet_topdown.table import Page, Table

Pictures = dict[str, Callable[[], bytes]]  # file name -> what draws the PNG


def contrast_table(dataset: str, contrasts: Sequence[Contrast]) -> Table:
    """All questions over seeds, with their verdicts."""
    header = (
        "question",
        "seeds",
        "mean Err",
        "difference",
        "95 %, utterances",
        "95 %, speakers",
        "verdict",
    )
    rows = []
    for contrast in contrasts:
        first, second = np.mean(contrast.rates, axis=0)
        ends = [
            f"{low:+.2f} to {high:+.2f}" for low, high in (contrast.utterances, contrast.speakers)
        ]
        seeds = ", ".join(str(pair.seed) for pair in contrast.pairs)
        means = f"{first:.2f} - {second:.2f}"
        rows.append(
            (contrast.question, seeds, means, f"{contrast.points:+.2f}", *ends, contrast.verdict)
        )
    notes = (
        (
            "Percentage points of WER, negative: the first has fewer errors. Best: by the dev"
            " criterion among the runs of that kind, phase 0 left out."
        ),
        (
            "Best control of any kind: chosen among more runs than there are top-down phases, so"
            " not at equal budget."
        ),
        (
            f"Paired bootstrap, {significance.RESAMPLES} resamples of utterances, and of speakers,"
            " with all their seeds."
        ),
        (
            "Verdict: only where both intervals lie on one side of 0. No interval covers the"
            f" choice of the few seeds, and none is corrected for the {len(contrasts)} questions"
            " asked."
        ),
    )
    return Table(f"What holds: WER, {dataset}", header, tuple(rows), notes)


def seed_table(dataset: str, contrasts: Sequence[Contrast]) -> Table:
    """The same questions seed by seed, with p values."""
    tests = [(contrast, place) for contrast in contrasts for place in range(len(contrast.pairs))]
    corrected = significance.holm([contrast.tests[place].p for contrast, place in tests])
    rows = []
    for (contrast, place), p_holm in zip(tests, corrected, strict=True):
        pair, (first, second), p = (
            contrast.pairs[place],
            contrast.rates[place],
            contrast.tests[place].p,
        )
        rates = f"{first:.2f}", f"{second:.2f}", f"{first - second:+.2f}"
        names = pair.first["name"], pair.second["name"]
        rows.append(
            (
                contrast.question,
                str(pair.seed),
                *names,
                *rates,
                *(_p(value) for value in (p, p_holm)),
            )
        )
    header = (
        "question",
        "seed",
        "first",
        "second",
        "Err",
        "Err",
        "difference",
        "MAPSSWE p",
        "Holm",
    )
    notes = ("MAPSSWE: two-sided. Holm: corrected for all tests of this table.",)
    return Table(f"Seed by seed: WER, {dataset}", header, tuple(rows), notes)


def _p(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}" if value >= 0.001 else "<0.001"


def cost_table(records: Sequence[Record]) -> Table:
    """Training cost of each kind over all seeds."""
    rows = []
    phases = [phase for record in records for phase in record["phases"]]
    for kind in dict.fromkeys(phase["kind"] for phase in phases):
        mine = [phase for phase in phases if phase["kind"] == kind]
        hours = [phase["hours"] for phase in mine if phase["hours"] is not None]
        epochs = sum(phase["epochs"] for phase in mine) / len(mine)
        rows.append(
            (
                kind,
                str(len(mine)),
                f"{epochs:.1f}",
                f"{60 * sum(hours) / len(hours):.2f}" if hours else "-",
            )
        )
    notes = (
        "Wall time on a machine that other work shared: epochs compare, minutes only roughly.",
    )
    return Table(
        "Training cost", ("kind", "runs", "mean epochs", "mean minutes"), tuple(rows), notes
    )


def summary(contrasts: Sequence[Contrast]) -> list[str]:
    """The verdicts as sentences."""
    lines = []
    for contrast in contrasts:
        many = len(contrast.pairs)
        better = sum(first < second for first, second in contrast.rates)
        lines.append(
            f"- {contrast.question}: {contrast.points:+.2f} points ({contrast.verdict}); the first"
            f" has fewer errors in {better} of {many} seed{'s' if many > 1 else ''}."
        )
    return lines


def coverage(records: Sequence[Record]) -> list[str]:
    """Which cuts were selected and what was not measured, as sentences."""
    cuts = []
    for record in records:
        trained = {p["cut"] for p in record["phases"] if p["kind"] == TOP_DOWN}
        best = selected(record, (TOP_DOWN,))
        cuts.append(f"{best['cut']} of {len(trained)} trained" if best else "none trained")
    lines = [f"- Cut selected on dev, by seed: {', '.join(cuts)}."]
    kinds = {phase["kind"] for record in records for phase in record["phases"]}
    lines += [f"- Control {kind}: not measured." for kind in CONTROL_KINDS if kind not in kinds]
    if not any(phase["dropout"] == "off" for record in records for phase in record["phases"]):
        lines.append("- Dropout off in the frozen layers: not measured.")
    return lines


def result_rows(records: Sequence[Record]) -> list[PhaseResult]:
    """The phases of all seeds as the tables and plots of cascades take them.

    Names begin with the seed.
    """
    rows = []
    for record in records:
        for phase in record["phases"]:
            given = {
                k: v
                for k, v in phase.items()
                if k not in ("name", "dropout", "model_sha256", "hypotheses")
            }
            given |= {
                "curve": tuple(phase["curve"]),
                "frozen": tuple(phase["frozen"]),
                "directory": Path(phase["name"]),
            }
            given.setdefault("role", CONTROL if phase["kind"] in CONTROL_KINDS else CANDIDATE)
            if how := variant(record, phase):  # a row of its own where seeds are read together
                given["cut"] = f"{phase['cut']}, {how}"
            rows.append(
                PhaseResult(
                    name=f"{record['seed']}/{phase['name']}", dev_name=record["dev_name"], **given
                )
            )
    return rows


def _sets_of(record: Record, phase: Mapping[str, Any]) -> dict[Key, list[Texts]]:
    sets = {}
    for name in phase["hypotheses"]:
        inference, _, dataset = name.partition("/")
        sets[inference, dataset, "wer"] = texts_of(record, phase, name)
    return sets


def model_text(model: str, records: Sequence[Record]) -> tuple[str, Pictures]:
    """The part of RESULTS.md on one model, and its pictures by file name, which are drawn when
    called.

    Raises:
        TopdownError: the records differ in references, dev criterion or data.
    """
    for record in records:
        for key in ("references", "dev_name", "data"):
            if record[key] != records[0][key]:
                raise TopdownError(
                    f"{model}: seeds {records[0]['seed']} and {record['seed']} differ in '{key}',"
                    " so they are not one study; give the records of one, or run the older seed"
                    " again"
                )
    tables: list[Table] = []
    lines: list[str] = []
    pictures: Pictures = {}
    rows = result_rows(records)
    for dataset in records[0]["references"]:
        decoded = Decoded(records, dataset)
        answers = [
            decoded.contrast(question, pairs) for question, pairs in questions(records).items()
        ]
        contrasts = [answer for answer in answers if answer]
        name = dataset.rpartition("/")[2]
        lines += [f"On {name}:", "", *summary(contrasts), ""]
        tables += [contrast_table(dataset, contrasts), seed_table(dataset, contrasts)]
    sets = compare_sets(rows, [_sets_of(r, phase) for r in records for phase in r["phases"]])
    for found in sets:
        tables += [seeds_table(found)] if found.groups else []
        tables.append(set_table(rows, found, significance.RESAMPLES))
        name = f"{model}_{found.dataset}_error_by_cut.png"
        pictures[name] = partial(_draw, "error_by_cut.png", rows, [found])
    for text in perplexity.texts(records):
        if "stream" in text:
            answers = perplexity.contrasts(records, text)
            lines += [f"On {text}:", "", *perplexity.summary(answers), ""]
            tables.append(perplexity.contrast_table(text, answers))
    if perplexity.texts(records):
        tables.append(perplexity.phases_table(records))
        pictures[f"{model}_perplexity_by_cut.png"] = partial(_draw, "error_by_cut.png", rows, [])
    lines += ["Cuts and controls:", "", *coverage(records), ""]
    tables += [cost_table(records), phases_table(rows, decoded=bool(sets))]
    for record in records:
        mine = [row for row in rows if row.name.startswith(f"{record['seed']}/")]
        pictures[f"{model}_seed{record['seed']}_dev_curves.png"] = partial(
            _draw, "dev_curves.png", mine, []
        )
    body = Page(model, tuple(tables), {}).markdown().partition("\n")[2]
    images = "".join(
        f"\n![{name.removesuffix('.png').replace('_', ' ')}](images/{name})\n" for name in pictures
    )
    head = [f"# {model}", "", *_facts(records), "", *lines]
    return "\n".join(head) + body + images, pictures


def _draw(name: str, rows: Sequence[PhaseResult], sets: Sequence[SetComparison]) -> bytes:
    return plots.draw(rows, sets)[name]


def _facts(records: Sequence[Record]) -> Iterable[str]:
    """Seeds, versions, machine and data of a study."""
    seeds = [str(record["seed"]) for record in records]
    yield f"- seeds: {', '.join(seeds)}"
    yield (
        f"- to train it anew: `python3 -m espnet_topdown.study run {records[0]['model']} --seeds"
        f" {' '.join(seeds)}`, by run_study.sh"
    )
    unfinished = [str(record["seed"]) for record in records if not record["complete"]]
    if unfinished:
        yield (
            f"- not complete: the plan of seeds {', '.join(unfinished)} has phases not trained or"
            " decoded yet"
        )
    for key in ("espnet", "torch", "python", "machine"):
        yield f"- {key}: {', '.join(dict.fromkeys(record['made'][key] for record in records))}"
    yield from _convergence(records)
    data = records[0]["data"]
    sizes = [
        f"{name} {size['strings']} lines, {size['words']} words"
        for name, size in data["sets"].items()
    ]
    yield "- data: " + "; ".join(sizes)
    if data["options"]:
        yield "- options of the data: " + ", ".join(
            f"{key} {value}" for key, value in data["options"].items()
        )


def _convergence(records: Sequence[Record]) -> Iterable[str]:
    """Where the baselines had their best epoch, and whether they were still getting better at the
    end.
    """
    last = []
    for record in records:
        base = selected(record, (BASE_KIND,))
        if base is not None:
            last.append((base["curve"].index(base["dev"]) + 1, len(base["curve"])))
    yield "- best epoch of phase 0 on dev: " + ", ".join(
        f"{best} of {epochs}" for best, epochs in last
    )
    if any(best > 0.9 * epochs for best, epochs in last):
        yield (
            "- phase 0 was still getting better when its epochs ended: longer training may be part"
            " of any difference"
        )


def show(
    studies: Mapping[str, Sequence[Record]], places: Sequence[Path], output: Path | None
) -> None:
    """Prints the results of all models, or writes them to `output` with their pictures in
    ``images/`` beside it.
    """
    command = f"python3 -m espnet_topdown.study table {' '.join(map(str, places))}"
    parts = [
        "<!-- Generated by espnet_topdown.study -->",
        f"Built from the records alone by `{command}`.",
        "",
    ]
    pictures: Pictures = {}
    for model, records in studies.items():
        text, drawn = model_text(model, records)
        parts.append(text)
        pictures |= drawn
    if output is None:
        print("\n".join(parts))
        return
    for name, draw in pictures.items():
        with replacing(output.parent / "images" / name) as temporary:
            temporary.write_bytes(draw())
    write_text(output, "\n".join(parts))
