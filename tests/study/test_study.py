"""A study's tables follow from its records.

Contrasts, selection on dev, verdicts, and what was not measured.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from espnet_topdown.errors import TopdownError
from espnet_topdown.plan.plan import Entry, Plan
from espnet_topdown.plan.plan_file import plan_text
from espnet_topdown.study import contrasts, perplexity, study, tables
from espnet_topdown.study.__main__ import main

RESULTS = sorted((Path(__file__).parents[2] / "egs2").glob("*/*/RESULTS.md"))
SPEAKERS, EACH = 6, 10
SET = "decode/test"
WORDS = 4 * SPEAKERS * EACH
EQUAL = "best top-down phase - best restart, as many runs each"
PLAN = plan_text(Plan((Entry(cut="decoder"),)))


def names() -> list[str]:
    return [f"s{k % SPEAKERS}-s{k % SPEAKERS}-test{k:03d}" for k in range(SPEAKERS * EACH)]


def phase(
    name: str,
    kind: str,
    dev: float,
    wrong: Sequence[int],
    *,
    cut: str | None = None,
    dropout: str = "keep",
) -> dict:
    """A phase that has the last of four words wrong in the utterances `wrong`."""
    every = names()
    return {
        "name": name, "kind": kind, "cut": cut, "frozen_share": 0.0, "dev": dev, "accepted": None, "best": False,
        "seed": 1, "epochs": 3, "hours": 0.1, "curve": [0.1, 0.2, dev], "frozen": [], "dropout": dropout,
        "model_sha256": "0", "hypotheses": {SET: {every[k]: "one two three NINE" for k in wrong}},
    }  # fmt: skip


def record(seed: int, phases: Sequence[dict]) -> dict:
    made = {"espnet": "1", "torch": "2", "python": "3", "machine": "2-core CPU"}
    data = {
        "sets": {"test": {"strings": 60, "words": WORDS, "text_sha256": "0"}},
        "options": {"snr_db": "10"},
    }
    reference = dict.fromkeys(names(), "one two three four")
    head = {
        "model": "tiny",
        "seed": seed,
        "plan": PLAN,
        "complete": True,
        "dev_name": "valid acc max",
    }
    head |= {"made": made, "data": data, "references": {SET: reference}}
    return {**head, "phases": [{**p, "seed": seed} for p in phases]}


def usual(seed: int) -> dict:
    """Phase 0 has 24 errors, phase1 12, phase2 24 again, restarts 24 and 18, bottom_up 60.

    One in each utterance.
    """
    return record(
        seed,
        [
            phase("phase0", "base", 0.5, range(24)),
            phase("phase1", "top_down", 0.7, range(12), cut="decoder"),
            phase("phase2", "top_down", 0.6, range(24), cut="encoder.1"),
            phase("restart_phase1", "restart", 0.5, range(24)),
            phase("restart_phase2", "restart", 0.4, range(18)),
            phase("bottom_up_phase1", "bottom_up", 0.3, range(60), cut="decoder"),
        ],
    )


def write(folder: Path, *records: dict) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for each in records:
        (folder / f"seed{each['seed']}.json").write_text(json.dumps(each))
    return folder


def answers(tmp_path: Path, *records: dict) -> dict[str, contrasts.Contrast]:
    decoded = contrasts.Decoded(records, SET)
    asked = contrasts.questions(records)
    return {question: decoded.contrast(question, pairs) for question, pairs in asked.items()}


def test_contrasts_by_hand(tmp_path: Path) -> None:
    found = answers(tmp_path, usual(1), usual(2))
    top = found["best top-down phase - phase 0"]
    assert top.rates == ((5.0, 10.0), (5.0, 10.0)) and top.points == -5.0
    assert top.speakers == (
        -5.0,
        -5.0,
    )  # utterances 12 to 23 are two of each speaker: the same in every resample
    assert top.utterances[0] < -5.0 < top.utterances[1] < 0 and top.verdict == "fewer errors"
    # the restart that dev selects is the first, whatever the test set says of the second
    assert found[EQUAL].rates == ((5.0, 10.0), (5.0, 10.0))
    assert (
        found["best restart - phase 0"].points == 0.0
        and found["best restart - phase 0"].verdict == "not shown"
    )
    assert found["phase1 (cut decoder) - its bottom_up, one run each"].points == -20.0
    assert found["phase1 (cut decoder) - its restart, one run each"].points == -5.0
    assert found["phase2 (cut encoder.1) - its restart, one run each"].points == 2.5
    assert found["phase2 (cut encoder.1) - phase 0"].points == 0.0
    assert (
        found["best top-down phase - best control of any kind"].pairs[0].second["name"]
        == "restart_phase1"
    )


def test_a_phase_without_a_restart_has_no_part_in_equal_budget(tmp_path: Path) -> None:
    extra = phase("phase3", "top_down", 0.9, range(6), cut="encoder.0")
    found = answers(tmp_path, record(1, [*usual(1)["phases"], extra]))
    assert found["best top-down phase - phase 0"].pairs[0].first["name"] == "phase3"
    assert found[EQUAL].pairs[0].first["name"] == "phase1"


def test_seeds_of_an_utterance_move_together(tmp_path: Path) -> None:
    """Opposite differences in the two seeds cancel in every utterance, and so in every resample."""
    phases = [
        phase("phase0", "base", 0.5, range(12)),
        phase("phase1", "top_down", 0.7, range(24), cut="decoder"),
    ]
    worse = record(2, phases)
    contrast = answers(tmp_path, usual(1), worse)["best top-down phase - phase 0"]
    assert contrast.points == 0.0 and contrast.utterances == contrast.speakers == (0.0, 0.0)


def test_selection_follows_the_direction_of_dev() -> None:
    lowest = {**usual(1), "dev_name": "valid loss min"}
    assert contrasts.selected(usual(1), ("top_down",))["name"] == "phase1"
    assert contrasts.selected(lowest, ("top_down",))["name"] == "phase2"
    assert contrasts.selected(usual(1), ("continue",)) is None


def test_dropout_off_is_a_question_of_its_own(tmp_path: Path) -> None:
    off = phase("off", "top_down", 0.9, range(6), cut="decoder", dropout="off")
    found = answers(tmp_path, record(1, [*usual(1)["phases"], off]))
    assert found["best top-down phase - phase 0"].pairs[0].first["name"] == "phase1"
    assert found["cut decoder: dropout off (off) - phase1"].points == -2.5
    assert found["best phase with dropout off - phase 0"].points == -7.5
    equal = found[
        "best phase with dropout off - best restart, as many runs each"
    ]  # one phase, so the first restart
    assert equal.pairs[0].second["name"] == "restart_phase1" and equal.points == -7.5
    text, _ = tables.model_text(
        "tiny", [record(seed, [*usual(seed)["phases"], off]) for seed in (1, 2)]
    )
    assert "|top_down|decoder|2|5.00|" in text and "|top_down|decoder, dropout off|2|2.50|" in text
    assert "decoder of 2 trained" in text


def test_phases_of_one_cut_are_told_apart_by_their_settings(tmp_path: Path) -> None:
    first = phase("phase1", "top_down", 0.7, range(12), cut="decoder")
    first["settings"] = json.dumps({"parent": "phase0", "train": {"max_epoch": 9}})
    changed = phase("fast", "top_down", 0.9, range(6), cut="decoder")
    changed["settings"] = json.dumps({"parent": "phase2", "train": {"optim_conf": {"lr": 0.01}}})
    again = {**first, "name": "again", "dev": 0.9}
    found = answers(tmp_path, record(1, [usual(1)["phases"][0], first, changed, again]))
    assert found["best top-down phase - phase 0"].pairs[0].first["name"] == "phase1"
    assert (
        found["cut decoder: parent phase2, max_epoch as configured, lr 0.01 (fast) - phase1"].points
        == -2.5
    )
    assert found["cut decoder: again (again) - phase1"].points == 0.0


def test_a_control_with_a_name_of_its_own_is_compared_by_it(tmp_path: Path) -> None:
    thaw = phase("thaw_phase1", "continue", 0.9, range(6))
    thaw["settings"] = json.dumps({"parent": "phase1"})
    found = answers(tmp_path, record(1, [*usual(1)["phases"], thaw]))
    assert (
        found["best top-down phase - best control of any kind"].pairs[0].second["name"]
        == "restart_phase1"
    )
    assert found["best top-down phase - thaw_phase1"].points == 2.5
    assert found["thaw_phase1 - best restart"].points == -7.5
    assert (
        found["thaw_phase1 - phase 0"].points == -7.5
        and found["thaw_phase1 - its parent phase1"].points == -2.5
    )


def test_summary_names_what_was_not_measured(tmp_path: Path) -> None:
    records = [usual(1)]
    lines = tables.summary(list(answers(tmp_path, *records).values()))
    lines += tables.coverage(records)
    first = (
        "- best top-down phase - phase 0: -5.00 points (fewer errors); the first has fewer errors"
        " in 1 of 1 seed."
    )
    assert first in lines
    assert "- Cut selected on dev, by seed: decoder of 2 trained." in lines
    assert lines[-3:] == [
        "- Control continue: not measured.",
        "- Control unfrozen: not measured.",
        "- Dropout off in the frozen layers: not measured.",
    ]


def test_results_are_rebuilt_by_one_command(tmp_path: Path) -> None:
    write(tmp_path / "records" / "tiny", usual(1), usual(2))
    command = [
        sys.executable,
        "-m",
        "espnet_topdown.study",
        "table",
        "records/tiny",
        "--output",
        "RESULTS.md",
    ]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run(command, cwd=tmp_path, check=True, env=environment)
    text = (tmp_path / "RESULTS.md").read_text()
    assert "`python3 -m espnet_topdown.study table records/tiny`" in text
    assert "|best top-down phase - phase 0|1, 2|5.00 - 10.00|-5.00|" in text
    assert "- data: test 60 lines, 240 words" in text and "- options of the data: snr_db 10" in text
    shown = sorted(path.name for path in (tmp_path / "images").iterdir())
    assert shown == [
        "tiny_seed1_dev_curves.png",
        "tiny_seed2_dev_curves.png",
        "tiny_test_error_by_cut.png",
    ]
    assert all(f"(images/{name})" in text for name in shown)
    first = text
    subprocess.run(command, cwd=tmp_path, check=True, env=environment)
    assert (tmp_path / "RESULTS.md").read_text() == first


@pytest.mark.parametrize("results", RESULTS, ids=lambda path: path.parent.parent.name)
def test_committed_results_are_what_the_records_say(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(results.parent)
    main(["table", *map(str, sorted(Path("records").iterdir()))])
    assert capsys.readouterr().out.rstrip() == results.read_text().rstrip()


def test_a_baseline_that_was_cut_short_is_named() -> None:
    base, *others = usual(1)["phases"]
    early = record(1, [{**base, "curve": [0.1, 0.5, 0.4, 0.3]}, *others])
    texts = [tables.model_text("tiny", [one])[0] for one in (usual(1), early)]
    assert (
        "- best epoch of phase 0 on dev: 3 of 3" in texts[0] and "still getting better" in texts[0]
    )
    assert (
        "- best epoch of phase 0 on dev: 2 of 4" in texts[1]
        and "still getting better" not in texts[1]
    )


def test_records_of_two_studies_are_refused(tmp_path: Path) -> None:
    other = {**usual(2), "dev_name": "valid loss min"}
    with pytest.raises(TopdownError, match="seeds 1 and 2 differ in 'dev_name'"):
        tables.model_text("tiny", [usual(1), other])


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "holds no seed"), ("[]", "is not the record of a seed"), ("{", "is damaged")],
)
def test_bad_records_are_refused(tmp_path: Path, content: str | None, says: str) -> None:
    if content is not None:
        (tmp_path / "seed1.json").write_text(content)
    with pytest.raises(TopdownError, match=says):
        study.find_records([tmp_path])


def test_a_seed_given_twice_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "tiny", usual(1))
    with pytest.raises(TopdownError, match="seed 1 of tiny was read before"):
        study.find_records([folder, folder])


def lm_record(seed: int, *perplexities: float) -> dict:
    """Phase 0, a top-down phase, its restart and a fine-tuning run, with these perplexities on the
    test stream.
    """
    kinds = {
        "phase0": "base",
        "phase1": "top_down",
        "restart_phase1": "restart",
        "finetune_phase1": "continue",
    }
    phases = []
    for (name, kind), value in zip(kinds.items(), perplexities, strict=True):
        cut = "output" if kind == "top_down" else None
        given = {
            "hypotheses": {},
            "perplexity": {"test (stream)": value, "valid (stream)": value + 5},
        }
        phases.append({**phase(name, kind, value / 100, (), cut=cut), **given})
    return {**record(seed, phases), "references": {}, "dev_name": "valid loss min"}


def test_perplexities_of_a_language_model_by_hand() -> None:
    records = [
        lm_record(1, 60, 58, 61, 59),
        lm_record(2, 62, 59, 61, 63),
        lm_record(3, 61, 60, 61, 60),
    ]
    found = {c.question: c for c in perplexity.contrasts(records, "test (stream)")}
    top = found["best top-down phase - phase 0"]
    # mean -2, standard deviation 1, t of 2 degrees of freedom 4.3027: 2.4842 to each side
    assert top.differences == [-2, -3, -1] and top.interval == pytest.approx(
        (-4.4842, 0.4842), abs=1e-4
    )
    assert top.verdict == "not shown"
    lower = perplexity.PerplexityContrast("q", "t", top.pairs, ((58, 60), (59, 61.1), (60, 62.2)))
    assert lower.verdict == "lower"
    assert found["best top-down phase - finetune_phase1"].differences == [-1, -4, 0]
    assert perplexity.t_interval([1.0]) is None
    text, pictures = tables.model_text("tiny", records)
    assert (
        "|best top-down phase - phase 0|1, 2, 3|59.00 - 61.00|-2.00|-4.48 to +0.48|not shown|"
        in text
    )
    assert "|phase1|top_down|output|3|59.00 (58.00 to 60.00)|-2.00 (-4.48 to +0.48)|64.00 (" in text
    assert "the first has the lower perplexity in 3 of 3 seeds." in text
    assert sorted(pictures)[0] == "tiny_perplexity_by_cut.png"


def test_a_language_model_is_studied_by_its_own_stages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/train_lm_tiny.yaml").touch()
    here = study.choose("tiny", [1], 1, None, "test")
    train, decode = here.train_command(1), here.decode_command(Path("exp/x"))
    assert train[:3] == ["./run.sh", "--stage", "7"] and "exp/lm_study_tiny_seed1" in train
    assert train[-2:] == ["--lm_args", "--seed 1"]
    assert decode[:3] == ["./run.sh", "--stage", "8"] and "valid.loss.ave.pth" in decode
    assert not here.is_decoded(tmp_path)


def test_failed_command_stops_the_study_with_its_words() -> None:
    with pytest.raises(TopdownError, match="failed .*: false --seed 1"):
        study._run_all([["false", "--seed", "1"], ["true"]], 1)


def test_appended_phases_open_a_recorded_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    here = study.choose("tiny", [1], 1, None, "test")
    here.plan.parent.mkdir(parents=True)
    here.plan.write_text("phases:\n- cut: decoder  # a comment changes nothing\n")
    assert not here.is_recorded(1)
    write(tmp_path / "records" / "tiny", {**usual(1), "complete": False})
    assert not here.is_recorded(1)
    write(tmp_path / "records" / "tiny", usual(1))
    assert here.is_recorded(1)
    here.plan.write_text("phases:\n- cut: decoder\n- cut: encoder.1\n")
    assert not here.is_recorded(1)


def test_a_record_that_is_not_complete_says_so() -> None:
    text, _ = tables.model_text("tiny", [usual(1), {**usual(2), "complete": False}])
    assert "- not complete: the plan of seeds 2 has phases" in text
