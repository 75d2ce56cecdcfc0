"""What would end a phase later is refused before the first."""

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import tiny
from cascades import PLAN, copied, fails, words

from espnet_topdown import warm
from espnet_topdown.cascade import espnet_answers
from espnet_topdown.cascade.cascade import Cascade
from espnet_topdown.cascade.checks import model_file
from espnet_topdown.cascade.checks import phase as phase_check
from espnet_topdown.cascade.model_facts import ModelFacts
from espnet_topdown.cli import main
from espnet_topdown.errors import TopdownError
from espnet_topdown.plan.expansion import expand
from espnet_topdown.plan.plan import Phase
from espnet_topdown.plan.plan_file import parse_plan

LAYERS = [("embed", 90, {"output": 90}), ("rnn.0", 30, {}), ("rnn.1", 30, {}), ("output", 10, {})]

# Of 5 steps an epoch.
CONFIG = {
    **{"max_epoch": 4, "accum_grad": 2},
    **{"scheduler": "onecyclelr", "scheduler_conf": {"max_lr": 0.1, "total_steps": 21}},
    **{"best_model_criterion": [["valid", "acc", "max"]], "keep_nbest_models": [3, 10]},
    "early_stopping_criterion": ["valid", "cer", "min"],
}


def own_faults(plan: str, *, tied: bool = True) -> list[str]:
    """Faults that need no ESPnet, of a plan for a language model."""
    rows = []
    for name, count, ties in [*LAYERS[:-1], ("output", 10, {"embed": 90})]:
        row = {"name": name, "parameters": count, "tied_to": ties if tied else {}}
        rows.append(row)
    # 10 batches an epoch.
    epochs = []
    for epoch in (1, 2):
        trained = {"loss": 2.0, "total_count": 10.0 * epoch}
        measured = {"loss": 3.0, "acc": 0.5, "cer": float("nan"), "time": 2.0}
        epochs.append({"epoch": epoch, "train": trained, "valid": measured})
    facts = ModelFacts({"layers": rows, "epochs": epochs})
    phases = expand(parse_plan(plan), facts.names, 0, held=facts.held_from_above())
    by_name = {phase.name: phase for phase in phases}
    cascade = SimpleNamespace(
        facts=facts,
        phases=phases,
        phase=by_name.get,
        base=SimpleNamespace(config=CONFIG),
        max_epoch=lambda phase: phase.train.get("max_epoch", CONFIG["max_epoch"]),
        phase_model_name=parse_plan(plan).parent_model or "valid.acc.ave.pth",
    )
    return [*phase_check._told({one.name: phase_check._faults(cascade, one) for one in phases})]


