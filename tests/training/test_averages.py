"""Averages that are exact where ESPnet's are wrong."""

from types import SimpleNamespace

import pytest
import torch
from epochs import CRITERIA, write_epochs

from espnet_topdown.cascade.model_facts import ModelFacts
from espnet_topdown.cascade.phase_config import averaged_epochs
from espnet_topdown.errors import TopdownError
from espnet_topdown.experiment.averages import averages_of
from espnet_topdown.training import averages, checkpoint, parent


@pytest.mark.parametrize("nbest", [[3], [3, 5], [3, 5, 10]])
def test_parents_average_is_exact_where_espnets_is_wrong(nbest, espnet, tmp_path):
    """By hand: the mean of epochs 10, 9, ... is 9 for n = 3, 8 for n = 5 and 5.5 for n = 10."""
    from importlib.metadata import version

    from espnet2.main_funcs.average_nbest_models import average_nbest_models

    reporter = write_epochs(tmp_path)
    average_nbest_models(
        output_dir=tmp_path, reporter=reporter, best_model_criterion=CRITERIA, nbest=nbest
    )
    expected = {3: 9.0, 5: 8.0, 10: 5.5}
    for metric in ("acc", "loss"):
        for count in nbest:
            name = f"valid.{metric}.ave_{count}best.pth"
            ours = averages.exact_state(tmp_path, name, CRITERIA, nbest)
            assert torch.equal(ours["w"], torch.full((3,), expected[count]))
    last = checkpoint.load_state(tmp_path / f"valid.loss.ave_{max(nbest)}best.pth")
    espnet_is_right = torch.equal(last["w"], torch.full((3,), expected[max(nbest)]))
    assert espnet_is_right == (version("espnet") >= "202611")


def test_averages_equal_those_of_espnet_202611_bit_for_bit(espnet, tmp_path):
    from espnet2.main_funcs.average_nbest_models import average_nbest_models

    reporter = write_epochs(tmp_path)
    torch.manual_seed(0)
    for epoch in range(1, 11):
        torch.save({"w": torch.randn(1000)}, tmp_path / f"{epoch}epoch.pth")
    average_nbest_models(
        output_dir=tmp_path, reporter=reporter, best_model_criterion=CRITERIA[:1], nbest=[10]
    )
    # The first average is right in every version.
    first = checkpoint.load_state(tmp_path / "valid.acc.ave_10best.pth")
    ours = averages.exact_state(tmp_path, "valid.acc.ave.pth", CRITERIA, [10])
    assert torch.equal(ours["w"], first["w"])


@pytest.mark.parametrize("odd", [float("nan"), float("inf")])
def test_the_key_has_the_epochs_that_are_averaged_whatever_their_values(odd, espnet, tmp_path):
    """ESPnet sorts NaN as Python's version does, and the infinite first where more is better."""
    from espnet_topdown.bin import model_facts

    reporter = write_epochs(tmp_path, 4)
    reporter.stats[2]["valid"]["acc"] = odd
    torch.save({"reporter": reporter.state_dict()}, tmp_path / "checkpoint.pth")
    average = tmp_path / "valid.acc.ave_2best.pth"
    average.touch()
    config = {"best_model_criterion": CRITERIA, "keep_nbest_models": [2]}
    facts = ModelFacts(model_facts._history(tmp_path, config))
    cascade = SimpleNamespace(base=SimpleNamespace(directory=tmp_path), facts=facts)
    (one, _) = averages_of(CRITERIA, [2])
    sources = averages._sources(tmp_path, one)
    assert averaged_epochs(cascade, average) == sources
    best = reporter.sort_epochs("valid", "acc", "max")[:2]
    assert sources == [tmp_path / f"{epoch}epoch.pth" for epoch in best]


def test_a_plan_knows_the_epochs_of_an_average_between_epochs(espnet, tmp_path):
    from espnet_topdown.bin import model_facts

    write_epochs(tmp_path, 6)
    average = tmp_path / "valid.acc.ave_2best.till4epoch.pth"
    average.touch()
    config = {"best_model_criterion": CRITERIA, "keep_nbest_models": [2]}
    facts = ModelFacts(model_facts._history(tmp_path, config))
    cascade = SimpleNamespace(base=SimpleNamespace(directory=tmp_path), facts=facts)
    assert averaged_epochs(cascade, average) == [tmp_path / "4epoch.pth", tmp_path / "3epoch.pth"]


