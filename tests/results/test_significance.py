"""Significance agrees with sc_stats, with enumeration, and with numbers worked out by hand."""

import itertools
import math
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import transcripts
from transcripts import Rows

from espnet_topdown.results.scoring import alignments, read_pairs
from espnet_topdown.results.significance import (
    bootstrap_intervals,
    holm,
    mapsswe,
    segment_errors,
    sign_test,
    t_interval,
    word_errors,
)
from espnet_topdown.results.trn import speaker_of, write_trn
from espnet_topdown.study.record_files import read_record

RECORDS = Path(__file__).parents[2] / "egs2/fsdd/asr1/records"


@pytest.mark.parametrize(
    ("first", "second", "segments"),
    [
        ("CCCC", "CCCC", []),
        ("CCSCC", "CCCCC", [(1, 0)]),
        # One right word does not part them, two do.
        ("CSCSC", "CCCCC", [(2, 0)]),
        ("CSCCS", "CCCCC", [(1, 0), (1, 0)]),
        ("CSCCCC", "CCCCSC", [(1, 0), (0, 1)]),
        ("CSCCC", "CCSCC", [(1, 1)]),
        ("CICC", "CCD", [(1, 1)]),
        ("CCI", "CC", [(1, 0)]),
        # Early versions of sc_stats lost this one.
        ("CC", "CCI", [(0, 1)]),
        # An insertion ends a run of right words.
        ("SCICS", "CCCC", [(3, 0)]),
        ("CCCC", "SCICS", [(0, 3)]),
        ("", "II", [(0, 2)]),
    ],
)
def test_segments_are_parted_by_two_words_right_on_both_sides(
    first: str, second: str, segments: list[tuple[int, int]]
) -> None:
    assert segment_errors(first, second) == segments


def synthetic(seed: int, words: int, share: float) -> tuple[Rows, Rows, Rows]:
    """References of made-up words, and what two systems heard."""
    ref = transcripts.reference(seed, utterances=400, words=words, speakers=7)
    first = transcripts.garbled(ref, seed + ord("a"), share=share, words=words)
    second = transcripts.garbled(ref, seed + ord("b"), share=share + 0.01, words=words)
    return ref, first, second


def real(first: str, second: str) -> tuple[Rows, Rows, Rows]:
    """References of connected digits, and what two trained models heard in real speech."""
    record = read_record(next(RECORDS.glob("*/seed1.json")))
    dataset, references = next(iter(record.references.items()))
    heard = {phase.name: phase.hypotheses[dataset] for phase in record.phases}

    def rows(texts: dict[str, str]) -> Rows:
        return [(name, speaker_of(name), text.split()) for name, text in texts.items()]

    return rows(references), rows(references | heard[first]), rows(references | heard[second])


@pytest.mark.parametrize(
    ("make", "given"),
    [
        (synthetic, (1, 4, 0.2)),
        (synthetic, (2, 60, 0.1)),
        (synthetic, (3, 12, 0.04)),
        (synthetic, (5, 30, 0.15)),
        (real, ("phase0", "phase1")),
        (real, ("phase0", "restart_phase1")),
        (real, ("phase0", "bottom_up_phase1")),
    ],
)
def test_mapsswe_agrees_with_sc_stats(
    tmp_path: Path, make: Callable[..., tuple[Rows, Rows, Rows]], given: tuple
) -> None:
    for name, rows in zip(("ref.trn", "a.trn", "b.trn"), make(*given), strict=True):
        write_trn(tmp_path / name, rows)
    a, b = (
        alignments(read_pairs(tmp_path / "ref.trn", tmp_path / name)) for name in ("a.trn", "b.trn")
    )
    ours = mapsswe((a[name], b[name]) for name in a)

    transcripts.sclite(tmp_path, ("a.trn", "b.trn"), "sgml")
    counts = re.search(
        r"# segs: (\d+)\).*\(mean: +(\S+)\) .*\(Z Stat: +(\S+)\)", sc_stats(tmp_path, "-v")
    )
    assert counts.groups() == (str(ours.segments), f"{ours.mean:.3f}", f"{ours.z:.3f}")
    # sc_stats looks p up for |z| cut to two decimals, and prints nothing finer than 0.001.
    p = float(re.search(r"MP +\|\| +a.trn .*?([\d.]+) +\**", sc_stats(tmp_path, "-u"))[1])
    cut = math.floor(abs(ours.z) * 100) / 100
    of_cut = math.erfc(cut / math.sqrt(2))
    assert p == pytest.approx(max(of_cut, 0.001), abs=0.0006)
    assert ours.p <= of_cut


def sc_stats(folder: Path, report: str) -> str:
    """What sc_stats prints of a.trn against b.trn after sclite's sgml reports."""
    sgml = "".join((folder / f"{name}.trn.sgml").read_text() for name in "ab")
    command = [transcripts.sctk("sc_stats"), "-p", "-t", "mapsswe", report, "-n", "-", "-O", "."]
    done = subprocess.run(
        command, cwd=folder, input=sgml, check=True, capture_output=True, text=True
    )
    return done.stdout


def test_mapsswe_without_variance_is_a_sign_test() -> None:
    five = mapsswe([("CCSCC", "CCCCC")] * 5)
    assert (five.segments, five.mean, five.z, five.p) == (5, 1.0, None, pytest.approx(2 / 2**5))
    assert mapsswe([("SC", "SC")] * 3).p == 1.0


