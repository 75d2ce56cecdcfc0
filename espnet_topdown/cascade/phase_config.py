"""The training config of a phase: the base's, with what the plan and the phases before it say."""

import os
from pathlib import Path
from typing import Any

from espnet_topdown.cascade.cascade import Cascade
from espnet_topdown.cascade.judgement import Records
from espnet_topdown.experiment.phase_data import new_shapes, shape_options
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
    key = cascade.begun_key(phase, records) or {"settings": {}}
    conf = key["settings"].get("topdown_conf", {}).get("stop_early")
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
