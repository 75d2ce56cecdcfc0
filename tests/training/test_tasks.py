"""Every task: its layers, a tiny phase, and the swap of one config into ESPnet's own tools."""

import contextlib
import itertools
import json
import multiprocessing
import os
import signal
import sys
import types
from pathlib import Path
from types import SimpleNamespace

import pytest
import tiny
import torch
import yaml
from models import build

from espnet_topdown import files, locks
from espnet_topdown.cascade.launch import Launch, failure, start_training
from espnet_topdown.errors import TopdownError
from espnet_topdown.experiment.config import Experiment
from espnet_topdown.experiment.phase_dir import BEGUN, LOCK, RECORD
from espnet_topdown.experiment.task import TASKS, task_of_config
from espnet_topdown.training.checkpoint import load_state

TRANSFORMER = tiny.asr_config("transformer", "transformer")
SPEECHLESS = {
    k: v
    for k, v in TRANSFORMER.items()
    if k not in ("frontend", "normalize", "input_size", "model_conf")
}
ST = dict(
    model_conf=dict(asr_weight=0.3, mtlalpha=0.5),
    extra_asr_decoder="transformer",
    extra_asr_decoder_conf=dict(tiny.DECODERS["transformer"]),
    src_token_type="char",
)
LINEAR = tiny.ENCODERS["transformer"] | dict(input_layer="linear")
SYMBOLS = ["<sos>", "<eos>", "<na>", "<nospeech>", "<sop>", "<notimestamps>", "<0.00>", "<30.00>"]
# As if features were 10 Hz audio.
FRAMES = dict(fs=10, speech_length=9, speech_resolution=0.1, speech_init_silence=1)
# task -> config, further data beside speech and text, name of the lowest layer
PHASES = {
    "st": (TRANSFORMER | ST, ("src_text",), "encoder.embed"),
    "mt": (
        SPEECHLESS | dict(src_token_type="char", encoder_conf=LINEAR),
        ("src_text",),
        "frontend",
    ),
    "slu": (TRANSFORMER, (), "encoder.embed"),
    "s2t": (
        TRANSFORMER | dict(preprocessor_conf=FRAMES),
        ("text_prev", "text_ctc"),
        "encoder.embed",
    ),
}


def words(task: str, data, directory, config: dict[str, object]) -> list[str]:
    """Arguments of one training, with the source text where the task reads it."""
    args = tiny.command(data, directory, dict(config, task=task))
    if task == "s2t":
        tokens = directory.parent / "tokens.txt"
        tokens.write_text("\n".join([*tiny.TOKENS[:-1], *SYMBOLS]) + "\n")
        args[args.index("--token_list") + 1] = str(tokens)
    _, further, _ = PHASES[task]
    # Translation of text has no speech.
    if task == "mt":
        pairs = zip(args[1::2], args[2::2])
        options = [pair for pair in pairs if "speech" not in pair[1]]
        args = [task, *itertools.chain(*options)]
    for name in further:
        if name == "src_text":
            args += ["--src_token_list", str(data / "tokens.txt")]
        for part in ("train", "valid"):
            args += [f"--{part}_data_path_and_name_and_type", f"{data}/{part}/text,{name},text"]
            args += [f"--{part}_shape_file", f"{data}/{part}/text_shape"]
    return args


@pytest.mark.parametrize("task", PHASES)
def test_a_phase_of_every_task_keeps_its_upper_layers(task, espnet, data, tmp_path):
    from espnet_topdown.bin.train import main

    config, _, bottom = PHASES[task]
    main(words(task, data, tmp_path / "base", config | dict(max_epoch=1)))
    conf = {"parent": str(tmp_path / "base"), "cut": "encoder.1"}
    phase = config | dict(max_epoch=1, seed=1000, topdown_conf=conf)
    main(words(task, data, tmp_path / "p", phase))
    start = json.loads((tmp_path / "p" / "topdown" / "start.json").read_text())
    assert start["fresh"][0] == bottom
    assert start["frozen"] == ["encoder.1", "encoder.2", "decoder.0", "decoder.1", "output"]
    parent = load_state(tmp_path / "base" / "1epoch.pth")
    final = load_state(tmp_path / "p" / "1epoch.pth")
    frozen = json.loads((tmp_path / "p" / "topdown" / "proof.json").read_text())["frozen"]
    assert all(torch.equal(final[name], parent[name]) for name in frozen)
    assert any(name.startswith("extra_asr_decoder.") for name in frozen) == (task == "st")
    written = yaml.safe_load((tmp_path / "base" / "config.yaml").read_text())
    assert task_of_config(written, tmp_path) == task