def test_mapsswe_without_a_segment_is_undefined() -> None:
    assert mapsswe([("CC", "CC")]).p is None


def test_sign_test_equals_enumeration() -> None:
    for n in range(1, 9):
        splits = [abs(sum(signs)) for signs in itertools.product((1, -1), repeat=n)]
        for more in range(n + 1):
            as_uneven = [split for split in splits if split >= abs(n - 2 * more)]
            differences = [1] * more + [-3] * (n - more) + [0, 0]
            assert sign_test(differences) == pytest.approx(len(as_uneven) / 2**n)


def test_sign_test_of_nothing_but_zeros_is_1() -> None:
    assert sign_test([0.0, 0.0]) == 1.0


def test_t_interval_by_hand() -> None:
    # Mean 2, standard deviation 1, t(0.975, 2) = 4.302653.
    low, high = t_interval([1.0, 2.0, 3.0])
    half = 4.302653 / math.sqrt(3)
    assert (low, high) == pytest.approx((2 - half, 2 + half))


def test_t_interval_of_equal_values_has_no_width() -> None:
    assert t_interval([0.5, 0.5, 0.5]) == (0.5, 0.5)


@pytest.mark.parametrize("values", [[], [1.0]])
def test_t_interval_needs_two_values(values: list[float]) -> None:
    assert t_interval(values) is None


def test_holm_by_hand() -> None:
    corrected = holm([0.01, 0.04, None, 0.03])
    assert corrected[2] is None
    assert corrected[:2] + corrected[3:] == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_interval_equals_that_of_all_resamples() -> None:
    errors = np.array([0.0, 1.0, 4.0, 2.0, 0.0, 3.0])
    words = np.array([3.0, 5.0, 4.0, 9.0, 2.0, 7.0])
    drawn = np.array(list(itertools.product(range(6), repeat=6)))
    rates = 100 * errors[drawn].sum(axis=1) / words[drawn].sum(axis=1)
    ((low, high),) = bootstrap_intervals(errors[:, None], words, list("abcdef"), resamples=50_000)
    assert (low, high) == pytest.approx(np.quantile(rates, [0.025, 0.975]), abs=0.5)


def test_speakers_are_drawn_whole() -> None:
    errors = np.array([[1.0], [0.0], [0.0], [1.0]])
    words = np.full(4, 2.0)
    # Both speakers have 1 error in 4 words.
    assert bootstrap_intervals(errors, words, ["x", "x", "y", "y"]) == [(25.0, 25.0)]
    assert bootstrap_intervals(errors, words, list("abcd")) == [(0.0, 50.0)]


def test_seeds_of_an_utterance_move_together() -> None:
    """Opposite errors in two seeds cancel in every resample; drawn apart they would not."""
    one = np.array([1.0, 0.0, 1.0, 0.0])
    errors = np.column_stack([one, 1 - one])
    mean = np.full((2, 1), 1 / 2)
    assert bootstrap_intervals(errors, np.ones(4), list("abcd"), weights=mean) == [(50.0, 50.0)]


def test_a_difference_of_rates_is_by_the_words_of_each_run() -> None:
    """Of alternatives in a reference each run takes its own, of other lengths."""
    errors = np.array([[1.0, 2.0], [0.0, 1.0], [4.0, 3.0], [2.0, 2.0], [0.0, 1.0]])
    words = np.array([[3.0, 6.0], [5.0, 9.0], [4.0, 8.0], [9.0, 9.0], [2.0, 4.0]])
    drawn = np.array(list(itertools.product(range(5), repeat=5)))
    rates = 100 * errors[drawn].sum(axis=1) / words[drawn].sum(axis=1)
    expected = np.quantile(rates[:, 0] - rates[:, 1], [0.025, 0.975])
    weights = np.array([[1.0], [-1.0]])
    (found,) = bootstrap_intervals(errors, words, list("abcde"), weights=weights, resamples=50_000)
    assert found == pytest.approx(expected, abs=0.5)


def test_resamples_are_reproducible_and_shared_by_columns() -> None:
    column = np.arange(0.0, 20.0, 2.0)
    errors = np.column_stack([column, column])
    words = np.full(10, 9.0)
    names = [str(k) for k in range(10)]
    first, second = bootstrap_intervals(errors, words, names)
    assert first == second == bootstrap_intervals(errors, words, names)[0]


def test_mapsswe_divides_by_one_less_than_the_segments() -> None:
    # Differences 1, 1, 1, 0: mean 3/4, deviation 1/2.
    assert mapsswe([("S", "C")] * 3 + [("S", "S")]).z == pytest.approx(0.75 / 0.5 * 2)


def test_resamples_are_drawn_within_each_speaker() -> None:
    errors, words = np.array([[1.0], [1.0], [0.0], [0.0]]), np.ones(4)
    # Each speaker's utterances are alike, so that nothing varies.
    within = bootstrap_intervals(errors, words, list("abcd"), strata=["x", "x", "y", "y"])
    assert within == [(50.0, 50.0)]


def test_resamples_without_a_word_leave_an_interval() -> None:
    errors, words = np.array([[1.0], [2.0]]), np.array([0.0, 4.0])
    ((low, high),) = bootstrap_intervals(errors, words, list("ab"))
    assert np.isfinite([low, high]).all()


def test_an_insertion_at_the_end_is_the_last_words() -> None:
    assert word_errors("CSCI") == [0, 1, 1]