@pytest.mark.parametrize(
    ("plan", "fault"),
    [
        (
            "phases: [{cut: output, tied: untie_draw}, {cut: rnn.1}]",
            "phase2: its parent phase1 has a matrix for each of the tied layers (untie_draw)",
        ),
        (
            "phases: [{cut: output, tied: untie_copy}, {cut: rnn.1, parent: best}]",
            "phase2: its parent phase1 has a matrix for each of the tied layers (untie_copy)",
        ),
        (
            "phases: [{cut: output, tied: untie_draw}, {control: continue, parent: phase1}]",
            None,
        ),
        (
            "phases: [{kind: thaw, tied: untie_draw}]",
            (
                "phase1: 'tied: untie_draw' draws a matrix for embed, which this phase keeps; give"
                " 'tied: untie_copy', or draw embed"
            ),
        ),
        (
            "phases: [{keep: [embed, output], tied: untie_draw}]",
            "phase1: 'tied: untie_draw' draws a matrix for embed, which this phase keeps",
        ),
        (
            "phases: [{cut: output, train: {early_stopping_criterion: [valid, accc, max]}}]",
            (
                "phase1: train.early_stopping_criterion ['valid', 'accc', 'max']: the base reports"
                " no such metric; valid: train loss, valid acc, valid loss"
            ),
        ),
        (
            "phases: [{cut: output, train: {val_scheduler_criterion: [valid, cer]}}]",
            "phase1: train.val_scheduler_criterion ['valid', 'cer']: the base reports no such",
        ),
        (
            "phases: [{cut: output, train: {patience: 1}}]",
            "phase1: train.early_stopping_criterion ['valid', 'cer', 'min']: the base reports no",
        ),
        (
            "{parent_model: valid.acc.ave_10best.pth, phases: [{cut: output}]}",
            (
                "phase1: it would write no valid.acc.ave_10best.pth, the model that parents are"
                " taken from; give parent_model (or dev_criterion) of one of valid.acc.ave.pth,"
                " valid.acc.best.pth, valid.acc.ave_3best.pth"
            ),
        ),
        (
            "{parent_model: valid.acc.ave_3best.till4epoch.pth, phases: [{cut: output}]}",
            "phase1: it would write no valid.acc.ave_3best.till4epoch.pth",
        ),
        (
            "{parent_model: valid.loss.ave.pth, phases: [{cut: output}]}",
            "phase1: it would write no valid.loss.ave.pth",
        ),
        (
            "phases: [{cut: output, train: {early_stopping_criterion: [valid, null, min]}}]",
            "phase1: train.early_stopping_criterion ['valid', None, 'min']: the base reports no",
        ),
        (
            "phases: [{cut: output}, {cut: rnn.1, train: {max_epoch: 5}}]",
            "phase2: scheduler onecyclelr ends after 21 steps, and 5 epochs of 5 steps are",
        ),
        (
            "phases: [{cut: output, train: {scheduler_conf: {max_lr: 0.1, total_steps: 19}}}]",
            "phase1: scheduler onecyclelr ends after 19 steps, and 4 epochs of 5 steps are",
        ),
        (
            (
                "phases: [{cut: output, train: {scheduler_conf:"
                " {max_lr: 0.1, epochs: 3, steps_per_epoch: 5}}}]"
            ),
            "phase1: scheduler onecyclelr ends after 15 steps, and 4 epochs of 5 steps are",
        ),
        (
            "phases: [{cut: output, train: {num_iters_per_epoch: 13}}]",
            "phase1: scheduler onecyclelr ends after 21 steps, and 4 epochs of 6 steps are",
        ),
        (
            "phases: [{cut: output, train: {scheduler: noamlr, optim_conf: {lr: 0.0}}}]",
            "phase1: its learning rate is 0 (optim_conf: lr), by which nothing is trained",
        ),
    ],
)
def test_what_the_facts_of_the_model_tell(plan: str, fault: str | None) -> None:
    faults = own_faults(plan)
    if fault is None:
        assert not faults
    else:
        (said,) = faults
        assert said.startswith(fault)


@pytest.mark.parametrize(
    "plan",
    [
        "phases: [{cut: output}, {cut: rnn.1}]",
        "phases: [{cut: rnn.0, tied: untie_draw}]",
        "{tied: untie_draw, phases: [{cut: output}, {cut: rnn.1}]}",
        "phases: [{cut: output, tied: untie_draw}, {cut: rnn.1, parent: phase0}]",
        "phases: [{kind: thaw, tied: untie_copy}]",
        "{tied: untie_draw, phases: [{cut: output}, {kind: thaw}, {control: continue}]}",
        "phases: [{cut: output, train: {early_stopping_criterion: [valid, acc, max]}}]",
        "phases: [{cut: output, train: {patience: none}}]",
        "phases: [{cut: output, train: {max_epoch: 9, scheduler: noamlr}}]",
        "phases: [{cut: output, train: {optim_conf: {lr: 0}}}]",
        (
            "phases: [{cut: output, train: {optim_conf: {lr: 0}, scheduler: CosineAnnealingLR,"
            " scheduler_conf: {T_max: 9, eta_min: 0.1}}}]"
        ),
        "{parent_model: valid.acc.ave_3best.pth, phases: [{cut: output}]}",
        "{parent_model: 4epoch.pth, phases: [{cut: output}]}",
        "phases: [{cut: output, train: {max_epoch: 9, batch_size: 99}}]",
        "phases: [{cut: output, train: {max_epoch: 9, num_iters_per_epoch: 5}}]",
        (
            "phases: [{cut: output, train: {scheduler_conf:"
            " {max_lr: 0.1, epochs: 4, steps_per_epoch: 5}}}]"
        ),
    ],
)
def test_what_can_be_trained_is_not_refused(plan: str) -> None:
    assert not own_faults(plan)


