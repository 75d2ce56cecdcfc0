"""The model: dropouts where they belong and nowhere in evaluation, softmax, scores in a search."""

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from recipe import WITHOUT_DROPOUT

from espnet_topdown.errors import TopdownError

VOCABULARY = 11


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> str:
    """Each device that is there: cuDNN has a kernel of its own that weight drop must reach."""
    if request.param == "cuda":
        # Forked from this process, which it cannot be once that has started CUDA.
        request.getfixturevalue("warm_process")
    return request.param


@pytest.fixture
def lm(device: str) -> torch.nn.Module:
    """A tiny AWD-LSTM with weight drop only."""
    from espnet_topdown.lm.awd_lstm import AWDLSTM

    torch.manual_seed(0)
    dropout = WITHOUT_DROPOUT | dict(wdrop=0.5)
    return AWDLSTM(VOCABULARY, unit=5, nhid=7, nlayers=3, **dropout).to(device)


def plain(layer: torch.nn.Module) -> torch.nn.LSTM:
    """An nn.LSTM with the layer's raw weights."""
    lstm = torch.nn.LSTM(layer.weight_ih_l0.shape[1], layer.hidden_size)
    lstm.load_state_dict(layer.state_dict())
    return lstm.to(layer.weight_ih_l0.device)


def test_full_size_has_the_published_number_of_parameters() -> None:
    from espnet_topdown.lm.awd_lstm import AWDLSTM

    with torch.device("meta"):
        sizes = {name: p.numel() for name, p in AWDLSTM(33278).named_parameters()}
        untied = AWDLSTM(33278, tie_weights=False)
    assert sum(sizes.values()) == 33_556_078
    assert sizes["encoder.weight"] == 13_311_200
    assert sizes["decoder.bias"] == 33_278
    for number, size in enumerate([7_139_200, 10_589_200, 2_483_200]):
        assert sum(n for name, n in sizes.items() if f"rnns.{number}." in name) == size
    assert sum(p.numel() for p in untied.parameters()) == 33_556_078 + 13_311_200


def test_torch_does_not_warn_of_weights_that_are_new_at_every_call() -> None:
    warning = "RNN module weights are not part of single contiguous chunk of memory. This means"
    for code, is_told in (("", True), ("import espnet_topdown.lm.awd_lstm", False)):
        words = [sys.executable, "-c", f"{code}\nimport warnings\nwarnings.warn('{warning}')"]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        assert (warning in done.stderr) == is_told


def test_evaluation_equals_plain_lstms_with_the_raw_weights(
    lm: torch.nn.Module, device: str
) -> None:
    tokens = torch.randint(VOCABULARY, (2, 9), device=device)
    lm.train()(tokens, None)
    lm.eval()
    x = lm.encoder.weight[tokens]
    for layer in lm.rnns:
        x, _ = plain(layer)(x.transpose(0, 1))
        x = x.transpose(0, 1)
    logits, _ = lm(tokens, None)
    torch.testing.assert_close(logits, x @ lm.encoder.weight.T + lm.decoder.bias)


def test_gradient_reaches_the_raw_weight_where_the_drop_kept_it(
    lm: torch.nn.Module, device: str
) -> None:
    layer = lm.rnns[0].train()
    x = torch.randn(6, 3, 5, device=device)
    torch.manual_seed(1)
    kept = layer.drop_weight(torch.ones_like(layer.weight_hh_l0))
    torch.manual_seed(1)
    layer(x, None)[0].sum().backward()
    reference = plain(layer)
    with torch.no_grad():
        reference.weight_hh_l0.mul_(kept)
    reference(x)[0].sum().backward()
    torch.testing.assert_close(layer.weight_hh_l0.grad, reference.weight_hh_l0.grad * kept)
    torch.testing.assert_close(layer.weight_ih_l0.grad, reference.weight_ih_l0.grad)
    assert 0.3 < (layer.weight_hh_l0.grad != 0).float().mean() < 0.7


def test_weight_masks_differ_between_forwards_and_act_from_the_second_frame_on(
    lm: torch.nn.Module, device: str
) -> None:
    layer = lm.rnns[0].train()
    x = torch.randn(4, 3, 5, device=device)
    first, second = layer(x, None)[0], layer(x, None)[0]
    assert torch.equal(first[0], second[0])
    assert not any(torch.allclose(a, b) for a, b in zip(first[1:], second[1:]))


