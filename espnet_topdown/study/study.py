"""A study.

For several seeds a baseline, its cascade and the controls, all decoded, and a small record of each
seed.

Called in a recipe directory, it drives its run.sh. What the tables say is left to
`espnet_topdown.study.tables`.
"""

import importlib.metadata
import os
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from espnet_topdown import files
from espnet_topdown.cascade.cascade import Cascade
from espnet_topdown.errors import TopdownError
from espnet_topdown.plan.expansion import expand
from espnet_topdown.plan.plan import BASE
from espnet_topdown.plan.plan_file import plan_text, read_plan
from espnet_topdown.results.compare import PhaseResult
from espnet_topdown.results.rows import PERPLEXITY, phase_results
from espnet_topdown.results.scoring import find_scores
from espnet_topdown.results.trn import read_trn

OPTIONS = "options.json"  # what a corpus command may leave in data/: the options that made the sets


@dataclass(frozen=True)
class Study(ABC):
    """One study in a recipe directory: its names and its commands.

    `AsrStudy` and `LmStudy` fill in the recipe's.

    Args:
        model: ``conf/train_KIND_MODEL.yaml`` and ``conf/study/MODEL.yaml`` are its baseline and its
            plan.
        seeds: of the baselines.
        jobs: trainings, or decodings, at a time, each with one thread.
        model_file: the model that is decoded.
        test_sets: sets to decode; dev decides by its criterion in training, without decoding.
    """

    model: str
    seeds: tuple[int, ...]
    jobs: int
    model_file: str
    test_sets: str

    KIND: ClassVar[str]

    @property
    def config(self) -> Path:
        """Config of the baseline."""
        return Path(f"conf/train_{self.KIND}_{self.model}.yaml")

    @property
    def plan(self) -> Path:
        """Plan of the cascade and its controls."""
        return Path(f"conf/study/{self.model}.yaml")

    def base(self, seed: int) -> Path:
        """Experiment of a seed's baseline."""
        return Path(f"exp/{self.KIND}_study_{self.model}_seed{seed}")

    def cascade(self, seed: int) -> Path:
        """Directory of a seed's cascade."""
        return Path(f"{self.base(seed)}_topdown")

    def record(self, seed: int) -> Path:
        """Record of a finished seed."""
        return Path(f"records/{self.model}/seed{seed}.json")

    @abstractmethod
    def train_command(self, seed: int) -> list[str]:
        """Trains the baseline of `seed`, or goes on with it."""

    @abstractmethod
    def decode_command(self, experiment: Path) -> list[str]:
        """Decodes and scores one experiment."""

    @abstractmethod
    def is_decoded(self, experiment: Path) -> bool:
        """Whether `decode_command` has done its work."""

    def cascade_command(self, seed: int) -> list[str]:
        """Trains every phase of `seed` that is not finished."""
        words = [
            sys.executable,
            "-m",
            "espnet_topdown",
            "run",
            str(self.base(seed)),
            "--plan",
            str(self.plan),
        ]
        return [
            *words,
            "--dir",
            str(self.cascade(seed)),
            "--jobs",
            str(self.jobs),
            "--threads",
            "1",
        ]

    def is_recorded(self, seed: int) -> bool:
        """Whether the record of every phase is there, of the plan as it is now (phases may have
        been appended).
        """
        if not self.record(seed).exists():
            return False
        record = files.read_json(self.record(seed))
        return record["complete"] and record["plan"] == plan_text(read_plan(self.plan))


class AsrStudy(Study):
    """A study with the recipe's asr1 stages."""

    KIND = "asr"

    def recipe(self, *options: str) -> list[str]:
        """The recipe's command with the model's config and statistics."""
        config = [
            "--asr_config",
            str(self.config),
            "--asr_stats_dir",
            f"exp/asr_stats_{self.model}",
        ]
        return ["./run.sh", *config, "--inference_asr_model", self.model_file, *options]

    def train_command(self, seed: int) -> list[str]:
        tag = self.base(seed).name.removeprefix("asr_")
        return self.recipe(
            "--stage", "11", "--stop_stage", "11", "--asr_tag", tag, "--asr_args", f"--seed {seed}"
        )

    def decode_command(self, experiment: Path) -> list[str]:
        stages = [
            "--stage",
            "12",
            "--stop_stage",
            "13",
            "--skip_train",
            "true",
            "--inference_nj",
            "1",
        ]
        return self.recipe(*stages, "--test_sets", self.test_sets, "--asr_exp", str(experiment))

    def is_decoded(
        self, experiment: Path
    ) -> bool:  # result.txt is the last file that stage 13 writes for a metric
        words = [
            ref for (*_, metric), (ref, _) in find_scores(experiment).items() if metric == "wer"
        ]
        return any((ref.parent / "result.txt").exists() for ref in words)