def test_of_chunks_the_iterations_of_an_epoch_are_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CONFIG, "iterator_type", "chunk")
    assert not own_faults("phases: [{cut: output, train: {num_iters_per_epoch: 99}}]")


@pytest.mark.parametrize("tied", ["untie_draw", "untie_copy"])
def test_what_is_not_tied_is_not_untied(tied: str) -> None:
    (fault,) = own_faults(f"phases: [{{cut: output, tied: {tied}}}]", tied=False)
    assert fault == (
        f"phase1: 'tied: {tied}' unties nothing: no weights of the base are tied; leave it out"
    )


def test_every_stops_where_a_tied_matrix_alone_would_be_drawn() -> None:
    plan = parse_plan("phases: [{cut: output}, {every: 1}]")
    untied = parse_plan("{tied: untie_draw, phases: [{cut: output}, {every: 1}]}")
    names = tuple(name for name, *_ in LAYERS)
    cuts = {
        "tied": [phase.cut for phase in expand(plan, names, 0, held=("embed",))],
        "of its own": [phase.cut for phase in expand(plan, names, 0)],
        "untied": [phase.cut for phase in expand(untied, names, 0, held=("embed",))],
    }
    lower = ["output", "rnn.1"]
    assert cuts == {"tied": lower, "of its own": [*lower, "rnn.0"], "untied": [*lower, "rnn.0"]}


OPTIONS = {
    "text for a number": ({"batch_size": "big"}, "argument --batch_size: invalid int value: 'big'"),
    "half a number": ({"batch_size": 2.5}, "train.batch_size must be int, not 2.5"),
    "null for a number": (
        {"accum_grad": None},
        "train.accum_grad cannot be null; give a value, or leave it out",
    ),
    "null for what may be none": ({"patience": None, "scheduler": None}, None),
    "a size that is none": (
        {"max_cache_size": "lots"},
        "ESPnet's parser refuses its options: Failed to parse size!",
    ),
    "a list for a size": ({"max_cache_size": [1]}, "train.max_cache_size must be "),
    "no batch an epoch": (
        {"num_iters_per_epoch": 0},
        "train.num_iters_per_epoch must be 1 or more, not 0",
    ),
    "bins below nothing": ({"batch_bins": -1}, "train.batch_bins must be 1 or more, not -1"),
    "truth for a number": ({"accum_grad": True}, "train.accum_grad must be int, not True"),
    "unknown optimiser": ({"optim": "adamm"}, "train.optim 'adamm' is unknown; did you mean adam"),
    "unknown scheduler": (
        {"scheduler": "noam"},
        "train.scheduler 'noam' is unknown; did you mean noamlr",
    ),
    "unknown batch type": ({"batch_type": "sort"}, "did you mean sorted, unsorted"),
    "conf of another optimiser": (
        {"optim": "sgd", "optim_conf": {"betas": [0.9, 0.99]}},
        "unexpected keyword argument 'betas'; give 'train: optim_conf' all that it takes",
    ),
    "conf of another scheduler": (
        {"scheduler": "steplr", "scheduler_conf": {"warmup_steps": 3}},
        "scheduler steplr with scheduler_conf {'warmup_steps': 3} cannot be built",
    ),
    "text for a rate": (
        {"optim_conf": {"lr": "1e-3"}},
        "optim adam with optim_conf {'lr': '1e-3'}",
    ),
    "a pair for three": (
        {"early_stopping_criterion": ["valid", "acc"]},
        "train.early_stopping_criterion must be a list of 3",
    ),
    "augmentation's unknown option": (
        {"specaug": "specaug", "specaug_conf": {"nope": 1}},
        "its model cannot be built: SpecAug.__init__() got an unexpected keyword argument 'nope'",
    ),
    "a size where bins count": (
        {"batch_type": "numel", "batch_size": 4},
        "train.batch_size does nothing beside batch_type 'numel', whose batches batch_bins counts",
    ),
    "bins where a size counts": (
        {"batch_bins": 4000},
        "train.batch_bins does nothing beside batch_type 'sorted', whose batches batch_size counts",
    ),
    "bins of validation": (
        {"valid_batch_bins": 4000},
        "beside batch_type 'sorted', whose batches valid_batch_size counts; give that",
    ),
    "bins that count": ({"batch_type": "numel", "batch_bins": 4000}, None),
    "bins that count in validation alone": (
        {"valid_batch_type": "numel", "valid_batch_bins": 4000, "batch_size": 2},
        None,
    ),
    "conf of no scheduler": (
        {"scheduler": None, "scheduler_conf": {"warmup_steps": 3}},
        "train.scheduler_conf does nothing without scheduler; give both, or leave it out",
    ),
    "conf of what is always there": ({"ctc_conf": {"dropout_rate": 0.1}}, None),
    "null for the conf of what is off": ({"specaug": None, "specaug_conf": None}, None),
    "conf of what is off": ({"scheduler": None, "scheduler_conf": {}}, None),
    "noise that is not there": (
        {"noise_scp": "data/noise.scp"},
        "its audio cannot be mixed: [Errno 2] No such file or directory: 'data/noise.scp'; see {",
    ),
    "noise of no level": (
        {"noise_scp": "/dev/null", "noise_db_range": "loud"},
        "'noise_db_range': 'loud', 'noise_scp': '/dev/null', 'rir_scp': None}",
    ),
    "noise of a level": ({"noise_scp": "/dev/null", "noise_db_range": "0_15"}, None),
    "mixed precision": ({"use_amp": True}, None),
    "right": ({"optim": "sgd", "optim_conf": {"lr": 0.001}, "scheduler": "noamlr"}, None),
}