def test_locked_dropout_is_one_mask_for_all_frames_and_another_for_each_column() -> None:
    from espnet_topdown.lm.awd_lstm import LockedDropout

    drop = LockedDropout(0.5)
    x = torch.ones(6, 4, 50)
    first, second = drop(x), drop(x)
    assert set(first.unique().tolist()) == {0.0, 2.0}
    assert torch.equal(first, first[:1].expand_as(first))
    assert not torch.equal(first, second)
    assert not torch.equal(first[:, 0], first[:, 1])
    assert torch.equal(drop.eval()(x), x)


def test_embedding_drops_whole_words_of_the_look_up_and_the_last_word_learns() -> None:
    from espnet_topdown.lm.awd_lstm import RowDropEmbedding

    torch.manual_seed(2)
    embedding = RowDropEmbedding(40, 3, 0.5, 0.0)
    tokens = torch.arange(40).repeat(2, 1)
    x = embedding(tokens)
    rows = (x / embedding.weight).detach()
    assert torch.equal(rows[0], rows[1])
    assert {round(v, 4) for v in rows.unique().tolist()} == {0.0, 2.0}
    assert all(len(row.round(decimals=4).unique()) == 1 for row in rows[0])
    embedding.eval()(tokens).sum().backward()
    assert torch.equal(embedding.weight.grad, torch.full((40, 3), 2.0))


