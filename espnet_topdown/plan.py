"""The plan of a cascade: which phases to train, as data.

A plan stores what was decided (cuts, parents, seeds, overrides) and nothing that follows from it: frozen and fresh layers
are derived from the cut. It reads and writes YAML. `Plan.expand` turns `every`, sweeps and controls into a flat list of
phases once; nothing that executes is reachable from here, and neither torch nor ESPnet is needed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from espnet_topdown.errors import TopdownError, nearest
from espnet_topdown.layers import cut_index

TOP_DOWN = "top_down"
CONTROLS = ("restart", "continue", "unfrozen", "bottom_up")
KINDS = (TOP_DOWN, *CONTROLS)
DROPOUT = ("keep", "off")
TIED = ("freeze", "untie_draw", "untie_copy")
INIT_PARAM = ("keep", "drop")
BASE = "phase0"
SEED_STRIDE = 1000  # ESPnet seeds epoch n with seed + n (train/trainer.py, run), so neighbouring seeds repeat sequences

# What a phase's training may change: epochs, batch, optimiser, schedule, augmentation and logging.
OVERRIDES = (
    *("max_epoch", "patience", "early_stopping_criterion", "num_iters_per_epoch"),
    *("batch_type", "batch_size", "batch_bins", "valid_batch_type", "valid_batch_size", "valid_batch_bins", "accum_grad"),
    *("optim", "optim_conf", "grad_clip", "grad_clip_type", "grad_noise", "exclude_weight_decay"),
    *("exclude_weight_decay_conf", "scheduler", "scheduler_conf", "val_scheduler_criterion"),
    *("specaug", "specaug_conf", "rir_scp", "rir_apply_prob", "noise_scp", "noise_apply_prob", "noise_db_range"),
    *("log_level", "log_interval", "num_workers", "num_att_plot", "use_matplotlib", "use_tensorboard", "use_wandb"),
    *("wandb_project", "wandb_entity", "wandb_model_log_interval", "max_cache_size"),
)


@dataclass(frozen=True)
class Sides:
    """Layer names on the two sides of a cut, lowest first: `kept` come from the parent, `fresh` are drawn anew.

    `frozen` are the kept layers that are not updated: all of them, or none in the kinds that freeze nothing.
    """

    kept: tuple[str, ...]
    fresh: tuple[str, ...]
    frozen: tuple[str, ...]

    @classmethod
    def of(cls, kind: str, cut: str | None, names: Sequence[str]) -> "Sides":
        """The sides for a phase of `kind`, cut at `cut`, of a model with layers `names`.

        Raises:
            TopdownError: no layer or block is named `cut`.
        """
        if kind == "restart":
            return cls((), tuple(names), ())
        if kind == "continue":
            return cls(tuple(names), (), ())
        at = cut_index(names, str(cut))
        lower, upper = tuple(names[:at]), tuple(names[at:])
        kept, fresh = (lower, upper) if kind == "bottom_up" else (upper, lower)
        return cls(kept, fresh, () if kind == "unfrozen" else kept)


@dataclass(frozen=True)
class Phase:
    """One training run of an expanded plan.

    Args:
        name: directory name inside the cascade (``phase1``, ``restart_phase1``).
        kind: one of `KINDS`.
        cut: lowest layer of the upper part; None for ``restart`` and ``continue``.
        parent: name of the phase whose weights are kept, or ``best`` (best on dev when this phase starts).
        seed: ESPnet's ``--seed`` of this run.
        dropout: ``keep`` or ``off``, in the frozen layers.
        tied: what happens to weights tied across the cut, one of `TIED`; None: ESPnet's tie is frozen at both ends.
        init_param: whether fresh layers take the base's ``init_param``.
        train: training options that differ from the base's.
        answers: for a control, the phase that it is compared with.
        in_sweep: independent of its neighbours; does not count for stopping.
    """

    name: str
    kind: str
    cut: str | None
    parent: str
    seed: int
    dropout: str = "keep"
    tied: str | None = None
    init_param: str = "keep"
    train: Mapping[str, Any] = field(default_factory=dict)
    answers: str | None = None
    in_sweep: bool = False

    @property
    def is_control(self) -> bool:
        """Controls are never the best phase, never a parent, and never count for stopping."""
        return self.kind != TOP_DOWN

    def sides(self, names: Sequence[str]) -> "Sides":
        """What the cut makes of the model's layers."""
        return Sides.of(self.kind, self.cut, names)