def test_average_whose_epochs_are_gone_is_refused_where_it_may_be_wrong(espnet, tmp_path):
    from espnet2.main_funcs.average_nbest_models import average_nbest_models

    reporter = write_epochs(tmp_path)
    average_nbest_models(
        output_dir=tmp_path, reporter=reporter, best_model_criterion=CRITERIA, nbest=[3]
    )
    (tmp_path / "9epoch.pth").unlink()
    with pytest.raises(TopdownError, match="may have got wrong .*valid.acc.best.pth"):
        averages.exact_state(tmp_path, "valid.acc.ave.pth", CRITERIA[::-1], [3])
    # The first cannot be wrong, nor the only one.
    first = averages.exact_state(tmp_path, "valid.acc.ave.pth", CRITERIA, [3])
    assert torch.equal(first["w"], torch.full((3,), 9.0))
    alone = averages.exact_state(tmp_path, "valid.acc.ave.pth", CRITERIA[:1], [3])
    assert torch.equal(alone["w"], torch.full((3,), 9.0))


def test_missing_model_file_lists_those_there(tmp_path):
    torch.save({"w": torch.ones(1)}, tmp_path / "5epoch.pth")
    message = "no model file .*valid.acc.ave.pth; the directory has: 5epoch.pth"
    with pytest.raises(TopdownError, match=message):
        averages.exact_state(tmp_path, "valid.acc.ave.pth", CRITERIA, [1])


def test_an_average_between_epochs_is_exact_too(tmp_path):
    """Of epochs 1 to 6 the best three are 6, 5 and 4: its mean is 5, whatever ESPnet wrote."""
    write_epochs(tmp_path)
    name = "valid.acc.ave_3best.till6epoch.pth"
    checkpoint.save({"w": torch.zeros(3)}, tmp_path / name)
    ours = averages.exact_state(tmp_path, name, CRITERIA, [3])
    assert torch.equal(ours["w"], torch.full((3,), 5.0))


@pytest.mark.parametrize("name", ["valid.acc.ave.pth", "valid.acc.best.pth"])
def test_a_model_selected_by_a_metric_without_a_value_is_refused(name, tmp_path):
    """As CTC alone has no accuracy, the first epochs would be its best ones."""
    reporter = write_epochs(tmp_path)
    for stats in reporter.stats.values():
        stats["valid"]["acc"] = float("nan")
    torch.save({"reporter": reporter.state_dict()}, tmp_path / "checkpoint.pth")
    (tmp_path / name).symlink_to("1epoch.pth")
    with pytest.raises(TopdownError, match="selected by valid acc, which is finite in no epoch"):
        averages.exact_state(tmp_path, name, CRITERIA, [3])
    (tmp_path / "valid.loss.ave.pth").symlink_to("1epoch.pth")
    config = {"best_model_criterion": CRITERIA, "token_list": ["a"], "encoder": "rnn"}
    assert parent._default_model(tmp_path, config) == "valid.loss.ave.pth"


def test_a_metric_that_some_epochs_lack_is_measured(tmp_path):
    reporter = write_epochs(tmp_path)
    reporter.stats[10]["valid"]["cer"] = 0.5
    torch.save({"reporter": reporter.state_dict()}, tmp_path / "checkpoint.pth")
    assert averages.is_measured(tmp_path, "valid", "cer")
    assert averages.is_measured(tmp_path, "valid", "wer")


def test_an_average_of_a_phase_of_ours_is_read_as_it_is(espnet, tmp_path):
    """Its frozen tensors are the parent's, which a mean would round."""
    write_epochs(tmp_path)
    (tmp_path / "topdown").mkdir()
    (tmp_path / "topdown" / "proof.json").write_text("{}")
    name = "valid.acc.ave_3best.pth"
    checkpoint.save({"w": torch.zeros(3)}, tmp_path / name)
    assert torch.equal(averages.exact_state(tmp_path, name, CRITERIA, [3])["w"], torch.zeros(3))


def test_the_average_without_a_number_is_of_the_most_epochs_that_there_are(espnet, tmp_path):
    """Four epochs have no average of ten; the link names that of three."""
    reporter = write_epochs(tmp_path, 4)
    averages.write_averages(tmp_path, reporter, CRITERIA, [2, 3, 10], {})
    assert not (tmp_path / "valid.acc.ave_10best.pth").exists()
    assert (tmp_path / "valid.acc.ave.pth").readlink().name == "valid.acc.ave_3best.pth"


def test_a_metric_with_one_epoch_that_is_no_number_is_measured(espnet, tmp_path):
    reporter = write_epochs(tmp_path, 4)
    reporter.stats[2]["valid"]["acc"] = float("nan")
    torch.save({"reporter": reporter.state_dict()}, tmp_path / "checkpoint.pth")
    assert averages.is_measured(tmp_path, "valid", "acc")