def test_the_layers_of_a_speech_to_text_model(espnet, data):
    from espnet_topdown.training.model_layers import order_of

    config = TRANSFORMER | dict(token_list=[*tiny.TOKENS[:-1], *SYMBOLS])
    names = order_of(build("s2t", config)).names
    encoder = ("encoder.embed", "encoder.0", "encoder.1", "encoder.2")
    assert names == (*encoder, "decoder.0", "decoder.1", "output")


def test_other_tasks_are_refused_by_name(espnet):
    from espnet_topdown.training.tasks import task_of

    message = "the task 'tts' is not trained top-down; valid: asr, lm, st, mt, slu, s2t"
    with pytest.raises(TopdownError, match=message):
        task_of("tts")


def test_every_task_that_configs_can_name_has_a_class(espnet):
    from espnet_topdown.training.tasks import TopdownTask, task_of

    assert all(issubclass(task_of(name), TopdownTask) for name in TASKS)


def test_espnets_own_training_tool_runs_a_phase_by_one_config(espnet, data, tmp_path):
    """``python3 -m espnet_topdown -m espnet2.bin.asr_train``, as asr.sh --python calls it."""
    from espnet_topdown.__main__ import main

    tool = ["-m", "espnet2.bin.asr_train"]
    main([*tool, *tiny.arguments(data, tmp_path / "base", dict(TRANSFORMER))])
    conf = dict(parent=str(tmp_path / "base"), cut="decoder")
    phase = TRANSFORMER | dict(seed=1000, topdown_conf=conf)
    main([*tool, *tiny.arguments(data, tmp_path / "p", phase)])
    assert (tmp_path / "p" / "topdown" / "proof.json").exists()


def train_rank(rank: int, store, arguments: list[str]) -> None:
    """One process of a data-parallel training; leaves its final weights in ``rank<N>.pth``."""
    from espnet_topdown.bin.train import main
    from espnet_topdown.training import phase_start
    from espnet_topdown.training.trainer import TopdownTrainer

    if rank > 0:
        # Averaging epochs and holding the result is work of the first rank.
        phase_start.read_parent = None
    run = TopdownTrainer.run.__func__

    def run_and_save(cls, **kwargs):
        run(cls, **kwargs)
        torch.save(kwargs["model"].state_dict(), store.with_name(f"rank{rank}.pth"))

    TopdownTrainer.run = classmethod(run_and_save)
    extra = ["--dist_backend", "gloo", "--dist_init_method", f"file://{store}"]
    extra += ["--dist_world_size", "2", "--dist_rank", str(rank)]
    main([*arguments, *extra, "--multiprocessing_distributed", "false"])
    torch.distributed.destroy_process_group()


def train_by_two(data, directory, config: dict[str, object]) -> list[int | None]:
    """Exit statuses of two processes that train one phase, whose ``store`` lies beside it."""
    context = multiprocessing.get_context("fork")
    store = directory.with_name("store")
    ranks = []
    for rank in (0, 1):
        arguments = tiny.command(data, directory, dict(config))
        ranks.append(context.Process(target=train_rank, args=(rank, store, arguments)))
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(120)
    return [process.exitcode for process in ranks]


def test_two_processes_train_one_phase_with_the_frozen_tensors_intact(
    espnet, data, train, tmp_path
):
    """On CPU (gloo): both ranks freeze before the model is wrapped, and rank 0 proves it.

    Rank 1 reads no parent: it gets rank 0's tensors.
    """
    base = train(tmp_path / "base", dict(TRANSFORMER))
    config = TRANSFORMER | dict(seed=1000, topdown_conf=dict(parent=str(base), cut="encoder.1"))
    assert train_by_two(data, tmp_path / "p", config) == [0, 0]
    one, two = load_state(tmp_path / "rank0.pth"), load_state(tmp_path / "rank1.pth")
    assert all(torch.equal(one[name], two[name]) for name in one)
    proof = json.loads((tmp_path / "p" / "topdown" / "proof.json").read_text())
    parent = load_state(base / "valid.acc.ave.pth")
    final = load_state(tmp_path / "p" / "2epoch.pth")
    assert all(torch.equal(final[name], parent[name]) for name in proof["frozen"])