@dataclass(frozen=True)
class Entry:
    """One item of a plan's ``phases``: exactly one of `cut`, `every`, `sweep`, `control`, and its settings."""

    cut: str | None = None
    every: int | None = None
    start: str | None = None
    stop: str | None = None
    sweep: tuple[str, ...] | None = None
    control: str | None = None
    answers: tuple[str, ...] | None = None
    name: str | None = None
    parent: str | None = None
    seed: int | None = None
    dropout: str | None = None
    tied: str | None = None
    init_param: str | None = None
    train: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """A cascade as its author wrote it.

    Args:
        entries: the items of ``phases``.
        parent: ``previous`` (the phase just trained, accepted or not), ``best``, ``phase0`` or a phase's name.
        parent_model: file that a parent's weights come from; None: the averaged model of the dev criterion.
        dev_criterion: (``valid``, metric, ``min`` or ``max``); None: chosen from the base's config.
        min_gain: least improvement on dev that counts as accepted, in the metric's unit.
        patience: stop after so many rejections in a row; None: run the whole plan.
        dropout, tied, init_param, train: defaults of every phase.
        layers: layer order for models outside the table, layer name -> name prefixes, lowest first.
    """

    entries: tuple[Entry, ...]
    parent: str = "previous"
    parent_model: str | None = None
    dev_criterion: tuple[str, str, str] | None = None
    min_gain: float = 0.0
    patience: int | None = None
    dropout: str = "keep"
    tied: str | None = None
    init_param: str = "keep"
    train: Mapping[str, Any] = field(default_factory=dict)
    layers: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @classmethod
    def from_yaml(cls, text: str, source: str = "plan") -> "Plan":
        """Read and check a plan, without a model.

        Raises:
            TopdownError: every fault found, one a line, each with the place in the plan and the nearest valid names.
        """
        try:
            data = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise TopdownError(f"{source} is not YAML: {error}") from None
        plan, faults = _parse(data)
        if faults:
            raise TopdownError(f"{source} has {len(faults)} fault(s):\n" + "\n".join(f"  - {f}" for f in faults))
        assert plan is not None
        return plan

    @classmethod
    def read(cls, path: Path | str) -> "Plan":
        """Read the YAML file `path`; errors as in `from_yaml`."""
        try:
            return cls.from_yaml(Path(path).read_text(encoding="utf-8"), str(path))
        except OSError as error:
            raise TopdownError(f"cannot read the plan {path}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise TopdownError(f"the plan {path} is not UTF-8 text") from None

    def to_yaml(self) -> str:
        """The plan as YAML that `from_yaml` reads back to an equal plan."""
        data = {k: v for k, v in asdict(self).items() if k != "entries" and v != _DEFAULTS[k]}
        data["phases"] = [{k: v for k, v in asdict(e).items() if v not in (None, {})} for e in self.entries]
        return yaml.safe_dump(_plain(data), sort_keys=False, allow_unicode=True)

    def expand(self, names: Sequence[str], base_seed: int) -> tuple[Phase, ...]:
        """The flat list of phases for a model with layers `names` (lowest first).

        Args:
            names: layer names of the model.
            base_seed: the base's ``seed``; phase k is trained under ``base_seed + 1000 * k`` unless given.

        Raises:
            TopdownError: unknown cuts and parents, a phase that would train nothing or everything, a repeated name or an
                ancestor's seed; all at once.
        """
        return _Expansion(self, names, base_seed).run()


_DEFAULTS = {f.name: (f.default_factory() if callable(f.default_factory) else f.default) for f in fields(Plan)}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value


# -- parsing ----------------------------------------------------------------------------------------------------------


def _parse(data: Any) -> tuple[Plan | None, list[str]]:
    if not isinstance(data, Mapping):
        return None, [f"a plan is a mapping with 'phases', not {type(data).__name__}"]
    faults: list[str] = []
    known = [f.name for f in fields(Plan) if f.name != "entries"]
    faults += [f"unknown key '{k}'; {nearest(k, [*known, 'phases'])}" for k in data if k not in known and k != "phases"]
    items = data.get("phases")
    if not isinstance(items, Sequence) or isinstance(items, str) or not items:
        faults.append("'phases' must be a list with at least one item, such as '- cut: decoder'")
        items = []
    values = {k: data[k] for k in known if k in data}
    _check_settings(values, "the plan", faults)
    _check_header(values, faults)
    entries = tuple(_entry(item, f"phase item {n}", faults) for n, item in enumerate(items, 1))
    if faults:
        return None, faults
    if values.get("dev_criterion") is not None:
        values["dev_criterion"] = tuple(values["dev_criterion"])
    return Plan(entries, **values), []


def _check_header(values: Mapping[str, Any], faults: list[str]) -> None:
    dev = values.get("dev_criterion")
    is_triple = isinstance(dev, Sequence) and not isinstance(dev, str) and len(dev) == 3
    if dev is not None and not (is_triple and dev[0] == "valid" and dev[2] in ("min", "max")):
        faults.append(f"dev_criterion must be [valid, METRIC, min|max], not {dev!r}")
    if not _is_number(values.get("min_gain", 0.0)) or values.get("min_gain", 0.0) < 0:
        faults.append(f"min_gain must be a number >= 0, not {values['min_gain']!r}")
    patience = values.get("patience")
    if patience is not None and not (_is_int(patience) and patience > 0):
        faults.append(f"patience must be a whole number > 0 or null, not {patience!r}")
    layers = values.get("layers", {})
    if not isinstance(layers, Mapping) or not all(_is_names(v) for v in layers.values()):
        faults.append("layers must be a mapping from layer name to a list of name prefixes, lowest layer first")


def _entry(item: Any, where: str, faults: list[str]) -> Entry:
    if not isinstance(item, Mapping):
        faults.append(f"{where} must be a mapping such as 'cut: decoder', not {item!r}")
        return Entry()
    known = [f.name for f in fields(Entry)]
    faults += [f"{where}: unknown key '{k}'; {nearest(k, known)}" for k in item if k not in known]
    values = {k: v for k, v in item.items() if k in known}
    chosen = [k for k in ("cut", "every", "sweep", "control") if values.get(k) is not None]
    if len(chosen) != 1 and not (chosen == ["cut", "control"]):
        faults.append(f"{where} must have exactly one of cut, every, sweep, control; it has {', '.join(chosen) or 'none'}")
    if values.get("every") is not None and not (_is_int(values["every"]) and values["every"] > 0):
        faults.append(f"{where}: every must be a whole number > 0, not {values['every']!r}")
    if values.get("control") is not None and values["control"] not in CONTROLS:
        faults.append(f"{where}: unknown control {values['control']!r}; {nearest(values['control'], CONTROLS)}")
    for key in ("cut", "start", "stop", "name", "parent"):
        if values.get(key) is not None and not isinstance(values[key], str):
            faults.append(f"{where}: {key} must be a name, not {values[key]!r}")
    for key in ("sweep", "answers"):
        if values.get(key) is None:
            continue
        if not _is_names(values[key]):
            faults.append(f"{where}: {key} must be a list of names, not {values[key]!r}")
        else:
            values[key] = (values[key],) if isinstance(values[key], str) else tuple(values[key])
    if values.get("seed") is not None and not (_is_int(values["seed"]) and values["seed"] >= 0):
        faults.append(f"{where}: seed must be a whole number >= 0, not {values['seed']!r}")
    name = values.get("name")
    if isinstance(name, str) and (not name.replace("_", "").replace("-", "").replace(".", "").isalnum() or name[0] == "."):
        faults.append(f"{where}: name '{name}' is not a plain directory name")
    if isinstance(name, str) and name in (BASE, "best", "previous", "base"):
        faults.append(f"{where}: the name '{name}' is taken")
    _check_settings(values, where, faults)
    return Entry(**values)


def _check_settings(values: dict[str, Any], where: str, faults: list[str]) -> None:
    """Checks of the settings that a plan and its items share."""
    for key, valid in (("dropout", DROPOUT), ("tied", TIED), ("init_param", INIT_PARAM)):
        value = "off" if key == "dropout" and values.get(key) is False else values.get(key)  # YAML 1.1 reads off as false
        if value is None:
            continue
        if value not in valid:
            faults.append(f"{where}: {key} '{value}' is unknown; {nearest(value, valid)}")
        values[key] = value
    train = values.get("train", {})
    if not isinstance(train, Mapping):
        faults.append(f"{where}: train must be a mapping of ESPnet training options, not {train!r}")
        return
    for key in train:
        if key not in OVERRIDES:
            faults.append(
                f"{where}: train.{key} cannot differ from the base (architecture, tokens, data, normalisation, seed and "
                f"output_dir are the base's); {nearest(key, OVERRIDES)}"
            )


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_names(value: Any) -> bool:
    return isinstance(value, str) or (
        isinstance(value, list | tuple) and bool(value) and all(isinstance(v, str) for v in value)
    )


# -- expansion --------------------------------------------------------------------------------------------------------


class _Expansion:
    """One run over a plan's entries; collects the faults of all of them."""

    def __init__(self, plan: Plan, names: Sequence[str], base_seed: int) -> None:
        self.plan, self.names, self.base_seed = plan, names, base_seed
        self.phases: list[Phase] = []
        self.faults: list[str] = []

    def run(self) -> tuple[Phase, ...]:
        for entry in self.plan.entries:
            try:
                self._add_entry(entry)
            except TopdownError as error:
                self.faults.append(str(error))
        self._check_names_and_seeds()
        if self.faults:
            lines = "\n".join(f"  - {fault}" for fault in dict.fromkeys(self.faults))
            raise TopdownError(f"the plan does not fit this model:\n{lines}")
        return tuple(self.phases)

    def _add_entry(self, entry: Entry) -> None:
        if entry.control:
            self._add_controls(entry)
        elif entry.sweep:
            for cut in entry.sweep:
                self._add(entry, cut, parent=entry.parent or BASE, in_sweep=True)
        elif entry.every:
            for cut in self._every(entry):
                self._add(entry, cut)
        else:
            self._add(entry, str(entry.cut))

    def _every(self, entry: Entry) -> list[str]:
        """Cuts from `start` (default: `every` layers below the last cut, or the decoder) down to `stop`, `every` apart."""
        above = [p.cut for p in self.phases if not p.is_control and p.cut]
        if entry.start:
            first = cut_index(self.names, entry.start)
        elif above:
            first = cut_index(self.names, above[-1]) - int(entry.every or 1)
        else:
            first = cut_index(self.names, "decoder") if "output" in self.names and "decoder.0" in self.names else len(self.names) - 1
        last = cut_index(self.names, entry.stop) if entry.stop else 1
        cuts = [self.names[i] for i in range(first, last - 1, -int(entry.every or 1))]
        if not cuts:
            self.faults.append(f"every: {entry.every} gives no cut between {self.names[max(first, 0)]} and {self.names[last]}")
        return cuts

    def _top_down(self) -> list[Phase]:
        return [p for p in self.phases if not p.is_control]

    def _add(self, entry: Entry, cut: str, *, parent: str | None = None, in_sweep: bool = False) -> None:
        number = len(self._top_down()) + 1
        name = entry.name if entry.name and not (entry.every or entry.sweep) else f"{entry.name or 'phase'}{number}"
        parent = parent or entry.parent or self.plan.parent
        parent = BASE if parent == "base" else parent
        if parent == "previous":
            parent = self._top_down()[-1].name if self.phases and self._top_down() else BASE
        valid = [BASE, "best", "previous", *(p.name for p in self._top_down())]
        if parent not in valid:
            self.faults.append(f"{name}: unknown parent '{parent}'; {nearest(parent, valid)}")
        phase = self._phase(entry, name=name, kind=TOP_DOWN, cut=cut, parent=parent, in_sweep=in_sweep)
        self.phases.append(phase)
        self._check_cut(phase)

    def _phase(self, entry: Entry, *, name: str, kind: str, cut: str | None, parent: str, **rest: Any) -> Phase:
        seed = entry.seed if entry.seed is not None else self.base_seed + SEED_STRIDE * (len(self._top_down()) + 1)
        return Phase(
            name=name,
            kind=kind,
            cut=cut,
            parent=parent,
            seed=rest.pop("seed", seed),
            dropout=entry.dropout or self.plan.dropout,
            tied=entry.tied or self.plan.tied,
            init_param=entry.init_param or self.plan.init_param,
            train={**self.plan.train, **entry.train},
            **rest,
        )

    def _add_controls(self, entry: Entry) -> None:
        """One control for each phase that it answers, with that phase's cut, parent, seed and training options."""
        by_name = {p.name: p for p in self._top_down()}
        for answered in entry.answers or tuple(by_name):
            if answered not in by_name:
                self.faults.append(f"control {entry.control} answers '{answered}'; {nearest(answered, by_name)}")
                continue
            asked = by_name[answered]
            kind = str(entry.control)
            control = self._phase(
                entry,
                name=f"{entry.name or kind}_{answered}",
                kind=kind,
                cut=None if kind in ("restart", "continue") else entry.cut or asked.cut,
                parent=entry.parent or (BASE if kind == "restart" else asked.parent),
                seed=entry.seed if entry.seed is not None else asked.seed,
                answers=answered,
            )
            control = Phase(**{**vars(control), "train": {**asked.train, **entry.train}, "tied": asked.tied})
            self.phases.append(control)
            if control.cut:
                self._check_cut(control)

    def _check_cut(self, phase: Phase) -> None:
        sides = phase.sides(self.names)
        if not sides.fresh:
            self.faults.append(f"{phase.name}: a cut at '{phase.cut}' keeps every layer, so nothing would be trained")
        elif not sides.kept:
            self.faults.append(f"{phase.name}: a cut at '{phase.cut}' keeps nothing; use 'control: restart' for that")

    def _check_names_and_seeds(self) -> None:
        names = [p.name for p in self.phases]
        self.faults += [f"two phases are named '{n}'" for n in dict.fromkeys(names) if names.count(n) > 1]
        parents = {p.name: p for p in self.phases}
        for phase in self.phases:
            ancestor, seeds = phase.parent, {self.base_seed: BASE}
            while ancestor in parents and parents[ancestor] is not phase:
                seeds[parents[ancestor].seed] = ancestor
                ancestor = parents[ancestor].parent
            if phase.kind != "continue" and phase.seed in seeds:
                self.faults.append(
                    f"{phase.name}: seed {phase.seed} is its ancestor {seeds[phase.seed]}'s, so the fresh layers would "
                    "start where that one started; give another seed"
                )
