"""Bad input through the command line: one clear message, status 1, no traceback, nothing lost.

Neither ESPnet nor a training is needed: the finished cascade that is damaged here is made of files.
Faults that a parser or a trainer finds are in test_plan.py, test_phases.py, test_trn.py and
test_cli.py.
"""

import json
import math
import os
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import yaml

from espnet_topdown import files
from espnet_topdown.__main__ import main
from espnet_topdown.cascade import espnet_answers, find_facts
from espnet_topdown.cascade.cascade import Cascade
from espnet_topdown.cascade.ledger import Ledger
from espnet_topdown.cascade.phase_config import key
from espnet_topdown.cascade.records import _file_hashes
from espnet_topdown.experiment import phase_dir
from espnet_topdown.training import checkpoint

CONFIG = {
    "encoder": "rnn",
    "seed": 0,
    "max_epoch": 2,
    "best_model_criterion": [["valid", "acc", "max"]],
    "keep_nbest_models": 1,
    "train_data_path_and_name_and_type": [["data/text", "text", "text"]],
    "token_list": ["<blank>", "a"],
}
NAMES = ("encoder.embed", "encoder.0", "encoder.1", "decoder.0", "output")
PLAN = "phases: [{cut: decoder}, {cut: encoder.1}]"


@pytest.fixture(scope="module", autouse=True)
def _espnet_has_been_asked() -> Iterator[None]:
    """There is no model of this config."""

    def answer(question: espnet_answers.Question) -> object:
        if question.module == find_facts.FINDER:
            return model_data()
        return {phase["name"]: [] for phase in question.inputs["--phases"]}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(espnet_answers, "answer", answer)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """Data, an experiment ``exp`` with scores, a plan, and its finished cascade ``cascade``."""
    place = tmp_path_factory.mktemp("whole")
    (place / "data").mkdir()
    (place / "data" / "text").write_text("utt a\n")
    make_experiment(place / "exp")
    (place / "plan.yaml").write_text(PLAN)
    before = Path.cwd()
    os.chdir(place)
    try:
        make_cascade(Path("exp"), Path("cascade"))
    finally:
        os.chdir(before)
    return place


