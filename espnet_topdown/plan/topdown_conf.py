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
from espnet_topdown.plan.plan import Sides


@dataclass(frozen=True)
class TopdownConf:
    """The YAML mapping ``topdown_conf`` of an ESPnet training config.

    Args:
        parent: experiment directory of the parent; may be absent for ``restart`` alone.
        cut: lowest layer of the upper part, by its name or its stack's; absent for ``restart`` and
            ``continue``.
        kind: one of `KINDS`: ``top_down``, ``restart``, ``continue``, ``unfrozen``, ``bottom_up``.
        parent_model: model file in `parent`; None: ``valid.acc.ave.pth``, or ``valid.loss.ave.pth``
            where there is none.
        dropout: ``keep`` or ``off``, in the frozen layers.
        tied: ``freeze``, ``untie_draw``, ``untie_copy``; None freezes both ends in a language model
            and is refused elsewhere.
        layers: layer name -> name prefixes, lowest first, for a model outside the table.
        stop_early: dev values below which the training ends (`espnet_topdown.plan.stopping.Bar`).
        tokens: the training's token list, where it may be another than the parent's.
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
        return cls(**values)

    def to_conf(self) -> dict[str, Any]:
        """The mapping that `from_conf` reads back, without what is None or empty."""
        return {key: value for key, value in asdict(self).items() if value not in (None, {})}

    def sides(self, names: Sequence[str]) -> Sides:
        """What the cut makes of the layers `names` (lowest first).

        Raises:
            TopdownError: no layer or stack has the cut's name, or the phase would train nothing or
                keep nothing.
        """
        # A kind without a cut may well keep everything or nothing: its sides have no fault.
        sides = Sides.of(self.kind, self.cut, names)
        fault = sides.fault(self.cut) if self.cut else None
        if fault:
            raise TopdownError(fault)
        return sides

    @property
    def unties(self) -> bool:
        """Whether the model must be built without its tie."""
        return self.tied in ("untie_draw", "untie_copy")


def _kind_faults(values: Mapping[str, Any]) -> list[str]:
    """What the kind needs and does not have, and the other way round."""
    name = values.get("kind", TOP_DOWN)
    # In a tuple, because YAML may have given a list, which no dict can look up.
    if name not in tuple(KINDS):
        return []
    kind = KINDS[name]
    faults = []
    if kind.has_cut and not values.get("cut"):
        faults.append(f"kind {name} needs a cut, such as 'cut: decoder'")
    if values.get("cut") and not kind.has_cut:
        faults.append(f"kind {name} has no cut")
    if kind.has_parent and not values.get("parent"):
        faults.append(f"kind {name} needs a parent: the directory of a trained experiment")
    return faults
