"""Untying: the option is switched off in the config, of models that have one alone."""

import pytest

from espnet_topdown.errors import TopdownError
from espnet_topdown.plan.ties import tie_of, untie


@pytest.mark.parametrize("lm", ["seq_rnn", "awd_lstm"])
def test_untying_switches_the_option_off_and_nothing_else(lm):
    config = {"lm": lm, "lm_conf": {"unit": 12, "tie_weights": True}, "seed": 3}
    tie = untie(config)
    assert config == {"lm": lm, "lm_conf": {"unit": 12, "tie_weights": False}, "seed": 3}
    assert (tie.lower, tie.upper) == ("lm.encoder.weight", "lm.decoder.weight")


def test_an_option_that_is_off_unties_nothing():
    """A translation model may share its source's embedding instead."""
    shared = {
        "share_encoder_decoder_input_embed": True,
        "share_decoder_input_output_embed": False,
    }
    with pytest.raises(
        TopdownError, match="unties nothing: model_conf has share_decoder_input_out"
    ):
        untie({"model_conf": shared})
    assert untie({"model_conf": shared | {"share_decoder_input_output_embed": True}}) is not None


@pytest.mark.parametrize("config", [{"encoder": "rnn", "decoder": "rnn"}, {"lm": "transformer"}])
def test_a_model_that_ties_nothing_by_an_option_is_refused(config):
    assert tie_of(config) is None
    with pytest.raises(TopdownError, match="that no option which a phase can switch off ties"):
        untie(config)
