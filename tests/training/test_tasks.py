"""Every task: its layers, a tiny phase, and the swap of one config into ESPnet's own tools."""

import itertools
import json
import multiprocessing

import pytest
import tiny
import torch
import yaml
from models import build

from espnet_topdown.errors import TopdownError
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


def test_two_processes_train_one_phase_with_the_frozen_tensors_intact(
    espnet, data, train, tmp_path
):
    """On CPU (gloo): both ranks freeze before the model is wrapped, and rank 0 proves it.

    Rank 1 reads no parent: it gets rank 0's tensors.
    """
    base = train(tmp_path / "base", dict(TRANSFORMER))
    config = TRANSFORMER | dict(seed=1000, topdown_conf=dict(parent=str(base), cut="encoder.1"))
    context = multiprocessing.get_context("fork")
    ranks = []
    for rank in (0, 1):
        arguments = tiny.command(data, tmp_path / "p", dict(config))
        ranks.append(context.Process(target=train_rank, args=(rank, tmp_path / "store", arguments)))
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(120)
    assert [process.exitcode for process in ranks] == [0, 0]
    one, two = load_state(tmp_path / "rank0.pth"), load_state(tmp_path / "rank1.pth")
    assert all(torch.equal(one[name], two[name]) for name in one)
    proof = json.loads((tmp_path / "p" / "topdown" / "proof.json").read_text())
    parent = load_state(base / "valid.acc.ave.pth")
    final = load_state(tmp_path / "p" / "2epoch.pth")
    assert all(torch.equal(final[name], parent[name]) for name in proof["frozen"])