def asked(changes: dict[str, object], config: dict[str, object], **conf: object) -> dict:
    topdown = {"parent": "exp", "cut": "decoder", "kind": "top_down", **conf}
    whole = config | changes | {"token_list": tiny.TOKENS, "topdown_conf": topdown}
    return {"name": "phase1", "config": whole, "changed": [*changes]}


@pytest.mark.parametrize("name", OPTIONS)
def test_espnet_is_asked_before_it_trains(name: str, espnet: None) -> None:
    from espnet_topdown.bin.phase_check import faults
    from espnet_topdown.training.tasks import task_of

    changes, fault = OPTIONS[name]
    said = faults(task_of("asr"), [asked(changes, tiny.asr_config("transformer", "rnn"))])["phase1"]
    if fault is None:
        assert not said
    else:
        assert fault in said[0]


def test_an_optimiser_that_steps_on_a_gpu_alone_has_groups_too(espnet: None) -> None:
    from espnet_topdown.bin.phase_check import faults
    from espnet_topdown.training.tasks import task_of

    changes = {"optim": "adam", "optim_conf": {"lr": 0.01, "capturable": True}}
    phase = asked(changes, tiny.asr_config("transformer", "rnn"), kind="slow", kept_lr=0.1)
    assert not faults(task_of("asr"), [phase])["phase1"]


def test_mixed_precision_over_a_base_of_tf32_is_refused(espnet: None) -> None:
    from espnet_topdown.bin.phase_check import faults
    from espnet_topdown.training.tasks import task_of

    base = tiny.asr_config("transformer", "rnn", use_tf32=True)
    said = faults(task_of("asr"), [asked({"use_amp": True}, base)])["phase1"]
    assert said == ["ESPnet does not train with both use_amp and use_tf32; leave out train.use_amp"]
    assert not faults(task_of("asr"), [asked({"max_epoch": 2}, base)])["phase1"]


OWN_TOKENS = {
    "as stage 5 writes them": (tiny.TOKENS, None),
    "without the symbols": (tiny.TOKENS[1:-1], "has no <blank>, <sos/eos>; give the list that"),
    "without <unk>": ([tiny.TOKENS[0], *tiny.TOKENS[2:]], "has no <unk>; give the list that"),
    "twice": ([*tiny.TOKENS[:3], *tiny.TOKENS[2:]], "has a more than once; leave each there once"),
}


