"""A plan of analysis: which questions it asks, what it refuses, and what it keeps sealed."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_records import SET, lm_record, usual, write

from espnet_topdown.errors import TopdownError
from espnet_topdown.plan.expansion import expand
from espnet_topdown.plan.plan import BASE
from espnet_topdown.plan.plan_file import read_plan
from espnet_topdown.study import analysis, answers, pages, power, study
from espnet_topdown.study.__main__ import main
from espnet_topdown.study.record_files import read_record
from espnet_topdown.study.records import Record

SEEDS = [100000, 200000, 300000]
RESTARTS = ["restart_phase1", "restart_phase2"]
PLANNED: dict[str, Any] = {
    "seeds": SEEDS,
    "primary": {
        "cascade - restarts": {
            "first": {"best": ["phase1", "phase2"]},
            "second": {"best": RESTARTS},
        }
    },
    "secondary": {
        "phase2 - restarts": {"first": "phase2", "second": RESTARTS},
        "phase2 - bottom_up": {"first": "phase2", "second": "bottom_up_phase1"},
    },
}
EGS = Path(__file__).parents[2] / "egs2"
COMMITTED = sorted(EGS.glob("*/*/conf/analysis/*.yaml"))
LAYERS = {
    "lm1": ("embed", "rnn.0", "rnn.1", "rnn.2", "output"),
    "asr1": ("encoder.embed", "encoder.0", "encoder.1", "encoder.2", "decoder.0", "output"),
}


def planned(*seeds: int) -> list[Record]:
    return [replace(usual(seed), analysis=PLANNED) for seed in seeds]


def on_sets(seeds: list[int], *sets: str) -> list[Record]:
    """Of a study whose plan of analysis names the sets."""
    return [replace(usual(seed), analysis={**PLANNED, "sets": [*sets]}) for seed in seeds]


def page(records: list[Record]) -> str:
    return pages.markdown("tiny", records, pages.model_section("tiny", records))


def test_only_planned_questions_are_asked_and_the_primary_one_stands_alone() -> None:
    text = page(planned(*SEEDS))
    rows = [line for line in text.splitlines() if line.split("|")[2:3] == ["3"]]
    # Errors of 240 words: 12 against dev's choice of 24 and 18; 24 against their mean; against 60.
    assert [row.split("|")[1:5:2] for row in rows] == [
        ["primary: cascade - restarts", "5.00 - 10.00"],
        ["phase2 - restarts", "10.00 - 8.75"],
        ["phase2 - bottom_up", "10.00 - 25.00"],
    ]
    assert "the primary one for itself alone" in text
    assert "among all candidates; a question may name fewer of them (see Seed by seed)" in text
    # Of an arm that dev selects, phase 0 may be a run.
    assert "phase 0 left out" not in text


def test_secondary_questions_are_corrected_for_one_another_alone() -> None:
    values = {}
    for seed, gain in zip(SEEDS, (1.0, 2.0, 3.0)):
        better = dict.fromkeys(("phase1", "phase2", "bottom_up_phase1"), 10.0 - gain)
        for name, value in (better | dict.fromkeys(RESTARTS, 10.0)).items():
            values[seed, name] = value
    primary, first, second = answers.answers(planned(*SEEDS), values, "test")
    # Differences of -1, -2 and -3: t is 2 sqrt(3), and with two degrees of freedom p is
    # 1 - t / sqrt(2 + t^2).
    p = 1 - 12**0.5 / 14**0.5
    assert (primary.p, primary.p_holm) == (pytest.approx(p), pytest.approx(p))
    assert (first.p, first.p_holm) == (pytest.approx(p), pytest.approx(2 * p))
    assert (second.p, second.p_holm) == (1.0, 1.0)


def test_a_question_about_one_set_is_asked_on_that_one_alone() -> None:
    asked = PLANNED["secondary"] | {
        "on other": {"first": "phase1", "second": "phase2", "sets": ["other"]}
    }
    runs = [usual(1).runs]
    on_test = analysis.pairs(PLANNED | {"secondary": asked}, "secondary", "test", runs)
    assert list(on_test) == ["phase2 - restarts", "phase2 - bottom_up"]
    on_other = analysis.pairs(PLANNED | {"secondary": asked}, "secondary", "other", runs)
    assert list(on_other) == ["phase2 - restarts", "phase2 - bottom_up", "on other"]


@pytest.mark.parametrize(
    ("there", "to_come"),
    [
        (
            planned(*SEEDS[:2]),
            "2 of the 3 seeds of the plan of analysis are complete; to come: 300000",
        ),
        (
            [*planned(*SEEDS[:2]), replace(usual(SEEDS[2]), analysis=PLANNED, complete=False)],
            "to come: 300000.",
        ),
        (
            [
                *planned(*SEEDS[:2]),
                replace(usual(SEEDS[2]), analysis=PLANNED, phases=usual(SEEDS[2]).phases[:-1]),
            ],
            "to come: 300000 (lacks bottom_up_phase1)",
        ),
        (
            on_sets(SEEDS, "test", "noisy"),
            "to come: 100000 (lacks phase1 on noisy, phase2 on noisy, restart_phase1 on noisy,",
        ),
    ],
    ids=["a seed lacks", "a seed is not complete", "a phase lacks", "a set lacks"],
)
def test_nothing_measured_is_shown_before_the_last_seed(there: list[Record], to_come: str) -> None:
    text = page(there)
    assert to_come in text
    assert "points" not in text
    assert "|" not in text
    with pytest.raises(TopdownError, match="tiny is sealed"):
        power.power_page({"tiny": there}, 1.0)


def test_a_question_that_a_seed_cannot_answer_is_told() -> None:
    """Dev selects none of phases whose values are of different data; a seed less went unseen."""
    assert "State:" not in page(planned(*SEEDS))
    phases = [
        replace(one, dev_set="dump/noisy") if one.name == "phase2" else one
        for one in usual(SEEDS[2]).phases
    ]
    last = replace(usual(SEEDS[2]), analysis=PLANNED, phases=tuple(phases))
    text = page([*planned(*SEEDS[:2]), last])
    assert "- cascade - restarts: not answered by 1 seed (300000), as dev values" in text
    assert "|primary: cascade - restarts|2|" in text


def test_what_a_base_gained_at_the_end_is_told() -> None:
    """Of a schedule of fixed length the best epoch is the last one, which says nothing."""
    base, *others = usual(SEEDS[0]).phases
    curve = (0.1, 0.2, 0.3, 0.4, 0.45, 0.5, 0.48, 0.55, 0.56, 0.5625)
    late = replace(base, curve=curve, dev=0.5625)
    text = page([replace(usual(SEEDS[0]), analysis=PLANNED, phases=(late, *others))])
    assert "- gain of phase 0 on dev in its last tenth of epochs: 0.0025\n" in text
    assert "still getting better" not in text
    # 0.1, 0.2, 0.5: a tenth of three epochs is the last one.
    short = page(planned(SEEDS[0]))
    assert "- gain of phase 0 on dev in its last tenth of epochs: 0.3000\n" in short


def test_records_of_pilots_are_refused() -> None:
    with pytest.raises(TopdownError, match="seed 900000001 is none of the plan of analysis"):
        page(planned(*SEEDS, 900000001))


def test_perplexities_are_compared_as_logarithms() -> None:
    asked = {"first": "phase1", "second": "restart_phase1"}
    plan = PLANNED | {"primary": {"one": asked}, "secondary": {}}
    records = []
    for seed, first in zip(SEEDS, (50, 52, 54)):
        # By about a hundred times log 1.1, whatever the perplexity itself.
        second = (1.1 + 1e-6 * first) * first
        records.append(replace(lm_record(seed, 60, first, second, 60), analysis=plan))
    assert "- primary: one: -9.54 (lower); the first is better in 3 of 3 seeds." in page(records)


def test_a_text_goes_by_its_name() -> None:
    """A language model's "test (stream)" is the plan's test: else it would be sealed for ever."""
    asked = {"first": "phase1", "second": "restart_phase1", "sets": ["test"]}
    plan = {"seeds": SEEDS, "sets": ["test"], "primary": {"a": asked}, "secondary": {}}
    values = [(60, 58, 60, 59), (62, 59, 62, 63), (61, 58, 62, 60)]
    study_of = [
        replace(lm_record(seed, *perplexities), analysis=plan)
        for seed, perplexities in zip(SEEDS, values, strict=True)
    ]
    text = page(study_of)
    assert "sealed" not in text
    assert "|primary: a|3|" in text


def test_an_analysis_stays_in_the_record(tmp_path: Path) -> None:
    folder = write(tmp_path / "tiny", *planned(SEEDS[0]))
    assert read_record(folder / "seed100000.json").analysis == PLANNED
    folder = write(tmp_path / "none", usual(1))
    assert read_record(folder / "seed1.json").analysis is None


def test_all_faults_of_an_analysis_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "conf/analysis/tiny.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("seeds: [1, 2]\nprimary: {a: {first: x}}\nsecundary: {}\n")
    with pytest.raises(SystemExit):
        main(["run", "tiny"])
    told = capsys.readouterr().err
    for words in (
        "seeds must be a list of seeds at least 100000 apart, not [1, 2]",
        "primary must be one question",
        "secondary is missing",
        "unknown key 'secundary'",
    ):
        assert words in told


ON_SETS = {
    "the primary question on two sets": (
        "primary: {a: {first: x, second: y}}\nsecondary: {}",
        "primary must be asked on one set (`sets`), not on clean, noisy",
    ),
    "a set that is not decoded": (
        (
            "primary: {a: {first: x, second: y, sets: [clean]}}\n"
            "secondary: {b: {first: x, second: z, sets: [nosiy]}}"
        ),
        "secondary: 'b' has the sets ['nosiy'], which are not in ['clean', 'noisy']",
    ),
    "no set": (
        "primary: {a: {first: x, second: y, sets: []}}\nsecondary: {}",
        "primary must be one question",
    ),
}


@pytest.mark.parametrize(("questions", "says"), ON_SETS.values(), ids=ON_SETS)
def test_questions_that_would_not_be_asked_as_planned_are_refused(
    tmp_path: Path, questions: str, says: str
) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(f"seeds: {SEEDS}\nsets: [clean, noisy]\n{questions}\n")
    with pytest.raises(TopdownError) as raised:
        analysis.read_analysis(path)
    assert says in str(raised.value)


QUESTIONS = {
    "two seeds": ("seeds: [1, 200000]", "a: {first: x, second: y}", "seeds must be 3 at least"),
    "itself": (None, "a: {first: [x, y], second: [y, x]}", "'a' compares x, y with itself"),
    "a phase twice": (None, "a: {first: [x, x], second: y}", "'a' names a phase twice (x, x)"),
    "the best of one": (None, "a: {first: x, second: {best: [x]}}", "'a' compares x with itself"),
    "the primary again": (None, "a: {first: [p], second: q}", "'a' is the primary question once"),
}


@pytest.mark.parametrize(("seeds", "question", "says"), QUESTIONS.values(), ids=QUESTIONS)
def test_questions_without_an_answer_are_refused(
    tmp_path: Path, seeds: str | None, question: str, says: str
) -> None:
    path = tmp_path / "tiny.yaml"
    primary = "primary: {one: {first: p, second: q}}"
    path.write_text(f"{seeds or f'seeds: {SEEDS}'}\n{primary}\nsecondary: {{{question}}}\n")
    (fault,) = analysis.question_faults(analysis.read_analysis(path) or {})
    assert says in fault
    path.write_text(
        f"seeds: {SEEDS}\n{primary}\nsecondary: {{a: {{first: p, second: {{best: [p, q]}}}}}}\n"
    )
    assert not analysis.question_faults(analysis.read_analysis(path) or {})


def test_a_set_that_was_decoded_in_two_ways_is_refused() -> None:
    records = planned(*SEEDS)
    twice = {**records[0].references, "beam20/test": records[0].references[SET]}
    records = [replace(one, references=twice) for one in records]
    with pytest.raises(TopdownError, match=r"test was decoded in several ways \(decode/test, beam"):
        page(records)


def test_a_study_has_the_seeds_of_its_analysis(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert study.choose("tiny", None, 1, None, "test").seeds == (1, 2, 3)
    path = tmp_path / "conf/analysis/tiny.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(f"seeds: {SEEDS}\nprimary: {{a: {{first: x, second: y}}}}\nsecondary: {{}}\n")
    assert study.choose("tiny", None, 1, None, "test").seeds == (100000, 200000, 300000)
    assert study.choose("tiny", [7], 1, None, "test").seeds == (7,)


def test_a_study_on_other_data_has_sets_and_a_script_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert study.choose("tiny", None, 1, None, None).train_command(1)[0] == "./run.sh"
    path = tmp_path / "conf/analysis/tiny.yaml"
    path.parent.mkdir(parents=True)
    primary = "primary: {a: {first: x, second: y, sets: [test_5dB]}}"
    path.write_text(f"seeds: {SEEDS}\n{primary}\nsecondary: {{}}\nsets: [test_5dB, test_0dB]\n")
    (tmp_path / "run_tiny.sh").touch()
    here = study.choose("tiny", None, 1, None, None)
    assert here.train_command(1)[0] == "./run_tiny.sh"
    assert here.datasets == ("test_5dB", "test_0dB")
    assert study.choose("tiny", None, 1, None, "dev").datasets == ("dev",)


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_committed_analyses_ask_about_phases_of_their_plan(path: Path) -> None:
    asked = analysis.read_analysis(path)
    assert asked is not None
    recipe = path.parents[2]
    plan = read_plan(recipe / "conf/study" / path.name)
    names = [phase.name for phase in expand(plan, LAYERS[recipe.name], SEEDS[0])]
    sets = asked.get("sets", [])
    assert analysis.lacking(asked, dict.fromkeys([BASE, *names], sets)) == []


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_committed_analyses_are_those_of_the_records(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parents[2])
    study.choose(path.stem, None, 1, None, None).check_analysis()


@pytest.mark.parametrize("change", ["another seed", "gone"])
def test_an_analysis_that_changes_after_the_first_seed_is_refused(
    change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a plan made after results were seen, tables would say that it was made before them."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "conf/analysis/tiny.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(PLANNED))
    here = study.choose("tiny", None, 1, None, None)
    here.check_analysis()
    write(tmp_path / "records/tiny", *planned(SEEDS[0]))
    here.check_analysis()
    path.write_text(json.dumps(PLANNED | {"seeds": [*SEEDS, 400000]}))
    if change == "gone":
        path.unlink()
    for command in ("run", "record"):
        with pytest.raises(SystemExit):
            main([command, "tiny", "--seeds", str(SEEDS[1])])
        told = capsys.readouterr().err
        assert "tiny.yaml is not what it was when records/tiny/seed100000.json was" in told


def test_an_arm_of_one_question_on_several_dev_sets_is_named() -> None:
    question = {"first": {"best": ["phase1", "phase2"]}, "second": {"best": ["restart_phase1"]}}
    plan = {"seeds": [1], "primary": {"q": question}, "secondary": {}}
    dev_sets = {"phase1": "", "phase2": "dev_noisy", "restart_phase1": ""}
    assert analysis.unselectable(plan, dev_sets) == ["q"]
