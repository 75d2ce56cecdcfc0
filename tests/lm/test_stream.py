"""Streams by the real task: windows, perplexity as the literature counts it, frozen phases."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from recipe import DROPOUT

from espnet_topdown.errors import TopdownError
from espnet_topdown.experiment.config import Experiment


def test_columns_are_contiguous_and_windows_cover_them() -> None:
    from espnet_topdown.lm.bptt import BpttIterFactory, Windows

    factory = BpttIterFactory(torch.arange(23), 2, Windows(bptt=4), seed=None)
    batches = [batch for _, batch in factory.build_iter(1)]
    assert batches[0]["tokens"].tolist() == [[0, 11], [1, 12], [2, 13], [3, 14]]
    assert batches[0]["targets"].tolist() == [[1, 12], [2, 13], [3, 14], [4, 15]]
    assert [batch["reset"] for batch in batches] == [True, False, False]
    assert torch.cat([batch["targets"] for batch in batches])[:, 1].tolist() == list(range(12, 22))


def test_training_lengths_follow_the_recipe_and_the_epoch() -> None:
    from espnet_topdown.lm.bptt import BpttIterFactory, Windows

    factory = BpttIterFactory(torch.zeros(2_000_000, dtype=torch.long), 1, Windows(), seed=5)

    def drawn(epoch: int) -> np.ndarray:
        return np.array([round(batch["lr_scale"] * 70) for _, batch in factory.build_iter(epoch)])

    first = drawn(1)
    assert np.array_equal(first, drawn(1)) and not np.array_equal(first[:99], drawn(2)[:99])
    short = first < 52
    assert 0.045 < short.mean() < 0.055
    # int() rounds down: half a frame below the means 70 and 35.
    assert first[~short].mean() == pytest.approx(69.5, abs=0.15)
    assert first[short].mean() == pytest.approx(34.5, abs=0.5)
    assert first[~short].std() == pytest.approx(5, abs=0.1)
    assert first.min() >= 5


def test_a_stream_too_short_for_its_columns_is_refused() -> None:
    from espnet_topdown.lm.bptt import BpttIterFactory, Windows

    with pytest.raises(
        TopdownError, match="11 tokens in 4 columns has 2 tokens a column; at least 3"
    ):
        BpttIterFactory(torch.arange(11), 4, Windows(), seed=1)


@pytest.mark.parametrize("columns", [0, -2])
def test_a_number_of_columns_that_is_none_is_refused(columns: int) -> None:
    from espnet_topdown.lm.bptt import BpttIterFactory, Windows

    with pytest.raises(TopdownError, match=f"batch_size must be a whole number > 0, not {columns}"):
        BpttIterFactory(torch.arange(11), columns, Windows(), seed=1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(iterator_type="sequence"), "iterator_type must be task, not 'sequence'"),
        (dict(optim="sgd", optim_conf={}), "optim must be nt_asgd"),
        (
            dict(accum_grad=2, init="xavier_uniform"),
            "(?s)accum_grad must be 1 .*init must be left out",
        ),
        (dict(bptt_conf=dict(lenght=3)), "bptt_conf: unknown key 'lenght'.*valid: bptt, sigma"),
        (dict(train_dtype="bfloat16"), "train_dtype must be float32 or float64"),
        (dict(multiple_iterator=True), "multiple_iterator must be false"),
        (dict(lm_conf=dict(rnn_type="gru")), "lm_conf: unknown key 'rnn_type'.*valid: unit, nhid"),
        (
            dict(model_conf=dict(gamma=1)),
            "model_conf: unknown key 'gamma'; valid: ignore_id, alpha",
        ),
        (dict(optim_conf=dict(lr=1.0, momentum=0.9)), "optim_conf: unknown key 'momentum'"),
        (dict(model="lm"), "iterator_type task is that of --model lm_stream; leave it out"),
        (
            dict(model="lm", lm="transformer", lm_conf={}, iterator_type="sequence"),
            "its batches are made by shape files .*, and there are none",
        ),
        (
            dict(num_iters_per_epoch=3),
            r"num_iters_per_epoch must be left out \(an epoch is the whole stream",
        ),
        (
            dict(token_type="char", cleaner="tacotron"),
            "(?s)token_type must be word .*cleaner must be left out",
        ),
        (
            dict(dist_world_size=2, dist_rank=0),
            r"dist_world_size must be 1 \(a stream is trained by one process\), not 2",
        ),
    ],
)
def test_settings_that_would_train_something_else_are_refused(
    tmp_path: Path, train: Callable[..., object], changes: dict, message: str
) -> None:
    with pytest.raises(TopdownError, match=message):
        train(tmp_path / "exp", **changes)
    assert not (tmp_path / "exp/config.yaml").exists()


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"use_amp": True}, "model lm_stream: use_amp must be false (the softmax makes its own"),
        ({"accum_grad": 2}, "model lm_stream: accum_grad must be 1"),
        ({"batch_size": 4000}, "tokens in 4000 columns has 0 tokens a column"),
        ({"valid_batch_size": 1000}, "tokens in 1000 columns has 0 tokens a column"),
        ({}, None),
    ],
)
def test_a_plan_refuses_what_a_stream_is_not_trained_with(
    changes: dict, fault: str | None, trained: Path
) -> None:
    from espnet_topdown.bin.phase_check import faults
    from espnet_topdown.training.tasks import task_of

    parser = task_of("lm").get_parser()
    base = Experiment.read(trained).passed_on([action.dest for action in parser._actions])
    conf = {"parent": str(trained), "cut": "output", "kind": "top_down"}
    phase = {"name": "p", "config": base | changes | {"topdown_conf": conf}, "changed": [*changes]}
    said = faults(task_of("lm"), [phase])["p"]
    assert fault in said[0] if fault else not said


def test_several_gpus_are_refused_with_the_reason() -> None:
    from espnet_topdown.training.tasks import TopdownLMTask

    command = (
        "--model lm_stream --iterator_type task --optim nt_asgd --ngpu 2 --output_dir exp"
        " --token_list tokens.txt"
    )
    args = TopdownLMTask.get_parser().parse_args(command.split())
    with pytest.raises(
        TopdownError, match=r"ngpu must be 0 or 1 \(the state of a stream cannot be split over GPUs"
    ):
        TopdownLMTask.check_required_command_args(args)


@pytest.mark.parametrize("option", ["--dry_run", "--collect_stats"])
def test_what_makes_no_batches_needs_no_shape_files(option: str) -> None:
    from espnet_topdown.training.tasks import TopdownLMTask

    command = f"--lm transformer --output_dir exp --token_list tokens.txt {option} true"
    args = TopdownLMTask.get_parser().parse_args(command.split())
    TopdownLMTask.check_required_command_args(args)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, train: Callable[..., object]) -> Path:
    """An experiment of two epochs."""
    directory = tmp_path_factory.mktemp("trained")
    train(directory, max_epoch=2, lm_conf=DROPOUT)
    return directory


def test_stream_perplexity_is_one_column_over_every_token_but_the_first(
    trained: Path, corpus: Path, tmp_path: Path
) -> None:
    from espnet_topdown.bin import perplexity

    model_file = trained / "valid.loss.best.pth"
    text = corpus / "test/text"
    command = ["--model_file", str(model_file), "--text", str(text), "--window", "7"]
    perplexity.main([*command, "--kind", "both", "--output", str(tmp_path / "out.json")])
    stream, line = json.loads((tmp_path / "out.json").read_text())
    model, tokens = perplexity.load_model(model_file)
    rows = [row.split()[1:] for row in text.read_text().splitlines()]
    ids = torch.tensor([tokens.index(w) for words in rows for w in [*words, "<eos>"]])
    with torch.no_grad():
        log_p = model.lm(ids[None, :-1], None)[0].log_softmax(-1)[0]
        nll = -log_p.gather(1, ids[1:, None]).mean().item()
        eos = len(tokens) - 1
        lines = []
        for words in filter(None, rows):
            lines.append(torch.tensor([eos, *map(tokens.index, words), eos]))
        sums = [line_nll(model, one) for one in lines]
    assert stream["targets"] == len(ids) - 1 and stream["nll"] == pytest.approx(nll, rel=1e-5)
    assert stream["perplexity"] == pytest.approx(math.exp(nll), rel=1e-5)
    assert line["targets"] == sum(len(one) - 1 for one in lines) < stream["targets"]
    assert line["nll"] == pytest.approx(sum(sums) / line["targets"], rel=1e-4)


def test_a_perplexity_that_no_float_holds_is_infinite() -> None:
    from espnet_topdown.bin.perplexity import Perplexity

    diverged = Perplexity(text="t", kind="stream", targets=3, nll=1234.5)
    assert str(diverged) == "t: stream perplexity inf (3 targets, 1234.50000 nats each)"


def test_lines_at_a_time_are_few_where_the_logits_would_not_fit(
    trained: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from espnet2.bin import lm_calc_perplexity

    from espnet_topdown.bin import perplexity

    # WikiText-2, its longest line and <eos>.
    assert perplexity.lines_at_a_time(700, 33_278) == 5
    assert perplexity.lines_at_a_time(20_000, 33_278) == 1
    words = ["--model_file", str(trained / "valid.loss.best.pth"), "--kind", "line"]
    options = perplexity.get_parser().parse_args([*words, "--text", str(corpus / "test/text")])
    given = []

    def calculate(cmd: list[str]) -> None:
        given.append(cmd[cmd.index("--batch_size") + 1])
        main(cmd)

    main = lm_calc_perplexity.main
    monkeypatch.setattr(lm_calc_perplexity, "main", calculate)
    (all_at_once,) = perplexity.measure(options)
    # The longest line is that of all 17 words; 19 are in the vocabulary.
    monkeypatch.setattr(perplexity, "LOGITS", 3 * 18 * 19)
    (three_at_a_time,) = perplexity.measure(options)
    assert given == ["100", "3"]
    assert three_at_a_time.targets == all_at_once.targets
    assert three_at_a_time.nll == pytest.approx(all_at_once.nll, rel=1e-6)


def test_a_line_whose_logits_memory_would_not_hold_costs_nothing_else(
    trained: Path, corpus: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    from espnet_topdown.bin import perplexity

    # The longest line has 17 words and an id; 19 are in the vocabulary.
    monkeypatch.setattr(perplexity, "_available_bytes", lambda: 12 * 18 * 19 - 1)
    text = str(corpus / "test/text")
    command = ["--model_file", str(trained / "valid.loss.best.pth"), "--text", text, "--kind"]
    perplexity.main([*command, "both", "--output", str(tmp_path / "out.json")])
    said = f"{text}: no per-line perplexity: a line of it has up to 18 tokens"
    assert f"note: {said}" in capsys.readouterr().out
    (row,) = json.loads((tmp_path / "out.json").read_text())
    assert row["kind"] == "stream"
    with pytest.raises(SystemExit, match="1"):
        perplexity.main([*command, "line"])
    assert said in capsys.readouterr().err
    monkeypatch.undo()
    assert 1e6 < perplexity._available_bytes() < math.inf
    (tmp_path / "empty").touch()
    command[command.index(text)] = str(tmp_path / "empty")
    with pytest.raises(SystemExit, match="1"):
        perplexity.main([*command, "line"])
    assert "the file is empty" in capsys.readouterr().err


def test_what_was_measured_is_not_measured_again(
    trained: Path, corpus: Path, tmp_path: Path, capsys, monkeypatch
) -> None:
    """Until the model, a text, an option or the result itself changes."""
    from espnet_topdown.bin import perplexity

    model, text, output = tmp_path / "valid.loss.best.pth", tmp_path / "text", tmp_path / "p.json"
    shutil.copy(trained / model.name, model)
    shutil.copy(corpus / "test/text", text)
    config = str(trained / "config.yaml")
    command = ["--model_file", str(model), "--train_config", config, "--text", str(text)]
    command += ["--output", str(output)]
    measured = []

    def measure(options: object) -> list[object]:
        measured.append(perplexity_of(options))
        return measured[-1]

    perplexity_of = perplexity.measure
    monkeypatch.setattr(perplexity, "measure", measure)
    perplexity.main(command)
    first = capsys.readouterr().out
    perplexity.main(command)
    again = capsys.readouterr().out.splitlines()
    assert len(measured) == 1
    assert again == [
        f"{output}: measured already by this model, these texts and options",
        *first.splitlines(),
    ]
    shutil.copy(trained / "1epoch.pth", model)
    perplexity.main(command)
    text.write_text(text.read_text() + text.read_text().splitlines()[0] + "\n")
    perplexity.main(command)
    perplexity.main([*command, "--window", "7"])
    output.write_text("[")
    perplexity.main([*command, "--window", "7"])
    assert len(measured) == 5
    assert json.loads(output.read_text())[0]["nll"] == measured[-1][0].nll


def line_nll(model: torch.nn.Module, ids: torch.Tensor) -> float:
    """Summed negative log likelihood of one sentence from a zero state."""
    log_p = model.lm(ids[None, :-1], None)[0].log_softmax(-1)[0]
    return -log_p.gather(1, ids[1:, None]).sum().item()


def test_weights_of_another_vocabulary_are_refused(
    trained: Path, corpus: Path, tmp_path: Path
) -> None:
    from espnet_topdown.bin import perplexity

    weights = torch.load(trained / "valid.loss.best.pth", weights_only=True)
    weights["lm.decoder.bias"] = weights["lm.decoder.bias"][:-1]
    torch.save(weights, tmp_path / "bad.pth")
    with pytest.raises(TopdownError, match=r"lm.decoder.bias is \(18,\), the config needs \(19,\)"):
        perplexity.load_model(tmp_path / "bad.pth", trained / "config.yaml")
    (tmp_path / "text").write_text("u1 w1 nosuchword\n")
    with pytest.raises(SystemExit, match="1"):
        perplexity.main(
            ["--model_file", str(trained / "valid.loss.best.pth"), "--text", str(tmp_path / "text")]
        )


def test_a_training_is_not_resumed_with_another_vocabulary(
    trained: Path, corpus: Path, tmp_path: Path, train: Callable[..., object]
) -> None:
    """Of another size or only in another order; config.yaml stays what it was."""
    exp = Path(shutil.copytree(trained, tmp_path / "exp", symlinks=True))
    before = (exp / "config.yaml").read_bytes()
    words = (corpus / "tokens.txt").read_text().splitlines()
    for changed, place in (
        ([words[1], words[0], *words[2:]], 1),
        ([*words[:-1], "w99", words[-1]], len(words)),
    ):
        (tmp_path / "tokens.txt").write_text("".join(f"{word}\n" for word in changed))
        with pytest.raises(
            TopdownError,
            match=f"vocabulary of {len(words)} words, .* differs from entry {place} on",
        ):
            train(exp, max_epoch=3, lm_conf=DROPOUT, token_list=str(tmp_path / "tokens.txt"))
    assert (exp / "config.yaml").read_bytes() == before


def test_texts_of_another_preparation_are_refused(
    trained: Path, corpus: Path, tmp_path: Path, capsys
) -> None:
    from espnet_topdown.bin import perplexity

    (tmp_path / "tokens.txt").write_text("a\n<unk>\n<eos>\n")
    (tmp_path / "strange").write_text("u1 w1 nosuchword\n")
    (tmp_path / "blank").write_text("u1\nu2\n")
    (tmp_path / "twice").write_text("u1 w1\nu1 w2\n")
    command = ["--model_file", str(trained / "valid.loss.best.pth"), "--text"]
    for words, said in (
        (
            [str(corpus / "test/text"), "--token_list", str(tmp_path / "tokens.txt")],
            "tokens.txt (3 words) is not the vocabulary",
        ),
        (
            [str(tmp_path / "strange"), "--kind", "line"],
            "words outside the vocabulary of 19: 1 (nosuchword)",
        ),
        ([str(tmp_path / "blank"), "--kind", "line"], "nothing but blank lines (2)"),
        ([str(tmp_path / "twice"), "--kind", "line"], f"{tmp_path / 'twice'}, line 2: 'u1' is on"),
        ([str(corpus / "test/text"), "--window", "0"], "--window must be a whole number > 0"),
        ([str(corpus / "test/text"), "--batch_size", "-3"], "--batch_size must be a whole"),
    ):
        with pytest.raises(SystemExit, match="1"):
            perplexity.main([*command, *words])
        assert said in capsys.readouterr().err


def test_inference_tools_run_by_us_know_our_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """As ``asr.sh --python "python3 -m espnet_topdown"`` calls them."""
    import runpy

    from espnet2.tasks.lm import lm_choices

    from espnet_topdown.__main__ import run_module

    known: list[bool] = []
    monkeypatch.setattr(
        runpy, "run_module", lambda *_, **__: known.append("awd_lstm" in lm_choices.classes)
    )
    monkeypatch.setattr("sys.argv", ["espnet_topdown"])
    for tool in (
        "espnet2.bin.tokenize_text",
        "espnet2.bin.asr_inference",
        "espnet2.bin.lm_calc_perplexity",
    ):
        lm_choices.classes.pop("awd_lstm", None)
        run_module([tool])
    assert known == [False, True, True]


@pytest.mark.parametrize("tied", ["untie_draw", "untie_copy"])
def test_an_untied_embedding_trains_below_a_frozen_softmax(
    tmp_path: Path, trained: Path, train: Callable[..., object], tied: str
) -> None:
    phase = dict(parent=str(trained), cut="output", parent_model="valid.loss.best.pth", tied=tied)
    train(tmp_path / "exp", max_epoch=1, lm_conf=DROPOUT, seed=1003, topdown_conf=phase)
    parent = torch.load(trained / "valid.loss.best.pth", weights_only=True)
    child = torch.load(tmp_path / "exp/1epoch.pth", weights_only=True)
    assert torch.equal(parent["lm.decoder.weight"], child["lm.decoder.weight"])
    assert not torch.equal(parent["lm.encoder.weight"], child["lm.encoder.weight"])
    config = yaml.safe_load((tmp_path / "exp/config.yaml").read_text())
    assert config["lm_conf"]["tie_weights"] is False


def test_a_phases_own_text_is_read_before_any_phase_trains(
    tmp_path: Path, trained: Path, corpus: Path
) -> None:
    from espnet_topdown.bin.phase_check import faults
    from espnet_topdown.training.tasks import task_of

    config = yaml.safe_load((trained / "train.yaml").read_text())
    conf = dict(parent=str(trained), cut="output", parent_model="valid.loss.best.pth")
    config |= dict(token_list=str(corpus / "tokens.txt"), topdown_conf=conf)
    text = tmp_path / "text"
    for line, said in (
        ("line1 w1 zzz", f"{text}: words outside the vocabulary of 19: 1 (zzz)"),
        ("line1 w1 w2", "a stream of 3 tokens in 4 columns has 0 tokens a column"),
    ):
        text.write_text(f"{line}\n")
        for part, path in (("train", text), ("valid", corpus / "valid/text")):
            config[f"{part}_data_path_and_name_and_type"] = [[str(path), "text", "text"]]
        phase = dict(name="phase1", config=config, changed=[], has_own_data=True)
        (fault,) = faults(task_of("lm"), [phase])["phase1"]
        assert fault.startswith(said)


class Stopped(Exception):
    """A training was killed."""


def stop_after(epochs: int, patch: pytest.MonkeyPatch) -> None:
    """Let trainings die before the epoch after so many."""
    from espnet2.train.trainer import Trainer

    train_one_epoch = Trainer.train_one_epoch

    def train_or_stop(*args: object, **kwargs: Any) -> bool:
        if kwargs["reporter"].get_epoch() > epochs:
            raise Stopped
        return train_one_epoch(*args, **kwargs)

    patch.setattr(Trainer, "train_one_epoch", train_or_stop)


@pytest.mark.parametrize("kind", ["top_down", "slow"])
def test_a_resumed_phase_ends_bit_identical(
    tmp_path: Path, trained: Path, train: Callable[..., object], kind: str
) -> None:
    """While averaging, killed between any two epochs."""
    conf = dict(lr=20.0, weight_decay=1e-2, averaging=True)
    phase = dict(parent=str(trained), cut="output", parent_model="valid.loss.best.pth", kind=kind)
    options = dict(lm_conf=DROPOUT, seed=1003, optim_conf=conf, topdown_conf=phase)
    train(tmp_path / "whole", max_epoch=3, **options)
    for stop in (1, 2):
        with pytest.MonkeyPatch.context() as patch:
            stop_after(stop, patch)
            with pytest.raises(Stopped):
                train(tmp_path / f"stop{stop}", max_epoch=3, **options)
        train(tmp_path / f"stop{stop}", max_epoch=3, **options)
        whole = torch.load(tmp_path / "whole/3epoch.pth", weights_only=True)
        resumed = torch.load(tmp_path / f"stop{stop}/3epoch.pth", weights_only=True)
        assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_the_median_rule_ends_a_phase_that_averages(
    tmp_path: Path, trained: Path, train: Callable[..., object]
) -> None:
    """Two of four epochs, which are those of a training of two."""
    conf = dict(lr=20.0, weight_decay=1e-2, averaging=True)
    phase = dict(parent=str(trained), cut="output", parent_model="valid.loss.best.pth")
    options = dict(lm_conf=DROPOUT, seed=1003, optim_conf=conf)
    bar = {"criterion": ["valid", "loss", "min"], "from_epoch": 2, "medians": [-1.0, -1.0, -1.0]}
    train(tmp_path / "ended", max_epoch=4, topdown_conf=phase | {"stop_early": bar}, **options)
    train(tmp_path / "two", max_epoch=2, topdown_conf=phase, **options)
    proofs = []
    for name in ("ended", "two"):
        proof = json.loads((tmp_path / name / "topdown" / "proof.json").read_text())
        proofs.append(proof["files"] | {"frozen": proof["frozen"], "checkpoint.pth": None})
    assert proofs[0] == proofs[1]


def test_a_frozen_softmax_and_embedding_survive_averaging_in_a_real_training(
    tmp_path: Path, trained: Path, train: Callable[..., object]
) -> None:
    """A phase of a cascade through the real trainer, the averages in its last model file."""
    conf = dict(lr=20.0, weight_decay=1e-2, averaging=True)
    phase = dict(parent=str(trained), cut="output", parent_model="valid.loss.best.pth")
    options = dict(lm_conf=DROPOUT, seed=1003, optim_conf=conf, topdown_conf=phase)
    train(tmp_path / "exp", max_epoch=3, **options)
    parent = torch.load(trained / "valid.loss.best.pth", weights_only=True)
    child = torch.load(tmp_path / "exp/3epoch.pth", weights_only=True)
    checkpoint = torch.load(tmp_path / "exp/checkpoint.pth", weights_only=False)
    states = checkpoint["optimizers"][0]["state"].values()
    kept = {name for name in child if torch.equal(parent[name], child[name])}
    assert kept == {"lm.encoder.weight", "lm.decoder.weight", "lm.decoder.bias"}
    # Four tensors of each of the three LSTMs.
    assert len(states) == 12
    assert all("raw" in state for state in states)


def test_a_slow_softmax_is_averaged_too_and_steps_at_its_factor(
    tmp_path: Path, trained: Path, train: Callable[..., object]
) -> None:
    """The matrix is the embedding's too; the rate of each window's step is scaled by its length."""
    phase = dict(parent=str(trained), cut="output", parent_model="valid.loss.best.pth")
    phase |= dict(kind="slow", kept_lr=0.25)
    conf = dict(lr=20.0, weight_decay=1e-2, averaging=True)
    train(
        tmp_path / "exp",
        max_epoch=2,
        lm_conf=DROPOUT,
        seed=1003,
        optim_conf=conf,
        topdown_conf=phase,
    )
    checkpoint = torch.load(tmp_path / "exp/checkpoint.pth", weights_only=False)
    optimiser = checkpoint["optimizers"][0]
    assert [group.get("kept_lr") for group in optimiser["param_groups"]] == [None, 0.25]
    # Four tensors of each of the three LSTMs, the matrix and its bias.
    assert len(optimiser["state"]) == 14
    assert all("raw" in state for state in optimiser["state"].values())
    rows = json.loads((tmp_path / "exp/topdown/epochs.json").read_text())
    assert [row["train"]["optim0_lr1"] for row in rows] == [5.0, 5.0]


def test_stock_per_line_model_trains_with_our_names_registered(
    tmp_path: Path, corpus: Path
) -> None:
    """--model lm with --lm awd_lstm: ESPnet2's own iterator and loss over lines, by our command."""
    from espnet_topdown.lm import data
    from espnet_topdown.training.tasks import TopdownLMTask

    data.write_without_blanks(corpus / "train/text", tmp_path / "text")
    shapes = []
    for row in (tmp_path / "text").read_text().splitlines():
        name, *words = row.split()
        shapes.append(f"{name} {len(words)}\n")
    (tmp_path / "shape").write_text("".join(shapes))
    config = dict(lm="awd_lstm", lm_conf=dict(unit=4, nhid=5), token_type="word", optim="adam")
    config |= dict(max_epoch=1, batch_type="unsorted", batch_size=8, num_workers=0, ngpu=0)
    config |= dict(best_model_criterion=[["valid", "loss", "min"]])
    config |= dict(use_matplotlib=False, use_tensorboard=False)
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(config))
    command = ["--config", str(tmp_path / "train.yaml"), "--output_dir", str(tmp_path / "exp")]
    command += ["--token_list", str(corpus / "tokens.txt")]
    for part in ("train", "valid"):
        command += [f"--{part}_data_path_and_name_and_type", f"{tmp_path / 'text'},text,text"]
        command += [f"--{part}_shape_file", str(tmp_path / "shape")]
    TopdownLMTask.main(cmd=command)
    assert (tmp_path / "exp/1epoch.pth").exists()