def test_the_median_rule_ends_both_of_two_processes(espnet, data, tmp_path):
    """After the second epoch, and a rerun of what is proved ends at once."""
    bar = {"criterion": ["valid", "loss", "min"], "from_epoch": 2, "medians": [-1.0, -1.0, -1.0]}
    conf = dict(kind="restart", stop_early=bar)
    config = TRANSFORMER | dict(max_epoch=4, topdown_conf=conf)
    directory = tmp_path / "p"
    for _ in range(2):
        assert train_by_two(data, directory, config) == [0, 0]
        (tmp_path / "store").unlink(missing_ok=True)
        assert len(json.loads((directory / "topdown" / "epochs.json").read_text())) == 2
        assert (directory / "latest.pth").readlink() == Path("2epoch.pth")


def begin_training(tmp_path, data, *extra: str, **changes: object) -> list[str]:
    config = TRANSFORMER | dict(max_epoch=1) | changes
    return [*tiny.command(data, tmp_path / "exp", config), *extra]


@pytest.fixture
def espnets_worker(espnet, monkeypatch):
    """ESPnet's worker only says who holds the lock of its directory, and by which trainer."""
    from espnet2.tasks.abs_task import AbsTask

    calls = []

    def work(cls, args):
        lock = Path(args.output_dir) / LOCK
        calls.append((locks.holder(lock) is not None, cls.trainer.__name__, vars(args)))

    monkeypatch.setattr(AbsTask, "main_worker", classmethod(work))
    return calls


SLURM = dict(SLURM_NTASKS="2", SLURM_STEP_NUM_NODES="2", SLURM_STEP_NODELIST="a,b")
# Two nodes of one process each: how ESPnet's launcher tells them their rank.
NODES = {
    "slurm": (
        ["--multiprocessing_distributed", "true", "--dist_launcher", "slurm"],
        "SLURM_PROCID",
    ),
    "variables": (["--multiprocessing_distributed", "false"], "RANK"),
}


@pytest.mark.parametrize("launcher", NODES)
@pytest.mark.parametrize(("rank", "holds"), [("0", True), ("1", False)])
def test_of_two_nodes_the_first_alone_holds_the_lock(
    launcher, rank, holds, data, tmp_path, espnets_worker, monkeypatch
):
    from espnet_topdown.bin.train import main

    options, variable = NODES[launcher]
    for name, value in (SLURM | {"WORLD_SIZE": "2", "SLURM_NODEID": rank, variable: rank}).items():
        monkeypatch.setenv(name, value)
    conf = dict(parent=str(tmp_path), cut="decoder")
    main(begin_training(tmp_path, data, *options, topdown_conf=conf))
    assert [held for held, *_ in espnets_worker] == [holds]


def test_a_training_without_a_phase_holds_the_lock_too_and_its_config_is_espnets(
    data, tmp_path, espnets_worker
):
    from espnet_topdown.bin.train import main

    main(begin_training(tmp_path, data))
    ((held, trainer, options),) = espnets_worker
    assert (held, trainer) == (True, "TopdownTrainer")
    assert "topdown_conf" not in options