@pytest.mark.parametrize("case", OWN_TOKENS)
def test_a_phase_s_own_token_list_is_looked_at(case: str, espnet: None, tmp_path: Path) -> None:
    from espnet_topdown.bin.phase_check import faults
    from espnet_topdown.training.tasks import task_of

    tokens, fault = OWN_TOKENS[case]
    (tmp_path / "tokens.txt").write_text("\n".join(tokens) + "\n")
    config = tiny.asr_config("transformer", "rnn")
    phase = asked({}, config, kind="bottom_up", tokens=str(tmp_path / "tokens.txt"))
    phase["config"]["token_list"] = str(tmp_path / "tokens.txt")
    said = faults(task_of("asr"), [phase | {"has_own_tokens": True}])["phase1"]
    if fault is None:
        assert not said
    else:
        assert said[0].startswith(f"{tmp_path / 'tokens.txt'} {fault}")


def test_a_token_list_of_another_bpe_model_is_refused(espnet: None, tmp_path: Path) -> None:
    """Every target would be <unk>, and the dev value so good that the phase is the best."""
    import sentencepiece

    from espnet_topdown.bin.phase_check import faults
    from espnet_topdown.training.tasks import task_of

    text = tmp_path / "text"
    text.write_text("ab abc bca cab abba\n" * 20)
    options = {"vocab_size": 12, "model_type": "bpe", "minloglevel": 2}
    model = tmp_path / "bpe"
    sentencepiece.SentencePieceTrainer.train(input=str(text), model_prefix=str(model), **options)
    pieces = [line.split("\t")[0] for line in model.with_suffix(".vocab").read_text().splitlines()]
    own = ["<blank>", "<unk>", *pieces[3:], "<sos/eos>"]
    config = tiny.asr_config("transformer", "rnn")
    config |= {"token_type": "bpe", "bpemodel": f"{model}.model"}
    for tokens, count in ((own, 0), (["<blank>", "<unk>", "foo", "<sos/eos>"], 1)):
        (tmp_path / "tokens.txt").write_text("\n".join(tokens) + "\n")
        phase = asked({}, config, kind="bottom_up", tokens=str(tmp_path / "tokens.txt"))
        phase["config"]["token_list"] = str(tmp_path / "tokens.txt")
        said = faults(task_of("asr"), [phase | {"has_own_tokens": True}])["phase1"]
        assert len(said) == count
    assert f"tokens.txt is not that of {model}.model: 9 of its 9 pieces are not in it" in said[0]


@pytest.mark.parametrize(("task", "side"), [("asr", ""), ("st", ""), ("st", "src_")])
def test_a_damaged_bpe_model_is_told_before_the_first_batch(
    task: str, side: str, espnet: None, tmp_path: Path
) -> None:
    from espnet_topdown.bin.phase_check import faults
    from espnet_topdown.training.tasks import task_of

    torn = tmp_path / "bpe.model"
    torn.write_bytes(b"\x0a\x0e\x0a")
    config = tiny.asr_config("transformer", "rnn")
    if task == "st":
        config |= {"src_token_type": "char", "src_token_list": tiny.TOKENS, "model_conf": {}}
    config |= {f"{side}token_type": "bpe", f"{side}bpemodel": str(torn)}
    (said,) = faults(task_of(task), [asked({}, config)])["phase1"]
    assert said.startswith("its BPE model is damaged (")
    assert str(torn) in said


