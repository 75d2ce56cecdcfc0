"""A second implementation of the published recipe: equations and loops, none of the package.

From "Regularizing and Optimizing LSTM Language Models" (arXiv 1708.02182) and the LSTM's equations.
Weights come in under the names of the package; dropout is off; everything is float64.
"""

import numpy as np
import torch

Weights = dict[str, torch.Tensor]
# Sizes and dropouts (`lm_conf`) of the models in these tests.
TINY = dict(unit=6, nhid=8, nlayers=3)
WITHOUT_DROPOUT = dict(dropout_rate=0.0, dropouth=0.0, dropouti=0.0, dropoute=0.0, wdrop=0.0)
DROPOUT = TINY | dict(dropout_rate=0.2, dropouth=0.2, dropouti=0.2, dropoute=0.1, wdrop=0.4)


def lstm(x: torch.Tensor, h: torch.Tensor, c: torch.Tensor, weights: Weights, k: int) -> tuple:
    """Layer `k` by its equations: output over `x` (frames, columns, dim), last h, last c."""
    w_ih = weights[f"lm.rnns.{k}.weight_ih_l0"]
    w_hh = weights[f"lm.rnns.{k}.weight_hh_l0"]
    b_ih = weights[f"lm.rnns.{k}.bias_ih_l0"]
    b_hh = weights[f"lm.rnns.{k}.bias_hh_l0"]
    outputs = []
    for frame in x:
        # PyTorch's order of the gates.
        i, f, g, o = (frame @ w_ih.T + b_ih + h @ w_hh.T + b_hh).chunk(4, dim=1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        outputs.append(h)
    return torch.stack(outputs), h, c


class Recipe:
    """Training by the recipe, an epoch at a time.

    Args:
        weights: start, by name; a tied softmax has no ``lm.decoder.weight``.
        train: ids of the training stream.
        valid: ids of the validation stream.
        conf: lr, weight_decay, clip, bptt, sigma, min_frames, short_probability, nonmono, columns,
            valid_columns, seed.
        lag: while averaging, step with the previous window's learning rate.
    """

    def __init__(
        self, weights: Weights, train: list[int], valid: list[int], conf: dict, *, lag: bool = False
    ) -> None:
        self.weights = {k: v.detach().double().clone().requires_grad_() for k, v in weights.items()}
        self.train = train
        self.valid = valid
        self.conf = conf
        self.lag = lag
        # Validation losses of the SGD part.
        self.history: list[float] = []
        # Weights after every step since averaging began.
        self.iterates: list[Weights] | None = None
        self.last_lr: float | None = None
        self.losses: list[float] = []
        self.norms: list[float] = []

    def loss(
        self, stream: list[list[int]], start: int, stop: int, state: list, *, penalty: bool
    ) -> tuple:
        """A window's mean loss in nats, the same with AR and TAR, and the state after it."""
        rows = torch.tensor([[column[t] for column in stream] for t in range(start, stop + 1)])
        x = self.weights["lm.encoder.weight"][rows[:-1]]
        after = []
        for k, (h, c) in enumerate(state):
            x, h, c = lstm(x, h, c, self.weights, k)
            after.append((h.detach(), c.detach()))
        softmax = self.weights.get("lm.decoder.weight", self.weights["lm.encoder.weight"])
        logits = x @ softmax.T + self.weights["lm.decoder.bias"]
        log_p = logits - torch.log(torch.exp(logits).sum(-1, keepdim=True))
        of_targets = []
        for t in range(stop - start):
            for b in range(len(stream)):
                of_targets.append(log_p[t, b, rows[t + 1, b]])
        nll = -torch.stack(of_targets).mean()
        if not penalty:
            return nll, nll, after
        # Without dropout both regularisations see the same output.
        ar = (x**2).mean()
        tar = ((x[1:] - x[:-1]) ** 2).mean()
        return nll, nll + 2.0 * ar + 1.0 * tar, after

    def zeros(self, columns: int) -> list:
        """A zero state of every layer."""
        state = []
        for k in range(3):
            size = self.weights[f"lm.rnns.{k}.weight_hh_l0"].shape[1]
            zeros = torch.zeros(columns, size, dtype=torch.float64)
            state.append((zeros, zeros))
        return state

    def train_epoch(self, epoch: int) -> None:
        """All windows of an epoch, one step each."""
        stream = side_by_side(self.train, self.conf["columns"])
        state = self.zeros(self.conf["columns"])
        rng = np.random.RandomState(self.conf["seed"] + epoch)
        names = list(self.weights)
        last = len(stream[0]) - 1
        i = 0
        while i < last - 1:
            half = rng.random_sample() < self.conf["short_probability"]
            mean = self.conf["bptt"] / 2 if half else self.conf["bptt"]
            drawn = max(self.conf["min_frames"], int(rng.normal(mean, self.conf["sigma"])))
            stop = min(i + drawn, last)
            nll, total, state = self.loss(stream, i, stop, state, penalty=True)
            grads = torch.autograd.grad(total, [self.weights[name] for name in names])
            self.losses.append(nll.item())
            self.step(dict(zip(names, grads)), self.conf["lr"] * drawn / self.conf["bptt"])
            i += drawn

    def step(self, grads: Weights, lr: float) -> None:
        """Clip by the global norm, then step with the window's learning rate and weight decay."""
        norm = sum((g**2).sum() for g in grads.values()) ** 0.5
        self.norms.append(norm.item())
        # The 1e-6 is PyTorch's.
        factor = min(1.0, self.conf["clip"] / (norm.item() + 1e-6))
        used = self.last_lr if self.lag and self.iterates else lr
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight -= used * (factor * grads[name] + self.conf["weight_decay"] * weight)
        self.last_lr = lr
        if self.iterates is not None:
            self.iterates.append({k: v.detach().clone() for k, v in self.weights.items()})

    def averages(self) -> Weights:
        """What validation sees: the mean of all iterates but the first, or the raw weights."""
        if not self.iterates:
            return {k: v.detach() for k, v in self.weights.items()}
        used = self.iterates[1:] or self.iterates
        return {k: torch.stack([weights[k] for weights in used]).mean(0) for k in self.weights}

    def validate(self) -> float:
        """Mean loss over fixed windows with the averages; may start the averaging."""
        raw = self.weights
        self.weights = self.averages()
        stream = side_by_side(self.valid, self.conf["valid_columns"])
        state = self.zeros(self.conf["valid_columns"])
        last = len(stream[0]) - 1
        total = 0.0
        for i in range(0, last, self.conf["bptt"]):
            stop = min(i + self.conf["bptt"], last)
            nll, _, state = self.loss(stream, i, stop, state, penalty=False)
            total += nll.item() * (stop - i)
        self.weights = raw
        value = total / last
        if self.iterates is None:
            n = self.conf["nonmono"]
            if len(self.history) > n and value > min(self.history[:-n]):
                self.iterates = []
            self.history.append(value)
        return value


def side_by_side(ids: list[int], columns: int) -> list[list[int]]:
    """Equal contiguous columns of a stream, the rest dropped."""
    length = len(ids) // columns
    return [ids[b * length : (b + 1) * length] for b in range(columns)]