@pytest.mark.parametrize("frozen", [(), (0,), (1, 2), (0, 1, 2)])
def test_softmax_in_chunks_equals_pytorch(
    frozen: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    from espnet_topdown.lm import softmax

    monkeypatch.setitem(softmax.CHUNK, "cpu", 5 * VOCABULARY)
    shapes = ((23, 6), (VOCABULARY, 6), (VOCABULARY,))
    ours = [torch.randn(*shape, dtype=torch.float64) for shape in shapes]
    targets = torch.randint(VOCABULARY, (23,))
    for i, tensor in enumerate(ours):
        tensor.requires_grad_(i not in frozen)
    theirs = [t.detach().clone().requires_grad_(t.requires_grad) for t in ours]
    loss = softmax.mean_cross_entropy(*ours, targets)
    expected = F.cross_entropy(F.linear(*theirs), targets)
    torch.testing.assert_close(loss, expected)
    if len(frozen) < 3:
        (3 * loss).backward()
        (3 * expected).backward()
    for a, b in zip(ours, theirs):
        assert (a.grad is None) == (b.grad is None)
        if a.grad is not None:
            torch.testing.assert_close(a.grad, b.grad)


def test_state_is_carried_detached_and_dropped_at_a_reset(lm: torch.nn.Module, device: str) -> None:
    from espnet_topdown.lm.stream_model import StreamLanguageModel

    model = StreamLanguageModel(lm, VOCABULARY).eval()
    tokens = torch.randint(VOCABULARY, (9, 2), device=device)

    def loss(start: int, stop: int, reset: bool) -> torch.Tensor:
        return model(tokens[start:stop], tokens[start + 1 : stop + 1], reset)[0]

    whole = loss(0, 8, True)
    parts = [loss(0, 3, True), loss(3, 8, False)]
    torch.testing.assert_close((parts[0] * 3 + parts[1] * 5) / 8, whole)
    assert not torch.allclose(loss(3, 8, True), parts[1])
    # Would fail, were the graph of the first window still needed.
    parts[1].backward()
    assert not any(t.requires_grad for pair in model._state for t in pair)


def test_model_copies_after_a_training_forward(lm: torch.nn.Module, device: str) -> None:
    lm.train()(torch.randint(VOCABULARY, (2, 4), device=device), None)
    assert list(copy.deepcopy(lm).state_dict()) == list(lm.state_dict())


def test_bad_sizes_are_all_named() -> None:
    from espnet_topdown.lm.awd_lstm import AWDLSTM

    with pytest.raises(
        TopdownError, match=r"nlayers must be .* not 0; wdrop must be within \[0, 1\), not 1.5"
    ):
        AWDLSTM(VOCABULARY, nlayers=0, wdrop=1.5)


def test_negative_weights_of_the_penalties_are_named() -> None:
    from espnet_topdown.lm.awd_lstm import AWDLSTM
    from espnet_topdown.lm.stream_model import StreamLanguageModel

    lm = AWDLSTM(VOCABULARY, unit=5, nhid=7)
    with pytest.raises(TopdownError, match="lm_stream: alpha must be .* not -2; beta must be "):
        StreamLanguageModel(lm, VOCABULARY, alpha=-2, beta=-1)


@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("device", ["cpu"], indirect=True)
def test_scores_in_espnets_beam_search_equal_those_of_whole_sequences(
    lm: torch.nn.Module, batched: bool
) -> None:
    try:
        from espnet.nets.batch_beam_search import BatchBeamSearch
        from espnet.nets.beam_search import BeamSearch
    except ImportError:  # moved in 202611
        from espnet2.legacy.nets.batch_beam_search import BatchBeamSearch
        from espnet2.legacy.nets.beam_search import BeamSearch

    eos = VOCABULARY - 1
    lm.eval()
    with torch.no_grad():
        lm.decoder.bias.normal_(std=2.0)
        search = (BatchBeamSearch if batched else BeamSearch)(
            scorers={"lm": lm},
            weights={"lm": 1.0},
            beam_size=VOCABULARY,
            vocab_size=VOCABULARY,
            sos=eos,
            eos=eos,
            token_list=[str(i) for i in range(VOCABULARY)],
            pre_beam_score_key=None,
        )
        hypotheses = search(torch.zeros(3, 4), maxlenratio=1.0, minlenratio=0.0)
        for hypothesis in hypotheses:
            ids = torch.as_tensor(hypothesis.yseq)
            # The search ends the longest ones itself, without a score.
            scored = ids[:-1] if len(ids) == 5 else ids
            log_p = lm(scored[None, :-1], None)[0].log_softmax(-1)[0]
            expected = float(log_p.gather(1, scored[1:, None]).sum())
            assert float(hypothesis.score) == pytest.approx(expected, rel=1e-5)
    assert len(hypotheses) >= 5
    assert max(len(hypothesis.yseq) for hypothesis in hypotheses) == 5


@pytest.mark.parametrize("device", ["cpu"], indirect=True)
def test_stock_espnet_language_model_scores_lines_with_it(
    lm: torch.nn.Module, tmp_path: Path
) -> None:
    from espnet2.lm.espnet_model import ESPnetLanguageModel

    from espnet_topdown.lm.stream_model import StreamLanguageModel

    text, lengths = torch.tensor([[1, 2, 3], [4, 5, 0]]), torch.tensor([3, 2])
    stock = ESPnetLanguageModel(lm, VOCABULARY).eval().nll(text, lengths)[0]
    ours = StreamLanguageModel(lm, VOCABULARY).eval().nll(text, lengths)[0]
    assert torch.equal(stock, ours)
    assert stock.shape == (2, 4)
    # Padding after the shorter line's <eos>.
    assert stock[1, 3] == 0


def test_each_rate_of_dropout_is_where_the_recipe_has_it() -> None:
    from espnet_topdown.lm.awd_lstm import AWDLSTM

    rates = dict(dropout_rate=0.1, dropouth=0.2, dropouti=0.3, dropoute=0.4, wdrop=0.5)
    model = AWDLSTM(VOCABULARY, unit=5, nhid=7, **rates)
    assert [layer.drop.p for layer in model.rnns] == [0.2, 0.2, 0.1]
    assert (model.encoder.drop_rows.p, model.encoder.drop.p) == (0.4, 0.3)


def test_ar_is_of_dropped_outputs_and_tar_of_raw_ones() -> None:
    """By hand: alpha 2 times the mean of 2 * 2, and beta 1 times that of (3 - 1)^2."""
    from espnet_topdown.lm.awd_lstm import AWDLSTM
    from espnet_topdown.lm.stream_model import StreamLanguageModel

    model = StreamLanguageModel(AWDLSTM(VOCABULARY, unit=5, nhid=7), VOCABULARY)
    raw, dropped = torch.tensor([[[1.0]], [[3.0]]]), torch.full((2, 1, 1), 2.0)
    assert model._penalty(raw, dropped) == 2 * 4 + 1 * 4
