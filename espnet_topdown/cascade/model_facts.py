"""Facts about a base's model (layers, sizes, ties, epochs), cached beside a cascade so that reruns
need no ESPnet.

The facts are found by `espnet_topdown.bin.describe` in a process of its own.
"""

import hashlib
import json
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from espnet_topdown import files, warm
from espnet_topdown.errors import TopdownError
from espnet_topdown.plan.layers import acts_inside
from espnet_topdown.plan.plan import Phase, Sides


@dataclass(frozen=True)
class Facts:
    """What the cascade needs to know of a model, as `espnet_topdown.bin.describe` wrote it."""

    data: dict[str, Any]

    @property
    def names(self) -> tuple[str, ...]:
        """Layer names, lowest first."""
        return tuple(layer["name"] for layer in self.data["layers"])

    @property
    def parameters(self) -> dict[str, int]:
        """Parameters of each layer, lowest first.

        A tied matrix counts once, in the lowest layer that has it.
        """
        return {layer["name"]: layer["parameters"] for layer in self.data["layers"]}

    @property
    def total(self) -> int:
        """Parameters of the model."""
        return sum(self.parameters.values())

    @property
    def epochs(self) -> list[dict[str, Any]]:
        """The base's epochs, a row each, with ``train`` and ``valid`` metrics."""
        return self.data["epochs"]

    def frozen_layers(self, phase: Phase) -> tuple[str, ...]:
        """Layers of which nothing is trained.

        Those kept and frozen, and below the cut one whose tied matrix is its all.
        """
        sides, untied = phase.sides(self.names), phase.tied in ("untie_draw", "untie_copy")
        held = {
            layer["name"]: sum(n for other, n in layer["tied_to"].items() if other in sides.frozen)
            for layer in self.data["layers"]
            if layer["name"] in sides.fresh and not untied
        }
        return tuple(
            n
            for n in self.names
            if n in sides.frozen or held.get(n) and held[n] == self.parameters[n]
        )

    def frozen_parameters(self, phase: Phase) -> tuple[int, int]:
        """(frozen, all) parameters of a phase; untying gives the lower end a matrix of its own."""
        sides: Sides = phase.sides(self.names)
        frozen, total = sum(self.parameters[name] for name in sides.frozen), self.total
        for place, layer in enumerate(self.data["layers"]):
            if layer["name"] in sides.fresh:
                held = {other: n for other, n in layer["tied_to"].items() if other in sides.frozen}
                frozen += sum(
                    n for other, n in held.items() if self.names.index(other) > place
                )  # counted in this layer
                total += sum(held.values()) if phase.tied in ("untie_draw", "untie_copy") else 0
        return frozen, total

    def check_dropouts(self, phases: Iterable[Phase]) -> None:
        """Refuse `phases` that want a dropout off which cannot be switched off.

        Raises:
            TopdownError: in one of them one number serves frozen and fresh layers together.
        """
        for phase in phases:
            frozen = phase.sides(self.names).frozen
            for dropout, served in (
                self.data["dropouts"].items() if phase.dropout == "off" and frozen else ()
            ):
                try:
                    acts_inside(dropout, served, frozen)
                except TopdownError as error:
                    raise TopdownError(f"{phase.name}: {error}") from None

    def seconds_per_epoch(self) -> float | None:
        """Median wall time of the base's epochs (training and validation), None where it was not
        recorded.
        """
        times = sorted(
            sum(row.get(p, {}).get("time") or 0.0 for p in ("train", "valid"))
            for row in self.epochs
        )
        return times[len(times) // 2] if times and times[len(times) // 2] > 0 else None


def find_facts(
    config: Path, task: str, *, plan: Path | None = None, cache: Path | None = None, **options: Any
) -> Facts:
    """The facts of the model that `config` describes, from `cache` when nothing changed since.

    Args:
        config: an experiment's ``config.yaml`` or a training config.
        task: ``asr`` or ``lm``.
        plan: plan whose own layer order is used.
        cache: JSON file to keep the facts in.
        options: further options of `espnet_topdown.bin.describe` (vocab_size, input_size).

    Raises:
        TopdownError: the model cannot be built or has layers without an order; the message is
            describe's.
    """
    stamp = _stamp(config, plan)
    if (
        cache
        and cache.exists()
        and (data := files.read_object(cache)).get("stamp") == stamp
        and _is_whole(data)
    ):
        return Facts(data)
    with tempfile.TemporaryDirectory() as scratch:
        output, log = Path(scratch) / "facts.json", Path(scratch) / "describe.log"
        argv = ["--config", str(config), "--task", task, "--output", str(output)]
        argv += ["--plan", str(plan)] if plan else []
        for key, value in options.items():
            argv += [f"--{key}", str(value)] if value is not None else []
        code = warm.start(warm.Command("espnet_topdown.bin.model_facts", argv, log)).wait()
        if code != 0:
            raise TopdownError(
                _reason(log.read_text(encoding="utf-8", errors="replace").splitlines(), config)
            )
        data = {**json.loads(output.read_text(encoding="utf-8")), "stamp": stamp}
    if cache:
        files.write_json(cache, data)
    return Facts(data)


def _is_whole(data: dict[str, Any]) -> bool:
    """Whether cached facts have what they had when they were written; else they are found again."""
    lists = all(
        isinstance(data.get(key), list) for key in ("layers", "epochs", "notes", "parser_keys")
    )
    lists = lists and isinstance(data.get("dropouts"), dict)
    types = {"name": str, "parameters": int, "notes": str, "tied_to": dict}
    layers = data.get("layers") if lists else []
    return (
        lists
        and all(isinstance(row, dict) for row in data["epochs"])
        and bool(layers)
        and all(
            isinstance(layer, dict)
            and all(isinstance(layer.get(key), kind) for key, kind in types.items())
            for layer in layers
        )
    )


def _reason(log: Sequence[str], config: Path) -> str:
    """The message of a TopdownError in a log, or its last lines."""
    marker = ": error: "
    start = next((n for n, line in enumerate(log) if marker in line), None)
    if start is None:
        return f"the model of {config} cannot be built:\n" + "\n".join(log[-15:])
    body = [log[start].split(marker, 1)[1], *log[start + 1 :]]
    return "\n".join(line for line in body if not line.startswith("# "))


def _stamp(config: Path, plan: Path | None) -> str:
    """Changes whenever the model, the recorded epochs, the plan's layer order or ESPnet's version
    may have changed.
    """
    try:
        parts = [
            config.read_bytes(),
            plan.read_bytes() if plan else b"",
            version("espnet").encode(),
        ]
    except OSError as error:
        raise TopdownError(f"cannot read {error.filename}: {error.strerror}") from None
    checkpoint = config.parent / "checkpoint.pth"
    parts.append(str(checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0).encode())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()
