"""`topdown_conf`: one phase, read back as it was written, refused with all its faults."""

import pytest

from espnet_topdown.errors import TopdownError
from espnet_topdown.plan.topdown_conf import TopdownConf


def test_it_is_read_back_as_it_was_written():
    conf = {"parent": "exp/a", "cut": "decoder", "kind": "bottom_up", "dropout": "off"}
    assert TopdownConf.from_conf(conf).to_conf() == conf


def test_yamls_bare_off_is_the_word():
    assert TopdownConf.from_conf({"kind": "restart", "dropout": False}).dropout == "off"


@pytest.mark.parametrize(
    ("conf", "kind"),
    [
        ({"cut": "decoder"}, "top_down"),
        ({"cut": "decoder", "kept_lr": 0.5}, "slow"),
        ({"keep": ["output"]}, "named"),
        ({"draw": ["encoder.0"], "kept_lr": {"decay": 0.8}}, "named"),
        ({"draw": ["encoder.0"], "kind": "slow", "kept_lr": 0}, "slow"),
    ],
)
def test_layers_by_name_and_factors_are_read_and_written(conf, kind):
    whole = {"parent": "exp/a", **conf}
    read = TopdownConf.from_conf(whole)
    assert read.to_conf() == {"dropout": "keep", **whole, "kind": kind}


FAULTS = {
    "named without names": ({"parent": "a", "kind": "named"}, "kind named needs keep or draw"),
    "cut and names": ({"parent": "a", "cut": "b", "draw": ["c"]}, "one of cut and draw can part"),
    "a factor above 1": ({"parent": "a", "cut": "b", "kept_lr": 2}, "kept_lr must be a number"),
    "unknown key": ({"cuts": "decoder"}, "unknown key 'cuts'; did you mean cut"),
    "unknown kind": ({"kind": "topdown"}, "kind 'topdown' is unknown; did you mean top_down"),
    "kind a list": ({"kind": ["restart"]}, "kind ['restart'] is unknown"),
    "no cut": ({"parent": "exp/a"}, "kind top_down needs a cut"),
    "no parent": ({"cut": "decoder"}, "kind top_down needs a parent"),
    "cut of a restart": ({"kind": "restart", "cut": "decoder"}, "kind restart has no cut"),
    "cut a number": ({"parent": "exp/a", "cut": 3}, "cut must be a name, not 3"),
    "parent a number": ({"parent": 3, "cut": "decoder"}, "parent must be a name, not 3"),
    "layers a list": ({"kind": "restart", "layers": ["a"]}, "layers must be a mapping"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faulty_conf_is_refused_with_a_message_that_helps(name):
    conf, fragment = FAULTS[name]
    with pytest.raises(TopdownError) as caught:
        TopdownConf.from_conf(conf)
    assert fragment in str(caught.value)


def test_all_faults_are_reported_together():
    with pytest.raises(TopdownError) as caught:
        TopdownConf.from_conf({"dropout": "no", "tied": "untie"})
    for key in ("dropout", "tied", "needs a cut", "needs a parent"):
        assert key in str(caught.value)