class RunsCode:
    """Unpickled, it makes a directory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


# What is saved, what init_param asks of it, and what is said against it.
PRETRAINED = {
    "a file that is gone": (None, "", "pre.pth, which is not there: put it back, or give"),
    "of another model": ({"encoder.nope": 1}, "", "does not fit its model: Error(s) in loading"),
    "of another size": ({"ctc.ctc_lo.bias": 99}, "", "size mismatch for ctc.ctc_lo.bias"),
    "a part that it lacks": ({"enc.w": 1}, ":encoder:encoder", "no tensor in it begins with 'enco"),
    "a part that the model lacks": ({"am.w": 1}, ":am:am", "has no attribute 'am'"),
    "code": ("code", "", "cannot be loaded as tensors alone"),
    "no model": ("text", "", "cannot be loaded as tensors alone"),
    "all left out": ({"ctc.ctc_lo.bias": 1}, ":ctc:ctc:", "'ctc' and is not left out (first ones"),
    "right": ({"ctc.ctc_lo.bias": len(tiny.TOKENS)}, ":ctc:ctc", None),
    "right, as DeepSpeed wraps it": (
        {"module.ctc.ctc_lo.bias": len(tiny.TOKENS)},
        ":ctc:ctc",
        None,
    ),
}


@pytest.mark.parametrize("name", PRETRAINED)
def test_a_pretrained_file_that_could_not_be_loaded_is_refused(
    name: str, espnet: None, tmp_path: Path
) -> None:
    import torch

    from espnet_topdown.bin.phase_check import faults
    from espnet_topdown.training.tasks import task_of

    saved, part, fault = PRETRAINED[name]
    path = tmp_path / "pre.pth"
    if saved == "code":
        torch.save({"w": torch.zeros(1), "x": RunsCode(tmp_path / "ran")}, path)
    elif saved == "text":
        path.write_text("version https://git-lfs.github.com/spec/v1\n")
    elif saved is not None:
        tensors = {name: torch.zeros(size) for name, size in saved.items()}
        # In it names are without the word.
        inner = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
        torch.save({"module": inner} if inner.keys() != tensors.keys() else tensors, path)
    config = tiny.asr_config("transformer", "rnn")
    phase = asked({}, config | {"init_param": [f"{path}{part}"]})
    said = faults(task_of("asr"), [phase])["phase1"]
    if fault is None:
        assert not said
    else:
        assert said[0].startswith(f"init_param {path}{part} of the base ")
        assert fault in said[0] and "'init_param: drop'" in said[0]
    assert not (tmp_path / "ran").exists()
    # As it advises.
    assert not faults(task_of("asr"), [asked({}, config | {"init_param": []})])["phase1"]


def mt_config(**changes: object) -> dict[str, object]:
    """A tiny machine translation whose decoder's embedding is its output layer."""
    config = {**tiny.asr_config("transformer", "transformer"), **changes}
    gone = ("frontend", "input_size", "normalize")
    kept = {key: value for key, value in config.items() if key not in gone}
    return kept | {
        "frontend": "embed",
        "frontend_conf": {"embed_dim": 16},
        "encoder_conf": {**tiny.ENCODERS["transformer"], "input_layer": None, "output_size": 16},
        "src_token_list": tiny.TOKENS,
        "src_token_type": "char",
        "model_conf": {"share_decoder_input_output_embed": True},
    }


def test_weights_that_machine_translation_ties_are_asked_about(espnet: None) -> None:
    from espnet_topdown.bin.phase_check import faults
    from espnet_topdown.training.tasks import task_of

    for tied, fault in [
        (None, "weights are tied across the cut: decoder.embed.0.weight = decoder.output_layer"),
        ("freeze", None),
        ("untie_draw", None),
        ("untie_copy", None),
    ]:
        phase = asked({}, mt_config(), cut="output", **({"tied": tied} if tied else {}))
        said = faults(task_of("mt"), [phase])["phase1"]
        assert (fault in said[0]) if fault else not said


def test_plan_and_run_refuse_alike_and_nothing_is_written(base, tmp_path, capsys):
    plan = "{phases: [{cut: decoder}, {cut: encoder.1, train: {optim: adamm}}]}"
    (tmp_path / "plan.yaml").write_text(plan)
    command = words(base, tmp_path)
    for error in (fails(capsys, *command), fails(capsys, "plan", *command[1:-2])):
        assert "phase2: train.optim 'adamm' is unknown; did you mean adam" in error
    assert not (tmp_path / "cascade").exists()


