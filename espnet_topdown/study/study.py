"""A study in a recipe directory: its names, and the commands that train and decode it.

A study has several seeds; each has a base, its cascade and the controls. Running the commands is
left to `espnet_topdown.study.running`.
"""

import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from espnet_topdown import files
from espnet_topdown.errors import TopdownError
from espnet_topdown.plan.plan_file import plan_text, read_plan
from espnet_topdown.results.rows import PERPLEXITY
from espnet_topdown.results.scoring import find_scores
from espnet_topdown.study.analysis import read_analysis
from espnet_topdown.study.record_files import read_record
from espnet_topdown.study.record_rules import FORMAT

USUAL_SEEDS = (1, 2, 3)
USUAL_SETS = ("test",)


def analysis_of(model: str) -> Path:
    """Where the plan of analysis of a model's study stands."""
    return Path(f"conf/analysis/{model}.yaml")


@dataclass(frozen=True)
class Study(ABC):
    """One study: its names and its commands, of which `AsrStudy` and `LmStudy` have the recipe's.

    Args:
        model: ``conf/train_KIND_MODEL.yaml`` and ``conf/study/MODEL.yaml`` are its base's config
            and its plan.
        seeds: of the bases.
        jobs: trainings, or decodings, at a time, each with one thread.
        model_file: the model that is decoded.
        test_sets: sets to decode; dev decides by its criterion in training, without decoding.
        ngpu: GPUs of each training; a cascade's phases side by side need `jobs` times as many.
    """

    model: str
    seeds: tuple[int, ...]
    jobs: int
    model_file: str
    test_sets: str
    ngpu: int = 0

    KIND: ClassVar[str]

    @property
    def config(self) -> Path:
        """Training config of the base."""
        return Path(f"conf/train_{self.KIND}_{self.model}.yaml")

    @property
    def plan(self) -> Path:
        """Plan of the cascade and its controls."""
        return Path(f"conf/study/{self.model}.yaml")

    @property
    def analysis(self) -> Path:
        """Plan of analysis; a study without one is asked every question."""
        return analysis_of(self.model)

    def base(self, seed: int) -> Path:
        """Experiment of a seed's base."""
        return Path(f"exp/{self.KIND}_study_{self.model}_seed{seed}")

    def cascade(self, seed: int) -> Path:
        """Directory of a seed's cascade."""
        return Path(f"{self.base(seed)}_topdown")

    def record(self, seed: int) -> Path:
        """Record of a seed."""
        return Path(f"records/{self.model}/seed{seed}.json")

    @abstractmethod
    def train_command(self, seed: int) -> list[str]:
        """Trains the base of `seed`, or goes on with it."""

    @abstractmethod
    def decode_command(self, experiment: Path) -> list[str]:
        """Decodes and scores one experiment."""

    @abstractmethod
    def is_decoded(self, experiment: Path) -> bool:
        """Whether `decode_command` has done its work."""

    def cascade_command(self, seed: int) -> list[str]:
        """Trains every phase of `seed` that is not finished."""
        words = [sys.executable, "-m", "espnet_topdown", "run", str(self.base(seed))]
        words += ["--plan", str(self.plan), "--dir", str(self.cascade(seed))]
        # One thread each: more would change the sums, and with them the record.
        words += ["--jobs", str(self.jobs), "--threads", "1"]
        return [*words, "--ngpu", str(self.ngpu)]

    @property
    def datasets(self) -> tuple[str, ...]:
        """Sets that every phase is decoded on, as far as the options name them."""
        return ()

    def records(self) -> list[Path]:
        """The records of its seeds that are there, pilots among them."""
        return sorted(Path(f"records/{self.model}").glob("seed*.json"))

    def check_analysis(self) -> None:
        """Refuse a plan of analysis that is not the one that recorded seeds have.

        Raises:
            TopdownError: it has changed, has come or has gone since a seed was recorded.
        """
        planned = read_analysis(self.analysis)
        # As records hold it: JSON has text alone for keys.
        planned = json.loads(json.dumps(planned))
        for path in self.records():
            stored = files.read_json(path)
            is_readable = isinstance(stored, dict) and stored.get("format") == FORMAT
            if is_readable and stored.get("analysis") != planned:
                raise TopdownError(
                    f"{self.analysis} is not what it was when {path} was recorded; a plan of"
                    " analysis stays as it was before the first seed: put it back, or move"
                    f" {path.parent} away to begin another study"
                )

    def is_recorded(self, seed: int) -> bool:
        """Whether the record has every phase of the plan, and every set, as they are now."""
        if not self.record(seed).exists():
            return False
        record = read_record(self.record(seed))
        # As written out again: comments and order in the file change nothing.
        is_of_plan = record.plan == plan_text(read_plan(self.plan))
        known = {name.rpartition("/")[2] for name in record.references}
        return record.complete and is_of_plan and known >= {*self.datasets}


