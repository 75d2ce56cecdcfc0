"""The median rule replayed on recorded dev curves: epochs that it would have saved, and its price.

Nothing is trained. All candidates of a seed stand for the variants of one sweep, in the plan's
order, and so do its controls of one kind: their curves are as they were recorded, whether or not
one was trained from another.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from espnet_topdown.errors import TopdownError
from espnet_topdown.experiment.quality import Criterion, best_of, sign
from espnet_topdown.grouping import grouped
from espnet_topdown.plan.kinds import USUAL_CONTROLS
from espnet_topdown.plan.stopping import Bar, StopEarly
from espnet_topdown.results.questions import of_kind
from espnet_topdown.results.rows import PhaseResult
from espnet_topdown.study.records import Record
from espnet_topdown.table import Page, Table

FROM_EPOCHS = (5, 10, 15)
CANDIDATES = "candidates"


@dataclass(frozen=True)
class Variants:
    """Phases of one seed that stand for the variants of one item.

    Args:
        criterion: that of dev.
        curves: of each, the criterion in each epoch.
    """

    criterion: Criterion
    curves: tuple[tuple[float, ...], ...]

    def ends(self, rule: StopEarly) -> list[int]:
        """The epochs that each is trained under the rule."""
        epochs = list(map(len, self.curves[: rule.full]))
        for curve in self.curves[rule.full :]:
            # Anew for each, as its length may be another.
            bar = Bar.over(
                self.curves[: rule.full],
                self.criterion,
                from_epoch=rule.from_epoch,
                max_epoch=len(curve),
            )
            epochs.append(bar.stops_at(curve) or len(curve))
        return epochs

    def best(self, epochs: Sequence[int]) -> int:
        """The place of the best, the first of equals, where each is trained for so many epochs."""
        trained = zip(self.curves, epochs, strict=True)
        values = [self._value(curve[:end]) for curve, end in trained]
        return values.index(max(values))

    def regret(self, epochs: Sequence[int]) -> float:
        """How much better than the best after so many epochs the best in full is on dev."""
        values = list(map(self._value, self.curves))
        return max(values) - values[self.best(epochs)]

    def _value(self, curve: Sequence[float]) -> float:
        """The criterion at its best epoch, with its sign such that more is better."""
        mode = self.criterion.mode
        return sign(mode) * best_of(curve, mode)


@dataclass(frozen=True)
class Replay:
    """What the rule makes of the variants of several seeds.

    Args:
        epochs: of all, in full.
        trained: of them, those that are trained under the rule.
        compared: epochs in full of those that it could end.
        compared_trained: of them, those that are trained under the rule.
        same: seeds in which the same one is the best.
        regret: the largest, in the unit of the dev criterion.
    """

    epochs: int
    trained: int
    compared: int
    compared_trained: int
    same: int
    regret: float

    @property
    def share(self) -> float:
        """Epochs trained of those that the rule could end, in parts of their full training."""
        return self.compared_trained / self.compared


def replay(seeds: Sequence[Variants], rule: StopEarly) -> Replay:
    """The rule on the variants of each seed."""
    full = [list(map(len, seed.curves)) for seed in seeds]
    ends = [seed.ends(rule) for seed in seeds]
    results = list(zip(seeds, full, ends, strict=True))
    return Replay(
        epochs=sum(map(sum, full)),
        trained=sum(map(sum, ends)),
        compared=sum(sum(epochs[rule.full :]) for epochs in full),
        compared_trained=sum(sum(epochs[rule.full :]) for epochs in ends),
        same=sum(seed.best(long) == seed.best(short) for seed, long, short in results),
        regret=max(seed.regret(short) for seed, _, short in results),
    )


def groups(records: Sequence[Record], full: int) -> Iterator[tuple[str, list[Variants]]]:
    """What stands for variants, by name and dev set: of each seed those that are more than `full`.

    Seeds in which the rule was at work are left out: their curves are not whole.
    """
    whole = [record for record in records if not any(map(_may_end, record.phases))]
    for name in (CANDIDATES, *USUAL_CONTROLS):
        # Dev values are compared on one dev set alone.
        on_set: dict[str, list[Variants]] = {}
        for record in whole:
            members = grouped(_members(record, name), lambda phase: phase.dev_set)
            for dev_set, phases in members.items():
                if len(phases) > full:
                    curves = tuple(map(_curve, phases))
                    on_set.setdefault(dev_set, []).append(Variants(record.criterion, curves))
        for dev_set, seeds in on_set.items():
            yield (f"{name} on {dev_set}" if dev_set else name), seeds


def _may_end(phase: PhaseResult) -> bool:
    return phase.stop_from is not None


def _members(record: Record, name: str) -> list[PhaseResult]:
    if name == CANDIDATES:
        return [phase for phase in record.phases[1:] if not phase.is_control]
    return [phase for phase in of_kind(name, record.phases) if phase.is_control]


def _curve(phase: PhaseResult) -> tuple[float, ...]:
    # No phase is recorded without a finite value in each epoch.
    return tuple(value for value in phase.curve if value is not None)


def replay_table(
    records: Sequence[Record], from_epochs: Sequence[int] = FROM_EPOCHS, full: int = StopEarly.full
) -> Table | None:
    """What the rule would have saved; None where no seed has enough phases.

    Args:
        records: of one study.
        from_epochs: first epochs that can end a variant, a row each.
        full: variants that are trained in full.
    """
    rows = []
    for name, seeds in groups(records, full):
        for from_epoch in from_epochs:
            found = replay(seeds, StopEarly(from_epoch=from_epoch, full=full))
            saved = found.epochs - found.trained
            row = (
                name,
                str(from_epoch),
                str(found.epochs),
                str(found.trained),
                f"{100 * saved / found.epochs:.0f} %",
                f"{found.same} of {len(seeds)}",
                f"{found.regret:.4f}",
            )
            rows.append(row)
    if not rows:
        return None
    header = ("variants", "from epoch", "epochs", "trained", "saved", "same best", "regret")
    notes = (
        (
            "`stop_early: median` replayed on the recorded dev curves, nothing was trained: all"
            " candidates of a seed, and its controls of one kind, stand for variants of one item,"
            " in the plan's order, also where one is the parent of another. The first"
            f" {full} are trained in full, and a later one ends where its best dev value so far is"
            " worse than their median."
        ),
        (
            "Same best: seeds in which the rule leaves the same one the best on dev. Regret: the"
            f" most that dev loses by it, {records[0].criterion.name}."
        ),
    )
    return Table("Stopping early, replayed", header, rows, notes)


def replay_page(
    studies: Mapping[str, Sequence[Record]], from_epochs: Sequence[int], full: int
) -> Page:
    """The tables of several studies, each headed by its model.

    Raises:
        TopdownError: no seed of a study has more than `full` phases that were trained in full.
    """
    tables = []
    for model, records in studies.items():
        table = replay_table(records, from_epochs, full)
        if table is None:
            raise TopdownError(
                f"{model}: no seed has more than {full} candidates, or controls of one kind,"
                " that were all trained in full; give a smaller --full, or other records"
            )
        tables.append(replace(table, heading=f"{table.heading}: {model}"))
    return Page("Stopping early", tables)
