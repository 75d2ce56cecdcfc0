"""`topdown_conf`: what one phase's training is told, checked without torch or ESPnet.

It describes exactly one phase; cascades are made by the runner, which writes one of these for each
phase.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from espnet_topdown import check
from espnet_topdown.errors import TopdownError
from espnet_topdown.plan import rules
from espnet_topdown.plan.kinds import KINDS, TOP_DOWN
from espnet_topdown.plan.sides import PARTING, Choice, KeptLr, Sides, choice_faults, kind_of


@dataclass(frozen=True)
class TopdownConf(Choice):
    """The YAML mapping ``topdown_conf`` of an ESPnet training config.

    Args:
        parent: experiment directory of the parent; may be absent for ``restart`` alone.
        cut: lowest layer of the upper part, by its name or its stack's; absent for a kind without a
            cut, and where `keep` or `draw` name layers instead.
        kind: one of `KINDS`; left out, what `kind_of` says.
        parent_model: model file in `parent`; None: ``valid.acc.ave.pth``, or ``valid.loss.ave.pth``
            where there is none, or what a plan would take where there is neither.
        dropout: ``keep`` or ``off``, in the frozen layers.
        tied: ``freeze``, ``untie_draw``, ``untie_copy``; None: as ``freeze`` in a language model,
            and refused elsewhere. The matrix goes with the end that is kept, frozen or slow.
        layers: layer name -> name prefixes, lowest first, for a model outside the table.
        stop_early: dev values below which the training ends (`espnet_topdown.plan.stopping.Bar`).
        tokens: the training's token list, where it may be another than the parent's.
        keep: layers or stacks that are kept, in the place of a cut.
        draw: those that are drawn, in the place of a cut.
        kept_lr: factors on the learning rate of kept layers (see `Choice`); None: the kind's.
    """

    parent: str | None = None
    cut: str | None = None
    kind: str = TOP_DOWN
    parent_model: str | None = None
    dropout: str = "keep"
    tied: str | None = None
    layers: Mapping[str, Sequence[str]] = field(default_factory=dict)
    stop_early: Mapping[str, Any] | None = None
    tokens: str | None = None
    keep: Sequence[str] = ()
    draw: Sequence[str] = ()
    kept_lr: KeptLr | None = None

    @classmethod
    def from_conf(cls, conf: Mapping[str, Any]) -> "TopdownConf":
        """Check a ``topdown_conf``.

        Raises:
            TopdownError: every fault, one a line.
        """
        values = {key: value for key, value in conf.items() if value is not None}
        check.read_off(values, "dropout")
        faults = check.unknown_keys(values, [field.name for field in fields(cls)])
        faults += check.faults(values, rules.TOPDOWN_CONF)
        faults += _kind_faults(values)
        check.refuse(faults, "topdown_conf has faults")
        for key in ("keep", "draw"):
            values[key] = check.as_names(values.get(key, ()))
        return cls(**{**values, "kind": kind_of(values)})

    def to_conf(self) -> dict[str, Any]:
        """The mapping that `from_conf` reads back, without what is None or empty."""
        # Lists, since YAML's safe dumper writes no tuples.
        given = {**asdict(self), "keep": list(self.keep), "draw": list(self.draw)}
        return {key: value for key, value in given.items() if value not in (None, {}, [])}

    def sides(self, names: Sequence[str]) -> Sides:
        """What the cut makes of the layers `names` (lowest first).

        Raises:
            TopdownError: as `Choice.sides`, or the phase would train nothing or keep nothing.
        """
        sides = super().sides(names)
        fault = self.fault(sides)
        if fault:
            raise TopdownError(fault)
        return sides


def _kind_faults(values: Mapping[str, Any]) -> list[str]:
    """What the kind needs and does not have, and the other way round."""
    name = kind_of(values)
    faults = choice_faults(name, values)
    if name not in KINDS:
        return faults
    kind = KINDS[name]
    given = [key for key in PARTING if values.get(key)]
    if kind.is_parted and not given:
        needed = "a cut, such as 'cut: decoder'"
        if not kind.has_cut:
            needed = "keep or draw, such as 'keep: [output]'"
        faults.append(f"kind {name} needs {needed}")
    if kind.is_parted and len(given) > 1:
        faults.append(f"one of {' and '.join(given)} can part kept from fresh layers, not both")
    if kind.has_parent and not values.get("parent"):
        faults.append(f"kind {name} needs a parent: the directory of a trained experiment")
    return faults