class AsrStudy(Study):
    """A study with the recipe's asr1 stages."""

    KIND = "asr"

    def recipe(self, *options: str) -> list[str]:
        """The recipe's command with the model's config and statistics."""
        own = Path(f"run_{self.model}.sh")
        # A study on other data than the recipe's has a script that names it.
        script = own.name if own.exists() else "run.sh"
        words = [f"./{script}", "--asr_config", str(self.config)]
        words += ["--asr_stats_dir", f"exp/asr_stats_{self.model}", "--ngpu", str(self.ngpu)]
        return [*words, "--inference_asr_model", self.model_file, *options]

    def train_command(self, seed: int) -> list[str]:
        """Stage 11 for the base of `seed`."""
        stages = ["--stage", "11", "--stop_stage", "11"]
        # asr.sh makes the directory exp/asr_TAG of the tag.
        tag = self.base(seed).name.removeprefix("asr_")
        return self.recipe(*stages, "--asr_tag", tag, "--asr_args", f"--seed {seed}")

    def decode_command(self, experiment: Path) -> list[str]:
        """Stages 12 and 13 for one experiment."""
        stages = ["--stage", "12", "--stop_stage", "13", "--skip_train", "true"]
        # One job each: `jobs` decodings run side by side already.
        sets = ["--inference_nj", "1", "--test_sets", self.test_sets]
        return self.recipe(*stages, *sets, "--asr_exp", str(experiment))

    @property
    def datasets(self) -> tuple[str, ...]:
        """The test sets."""
        return tuple(self.test_sets.split())

    def is_decoded(self, experiment: Path) -> bool:
        """Whether every set has its word error rates."""
        # result.txt is the last file that stage 13 writes for a metric.
        decoded = set()
        for (_, dataset, metric), (ref, _) in find_scores(experiment).items():
            if metric == "wer" and (ref.parent / "result.txt").exists():
                decoded.add(dataset.rpartition("/")[2])
        return decoded >= {*self.datasets}


class LmStudy(Study):
    """A study with the recipe's lm1 stages: perplexities in the place of error rates."""

    KIND = "lm"

    def recipe(self, stage: int, experiment: Path, *options: str) -> list[str]:
        """One stage of the recipe's command for one experiment."""
        words = ["./run.sh", "--stage", str(stage), "--stop_stage", str(stage)]
        words += ["--ngpu", str(self.ngpu)]
        words += ["--lm_config", str(self.config), "--lm_exp", str(experiment)]
        return [*words, "--inference_lm", self.model_file, *options]

    def train_command(self, seed: int) -> list[str]:
        """Stage 7 for the base of `seed`."""
        return self.recipe(7, self.base(seed), "--lm_args", f"--seed {seed}")

    def decode_command(self, experiment: Path) -> list[str]:
        """Stage 8 for one experiment."""
        # The text as one stream alone, as the literature counts.
        return self.recipe(8, experiment, "--per_line", "false")

    def is_decoded(self, experiment: Path) -> bool:
        """Whether the perplexities are there."""
        return (experiment / PERPLEXITY).exists()


def choose(
    model: str,
    seeds: Sequence[int] | None,
    jobs: int,
    model_file: str | None,
    test_sets: str | None,
    ngpu: int = 0,
) -> Study:
    """The study of a model: a language model's where ``conf/train_lm_MODEL.yaml`` is there.

    Args:
        model: as in `Study`, like the other arguments.
        seeds: of the bases; None: those of the plan of analysis, or 1, 2 and 3.
        jobs: trainings at a time.
        model_file: None: the average of the plan's dev criterion, such as ``valid.acc.ave.pth``;
            without one ``valid.loss.ave.pth`` of a language model, else ``valid.acc.ave.pth``.
        test_sets: sets to decode; None: those of the plan of analysis, or test.
        ngpu: GPUs of each training.
    """
    is_lm = Path(f"conf/train_lm_{model}.yaml").exists()
    kind, usual = (LmStudy, "valid.loss.ave.pth") if is_lm else (AsrStudy, "valid.acc.ave.pth")
    # What is asked for counts more than what is planned: a pilot's seed, say, or another set.
    planned = read_analysis(analysis_of(model)) or {}
    chosen = kind(
        model=model,
        seeds=tuple(seeds or planned.get("seeds", USUAL_SEEDS)),
        jobs=jobs,
        model_file=model_file or usual,
        test_sets=test_sets or " ".join(planned.get("sets", USUAL_SETS)),
        ngpu=ngpu,
    )
    if model_file or not chosen.plan.exists():
        return chosen
    criterion = read_plan(chosen.plan).dev_criterion
    if criterion is None:
        return chosen
    part, metric, _ = criterion
    return replace(chosen, model_file=f"{part}.{metric}.ave.pth")
