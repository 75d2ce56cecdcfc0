"""A training config as ESPnet's parser reads it, and the model that it describes."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from espnet_topdown.errors import TopdownError

ENCODER = {"output_size": 4, "linear_units": 4, "attention_heads": 1, "num_blocks": 1}
DECODER = {"linear_units": 4, "attention_heads": 1, "num_blocks": 1}
SPEECH = {
    "encoder": "transformer",
    "encoder_conf": ENCODER,
    "decoder": "transformer",
    "decoder_conf": DECODER,
}


def built(tmp_path: Path, config: dict[str, object], task: str = "asr"):
    """The model of a config, whose source and target have 9 tokens where it has none."""
    from espnet_topdown.training import model_options
    from espnet_topdown.training.tasks import task_of

    path = tmp_path / "train.yaml"
    path.write_text(yaml.safe_dump(config))
    options = model_options.options_of(task_of(task), path, vocab_size=9, input_size=3)
    return model_options.build(task_of(task), options, path)


@pytest.mark.usefixtures("espnet")
@pytest.mark.parametrize("none", ["none", "None", None])
def test_no_initialisation_and_no_decoder_are_none(tmp_path: Path, none: str | None) -> None:
    ctc_alone = {"model_conf": {"ctc_weight": 1.0}}
    model = built(tmp_path, SPEECH | {"init": none, "decoder": none} | ctc_alone)
    assert model.decoder is None
    assert model.vocab_size == 9


@pytest.mark.usefixtures("espnet")
@pytest.mark.parametrize("task", ["asr", "st", "slu", "s2t"])
def test_every_task_gets_the_tokens_that_it_needs(tmp_path: Path, task: str) -> None:
    assert built(tmp_path, SPEECH, task).vocab_size == 9


@pytest.mark.usefixtures("espnet")
def test_a_language_model_of_several_tasks_gets_their_symbols(tmp_path: Path) -> None:
    sizes = {"embed_unit": 4, "att_unit": 4, "head": 1, "unit": 4, "layer": 1}
    config = {"lm": "transformer", "lm_conf": sizes, "model": "lm_multitask"}
    model = built(tmp_path, config, "lm")
    assert type(model).__name__ == "ESPnetMultitaskLanguageModel"
    assert model.lm.decoder.out_features == 9


@pytest.mark.usefixtures("espnet")
def test_translation_of_text_gets_the_tokens_of_its_source_too(tmp_path: Path) -> None:
    model = built(tmp_path, SPEECH | {"frontend": "embed", "frontend_conf": {"embed_dim": 3}}, "mt")
    assert model.vocab_size == model.src_vocab_size == 9


@pytest.mark.usefixtures("espnet")
def test_tokens_of_a_list_are_the_configs_and_those_of_a_lost_file_are_made_up(
    tmp_path: Path,
) -> None:
    tokens = ["<blank>", "a", "<sos/eos>"]
    assert built(tmp_path, SPEECH | {"token_list": tokens}).vocab_size == 3
    (tmp_path / "tokens.txt").write_text("<blank>\n<unk>\na\n<sos/eos>\n")
    path = str(tmp_path / "tokens.txt")
    assert built(tmp_path, SPEECH | {"token_list": path}).vocab_size == 4
    assert built(tmp_path, SPEECH | {"token_list": "data/none.txt"}).vocab_size == 9


@pytest.mark.usefixtures("espnet")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"init": "orthogonal"}, "ESPnet 20.* cannot build the model of .*train.yaml: ValueError"),
        ({"encoder_conf": {"hideen_size": 3}}, "TypeError: .* argument 'hideen_size'"),
        ({"decoder": None}, "AssertionError: decoder should not be None when attention"),
        ({"max_cache_size": "lots"}, "train.yaml: Failed to parse size! \\(input 'lots'"),
        ({"max_epoch": "many"}, "train.yaml: argument --max_epoch: invalid int value: 'many'"),
    ],
)
def test_what_espnet_cannot_build_is_told_without_a_traceback(
    tmp_path: Path, change: dict[str, object], said: str
) -> None:
    from espnet_topdown.training import model_options
    from espnet_topdown.training.tasks import task_of

    path = tmp_path / "train.yaml"
    path.write_text(yaml.safe_dump(SPEECH | change))
    with pytest.raises(TopdownError, match=said):
        options = model_options.options_of(task_of("asr"), path, vocab_size=9, input_size=None)
        model_options.build(task_of("asr"), options, path)


@pytest.mark.usefixtures("espnet")
def test_a_vocabulary_is_no_yaml_of_a_phase_s_options(monkeypatch: pytest.MonkeyPatch) -> None:
    """33,000 words would take seconds, for each phase of a plan."""
    from espnet_topdown.training import model_options
    from espnet_topdown.training.tasks import task_of

    dumped = []

    def dump(config: dict[str, object]) -> str:
        dumped.append(text := dump_yaml(config))
        return text

    dump_yaml = yaml.safe_dump
    monkeypatch.setattr(yaml, "safe_dump", dump)
    words = [f"w{number}" for number in range(33_000)]
    options = model_options.parsed(task_of("asr"), {**SPEECH, "token_list": words, "seed": 7})
    assert (options.token_list, options.seed) == (words, 7)
    assert len("".join(dumped)) < 1000
    with pytest.raises(TopdownError, match="ESPnet's parser refuses its options: .*src_token_list"):
        model_options.parsed(task_of("asr"), {**SPEECH, "src_token_list": words})


@pytest.mark.usefixtures("espnet")
def test_options_that_this_espnet_would_refuse_are_noted(tmp_path: Path) -> None:
    from espnet_topdown.training import model_options
    from espnet_topdown.training.tasks import task_of

    path = tmp_path / "train.yaml"
    path.write_text(yaml.safe_dump(SPEECH | {"adam_power": 3}))
    (note,) = model_options.notes(task_of("asr"), path)
    assert "does not know adam_power, and would refuse to train" in note
    path.write_text(yaml.safe_dump(SPEECH | {"adam_power": 3, "output_dir": "exp"}))
    assert model_options.notes(task_of("asr"), path) == []


@pytest.mark.usefixtures("espnet")
@pytest.mark.parametrize("fate", ["edited", "gone"])
def test_an_experiments_options_are_its_own_whatever_became_of_the_config_that_it_was_launched_by(
    tmp_path: Path, fate: str
) -> None:
    launched_by = tmp_path / "conf.yaml"
    if fate == "edited":
        launched_by.write_text(yaml.safe_dump({"encoder_conf": ENCODER | {"num_blocks": 3}}))
    model = built(tmp_path, SPEECH | {"config": str(launched_by)})
    assert len(model.encoder.encoders) == 1


@pytest.mark.usefixtures("espnet")
def test_statistics_that_were_cut_off_are_named(tmp_path: Path) -> None:
    stats = tmp_path / "feats_stats.npz"
    np.savez(stats, count=9, sum=np.zeros(80), sum_square=np.ones(80))
    stats.write_bytes(stats.read_bytes()[:-100])
    damaged = {"normalize": "global_mvn", "normalize_conf": {"stats_file": str(stats)}}
    with pytest.raises(TopdownError, match=r"feats_stats\.npz are damaged \(torn: .* copy, or run"):
        built(tmp_path, SPEECH | damaged)


@pytest.mark.usefixtures("espnet")
def test_statistics_that_lie_elsewhere_are_left_out(tmp_path: Path) -> None:
    lost = {"normalize": "global_mvn", "normalize_conf": {"stats_file": "exp/none/stats.npz"}}
    assert built(tmp_path, SPEECH | lost).normalize is None


@pytest.mark.usefixtures("espnet")
def test_what_espnet_does_not_know_is_told_beside_a_missing_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from espnet_topdown.bin import model_facts
    from espnet_topdown.training import obstacles

    monkeypatch.setattr(obstacles, "_missing", lambda _: ["needs a package"])
    path = tmp_path / "train.yaml"
    path.write_text(yaml.safe_dump(SPEECH | {"use_lora": True}))
    words = ["--config", str(path), "--task", "asr", "--output", str(tmp_path / "facts.json")]
    with pytest.raises(TopdownError, match="(?s)needs a package.*does not know use_lora"):
        model_facts.model_facts(model_facts.get_parser().parse_args(words))