def make_experiment(directory: Path) -> None:
    directory.mkdir()
    (directory / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    torch.save({"w": torch.ones(2)}, directory / "valid.acc.ave.pth")
    for part, text in (("ref", "a b\t(s-s-1)\n"), ("hyp", "a c\t(s-s-1)\n")):
        path = directory / "decode" / "test" / "score_wer" / f"{part}.trn"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def make_cascade(exp: Path, directory: Path) -> None:
    """What a run leaves, with the records that a run would write."""
    cascade = Cascade.open(exp, Path("plan.yaml"), directory)
    cascade.store()
    for number, phase in enumerate(cascade.phases, 1):
        where = directory / phase.name
        weights = torch.full((2,), float(number))
        prints = {"w": checkpoint.fingerprint(weights)}
        hashes = {"valid.acc.ave.pth": checkpoint.state_fingerprint(prints)}
        proof = {"files": hashes, "frozen": {}, "unmoved": []}
        files.write_json(where / "topdown" / "proof.json", proof)
        files.write_json(where / "topdown" / "epochs.json", [{"epoch": 1, "valid": {"acc": 0.6}}])
        torch.save({"w": weights}, where / "valid.acc.ave.pth")
        record = {
            "phase": phase.name,
            "kind": phase.kind,
            "cut": phase.cut,
            "seed": phase.seed,
            "epochs": 1,
            "hours": 0.1,
            "parent": os.path.relpath(cascade.parent_dir(phase, {}), directory),
            "key": key(cascade, phase, {}),
            "dev": {"criterion": list(cascade.criterion), "curve": [0.6]},
            "files": hashes,
            "threads": 1,
            "model_sha256": files.sha256(where / "valid.acc.ave.pth"),
            "unmoved": [],
            "base": cascade.judged_base({}),
            "bytes": _file_hashes(where),
            "links": {},
        }
        phase_dir.write_record(where, record)
        ledger = Ledger(cascade.paths.ledger)
        ledger.append("start", phase.name, attempt=1)
        ledger.append("end", phase.name, attempt=1, outcome="done", wall_s=1.0)
    cascade.paths.link_best("phase1")


def model_data() -> dict[str, object]:
    """The model facts of the experiment, as a process that builds its model would find them."""
    return {
        "layers": [{"name": name, "parameters": 2, "notes": "", "tied_to": {}} for name in NAMES],
        "dropouts": {},
        "notes": [],
        "parser_keys": [*CONFIG],
        "epochs": [{"epoch": 1, "train": {"time": 1.0}, "valid": {"acc": 0.5, "time": 1.0}}],
        "checkpoint_bytes": 0,
    }


Damage = Callable[[Path], object]


def flip(path: Path) -> None:
    """Change one bit of a weight of 1 in a model file."""
    data = bytearray(path.read_bytes())
    data[data.index(struct.pack("<f", 1.0))] ^= 1
    path.write_bytes(bytes(data))


def write(name: str, content: str | bytes) -> Damage:
    """Replace a file's content."""
    data = content.encode() if isinstance(content, str) else content

    def damage(place: Path) -> None:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(data)

    return damage


def remove(name: str) -> Damage:
    return lambda place: (place / name).unlink()


def directory_at(name: str) -> Damage:
    """A directory where a file is expected."""

    def damage(place: Path) -> None:
        (place / name).unlink()
        (place / name).mkdir()

    return damage


def file_at(name: str) -> Damage:
    """A file where a directory is expected."""

    def damage(place: Path) -> None:
        shutil.rmtree(place / name)
        (place / name).write_text("")

    return damage


def edit(name: str, **changes: object) -> Damage:
    """Change keys of a JSON or YAML mapping; a value of ... removes the key."""

    def damage(place: Path) -> None:
        data = yaml.safe_load((place / name).read_text()) | changes
        data = {key: value for key, value in data.items() if value is not ...}
        text = json.dumps(data) if name.endswith(".json") else yaml.safe_dump(data)
        (place / name).write_text(text)

    return damage


def plan(text: str | bytes) -> tuple[Damage, str]:
    return write("plan.yaml", text), RUN


def config(**changes: object) -> tuple[Damage, str]:
    return edit("exp/config.yaml", **changes), RUN


def nothing(place: Path) -> None:
    """The command itself is at fault."""


RUN = "run exp --plan plan.yaml --dir cascade"
RECORD = "cascade/phase1/record.json"
SCORE = "exp/decode/test/score_wer"

PLANS = {
    "empty": (
        *plan(""),
        "has 'phases:' and below it items such as '- cut: decoder'; found nothing",
    ),
    "items alone": (*plan("- cut: decoder"), "found a list, above which 'phases:' is missing"),
    "a directory": (
        directory_at("plan.yaml"),
        RUN,
        "cannot read the plan plan.yaml: Is a directory",
    ),
    "binary": (*plan(b"\x80\x02\xff\x00"), "the plan plan.yaml is not UTF-8 text"),
    "Latin-1": (
        *plan("phases: [{cut: é}]".encode("latin-1")),
        "the plan plan.yaml is not UTF-8 text",
    ),
    "a NUL": (*plan("phases: \0"), "is not YAML"),
    "tabs": (
        *plan("phases:\n\t- cut: decoder"),
        "is not YAML: indent with spaces, not with tabs: while scanning for the next token",
    ),
    "not closed": (*plan("phases: [{cut: decoder"), "line 1, column 23"),
    "two documents": (*plan("phases: [{cut: decoder}]\n---\nphases: []"), "is not YAML"),
    "code": (*plan("phases: !!python/object/apply:os.getcwd []"), "is not YAML"),
    "a key twice": (
        *plan("parent: best\nparent: phase0\nphases: [{cut: decoder}]"),
        "the key 'parent' stands twice",
    ),
    "a key twice in an item": (
        *plan("phases: [{cut: decoder, cut: encoder.1}]"),
        "the key 'cut' stands twice",
    ),
    "a key that is a number": (*plan("{1: 2, phases: [{cut: decoder}]}"), "unknown key '1'"),
    "a key that is a list": (*plan("? [a]\n: b\nphases: [{cut: decoder}]"), "is not YAML"),
    "phases are a mapping": (*plan("phases: {cut: decoder}"), "'phases' must be a list"),
    "phases are null": (*plan("phases:"), "'phases' must be a list"),
    "an item that is a list": (*plan("phases: [[cut, decoder]]"), "phase item 1 must be a mapping"),
    "a plan inside itself": (
        *plan("phases: &a [*a]"),
        "is not YAML: an alias stands inside its own anchor",
    ),
    "settings inside themselves": (
        *plan("{train: &t {optim_conf: *t}, phases: [{cut: decoder}]}"),
        "is not YAML: an alias stands inside its own anchor",
    ),
    "cut null": (
        *plan("phases: [{cut: null}]"),
        "exactly one of cut, every, sweep, control, keep, draw; it has none",
    ),
    "cut a list": (*plan("phases: [{cut: [decoder]}]"), "cut must be a name, not ['decoder']"),
    "sweep of numbers": (*plan("phases: [{sweep: [1]}]"), "sweep must be a list of names"),
    "start a number": (*plan("phases: [{every: 1, start: 3}]"), "start must be a name, not 3"),
    "seed a fraction": (
        *plan("phases: [{cut: decoder, seed: 1.5}]"),
        "seed must be a whole number >= 0, not 1.5",
    ),
    "a number that is none": (
        *plan("phases: [{cut: decoder, seed: 0x_}]"),
        "is not YAML: invalid literal for int",
    ),
    "seed a date": (
        *plan("phases: [{cut: decoder, seed: 2020-01-01}]"),
        "seed must be a whole number >= 0, not '2020-01-01'",
    ),
    "gain not a number": (
        *plan("{min_gain: .nan, phases: [{cut: decoder}]}"),
        "min_gain must be a number >= 0, not nan",
    ),
    "gain infinite": (
        *plan("{min_gain: .inf, phases: [{cut: decoder}]}"),
        "min_gain must be a number >= 0, not inf",
    ),
    "patience a truth value": (
        *plan("{patience: true, phases: [{cut: decoder}]}"),
        "patience must be a whole number > 0",
    ),
    "parent a number": (
        *plan("{parent: 3, phases: [{cut: decoder}]}"),
        "parent must be a name without a directory, not 3",
    ),
    "parent model a list": (
        *plan("{parent_model: [a], phases: [{cut: decoder}]}"),
        "parent_model must be a name without a directory, not ['a']",
    ),
    "parent model elsewhere": (
        *plan("{parent_model: ../a.pth, phases: [{cut: decoder}]}"),
        "parent_model must be a name without a directory, not",
    ),
    "metric a number": (
        *plan("{dev_criterion: [valid, 3, max], phases: [{cut: decoder}]}"),
        "must be [valid, METRIC, min|max]",
    ),
    "layers without prefixes": (
        *plan("{layers: {a: []}, phases: [{cut: a}]}"),
        "layers must be a mapping",
    ),
    "layer a number": (*plan("{layers: {1: [a]}, phases: [{cut: a}]}"), "layers must be a mapping"),
    "name a number": (
        *plan("phases: [{cut: decoder, name: 3}]"),
        "name must be a plain directory name, not 3",
    ),
    "name empty": (
        *plan("phases: [{cut: decoder, name: ''}]"),
        "name must be a plain directory name, not ''",
    ),
    "epochs in words": (
        *plan("{train: {max_epoch: ten}, phases: [{cut: decoder}]}"),
        "train.max_epoch must be a whole number > 0",
    ),
    "no epochs": (
        *plan("phases: [{cut: decoder, train: {max_epoch: 0}}]"),
        "train.max_epoch must be a whole number > 0",
    ),
    "train key a number": (
        *plan("{train: {3: 4}, phases: [{cut: decoder}]}"),
        "train.3 cannot differ",
    ),
}
CONFIGS = {
    "empty": (write("exp/config.yaml", ""), RUN, "exp/config.yaml is not a training config"),
    "a list": (write("exp/config.yaml", "[1]"), RUN, "exp/config.yaml is not a training config"),
    "binary": (write("exp/config.yaml", b"\xff\xfe"), RUN, "exp/config.yaml is not YAML"),
    "a directory": (
        directory_at("exp/config.yaml"),
        RUN,
        "cannot read exp/config.yaml (Is a directory)",
    ),
    "lost beside its models": (
        remove("exp/config.yaml"),
        RUN,
        (
            "cannot read exp/config.yaml (No such file or directory), without which exp says"
            " nothing; bring it back from a copy"
        ),
    ),
    "cut off": (
        *config(output_dir="exp"),
        (
            "exp/config.yaml lacks what ESPnet writes at its end (distributed, version): it was cut"
            " off; bring it back"
        ),
    ),
    "seed in words": (
        *config(seed="one"),
        "exp/config.yaml: seed must be a whole number, not 'one'",
    ),
    "epochs in words": (
        *config(max_epoch="ten"),
        "exp/config.yaml: max_epoch must be a whole number, not 'ten'",
    ),
    "nbest in words": (
        *config(keep_nbest_models="few"),
        "exp/config.yaml: keep_nbest_models must be whole numbers > 0",
    ),
    "nbest of none": (
        *config(keep_nbest_models=0),
        "with 0 no epoch is kept that a phase could start from), not 0",
    ),
    "trained by DeepSpeed": (
        *config(use_deepspeed=True),
        "exp/config.yaml: use_deepspeed must be false",
    ),
    "data as text": (
        *config(train_data_path_and_name_and_type="a,b,c"),
        "train_data_path_and_name_and_type must be a list of",
    ),
    "criterion as text": (
        *config(best_model_criterion="acc"),
        "best_model_criterion must be a list of (part, metric, mode)",
    ),
    "criterion of training": (
        *config(best_model_criterion=[["train", "loss", "min"]]),
        "by nothing that measures quality on the validation data",
    ),
    "a list that is gone": (remove("data/text"), RUN, "names files that are not there"),
}
PLACES = {
    "experiment a file": (file_at("exp"), RUN, "exp is not a directory"),
    "cascade a file": (file_at("cascade"), RUN, "cascade is a file; give a directory"),
    "no header": (
        remove("cascade/cascade.json"),
        "status cascade",
        "cascade is no cascade (no cascade.json)",
    ),
    "header torn": (
        write("cascade/cascade.json", '{"base'),
        "status cascade",
        "cascade/cascade.json is damaged",
    ),
    "header a list": (
        write("cascade/cascade.json", "[]"),
        "verify cascade",
        "cascade/cascade.json is damaged",
    ),
    "header empty": (write("cascade/cascade.json", ""), RUN, "cascade/cascade.json is damaged"),
    "base not named": (
        edit("cascade/cascade.json", base=...),
        "status cascade",
        "cascade/cascade.json is damaged",
    ),
    "base a number": (
        edit("cascade/cascade.json", base=3),
        "results cascade",
        "cascade/cascade.json is damaged",
    ),
    "base is gone": (
        edit("cascade/cascade.json", base="../none"),
        "verify cascade",
        "none, which is not there; bring it back",
    ),
    "threads in words": (
        edit("cascade/cascade.json", threads="two"),
        RUN,
        "cascade/cascade.json is damaged",
    ),
    "plan is gone": (
        remove("cascade/plan.yaml"),
        "status cascade",
        "cascade/plan.yaml is gone",
    ),
    "facts torn": (
        write("cascade/model.json", "{"),
        "status cascade",
        "cascade/model.json is damaged",
    ),
    "facts a list": (
        write("cascade/model.json", "[]"),
        "status cascade",
        "cascade/model.json is damaged",
    ),
    "record torn": (write(RECORD, '{"phase": "ph'), RUN, f"{RECORD} is damaged"),
    "record empty": (write(RECORD, ""), "status cascade", f"{RECORD} is damaged"),
    "record binary": (write(RECORD, b"\xff"), "verify cascade", f"{RECORD} is damaged"),
    "record a list": (write(RECORD, "[]"), "status cascade", f"{RECORD} is damaged"),
    "record without a key": (edit(RECORD, key=...), RUN, f"{RECORD} is damaged"),
    "record without a curve": (edit(RECORD, dev={}), "status cascade", f"{RECORD} is damaged"),
    "curve in words": (
        edit(RECORD, dev={"curve": ["a"]}),
        "results cascade",
        f"{RECORD} is damaged",
    ),
    "curve not finite": (
        edit(RECORD, dev={"curve": [math.nan]}),
        "status cascade",
        f"{RECORD} is damaged",
    ),
    "files a list": (edit(RECORD, files=[]), "verify cascade", f"{RECORD} is damaged"),
    "record of another phase": (
        lambda place: shutil.copy(place / "cascade/phase2/record.json", place / RECORD),
        RUN,
        f"{RECORD} is of phase2",
    ),
    "record a directory": (
        directory_at(RECORD),
        "status cascade",
        f"cannot read {RECORD}: Is a directory",
    ),
    "record that the plan lacks": (
        lambda place: shutil.copytree(place / "cascade/phase1", place / "cascade/other"),
        RUN,
        "finished phases that the plan no longer has: other",
    ),
    "proof is gone": (
        remove("cascade/phase1/topdown/proof.json"),
        "verify cascade",
        "phase1: cascade/phase1/topdown/proof.json is gone",
    ),
    "proof torn": (
        write("cascade/phase1/topdown/proof.json", "{"),
        "verify cascade",
        "proof.json is not what was recorded (its bytes changed)",
    ),
    "proof a list": (
        write("cascade/phase1/topdown/proof.json", "[]"),
        "verify cascade",
        "proof.json is not what was recorded (its bytes changed)",
    ),
    "epochs of another shape": (
        write("cascade/phase1/topdown/epochs.json", "[1, {}]"),
        "verify cascade",
        "phase1: cascade/phase1/topdown/epochs.json is not what was recorded",
    ),
    "perplexities of another shape": (
        write("cascade/phase1/perplexity.json", '[{"kind": "word"}]'),
        "results cascade",
        "perplexity.json is damaged (no valid list of objects)",
    ),
    "model is gone": (
        remove("cascade/phase2/valid.acc.ave.pth"),
        "verify cascade",
        "phase2: cascade/phase2/valid.acc.ave.pth",
    ),
    "model torn": (
        write("cascade/phase2/valid.acc.ave.pth", b"PK"),
        "verify cascade",
        "phase2: cascade/phase2/valid.acc.ave.pth is not what was recorded (its bytes changed)",
    ),
    "parent is gone": (
        remove("exp/valid.acc.ave.pth"),
        RUN,
        "the base exp lost valid.acc.ave.pth since phase1 and 1 more began from it and",
    ),
    "parent torn": (
        write("exp/valid.acc.ave.pth", b"PK"),
        RUN,
        "the base exp was damaged (valid.acc.ave.pth) since phase1 and 1 more began from it and",
    ),
    "parent with one other byte": (
        lambda place: flip(place / "exp/valid.acc.ave.pth"),
        RUN,
        "the base exp was damaged (valid.acc.ave.pth) since phase1 and 1 more began from it and",
    ),
    "parent changed": (
        lambda place: torch.save({"w": torch.zeros(2)}, place / "exp/valid.acc.ave.pth"),
        RUN,
        "the base exp was trained on since phase1 and 1 more began from it and",
    ),
    "nothing to verify": (
        lambda place: [(place / f"cascade/phase{n}/record.json").unlink() for n in (1, 2)],
        "verify cascade",
        "no phase is finished",
    ),
    "ledger of other lines": (
        write("cascade/ledger.jsonl", "3\n"),
        "status cascade",
        "cascade/ledger.jsonl is damaged ('3' is no event); remove that line and rerun",
    ),
    "ledger of a phase without a name": (
        write(
            "cascade/ledger.jsonl",
            '{"time": "2026-01-01T00:00:00+00:00", "event": "end", "phase": 3}\n',
        ),
        "status cascade",
        "cascade/ledger.jsonl is damaged",
    ),
    "ledger with an attempt without a number": (
        write(
            "cascade/ledger.jsonl",
            '{"time": "2026-01-01T00:00:00+00:00", "event": "start", "phase": "phase1"}\n',
        ),
        RUN,
        "cascade/ledger.jsonl is damaged",
    ),
    "ledger without times": (
        write("cascade/ledger.jsonl", '{"time": "noon", "event": "end", "phase": "phase1"}\n'),
        RUN,
        "cascade/ledger.jsonl is damaged",
    ),
    "ledger a directory": (
        directory_at("cascade/ledger.jsonl"),
        RUN,
        "ledger.jsonl: Is a directory",
    ),
}
NOT_A_TRAINING = "is not a training config but"
# What a file or a directory is that was given in the place of another kind.
KINDS = {
    "layers of a decoding config": (
        write("asr1/conf/decode.yaml", "{beam_size: 10, ctc_weight: 0.3, batch_size: 1}"),
        "layers asr1/conf/decode.yaml",
        f"{NOT_A_TRAINING} a decoding config; give an experiment such as exp/asr_train_x, or a",
    ),
    "layers of a plan": (nothing, "layers plan.yaml", f"{NOT_A_TRAINING} a plan of phases"),
    "layers of a plan, the task given": (
        nothing,
        "layers plan.yaml --task asr",
        f"{NOT_A_TRAINING} a plan of phases",
    ),
    "layers of an analysis": (
        write("asr1/conf/x.yaml", "{seeds: [1], primary: {}}"),
        "layers asr1/conf/x.yaml",
        f"{NOT_A_TRAINING} the analysis of a study",
    ),
    "layers of a model": (
        nothing,
        "layers exp/valid.acc.ave.pth",
        "exp/valid.acc.ave.pth is no model that ESPnet packed but a model:",
    ),
    "layers of a cascade": (
        nothing,
        "layers cascade",
        "cascade is no trained experiment but a cascade: cannot read cascade/config.yaml",
    ),
    "the base a config": (
        edit("exp/config.yaml", output_dir="exp"),
        "plan exp/config.yaml --plan plan.yaml",
        "exp/config.yaml is not a directory but the config of an experiment; give the base",
    ),
    "the base a plan": (
        nothing,
        "plan plan.yaml --plan plan.yaml",
        "plan.yaml is not a directory but a plan of phases; give the base",
    ),
    "the base a cascade": (
        nothing,
        "plan cascade --plan plan.yaml",
        "cascade is no trained experiment but a cascade",
    ),
    "the plan a training config": (
        nothing,
        "plan exp --plan exp/config.yaml",
        "exp/config.yaml is not a plan but a training config; give a plan such as conf/topdown",
    ),
    "the plan a decoding config": (
        write("decode.yaml", "{beam_size: 10}"),
        "plan exp --plan decode.yaml",
        "decode.yaml is not a plan but a decoding config",
    ),
    "the plan a record": (
        write("seed1.json", '{"phases": [], "references": {}}'),
        "plan exp --plan seed1.json",
        "seed1.json is not a plan but a record of a study",
    ),
    "the plan an experiment": (
        nothing,
        "plan exp --plan exp",
        "cannot read the plan exp: Is a directory but an experiment",
    ),
    "the plan a model": (
        nothing,
        "plan exp --plan exp/valid.acc.ave.pth",
        "the plan exp/valid.acc.ave.pth is not UTF-8 text but a model",
    ),
    "the cascade an experiment": (
        nothing,
        "status exp",
        "exp is no cascade (no cascade.json) but an experiment; give the directory of",
    ),
    "the cascade a phase": (
        nothing,
        "verify cascade/phase1",
        "cascade/phase1 is no cascade (no cascade.json) but a phase of the cascade cascade",
    ),
    "the cascade its plan": (
        nothing,
        "decode cascade/plan.yaml",
        "is no cascade (no cascade.json) but a file of the cascade cascade",
    ),
    "a cascade in an experiment": (
        nothing,
        "run exp --plan plan.yaml --dir exp",
        "the cascade would go to exp, which is an experiment; give --dir a directory of its own",
    ),
    "a cascade in a phase": (
        nothing,
        "plan exp --plan plan.yaml --dir cascade/phase1",
        "would go to cascade/phase1, which is a phase of the cascade cascade",
    ),
    "results of a plan": (
        nothing,
        "results plan.yaml",
        "plan.yaml: no such directory but a plan of phases",
    ),
    "power of a plan": (
        nothing,
        "power plan.yaml --difference 1",
        "plan.yaml is not the record of a seed but a plan of phases; give records",
    ),
    "power of a cascade": (
        nothing,
        "power cascade --difference 1",
        "cascade holds no seed*.json but a cascade",
    ),
}
OPTIONS = {
    "no jobs": (nothing, f"{RUN} --jobs 0", "--jobs must be at least 1, not 0"),
    "negative jobs": (nothing, f"{RUN} --jobs -2", "--jobs must be at least 1, not -2"),
    "other threads than before": (
        write("cascade/cascade.json", '{\n "base": "../exp",\n "threads": 1\n}\n'),
        f"{RUN} --threads 2",
        "fixed by its first run",
    ),
    "no threads": (nothing, f"{RUN} --threads 0", "--threads must be at least 1, not 0"),
    "negative GPUs": (nothing, f"{RUN} --ngpu -1", "--ngpu must be at least 0, not -1"),
    "no nodes": (nothing, f"{RUN} --num_nodes 0", "--num_nodes must be at least 1, not 0"),
    "negative epochs to keep": (
        nothing,
        f"{RUN} --keep_epochs -1",
        "--keep_epochs must be at least 0, not -1",
    ),
    "negative epochs to prune": (
        nothing,
        "prune cascade --keep_epochs -1",
        "--keep_epochs must be a whole number >= 0",
    ),
    "unknown phase": (nothing, f"{RUN} --phase 9", "no phase '9'"),
    "prune no cascade": (nothing, "prune exp --keep_epochs 0", "exp is no cascade"),
    "phases of no cascade": (nothing, "phases data", "data is no cascade"),
    "results of nothing": (nothing, "results none", "none: no such directory in /"),
    "a base of another directory": (nothing, "plan x --plan p", "x is not a directory in /"),
    "a cascade of another directory": (
        nothing,
        "status x",
        "x is no cascade (no cascade.json) in /",
    ),
    "results of a mixture": (
        nothing,
        "results exp cascade",
        "results takes cascades only, one experiment, or two",
    ),
    "results of one twice": (
        nothing,
        "results cascade ./cascade",
        "results compares different directories, and cascade, cascade names one twice",
    ),
    "results of three": (
        nothing,
        "results exp exp exp",
        "results takes cascades only, one experiment, or two",
    ),
}
SCORES = {
    "empty reference": (
        write(f"{SCORE}/ref.trn", ""),
        "results exp",
        "ref.trn: no utterance in this file",
    ),
    "empty hypothesis": (
        write(f"{SCORE}/hyp.trn", ""),
        "results exp",
        "hyp.trn: no utterance in this file",
    ),
    "binary": (
        write(f"{SCORE}/hyp.trn", b"\xff\t(s-s-1)\n"),
        "results exp",
        "hyp.trn: not UTF-8 at byte 0",
    ),
    "no id": (
        write(f"{SCORE}/hyp.trn", "a b\n"),
        "results exp",
        "hyp.trn:1: expected 'TOKENS<tab>(speaker-utterance)'",
    ),
    "other utterances": (
        write(f"{SCORE}/hyp.trn", "a\t(s-s-2)\n"),
        "results exp",
        "hyp.trn: 1 of the utterances",
    ),
    "an utterance twice": (
        write(f"{SCORE}/ref.trn", "a\t(s-s-1)\n" * 2),
        "results exp",
        "ref.trn:2: utterance s-s-1 occurs twice",
    ),
    "no word": (write(f"{SCORE}/ref.trn", "\t(s-s-1)\n"), "results exp", "hold no word"),
    "a directory": (
        directory_at(f"{SCORE}/hyp.trn"),
        "results exp",
        "hyp.trn: cannot be read (Is a directory)",
    ),
    "in a cascade": (
        lambda place: (
            shutil.copytree(place / "exp/decode", place / "cascade/phase1/decode"),
            write("cascade/phase1/decode/test/score_wer/ref.trn", "a b c\t(s-s-1)\n")(place),
        ),
        "results cascade",
        "are not the same reference",
    ),
}
GROUPS = {
    "plan": PLANS,
    "config": CONFIGS,
    "place": PLACES,
    "kind": KINDS,
    "option": OPTIONS,
    "score": SCORES,
}
CASES = {}
for group, cases in GROUPS.items():
    CASES |= {f"{group}: {name}": case for name, case in cases.items()}


@pytest.mark.parametrize("name", CASES)
def test_bad_input_gives_one_clear_message_and_loses_nothing(
    name, whole, tmp_path, monkeypatch, capsys
):
    damage, command, fragment = CASES[name]
    place = shutil.copytree(whole, tmp_path / "place", symlinks=True)
    monkeypatch.chdir(place)
    damage(place)
    before = content(place)
    with pytest.raises(SystemExit) as caught:
        main(command.split())
    error = capsys.readouterr().err
    assert caught.value.code == 1
    assert fragment in error
    assert "Traceback" not in error
    assert content(place) == before


def content(place: Path) -> dict[str, bytes]:
    """All files but locks, which say who was there last, and counts, which can be made again."""
    paths = [path for path in place.rglob("*") if path.is_file()]
    kept = [path for path in paths if not path.name.endswith(("lock", "counts.bin"))]
    return {path.relative_to(place).as_posix(): path.read_bytes() for path in kept}


def test_the_whole_cascade_passes(whole, tmp_path, monkeypatch, capsys):
    """What is damaged above is in order before."""
    place = shutil.copytree(whole, tmp_path / "place", symlinks=True)
    monkeypatch.chdir(place)
    main(RUN.split())
    for command in ("status cascade", "verify cascade", "results cascade", "phases cascade"):
        main(command.split())
    main(["results", "exp"])
    assert "nothing to do: all phases in cascade are finished" in capsys.readouterr().out


def test_there_are_more_than_sixty_kinds_of_bad_input():
    assert len(CASES) >= 60


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_that_may_not_be_written_is_named(whole, tmp_path, monkeypatch, capsys):
    place = shutil.copytree(whole, tmp_path / "place", symlinks=True)
    monkeypatch.chdir(place)
    (place / "cascade").chmod(0o500)
    with pytest.raises(SystemExit) as caught:
        main(RUN.split())
    assert caught.value.code == 1
    assert "cascade/.lock: Permission denied" in capsys.readouterr().err
