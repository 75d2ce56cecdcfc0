"""RESULTS.md follows from the records alone."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from made_records import SET, lm_record, phase, record, usual, write

from espnet_topdown.cli import main as command_line
from espnet_topdown.errors import TopdownError
from espnet_topdown.results.questions import ArmPair
from espnet_topdown.study import pages, tables
from espnet_topdown.study.__main__ import main
from espnet_topdown.study.answers import Answer, variance_of
from espnet_topdown.study.contrasts import ErrorRates, spoken_sets
from espnet_topdown.study.inference import run_variance
from espnet_topdown.study.records import Record

ROOT = Path(__file__).parents[2]
RESULTS = sorted((ROOT / "egs2").glob("*/*/RESULTS.md"))


def page(*records: Record) -> str:
    return pages.markdown("tiny", records, pages.model_section("tiny", records))


def test_what_was_not_measured_is_named() -> None:
    assert tables.coverage([usual(1)]) == [
        "- Cut selected on dev (phase 0 excluded), by seed: decoder of 2 candidates.",
        "- Control continue: not measured.",
        "- Control unfrozen: not measured.",
        "- Dropout off in the frozen layers: not measured.",
    ]


def test_a_selected_cut_that_another_kind_trained_says_so() -> None:
    study = usual(1)
    phases = [replace(one, kind="slow") if one.cut == "decoder" else one for one in study.phases]
    line, *_ = tables.coverage([replace(study, phases=tuple(phases))])
    assert line.endswith("by seed: decoder (slow) of 2 candidates.")


def test_what_dev_selects_in_every_seed_is_said_once() -> None:
    line, *_ = tables.coverage([usual(1), usual(2)])
    assert line.endswith("by seed: decoder of 2 candidates, in every seed.")


def test_phases_with_dev_sets_of_their_own_are_not_called_untrained() -> None:
    study = usual(1)
    phases = [replace(one, dev_set="" if one.kind == "base" else one.name) for one in study.phases]
    slow = [replace(one, kind="slow") if one.kind == "top_down" else one for one in phases]
    for several in (phases, slow):
        line, *_ = tables.coverage([replace(study, phases=tuple(several))])
        assert line.endswith("by seed: none, as phases have dev sets of their own.")


def test_where_dev_sets_select_none_no_phase_is_marked_as_selected() -> None:
    """To its cascade the best is the last that was accepted, each on its own set."""
    last = replace(phase("phase3", "top_down", 0.4, (), cut="encoder.0"), best=True)
    (marked,) = [row for row in pages.seed_rows([usual(1, last)]) if row.best]
    assert marked.name == "1/phase3"
    noisy = replace(last, dev_set="dev_noisy")
    assert not any(row.best for row in pages.seed_rows([usual(1, noisy)]))


def test_sets_stand_in_the_order_of_the_plan_the_primary_questions_first() -> None:
    question = {"first": "phase1", "second": "phase2"}
    plan = {
        "seeds": [1, 100001, 200001],
        "sets": ["test", "other", "hard"],
        "primary": {"harder": question | {"sets": ["hard"]}},
        "secondary": {"easier": question | {"sets": ["test"]}},
    }
    records = []
    for seed in plan["seeds"]:
        one = usual(seed)
        sets = {f"decode/{name}": one.references[SET] for name in ("other", "test", "hard", "more")}
        phases = [
            replace(each, hypotheses=dict.fromkeys(sets, each.hypotheses[SET]))
            for each in one.phases
        ]
        records.append(replace(one, references=sets, phases=tuple(phases), analysis=plan))
    names = ["decode/hard", "decode/test", "decode/other", "decode/more"]
    assert spoken_sets(records) == names
    shown = [table for table in pages.model_section("tiny", records).tables if table]
    counts = [table.heading for table in shown if table.heading.startswith("WER: ")]
    assert counts == [f"WER: {name.partition('/')[2]} (decode)" for name in names]
    held = {
        table.heading.rpartition("/")[2]: table.notes
        for table in shown
        if table.heading.startswith("What holds")
    }
    assert list(held) == ["hard", "test"]
    for arms, *_ in held.values():
        assert "Which runs are compared, the plan of analysis says" in arms
    alone = ["the primary one for itself alone" in notes[1] for notes in held.values()]
    assert alone == [True, False]


def test_two_seeds_have_no_verdict() -> None:
    text = page(usual(1), usual(2))
    assert "- best phase - from scratch: -4.17 points (too few seeds); the first is better" in text
    assert "fewer errors" not in text


def better(seed: int, fewer: int) -> Record:
    """The usual record with so many errors fewer in phase 1."""
    phases = [
        replace(one, hypotheses={SET: dict([*one.hypotheses[SET].items()][fewer:])})
        if one.name == "phase1"
        else one
        for one in usual(seed).phases
    ]
    return replace(usual(seed), phases=tuple(phases))


def test_three_seeds_have_one() -> None:
    text = page(better(1, 0), better(2, 1), better(3, 2))
    assert "- best phase - from scratch: -4.58 points (fewer errors); the first is better" in text
    # 9 runs from scratch, of which 3 against 3 differ by chance alone.
    assert "## Null: WER, decode/test" in text
    assert "1000 random draws of 3 of the 9 runs from scratch" in text


def test_seeds_that_all_differ_by_the_same_have_none() -> None:
    """A single word in each of three seeds would be sure beyond any correction."""
    text = page(*(usual(seed) for seed in (1, 2, 3)))
    assert "- best phase - from scratch: -4.17 points (no spread over seeds); the first" in text
    assert "- phase2 (cut encoder.1) - from scratch: +0.83 points (no spread over seeds)" in text


def test_equal_sums_of_errors_are_no_difference() -> None:
    """Means of thirds differ in the last bit, seed after seed."""
    pairs = ArmPair(1, (), ())
    values = tuple((fmean([20 / 3, 29 / 3]), fmean([21 / 3, 28 / 3])) for _ in range(3))
    assert values[0][0] != values[0][1]
    answer = Answer("q", (pairs,) * 3, values)
    assert answer.differences == [0.0] * 3


def on_noise(seed: int, *shifts: int) -> Record:
    """The usual record, with a phase and a restart on noisy data that vary by `shifts`."""
    more = [
        replace(phase(name, kind, 0.4, range(30 + shift), cut=cut), reads="train noisy")
        for name, kind, cut, shift in (
            ("low", "top_down", "decoder", shifts[0]),
            ("restart_low", "restart", None, shifts[1]),
        )
    ]
    return usual(seed, *more)


def test_runs_on_other_data_have_a_variance_of_their_own() -> None:
    records = [on_noise(1, 0, 3), on_noise(2, 9, 0), on_noise(3, 4, 9)]
    values = ErrorRates(records, SET).values
    assert variance_of(records, values, ["train noisy"]) == run_variance(
        [[100 * n / 240 for n in (30, 39, 34)], [100 * n / 240 for n in (33, 30, 39)]]
    )
    text = page(*records)
    assert "pooled over all ways of training on the base's data: " in text
    assert "pooled over all ways of training on train noisy: 1.89 (4 degrees" in text
    assert "|from scratch on train noisy|-|-|3|" in text


def test_a_set_without_words_and_a_silent_speaker_are_left_out() -> None:
    records = []
    for seed in (1, 2, 3):
        one = usual(seed)
        silent = dict.fromkeys(("x-1", "x-2"), "")
        references = {SET: {**one.references[SET], **silent}, "decode/empty": silent}
        phases = [
            replace(each, hypotheses={**each.hypotheses, "decode/empty": {}}) for each in one.phases
        ]
        records.append(replace(one, references=references, phases=tuple(phases)))
    text = page(*records)
    assert "Without a word, and left out:\n\n- decode/empty\n" in text
    assert "nan" not in text
    assert "|question|s0|s1|s2|s3|s4|s5|" in text


def test_seeds_that_a_study_needs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    records = [lm_record(1, 60, 58, 60, 59), lm_record(2, 62, 59, 62, 63)]
    folder = write(tmp_path / "tiny", *records)
    main(["power", str(folder), "--difference", "2"])
    out = capsys.readouterr().out
    assert "Seeds that show a difference of 2: tiny" in out
    assert "2 runs from scratch a seed" in out
    command_line(["power", str(folder), "--difference", "2"])
    assert capsys.readouterr().out == out
    for none in ("0", "nan", "inf"):
        with pytest.raises(SystemExit):
            command_line(["power", str(folder), "--difference", none])
        assert f"--difference must not be {none};" in capsys.readouterr().err
    lone = write(tmp_path / "lone", lm_record(1, 60, 58, 60, 59))
    with pytest.raises(SystemExit):
        main(["power", str(lone), "--difference", "2"])
    assert "no way of training has two runs with different results" in capsys.readouterr().err


def test_a_variant_has_its_own_row_where_seeds_are_read_together() -> None:
    off = phase("off", "top_down", 0.9, range(6), cut="decoder", dropout="off")
    text = page(usual(1, off), usual(2, off))
    assert "|phase1|top_down|decoder|2|5.00|" in text
    assert "|1/off|top_down|decoder, dropout off|1|" in text
    assert "decoder of 2 candidates" in text


@pytest.mark.slow
def test_results_are_rebuilt_by_one_command(tmp_path: Path) -> None:
    write(tmp_path / "records" / "tiny", usual(1), usual(2))
    words = [sys.executable, "-m", "espnet_topdown.study", "table", "records/tiny"]
    command = [*words, "--output", "RESULTS.md"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run(command, cwd=tmp_path, check=True, env=environment)
    text = (tmp_path / "RESULTS.md").read_text()
    assert "`python3 -m espnet_topdown.study table records/tiny`" in text
    assert "|best phase - from scratch|2|5.00 - 9.17|-4.17|" in text
    assert "- data: test 60 lines, 240 words" in text
    assert "- options of the data: snr_db 10" in text
    images = {path.name: path.read_bytes() for path in (tmp_path / "images").iterdir()}
    assert sorted(images) == [
        "tiny_seed1_dev_curves.png",
        "tiny_seed2_dev_curves.png",
        "tiny_test_error_by_cut.png",
    ]
    assert all(f"(images/{name})" in text for name in images)
    subprocess.run(command, cwd=tmp_path, check=True, env=environment)
    assert (tmp_path / "RESULTS.md").read_text() == text
    assert {p.name: p.read_bytes() for p in (tmp_path / "images").iterdir()} == images


@pytest.mark.parametrize("results", RESULTS, ids=lambda path: path.parent.parent.name)
def test_committed_results_are_what_the_records_say(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(results.parent)
    main(["table", *map(str, sorted(Path("records").iterdir()))])
    assert capsys.readouterr().out.rstrip() == results.read_text().rstrip()


def test_a_base_that_was_cut_short_is_named() -> None:
    base, *others = usual(1).phases
    late = page(usual(1))
    assert "- best epoch of phase 0 on dev: 3 of 3" in late
    assert "still getting better" in late
    early = page(record(1, [replace(base, curve=(0.1, 0.5, 0.4, 0.3)), *others]))
    assert "- best epoch of phase 0 on dev: 2 of 4" in early
    assert "still getting better" not in early


def test_records_of_two_studies_are_refused() -> None:
    other = replace(usual(2), dev_name="valid loss min")
    with pytest.raises(TopdownError, match="seeds 1 and 2 differ in 'dev_name'"):
        pages.model_section("tiny", [usual(1), other])


def test_a_record_that_is_not_complete_says_so() -> None:
    text = page(usual(1), replace(usual(2), complete=False))
    assert "- not complete: the plan of seeds 2 has phases" in text


def test_the_command_that_trains_a_study_anew_is_one_that_its_recipe_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    bare = "- to repeat the study: `python3 -m espnet_topdown.study run tiny --seeds 1 2`\n"
    assert bare in page(usual(1), usual(2))
    Path("run_study.sh").touch()
    assert "- to repeat the study: `./run_study.sh tiny --seeds 1`\n" in page(usual(1))


def test_the_set_that_selects_has_rates_and_no_verdict() -> None:
    """As with ``--test_sets "dev test"``, whose dev set our asr.sh decodes under org/."""
    both = []
    for seed in (1, 2, 3):
        made = usual(seed)
        on_dev = "decode/org/dev"
        phases = [
            replace(one, hypotheses={**one.hypotheses, on_dev: one.hypotheses[SET]})
            for one in made.phases
        ]
        texts = {**made.references, on_dev: made.references[SET]}
        both.append(replace(made, references=texts, phases=tuple(phases)))
    section = pages.model_section("tiny", both)
    text = pages.markdown("tiny", both, section)
    assert "On test:" in text and "On org/dev:" not in text and "On dev:" not in text
    assert text.count("org/dev") == 1
    assert "tiny_org_dev_error_by_cut.png" in section.pictures
    # A checkout's does not, but the records know what the base was judged on.
    told = [replace(made, selected_on=("test",)) for made in both]
    assert "On test:" not in pages.markdown("tiny", told, pages.model_section("tiny", told))
    # Earlier records know those of phases.
    for made in both:
        phases = (*made.phases[:-1], replace(made.phases[-1], dev_set="dump/raw/test tokens"))
        told[made.seed - 1] = replace(made, phases=phases)
    assert "On test:" not in pages.markdown("tiny", told, pages.model_section("tiny", told))


def test_layers_that_were_loaded_are_told() -> None:
    base, *others = usual(1).phases
    late = replace(others[0], loaded=("frontend",))
    text = page(record(1, [base, late, *others[1:]]), usual(2))
    assert "Loaded from a pre-trained checkpoint, not drawn, in 1/" in text
    assert text.count("checkpoint, not drawn, in") == 1


def with_phase(made: Record, name: str, **fields: Any) -> Record:
    """The same record in which one phase is another."""
    phases = [replace(one, **fields) if one.name == name else one for one in made.phases]
    return replace(made, phases=tuple(phases))


@pytest.mark.parametrize(
    ("name", "fields", "says"),
    [
        ("phase1", {"cut": "encoder.1"}, r"differ in 'cut' \(decoder and encoder.1\)"),
        ("phase1", {"kind": "slow"}, "differ in 'kind'"),
        ("phase0", {"parameters": 7}, r"differ in 'parameters' \(9 and 7\)"),
        ("phase1", {"settings": '{"train": {"max_epoch": 9}}'}, "differ in 'train'"),
        ("phase1", {"model_sha256": "phase1 of 1"}, "phase1 of seed 2 is a model of seed 1"),
        ("phase0", {"seed": 1}, "phase 0 of seed 2 was trained with seed 1"),
    ],
    ids=["cut", "kind", "parameters", "settings", "model", "seed"],
)
def test_seeds_that_are_not_one_experiment_are_refused(
    name: str, fields: dict[str, Any], says: str
) -> None:
    """A renamed copy of a record would count as one seed more, and narrow the interval."""
    settings = '{"dropout": "keep", "train": {}}'
    first = with_phase(usual(1), name, settings=settings, parameters=9)
    # One of an earlier version may lack settings.
    second = with_phase(usual(2), name, parameters=9)
    pages.model_section("tiny", [first, second])
    with pytest.raises(TopdownError, match=says):
        pages.model_section("tiny", [first, with_phase(second, name, **fields)])


def test_seeds_of_bases_that_were_trained_otherwise_are_refused() -> None:
    first = replace(usual(1), training={"max_epoch": 80, "optim": "adam"})
    # Earlier versions did not record it.
    pages.model_section("tiny", [first, usual(2)])
    second = replace(usual(2), training={"max_epoch": 40, "optim": "adam"})
    with pytest.raises(TopdownError, match=r"phase0 of .* differ in 'max_epoch' \(80 and 40\)"):
        pages.model_section("tiny", [first, second])
