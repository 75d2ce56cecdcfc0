"""The base by its config: what judges its cascade, and what a phase takes over from it."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from espnet_topdown.errors import TopdownError
from espnet_topdown.experiment.config import Experiment
from espnet_topdown.experiment.keys import deciding, list_files, phase_key, training_key
from espnet_topdown.plan.expansion import expand
from espnet_topdown.plan.plan_file import parse_plan
from espnet_topdown.plan.topdown_conf import TopdownConf

PLAN = parse_plan("phases: [{cut: decoder, train: {max_epoch: 9}}]")
(PHASE,) = expand(PLAN, ("encoder.0", "decoder.0"), 0)
CONF = TopdownConf(parent="exp", cut="decoder")
LOSS, ACC = ["valid", "loss", "min"], ["valid", "acc", "max"]


def experiment(task: str = "asr", **config: object) -> Experiment:
    return Experiment(Path("exp"), config, task)


@pytest.mark.parametrize(
    ("task", "criteria", "metric"),
    [
        ("asr", [["train", "loss", "min"], LOSS, ACC], "acc"),
        ("asr", [["train", "loss", "min"], LOSS], "loss"),
        ("lm", [ACC, LOSS], "loss"),
        ("lm", [["valid", "cer", "min"], ACC], "acc"),
    ],
)
def test_the_dev_criterion_is_on_valid_and_suits_the_task(task, criteria, metric):
    base = experiment(task, best_model_criterion=criteria)
    assert base.dev_criterion(PLAN)[:2] == ("valid", metric)
    assert base.phase_model_name(PLAN) == f"valid.{metric}.ave.pth"


def test_a_phase_takes_over_options_but_not_those_of_one_run():
    base = experiment(encoder="rnn", max_epoch=3, output_dir="x", dist_rank=1, gone=None)
    assert base.phase_config(PHASE, CONF, ["encoder", "max_epoch"]) == {
        "encoder": "rnn",
        "max_epoch": 9,
        "seed": 1000,
        "topdown_conf": {"parent": "exp", "cut": "decoder", "kind": "top_down", "dropout": "keep"},
    }


def test_an_own_layer_order_goes_into_the_config_of_a_phase():
    # A single prefix may stand without a list.
    layers = {"low": "encoder", "top": ["decoder", "ctc"]}
    config = experiment().phase_config(PHASE, replace(CONF, layers=layers), [])
    assert config["topdown_conf"]["layers"] == layers
    assert TopdownConf.from_conf(config["topdown_conf"]).layers == layers


def test_an_option_that_is_set_and_unknown_to_this_espnet_is_refused():
    base = experiment(encoder="rnn", old_option=3)
    with pytest.raises(TopdownError, match="does not know: old_option=3"):
        base.phase_config(PHASE, CONF, ["encoder"])


def test_an_option_of_a_newer_espnet_at_its_default_is_dropped_and_told():
    newer = {"save_strategy": "all", "gradient_as_bucket_view": True, "dataset_scaling_factor": 1.2}
    base = experiment(encoder="rnn", **newer)
    assert set(base.phase_config(PHASE, CONF, ["encoder"])) & {*newer} == set()
    assert base.dropped_options(["encoder"]) == [*newer]
    # Known here, so passed on.
    assert base.dropped_options(["encoder", *newer]) == []
    base = experiment(encoder="rnn", save_strategy="required_grad_only")
    with pytest.raises(TopdownError, match="does not know: save_strategy='required_grad_only'"):
        base.phase_config(PHASE, CONF, ["encoder"])


def test_lists_that_are_split_into_a_directory_count_by_their_files(tmp_path):
    splits = tmp_path / "splits2" / "wav.scp"
    splits.mkdir(parents=True)
    for name, text in (("num_splits", "2"), ("split.0", "a 1"), ("split.1", "b 2")):
        (splits / name).write_text(text)
    config = {"train_data_path_and_name_and_type": [[str(splits), "speech", "sound"]]}
    key = phase_key(config, None)["files"]
    assert list(key) == [str(splits)]
    assert phase_key(config, None)["files"] == key
    (splits / "split.1").write_text("b 3")
    assert phase_key(config, None)["files"] != key
    (splits / "split.1").write_text("b 2")
    (splits / "split.1").rename(splits / "split.2")
    assert phase_key(config, None)["files"] != key


def test_the_lists_of_a_training_are_named_once_each():
    config = {
        "train_data_path_and_name_and_type": [["d/wav.scp", "speech", "sound"]],
        "train_shape_file": ["s/shape", "d/wav.scp"],
        "valid_data_path_and_name_and_type": [["v/text", "text", "text"]],
        "normalize_conf": {"stats_file": "s/stats.npz"},
        "bpemodel": None,
        "token_list": ["<blank>"],
        "init_param": ["a.pth:encoder:encoder", "b.pth"],
    }
    names = ["d/wav.scp", "s/shape", "v/text", "s/stats.npz", "a.pth", "b.pth"]
    assert list_files(config) == names
    assert list_files({"token_list": "tokens.txt"}) == ["tokens.txt"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"token_type": "bpe", "bpemodel": "b.model"}, ["b.model"]),
        ({"token_type": "char", "bpemodel": "b.model"}, []),
        ({"token_type": "whisper_multilingual", "bpemodel": "whisper_multilingual"}, []),
        ({"token_type": "hugging_face", "bpemodel": "facebook/bart-base"}, []),
        # Of a source text, which has a tokenizer of its own.
        (
            {"token_type": "whisper_en", "bpemodel": "whisper_en", "src_bpemodel": "s.model"},
            ["s.model"],
        ),
        ({"src_token_type": "char", "src_bpemodel": "s.model"}, []),
        ({"noise_scp": ["a.scp", "b.scp"], "rir_scp": "r.scp"}, ["a.scp", "b.scp", "r.scp"]),
        ({"src_token_list": "s.txt", "transcript_token_list": ["a"]}, ["s.txt"]),
    ],
)
def test_what_is_a_name_by_another_option_is_no_file(options, expected):
    assert list_files(options) == expected
    assert experiment(**options).missing_data() == expected


@pytest.mark.parametrize(
    ("iterator", "there", "expected"),
    [
        ("sequence", ["utt2category", "category2utt"], ["utt2category"]),
        ("sequence", [], []),
        ("category", [], ["category2utt"]),
        (
            "category_chunk",
            ["category2utt", "dataset2utt", "utt2dataset"],
            ["category2utt", "utt2dataset", "dataset2utt"],
        ),
    ],
)
def test_what_samplers_read_beside_the_first_list_counts(iterator, there, expected, tmp_path):
    for name in ("wav.scp", "text", *there):
        (tmp_path / name).write_text("a 1")
    rows = [[f"{tmp_path}/{name}", name, "text"] for name in ("wav.scp", "text")]
    config = {"train_data_path_and_name_and_type": rows, "iterator_type": iterator}
    names = ["wav.scp", "text", *expected]
    assert list_files(config) == [f"{tmp_path}/{name}" for name in names]
    # Validation has its own iterator, if it is given one.
    config = {"valid_data_path_and_name_and_type": rows, "valid_iterator_type": iterator}
    assert list_files(config) == [f"{tmp_path}/{name}" for name in names]


def test_a_phases_key_leaves_out_what_changes_no_result(tmp_path):
    parent = tmp_path / "parent.pth"
    parent.write_bytes(b"weights")
    conf = {"parent": "exp", "cut": "decoder"}
    config = {"encoder": "rnn", "num_workers": 4, "wandb_name": "x", "topdown_conf": conf}
    key = phase_key(config, parent)
    assert key["settings"] == {"encoder": "rnn", "topdown_conf": {"cut": "decoder"}}
    assert key == phase_key(config | {"num_workers": 1}, parent)
    parent.write_bytes(b"other weights")
    assert key != phase_key(config, parent)


@pytest.mark.parametrize(
    ("options", "counts"),
    [
        ({"create_graph_in_tensorboard": False}, False),
        ({"create_graph_in_tensorboard": True}, True),
        ({"create_graph_in_tensorboard": True, "use_tensorboard": False}, False),
        ({"max_cache_size": 1e9}, False),
        # One noise for all epochs.
        ({"max_cache_size": 1e9, "noise_scp": "noise.scp"}, True),
        ({"max_cache_size": 0.0, "noise_scp": "noise.scp"}, False),
        ({"num_workers": 4, "noise_scp": "noise.scp"}, False),
    ],
)
def test_a_free_option_counts_where_it_changes_what_is_trained(options, counts):
    (key, value), *_ = options.items()
    settings = phase_key(options, None, lists=False)["settings"]
    assert deciding(options) == {key: settings[key] for key in settings if key != "topdown_conf"}
    assert (settings.get(key) == value) == counts
    assert (key in settings) == counts


def test_all_faulty_values_of_a_base_are_named(tmp_path):
    config = {"encoder": "rnn", "seed": "one", "keep_nbest_models": [1, "few"]}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(TopdownError) as caught:
        Experiment.read(tmp_path)
    assert "config.yaml: seed must be a whole number, not 'one'" in str(caught.value)
    assert "config.yaml: keep_nbest_models must be whole numbers" in str(caught.value)


def test_layers_that_are_to_be_drawn_are_not_filled_from_a_checkpoint():
    plan = parse_plan("phases: [{cut: decoder, init_param: drop}, {cut: decoder, seed: 5}]")
    base = experiment(init_param=["a.pth:encoder:encoder"])
    drop, keep = (
        base.phase_config(phase, CONF, ["init_param"])
        for phase in expand(plan, ("encoder.0", "decoder.0"), 0)
    )
    assert (drop["init_param"], keep["init_param"]) == ([], ["a.pth:encoder:encoder"])


def test_what_decides_a_result_is_part_of_a_key():
    assert list_files({"non_linguistic_symbols": "nlsyms.txt"}) == ["nlsyms.txt"]
    drawing = {"max_cache_size": 1e9, "preprocessor_conf": {"speech_volume_normalize": 0.9}}
    assert "max_cache_size" in deciding(drawing)
    one, other = (training_key({"token_list": tokens}) for tokens in (["a", "b"], ["a", "c"]))
    assert one != other