def test_a_plan_that_goes_on_asks_nobody_and_leaves_what_the_cascade_keeps(
    finished: Path, base: Path, monkeypatch, capsys, tmp_path
) -> None:
    """Its facts are those of its last run, by which it is judged; of tokens they say more."""
    own = shutil.copytree(base, tmp_path / "asr", symlinks=True)
    directory = copied(finished, own, tmp_path)
    (tmp_path / "plan.yaml").write_text(PLAN.replace("]", ", {cut: encoder.0}]"))
    command = ["plan", *words(own, tmp_path, cascade=directory)[1:-2]]
    os.utime(own / "checkpoint.pth")
    kept = (directory / "model.json").read_bytes()
    main(command)
    assert (directory / "model.json").read_bytes() == kept
    # As a decoding leaves the base.
    (own / "decode").mkdir()
    monkeypatch.setattr(warm, "start", None)
    main(command)
    assert "phase3" in capsys.readouterr().out
    with pytest.raises(TypeError, match="'NoneType' object is not callable"):
        main([*command, "--no_cache"])


def test_finished_phases_are_not_held_against_a_plan_that_goes_on(
    finished: Path, base: Path, tmp_path, monkeypatch
) -> None:
    asked: list[str] = []

    def refuse(_: Cascade, phase: Phase) -> list[str]:
        # As in a cascade of an earlier version, which refused less.
        asked.append(phase.name)
        return ["is refused now"]

    monkeypatch.setattr(phase_check, "_faults", refuse)
    of_espnet: list[str] = []

    def ask(cascade: Cascade) -> dict[str, list[str]]:
        of_espnet.extend(phase.name for phase in cascade.phases)
        return {"phase1": ["is refused now"], "phase2": ["and this"], "phase3": []}

    monkeypatch.setattr(phase_check, "_ask_espnet", ask)
    directory = copied(finished, base, tmp_path)
    plan = tmp_path / "plan.yaml"
    plan.write_text(PLAN)
    command = ["plan", str(base), "--plan", str(plan), "--dir", str(directory)]
    main(command)
    assert not asked and not of_espnet
    plan.write_text(PLAN.replace("]", ", {cut: encoder.0}]"))
    with pytest.raises(SystemExit):
        main(command)
    assert asked == ["phase3"]
    # Who asks for a phase anew is told of that one.
    redo = ["run", *command[1:], "--redo", "phase2", "--dry_run"]
    with pytest.raises(SystemExit):
        main(redo)
    assert asked[1:] == ["phase2", "phase3"]
    monkeypatch.setattr(phase_check, "_faults", lambda *_: [])
    main(command)
    # The question is the same whatever is finished, so that its answer stays.
    assert of_espnet == ["phase1", "phase2", "phase3"]


def test_what_run_makes_is_none_of_what_its_next_question_depends_on(
    finished: Path, base: Path, tmp_path, monkeypatch
) -> None:
    directory = copied(finished, base, tmp_path)
    shapes = directory / "shapes/dev/speech_shape"
    shapes.parent.mkdir(parents=True)
    shapes.touch()
    own = {
        "name": "phase1",
        # As a phase's config has it, wherever its cascade is named from.
        "config": {"valid_shape_file": [os.path.relpath(shapes), str(base / "config.yaml")]},
    }
    monkeypatch.setattr(phase_check, "_as_trained", lambda _: [own])
    questions: list[espnet_answers.Question] = []
    monkeypatch.setattr(espnet_answers, "answer", lambda one, **_: questions.append(one) or {})
    phase_check._ask_espnet(Cascade.reopen(directory))
    assert questions[0].reads == [base / "config.yaml"]