def test_a_refused_phase_leaves_the_config_of_what_is_in_its_directory(
    espnet, data, tmp_path, capsys, monkeypatch
):
    """Else its weights would be read by the refused one's config, and not all of them."""
    from espnet_topdown.bin.train import main
    from espnet_topdown.training.tasks import TopdownASRTask

    base, own, begun = (tmp_path / name / "exp" for name in ("base", "own", "begun"))
    main(begin_training(base.parent, data))
    main(begin_training(own.parent, data, seed=5))
    conf = dict(parent=str(base), cut="decoder", parent_model="1epoch.pth")
    phase = dict(topdown_conf=conf, seed=9000)
    main(begin_training(begun.parent, data, **phase))
    smaller = dict(encoder_conf=tiny.ENCODERS["transformer"] | dict(num_blocks=2))
    # Behind a link, as of a recipe that another shares.
    (own / "config.yaml").rename(tmp_path / "config.yaml")
    (own / "config.yaml").symlink_to(tmp_path / "config.yaml")
    refused = [
        (base, {}, f"the phase would be trained in {base}, which is its parent's directory"),
        (own, {}, "holds a training that is not this phase"),
        (begun, dict(seed=8000), "was begun with something else"),
        (begun, smaller, "does not fit"),
    ]
    for directory, changes, message in refused:
        before = (directory / "config.yaml").read_bytes()
        with pytest.raises(SystemExit):
            main(begin_training(directory.parent, data, **phase | changes))
        assert message in capsys.readouterr().err
        assert (directory / "config.yaml").read_bytes() == before
    assert (own / "config.yaml").is_symlink()
    # By ESPnet, after it has written its own.
    before = (begun / "config.yaml").read_bytes()
    monkeypatch.setattr(
        TopdownASRTask, "build_iter_factory", lambda *_, **__: Path("gone").read_text()
    )
    with pytest.raises(FileNotFoundError):
        main(begin_training(begun.parent, data, **phase | dict(seed=8000)))
    assert (begun / "config.yaml").read_bytes() == before


def test_a_conventional_training_leaves_a_finished_phase(data, tmp_path, capsys):
    from espnet_topdown.bin.train import main

    (tmp_path / "exp").mkdir()
    (tmp_path / "exp" / RECORD).write_text("{}")
    with pytest.raises(SystemExit):
        main(begin_training(tmp_path, data))
    assert "exp is finished (record.json is there)" in capsys.readouterr().err


def test_of_several_ranks_none_waits_for_another_training(
    data, tmp_path, espnets_worker, monkeypatch, capsys
):
    """The others would give up their first after ten minutes, with a trace of the network's."""
    from espnet_topdown.bin.train import main

    options, variable = NODES["variables"]
    for name, value in {"WORLD_SIZE": "2", variable: "0"}.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "exp/topdown").mkdir(parents=True)
    with locks.locked(tmp_path / "exp" / LOCK, "training"), pytest.raises(SystemExit):
        main(begin_training(tmp_path, data, *options))
    assert espnets_worker == []


@pytest.mark.parametrize("has_runner", [False, True])
def test_a_phase_without_a_runner_waits_for_who_trains_it(
    has_runner, data, tmp_path, espnets_worker, monkeypatch
):
    """A job that was preempted holds its lock a while after its end, to other machines."""
    from espnet_topdown.bin.train import main
    from espnet_topdown.training import tasks

    asked = []

    def locked(path: Path, what: str, *, waits: bool) -> contextlib.AbstractContextManager[None]:
        asked.append(waits)
        return contextlib.nullcontext()

    monkeypatch.setattr(tasks.locks, "locked", locked)
    if has_runner:
        (tmp_path / "exp/topdown").mkdir(parents=True)
        (tmp_path / "exp" / BEGUN).write_text("{}")
    conf = dict(parent=str(tmp_path), cut="decoder")
    main(begin_training(tmp_path, data, topdown_conf=conf))
    assert asked == [not has_runner]


@pytest.fixture
def wandb(espnet, monkeypatch):
    """Stands for Weights & Biases: what it was started with, and where it would go on."""
    from espnet2.tasks import abs_task

    started = []

    def init(**options: object) -> None:
        started.append(options | {"variable": os.environ.get("WANDB_RUN_ID")})

    module = types.ModuleType("wandb")
    config = SimpleNamespace(update=lambda args, **options: None)
    vars(module).update(login=lambda: None, init=init, config=config, run=None)
    vars(module).update(log=lambda *args, **kwargs: None)
    monkeypatch.setitem(sys.modules, "wandb", module)
    monkeypatch.setattr(abs_task, "wandb", module)
    return started