class LmStudy(Study):
    """A study with the recipe's lm1 stages: perplexities in the place of error rates."""

    KIND = "lm"

    def recipe(self, stage: int, experiment: Path, *options: str) -> list[str]:
        """One stage of the recipe's command for one experiment."""
        stages = ["--stage", str(stage), "--stop_stage", str(stage), "--ngpu", "0"]
        names = [
            "--lm_config",
            str(self.config),
            "--lm_exp",
            str(experiment),
            "--inference_lm",
            self.model_file,
        ]
        return ["./run.sh", *stages, *names, *options]

    def train_command(self, seed: int) -> list[str]:
        return self.recipe(7, self.base(seed), "--lm_args", f"--seed {seed}")

    def decode_command(self, experiment: Path) -> list[str]:
        return self.recipe(
            8, experiment, "--per_line", "false"
        )  # the stream's alone, as the literature counts

    def is_decoded(self, experiment: Path) -> bool:
        return (experiment / PERPLEXITY).exists()


def choose(
    model: str, seeds: Sequence[int], jobs: int, model_file: str | None, test_sets: str
) -> Study:
    """The study of a model.

    Of a language model where ``conf/train_lm_MODEL.yaml`` is there, else of an ASR model.

    `model_file` None: ``valid.loss.ave.pth`` of a language model, ``valid.acc.ave.pth`` of an ASR
    model.
    """
    is_lm = Path(f"conf/train_lm_{model}.yaml").exists()
    kind, default = (LmStudy, "valid.loss.ave.pth") if is_lm else (AsrStudy, "valid.acc.ave.pth")
    return kind(model, tuple(seeds), jobs, model_file or default, test_sets)


