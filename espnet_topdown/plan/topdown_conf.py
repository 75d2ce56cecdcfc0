"""`topdown_conf`: what one phase's training is told, checked without torch or ESPnet.

It describes exactly one phase; cascades are made by the runner, which writes one of these for each
phase.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from espnet_topdown.errors import TopdownError, nearest
from espnet_topdown.plan.plan import DROPOUT, KINDS, TIED, TOP_DOWN, Sides


@dataclass(frozen=True)
class PhaseSettings:
    """The YAML mapping ``topdown_conf`` of an ESPnet training config.

    Args:
        parent: experiment directory of the parent; may be absent for ``restart`` alone.
        cut: lowest layer of the upper part, a layer's or a block's name; absent for ``restart`` and
            ``continue``.
        kind: ``top_down`` or a control (``restart``, ``continue``, ``unfrozen``, ``bottom_up``).
        parent_model: model file in `parent`; None: ``valid.acc.ave.pth``, or ``valid.loss.ave.pth``
            where there is none.
        dropout: ``keep`` or ``off``, in the frozen layers.
        tied: ``freeze``, ``untie_draw``, ``untie_copy``; None freezes both ends in a language model
            and is refused elsewhere.
        layers: layer name -> name prefixes, lowest first, for a model outside the table.
    """

    parent: str | None = None
    cut: str | None = None
    kind: str = TOP_DOWN
    parent_model: str | None = None
    dropout: str = "keep"
    tied: str | None = None
    layers: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @classmethod
    def from_conf(cls, conf: Mapping[str, Any]) -> "PhaseSettings":
        """Check a ``topdown_conf``.

        Raises:
            TopdownError: every fault found, one a line.
        """
        conf = dict(conf)
        known = [f.name for f in fields(cls)]
        faults = [f"unknown key '{key}'; {nearest(key, known)}" for key in conf if key not in known]
        if conf.get("dropout") is False:
            conf["dropout"] = "off"  # YAML 1.1 reads off as false
        for key, valid in (("kind", KINDS), ("dropout", DROPOUT), ("tied", TIED)):
            if conf.get(key) is not None and conf[key] not in valid:
                faults.append(f"{key} '{conf[key]}' is unknown; {nearest(conf[key], valid)}")
        kind = conf.get("kind", TOP_DOWN)
        if kind not in ("restart", "continue") and not conf.get("cut"):
            faults.append(f"kind {kind} needs a cut, such as 'cut: decoder'")
        if kind in ("restart", "continue") and conf.get("cut"):
            faults.append(f"kind {kind} has no cut")
        if kind != "restart" and not conf.get("parent"):
            faults.append(f"kind {kind} needs a parent: the directory of a trained experiment")
        if faults:
            raise TopdownError(
                "topdown_conf has faults:\n" + "\n".join(f"  - {fault}" for fault in faults)
            )
        return cls(**{key: value for key, value in conf.items() if value is not None})

    def to_conf(self) -> dict[str, Any]:
        """The mapping that `from_conf` reads back, without what is at its default."""
        return {k: v for k, v in asdict(self).items() if v not in (None, {})}

    def sides(self, names: Sequence[str]) -> Sides:
        """What the cut makes of the layers `names`.

        Refuses a phase that would train nothing or keep nothing.
        """
        sides = Sides.of(self.kind, self.cut, names)
        if self.cut and not sides.fresh:
            raise TopdownError(
                f"a cut at '{self.cut}' keeps every layer, so nothing would be trained"
            )
        if self.cut and not sides.kept:
            raise TopdownError(f"a cut at '{self.cut}' keeps nothing; use 'kind: restart' for that")
        return sides

    @property
    def unties(self) -> bool:
        """Whether the model must be built without its tie."""
        return self.tied in ("untie_draw", "untie_copy")
