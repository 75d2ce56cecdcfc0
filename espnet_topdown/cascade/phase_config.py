"""The training config of a phase, the key that it makes, and what of that has changed since.

A finished phase is never trained again, so what it depends on may not change behind its back.
"""

import json
import os
from pathlib import Path
from typing import Any

from espnet_topdown.cascade.cascade import Cascade
from espnet_topdown.cascade.judgement import Records
from espnet_topdown.check import mapping_in
from espnet_topdown.errors import TopdownError
from espnet_topdown.experiment.keys import phase_key
from espnet_topdown.experiment.phase_data import new_shapes, shape_options, without_shapes
from espnet_topdown.experiment.phase_dir import PROOF, key_changes
from espnet_topdown.plan.plan import Phase
from espnet_topdown.plan.stopping import Bar
from espnet_topdown.plan.topdown_conf import TopdownConf


def phase_config(cascade: Cascade, phase: Phase, records: Records) -> dict[str, Any]:
    """The training config of a phase; its parent is a path from the current directory."""
    parent = cascade.parent_dir(phase, records)
    return config_under(cascade, phase, parent, bar=bar_of(cascade, phase, records))


def bar_of(cascade: Cascade, phase: Phase, records: Records) -> Bar | None:
    """What a phase that may be ended early must reach; None where it is trained in full.

    While one that it is compared with has no record, it is what the phase was begun with.
    """
    if phase.stop is None:
        return None
    if records.keys() >= {*phase.compared_with}:
        return Bar.over(
            [records[name]["dev"]["curve"] for name in phase.compared_with],
            cascade.criterion,
            from_epoch=phase.stop.from_epoch,
            max_epoch=cascade.max_epoch(phase),
        )
    begun = cascade.begun_key(phase, records) or {"settings": {}}
    conf = begun["settings"].get("topdown_conf", {}).get("stop_early")
    return Bar.from_conf(conf) if conf else None


def config_under(
    cascade: Cascade, phase: Phase, parent: Path, *, bar: Bar | None = None
) -> dict[str, Any]:
    """The training config of a phase whose parent is the experiment in `parent`.

    Args:
        cascade: whose phase it is.
        phase: the phase.
        parent: directory.
        bar: what the phase must reach in order to go on; None: it is trained in full.
    """
    conf = TopdownConf(
        parent=os.path.relpath(parent),
        cut=phase.cut,
        kind=phase.kind,
        parent_model=cascade.model_file(parent).name,
        dropout=phase.dropout,
        tied=phase.tied,
        layers=cascade.plan.layers,
        stop_early=bar.to_conf() if bar else None,
        tokens=phase.tokens,
        keep=phase.keep,
        draw=phase.draw,
        kept_lr=phase.kept_lr,
    )
    config = cascade.base.phase_config(phase, conf, cascade.facts.data["parser_keys"])
    if config.get("use_wandb"):
        # The base's own name is not passed on, nor its id, by which its run would go on.
        config["wandb_name"] = f"{cascade.paths.directory.resolve().name}/{phase.name}"
    own = new_shapes(cascade.base.config, phase.data, phase.tokens)
    # Not by an absolute path: a cascade may be moved between two runs.
    place = Path(os.path.relpath(cascade.paths.shapes))
    return config | shape_options(cascade.base.config, own, place)


def key(cascade: Cascade, phase: Phase, records: Records, *, lists: bool = True) -> dict[str, Any]:
    """What decides the phase's result now (see `phase_key`), as it reads back from JSON.

    Raises:
        TopdownError: a list or the parent's model file cannot be read.
    """
    config = phase_config(cascade, phase, records)
    # They follow from the lists and the tokens, which count, and lie in the cascade.
    made = new_shapes(cascade.base.config, phase.data, phase.tokens)
    config = without_shapes(config, made)
    parent = cascade.parent_file(phase, records)
    now = phase_key(config, parent, averaged_epochs(cascade, parent), lists=lists)
    # Tuples become lists, keys text: else a recorded key would differ from its own source.
    return json.loads(json.dumps(now))


def averaged_epochs(cascade: Cascade, parent: Path | None) -> list[Path]:
    """The base's epoch files that its average is recomputed from; none where it is read itself.

    As `espnet_topdown.training.averages` does, but without torch.
    """
    base = cascade.base.directory
    if parent is None or parent.parent != base or (base / PROOF).exists():
        return []
    averaged = mapping_in(cascade.facts.data, "averaged")
    paths = [base / epoch for epoch in averaged.get(parent.resolve().name, ())]
    return paths if all(map(Path.exists, paths)) else []


def changes_of(
    cascade: Cascade, phase: Phase, records: Records, *, lists: bool = True
) -> list[str]:
    """Lines ``what: before -> now`` since the phase was finished, or begun; none before that.

    Args:
        cascade: whose phase it is.
        phase: finished, begun, or neither.
        records: of its finished phases.
        lists: False compares only those lists that are there, seen from the current directory.

    Raises:
        TopdownError: a list or the parent's model file cannot be read.
    """
    before = cascade.begun_key(phase, records)
    if before is None:
        return []
    now = key(cascade, phase, records, lists=lists)
    if not lists:
        here = {path: value for path, value in before["files"].items() if path in now["files"]}
        before = {**before, "files": here}
    return key_changes(before, now)


def check_as_begun(cascade: Cascade, phase: Phase, records: Records) -> None:
    """Refuse to go on with a phase that was begun with something else.

    Raises:
        TopdownError: settings, parent or lists changed since; or as `changes_of`.
    """
    lines = changes_of(cascade, phase, records)
    if lines:
        head = (
            f"{phase.name} was begun with something else (begun with -> now); undo that, or train"
            f" it anew with\n    {cascade.redo_command([phase.name])}"
        )
        raise TopdownError("\n  ".join([head, *lines]))