def test_a_package_that_an_option_needs_and_that_is_not_there_is_named(
    espnet: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from espnet_topdown.bin import phase_check as asked_of_espnet
    from espnet_topdown.training.tasks import task_of

    config = tiny.asr_config(
        "transformer", "rnn", use_tensorboard=True, use_wandb=True, use_matplotlib=True
    )
    # As of a directory of that name.
    spec = SimpleNamespace(origin=None)
    monkeypatch.setattr(asked_of_espnet.importlib.util, "find_spec", lambda name: spec)
    first, second, third = asked_of_espnet.faults(task_of("asr"), [asked({}, config)])["phase1"]
    assert first == (
        "use_tensorboard needs the Python package tensorboard, which is not installed here; install"
        " it, or give 'train: {use_tensorboard: false}'"
    )
    assert second.startswith("use_wandb needs the Python package wandb")
    assert third.startswith("use_matplotlib needs the Python package matplotlib")


def test_an_average_of_the_base_that_may_be_wrong_is_refused_before_any_phase(
    tmp_path: Path,
) -> None:
    criteria = [["train", "loss", "min"], ["valid", "acc", "max"]]
    config = {"best_model_criterion": criteria, "keep_nbest_models": [3, 5]}
    rows = [{"valid": {"acc": 0.5, "cer": float("nan")}, "train": {"loss": 2.0}}]
    cascade = SimpleNamespace(
        base=SimpleNamespace(directory=tmp_path, config=config),
        facts=SimpleNamespace(epochs=rows),
    )
    # Between epochs it is wrong where the last is.
    names = [
        "train.loss.ave_3best.pth",
        "valid.acc.ave_5best.pth",
        "valid.acc.best.pth",
        "train.loss.ave_3best.till4epoch.pth",
        "valid.acc.ave_5best.till4epoch.pth",
    ]
    found = {}
    for name in names:
        path = tmp_path / name
        path.touch()
        (tmp_path / "other.pth").touch()
        found[name] = [*model_file.base_faults(cascade, path, ())]
    assert [bool(faults) for faults in found.values()] == [False, True, False, False, True]
    (said,) = found[names[1]]
    assert "valid.acc.ave_5best.pth is an average that ESPnet <= 202511 may have got wrong" in said
    assert not [*model_file.base_faults(cascade, tmp_path / names[1], [tmp_path / "1epoch.pth"])]
    (said,) = model_file.base_faults(cascade, tmp_path / "valid.cer.best.pth", ())
    assert "was selected by valid cer, which is finite in no epoch" in said


def test_a_base_that_no_waiting_phase_begins_from_is_not_asked_about(
    finished: Path, base: Path, tmp_path, monkeypatch
) -> None:
    """Its epoch files may be gone once the first phase is trained."""
    cascade = Cascade.reopen(copied(finished, base, tmp_path))
    monkeypatch.setattr(model_file, "base_faults", lambda *_: ["its average may be wrong"])
    nothing = {phase.name: [] for phase in cascade.phases}
    monkeypatch.setattr(phase_check, "_ask_espnet", lambda _: nothing)
    (later,) = [phase.name for phase in cascade.phases if phase.parent == "phase1"]
    phase_check.check_phases(cascade, nothing.keys() - {later})
    with pytest.raises(TopdownError, match="its average may be wrong"):
        phase_check.check_phases(cascade)


def test_faults_are_asked_for_again_since_they_may_have_passed(
    finished: Path, base: Path, tmp_path, monkeypatch
) -> None:
    cascade = Cascade.reopen(copied(finished, base, tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    seen = []
    for faults in (["no space left"], [], ["never asked for"]):
        answer = {phase.name: faults for phase in cascade.phases}
        monkeypatch.setattr(espnet_answers, "_ask", lambda _, found=answer: found)
        seen.append(phase_check._ask_espnet(cascade)["phase1"])
    assert seen == [["no space left"], [], []]


def test_a_second_plan_and_layers_ask_nobody_though_nothing_stands_beside_them(
    base: Path, monkeypatch, capsys, tmp_path
) -> None:
    (tmp_path / "plan.yaml").write_text("phases: [{cut: decoder}]")
    commands = [
        ["plan", str(base), "--plan", str(tmp_path / "plan.yaml")],
        ["layers", str(base)],
    ]
    first = []
    for command in commands:
        main(command)
        first.append(capsys.readouterr().out)
    monkeypatch.setattr(warm, "start", None)
    for command, said in zip(commands, first, strict=True):
        main(command)
        assert capsys.readouterr().out == said
        with pytest.raises(TypeError, match="'NoneType' object is not callable"):
            main([*command, "--no_cache"])
    assert "encoder.1" in first[1]