def run(study: Study) -> None:
    """Trains, decodes and records every seed that has no record yet; goes on after an interruption.

    Raises:
        TopdownError: a command failed; its output stands above, and the same call goes on from
            there.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    open_seeds = [seed for seed in study.seeds if not study.is_recorded(seed)]
    for seed in sorted(set(study.seeds) - set(open_seeds)):
        print(f"seed {seed}: recorded in {study.record(seed)}")
    trained = {seed for seed in open_seeds if (study.base(seed) / study.model_file).exists()}
    _run_all([study.train_command(seed) for seed in open_seeds if seed not in trained], study.jobs)
    for seed in open_seeds:
        _run_all([study.cascade_command(seed)], 1)
        rows = phase_results(Cascade.reopen(study.cascade(seed)))
        _run_all(
            [
                study.decode_command(row.directory)
                for row in rows
                if not study.is_decoded(row.directory)
            ],
            study.jobs,
        )
        record_seed(study, seed)


def record_seed(study: Study, seed: int) -> None:
    """Writes the record of what is finished of a seed; ``run`` does so at its end."""
    record = make_record(study, seed)
    files.write_json(study.record(seed), record)
    print(
        f"seed {seed}: wrote"
        f" {study.record(seed)}{'' if record['complete'] else ', not complete yet'}",
        flush=True,
    )


def _run_all(commands: Sequence[Sequence[str]], jobs: int) -> None:
    """Runs every command, `jobs` at a time; after a failure none is started."""
    failed: list[str] = []

    def attempt(command: Sequence[str]) -> None:
        if failed:
            return
        print(f"{time.strftime('%H:%M:%S')} {' '.join(command)}", flush=True)
        if subprocess.run(command).returncode:
            failed.append(" ".join(command))

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(attempt, commands))
    if failed:
        raise TopdownError(
            f"a command of the study failed (its output stands above): {failed[0]}\nRun again to"
            " go on"
        )


def make_record(study: Study, seed: int) -> dict[str, Any]:
    """All that the tables need of one seed, without a model.

    Numbers, hashes, references and hypotheses or perplexities.

    A hypothesis that is equal to its reference is left out.
    """
    cascade = Cascade.reopen(study.cascade(seed))
    references: dict[str, dict[str, str]] = {}
    phases = [
        _phase_record(cascade, row, study.model_file, references) for row in phase_results(cascade)
    ]
    plan, skipped = read_plan(study.plan), cascade.judge(cascade.read_records()).skipped
    expected = {
        phase.name for phase in expand(plan, cascade.facts.names, cascade.base.seed)
    } - skipped
    complete = expected <= {
        phase["name"] for phase in phases if phase["hypotheses"] or phase["perplexity"]
    }
    header: dict[str, Any] = {"model": study.model, "seed": seed, "plan": plan_text(plan)}
    header |= {
        "dev_name": cascade.criterion.name,
        "complete": complete,
        "made": _made(),
        "data": _data(),
    }
    return {**header, "references": references, "phases": phases}


def _phase_record(
    cascade: Cascade, row: PhaseResult, model_file: str, references: dict[str, dict[str, str]]
) -> dict[str, Any]:
    """One phase; adds the references of its sets, as ``inference/set``, to `references`."""
    hypotheses: dict[str, dict[str, str]] = {}
    for (inference, dataset, metric), pair in find_scores(row.directory).items():
        if metric != "wer":
            continue
        ref, hyp = (
            {u: " ".join(t.tokens) for u, t in read_trn(path, case_sensitive=True).items()}
            for path in pair
        )
        name = f"{inference}/{dataset}"
        if references.setdefault(name, ref) != ref:
            raise TopdownError(
                f"{pair[0]} differs from {BASE}'s references; decode and score {row.directory}"
                " again"
            )
        hypotheses[name] = {
            utterance: text for utterance, text in hyp.items() if text != ref[utterance]
        }
    numbers = {
        key: value for key, value in vars(row).items() if key not in ("directory", "dev_name")
    }
    dropout = "keep" if row.name == BASE else cascade.phase(row.name).dropout
    sha256 = files.sha256(row.directory / model_file)
    return {**numbers, "dropout": dropout, "model_sha256": sha256, "hypotheses": hypotheses}


def _made() -> dict[str, Any]:
    versions = {name: importlib.metadata.version(name) for name in ("espnet", "torch")}
    machine = f"{os.cpu_count()}-core CPU, one thread a training"
    return {**versions, "python": sys.version.split()[0], "machine": machine}


def _data() -> dict[str, Any]:
    """Sizes and hashes of the sets in data/, and the options that made them."""
    sets = {}
    for text in sorted(Path("data").glob("*/text")):
        lines = text.read_text(encoding="utf-8").splitlines()
        words = sum(len(line.split()) - 1 for line in lines)
        sets[text.parent.name] = {
            "strings": len(lines),
            "words": words,
            "text_sha256": files.sha256(text),
        }
    options = Path("data") / OPTIONS
    return {"sets": sets, "options": files.read_json(options) if options.exists() else {}}


def find_records(places: Iterable[Path]) -> dict[str, list[dict[str, Any]]]:
    """Model -> its records by seed; `places` are records or directories of them.

    Raises:
        TopdownError: a place holds no record, a file is no record, or a seed of a model occurs
            twice.
    """
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for place in places:
        paths = sorted(place.glob("seed*.json")) if place.is_dir() else [place]
        if not paths:
            raise TopdownError(
                f"{place} holds no seed*.json; give the records of a study, such as records/rnn"
            )
        for path in paths:
            record = files.read_json(path)
            if (
                not isinstance(record, dict)
                or not {"model", "seed", "phases", "references"} <= record.keys()
            ):
                raise TopdownError(
                    f"{path} is not the record of a seed; give records that 'study run' wrote"
                )
            if record["seed"] in found.setdefault(record["model"], {}):
                raise TopdownError(
                    f"{path}: seed {record['seed']} of {record['model']} was read before; give it"
                    " once"
                )
            found[record["model"]][record["seed"]] = record
    return {model: [seeds[seed] for seed in sorted(seeds)] for model, seeds in found.items()}