def test_a_phase_is_a_run_of_its_own_in_the_project_that_espnet_names(
    data, tmp_path, wandb, monkeypatch
):
    from espnet_topdown.bin.train import main

    # As a shell that trained the base may have left it.
    monkeypatch.setenv("WANDB_RUN_ID", "base")
    main(begin_training(tmp_path, data, use_wandb=True, wandb_name="x"))
    conf = dict(parent=str(tmp_path / "exp"), cut="decoder", parent_model="1epoch.pth")
    phase = begin_training(tmp_path / "c", data, use_wandb=True, topdown_conf=conf, seed=9000)
    main(phase)
    base, own = wandb
    assert (base["project"], base["name"], base["variable"]) == ("ESPnet_ASRTask", "x", "base")
    assert (own["project"], own["id"], own["variable"]) == ("ESPnet_ASRTask", None, None)
    # Where a phase that was interrupted finds itself again.
    assert own["dir"] == str(tmp_path / "c" / "exp")


def test_the_project_of_a_language_model_is_espnets_too(data, tmp_path, espnets_worker):
    from espnet_topdown.bin.train import main

    config = tiny.lm_config(use_wandb=True)
    main(tiny.command(data, tmp_path / "exp", config))
    ((_, _, options),) = espnets_worker
    assert options["wandb_project"] == "ESPnet_LMTask"


def test_deepspeed_trains_by_espnets_trainer_and_no_phase(data, tmp_path, espnets_worker, capsys):
    from espnet_topdown.bin.train import main
    from espnet_topdown.training.tasks import TopdownASRTask

    main(begin_training(tmp_path, data, use_deepspeed=True))
    assert [trainer for _, trainer, _ in espnets_worker] == ["Trainer"]
    assert TopdownASRTask.trainer.__name__ == "TopdownTrainer"
    conf = dict(parent=str(tmp_path), cut="decoder")
    with pytest.raises(SystemExit):
        main(begin_training(tmp_path, data, use_deepspeed=True, topdown_conf=conf))
    assert "topdown_conf and use_deepspeed exclude one another" in capsys.readouterr().err


@pytest.fixture
def workers_are_forked(monkeypatch):
    """ESPnet's workers are forked instead of spawned, so that they need no import of their own."""
    context = multiprocessing.get_context("fork")
    monkeypatch.setattr(torch.multiprocessing, "get_context", lambda kind: context)
    # Each would take a GPU of its own when the ranks meet.
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)


def test_what_a_worker_of_several_gpus_says_reaches_the_runner(
    espnet, data, tmp_path, workers_are_forked, capfd, monkeypatch
):
    from espnet_topdown.bin.train import main

    # By which messages name the program; under pytest-xdist it is -c.
    monkeypatch.setattr(sys, "argv", ["espnet-topdown"])
    conf = dict(parent=str(tmp_path), cut="decoder")
    words = begin_training(tmp_path, data, topdown_conf=conf)
    # The ranks meet before one of them refuses.
    words += ["--ngpu", "2", "--multiprocessing_distributed", "true", "--dist_backend", "gloo"]
    with locks.locked(tmp_path / "exp" / LOCK, "training"), pytest.raises(SystemExit) as ended:
        main(words)
    said = capfd.readouterr().err
    assert ended.value.code == 1
    (tmp_path / "exp" / "train.log").write_text(said)
    # By these words the runner knows that the phase gave way.
    reason = failure(tmp_path / "exp", 1)
    assert reason.startswith(f"{tmp_path}/exp/topdown {locks.IN_USE}: process {os.getpid()} on")
    assert "Traceback" not in said and "\n" not in reason


def test_a_worker_that_is_killed_is_told_by_its_signal(
    data, tmp_path, espnets_worker, workers_are_forked, capfd, monkeypatch
):
    from espnet2.tasks.abs_task import AbsTask

    from espnet_topdown.bin.train import main

    end = classmethod(lambda cls, args: os.kill(os.getpid(), signal.SIGKILL))
    monkeypatch.setattr(AbsTask, "main_worker", end)
    words = [*begin_training(tmp_path, data), "--ngpu", "2", "--multiprocessing_distributed"]
    with pytest.raises(SystemExit):
        main([*words, "true"])
    assert "of this training was killed by SIGKILL" in capfd.readouterr().err


@pytest.fixture(scope="module")
def base(espnet, data, tmp_path_factory):
    from espnet_topdown.bin.train import main

    directory = tmp_path_factory.mktemp("nodes") / "base"
    main(tiny.command(data, directory, dict(TRANSFORMER)))
    return directory


@pytest.fixture
def on_two_nodes(base, tmp_path, warm_process, monkeypatch):
    """Train a phase by ESPnet's launcher over stand-ins for slurm.pl and srun; on CPU, so by gloo.

    Returns the exit status of both.
    """
    nodes = Path(__file__).with_name("nodes")
    monkeypatch.setenv("PATH", str(nodes), prepend=":")
    config = Experiment.read(base).passed_on(TRANSFORMER | yaml_of(base)) | dict(seed=1000)
    phase = tmp_path / "phase1"
    launch = Launch(num_nodes=2, cmd=str(nodes / "slurm.pl"), python=str(nodes / "python"))

    def train(**changed):
        config["topdown_conf"] = dict(parent=str(base), cut="encoder.1")
        files.write_text(phase / "phase.yaml", yaml.safe_dump(config | changed))
        return start_training(launch, "asr", phase, threads=1, variables={}).wait(120)

    return train


def test_two_nodes_of_one_process_each_train_one_phase(on_two_nodes, tmp_path):
    phase = tmp_path / "phase1"
    assert on_two_nodes() == 0, failure(phase)
    assert (phase / "topdown" / "proof.json").exists()
    assert ":0/2] " in (phase / "train.log").read_text()
    # Nothing is left to do, and both know.
    last = (phase / "checkpoint.pth").stat().st_mtime_ns
    assert on_two_nodes() == 0, failure(phase)
    assert (phase / "checkpoint.pth").stat().st_mtime_ns == last


REFUSED = {
    "before the ranks meet": (dict(init_param=["gone.pth"]), "init_param gone.pth of the base"),
    "by the first rank, which reads the parent": (dict(seed=0), "seed 0"),
    "in training": (dict(accum_grad=1000), "accum_grad 1000 makes one step of so many"),
}


@pytest.mark.parametrize(("changed", "said"), REFUSED.values(), ids=REFUSED)
def test_what_one_rank_refuses_ends_all_with_one_message(on_two_nodes, tmp_path, changed, said):
    assert on_two_nodes(**changed) == 1
    log = (tmp_path / "phase1" / "train.log").read_text()
    assert log.count(": error: ") == 1 and "Traceback" not in log
    assert said in failure(tmp_path / "phase1")


def test_where_another_trains_the_second_rank_ends_with_the_first(on_two_nodes, tmp_path):
    with locks.locked(tmp_path / "phase1" / LOCK, "training"):
        assert on_two_nodes() == 1
    log = (tmp_path / "phase1" / "train.log").read_text()
    assert log.count(f"{locks.IN_USE}: process {os.getpid()}") == 1 and "Traceback" not in log


def yaml_of(experiment):
    return yaml.safe_load((experiment / "config.yaml").read_text())


class RunsCode:
    """Unpickled, it makes a directory."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_pretrained_file_that_would_run_code_is_refused_before_espnet_reads_it(
    data, tmp_path, espnets_worker, capsys
):
    from espnet_topdown.bin.train import main

    torch.save({"w": torch.zeros(1), "x": RunsCode(tmp_path / "ran")}, tmp_path / "pre.pth")
    conf = dict(parent=str(tmp_path), cut="decoder")
    params = [f"{tmp_path}/pre.pth:encoder:encoder"]
    with pytest.raises(SystemExit):
        main(begin_training(tmp_path, data, topdown_conf=conf, init_param=params))
    said = capsys.readouterr().err
    assert f"init_param {params[0]} of the base cannot be loaded as tensors alone" in said
    assert not (tmp_path / "ran").exists() and espnets_worker == []
    # As it advises.
    torch.save({"w": torch.zeros(1)}, tmp_path / "pre.pth")
    main(begin_training(tmp_path, data, topdown_conf=conf, init_param=params))
    assert len(espnets_worker) == 1
