"""Significance agrees with NIST's sc_stats, with enumeration, and with numbers worked out by hand."""

import itertools
import json
import math
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import transcripts

from espnet_topdown.results.scoring import alignments, write_trn
from espnet_topdown.results.significance import (
    bootstrap_intervals,
    holm,
    mapsswe,
    segment_errors,
    sign_test,
)

RECIPES = Path(__file__).parents[2] / "egs2"


@pytest.mark.parametrize(
    ("first", "second", "segments"),
    [
        ("CCCC", "CCCC", []),
        ("CCSCC", "CCCCC", [(1, 0)]),
        ("CSCSC", "CCCCC", [(2, 0)]),  # one right word does not part them
        ("CSCCS", "CCCCC", [(1, 0), (1, 0)]),
        ("CSCCCC", "CCCCSC", [(1, 0), (0, 1)]),
        ("CSCCC", "CCSCC", [(1, 1)]),
        ("CICC", "CCDC"[:3], [(1, 1)]),
        ("CCI", "CC", [(1, 0)]),
        ("CC", "CCI", [(0, 1)]),  # early versions of sc_stats lost this one
        ("SCICC", "CCCC", [(2, 0)]),  # an insertion ends a run of right words
        ("", "II", [(0, 2)]),
    ],
)
def test_segments_are_parted_by_two_words_right_on_both_sides(
    first: str, second: str, segments: list
) -> None:
    assert segment_errors(first, second) == segments


def synthetic(directory: Path, seed: int, words: int, share: float) -> None:
    """ref.trn, and two systems' a.trn and b.trn, of made-up words."""
    ref = transcripts.reference(seed, utterances=400, words=words, speakers=7)
    write_trn(directory / "ref.trn", ref)
    for name, extra in (("a", 0.0), ("b", 0.01)):
        heard = transcripts.garbled(ref, seed + ord(name), share=share + extra, words=words)
        write_trn(directory / f"{name}.trn", heard)


def real(directory: Path, first: str, second: str) -> None:
    """The same from the records of connected digits.

    What two trained models heard in real speech.
    """
    record = json.loads(next((RECIPES / "fsdd/asr1/records").glob("*/seed1.json")).read_text())
    dataset, references = next(iter(record["references"].items()))
    heard = {phase["name"]: references | phase["hypotheses"][dataset] for phase in record["phases"]}
    for name, texts in (("ref", references), ("a", heard[first]), ("b", heard[second])):
        write_trn(
            directory / f"{name}.trn",
            ((u, u.split("-")[0], text.split()) for u, text in texts.items()),
        )


@pytest.mark.parametrize(
    ("make", "given"),
    [
        *(
            (synthetic, given)
            for given in ((1, 4, 0.2), (2, 60, 0.1), (3, 12, 0.04), (5, 30, 0.15))
        ),
        *((real, ("phase0", other)) for other in ("phase1", "restart_phase1", "bottom_up_phase1")),
    ],
    ids=lambda value: getattr(
        value, "__name__", "-".join(map(str, value)) if isinstance(value, tuple) else None
    ),
)
def test_mapsswe_agrees_with_sc_stats(tmp_path: Path, make: Callable, given: tuple) -> None:
    make(tmp_path, *given)
    systems = ["-h", "a.trn", "trn", "-h", "b.trn", "trn"]
    command = [
        transcripts.sctk("sclite"),
        "-r",
        "ref.trn",
        "trn",
        *systems,
        "-i",
        "rm",
        "-o",
        "sgml",
        "-O",
        ".",
    ]
    subprocess.run(command, cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    sgml = (tmp_path / "a.trn.sgml").read_text() + (tmp_path / "b.trn.sgml").read_text()

    def sc_stats(report: str) -> str:
        command = [
            transcripts.sctk("sc_stats"),
            "-p",
            "-t",
            "mapsswe",
            report,
            "-n",
            "-",
            "-O",
            ".",
        ]
        return subprocess.run(
            command, cwd=tmp_path, input=sgml, check=True, capture_output=True, text=True
        ).stdout

    found = re.search(r"# segs: (\d+)\).*\(mean: +(\S+)\) .*\(Z Stat: +(\S+)\)", sc_stats("-v"))
    p = re.search(r"MP +\|\| +a.trn .*?([\d.]+) +\**", sc_stats("-u"))[1]
    a, b = (alignments(tmp_path / "ref.trn", tmp_path / f"{name}.trn") for name in "ab")
    ours = mapsswe((a[name], b[name]) for name in a)
    assert (ours.segments, f"{ours.mean:.3f}", f"{ours.z:.3f}") == (
        int(found[1]),
        found[2],
        found[3],
    )
    # sc_stats looks p up for |z| cut to two decimals, and prints nothing finer than 0.001
    cut = math.floor(abs(ours.z) * 100) / 100
    assert max(math.erfc(cut / math.sqrt(2)), 0.001) == pytest.approx(float(p), abs=0.0006)
    assert ours.p <= math.erfc(cut / math.sqrt(2))


def test_mapsswe_without_variance_is_a_sign_test() -> None:
    five = mapsswe([("CCSCC", "CCCCC")] * 5)
    assert (five.segments, five.mean, five.z, five.p) == (5, 1.0, None, 2 / 2**5)
    assert mapsswe([("CC", "CC")]).p is None  # no segment: undefined
    assert mapsswe([("SC", "SC")] * 3).p == 1.0


def test_sign_test_equals_enumeration() -> None:
    for n in range(1, 9):
        for more in range(n + 1):
            uneven = abs(n - 2 * more)
            extreme = sum(
                abs(sum(signs)) >= uneven for signs in itertools.product((1, -1), repeat=n)
            )
            assert sign_test([1] * more + [-3] * (n - more) + [0, 0]) == pytest.approx(
                extreme / 2**n
            )


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, None, 0.03]) == [
        pytest.approx(0.03),
        pytest.approx(0.06),
        None,
        pytest.approx(0.06),
    ]
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_interval_equals_that_of_all_resamples() -> None:
    errors, words = (
        np.array([0.0, 1.0, 4.0, 2.0, 0.0, 3.0]),
        np.array([3.0, 5.0, 4.0, 9.0, 2.0, 7.0]),
    )
    drawn = np.array(list(itertools.product(range(6), repeat=6)))
    rates = 100 * errors[drawn].sum(axis=1) / words[drawn].sum(axis=1)
    ((low, high),) = bootstrap_intervals(errors[:, None], words, list("abcdef"), resamples=50_000)
    assert (low, high) == pytest.approx(np.quantile(rates, [0.025, 0.975]), abs=0.5)


def test_speakers_are_drawn_whole() -> None:
    errors, words, speakers = (
        np.array([[1.0], [0.0], [0.0], [1.0]]),
        np.full(4, 2.0),
        ["x", "x", "y", "y"],
    )
    assert bootstrap_intervals(errors, words, speakers) == [
        (25.0, 25.0)
    ]  # both have 1 error in 4 words
    assert bootstrap_intervals(errors, words, list("abcd")) == [(0.0, 50.0)]


def test_seeds_of_an_utterance_move_together() -> None:
    """Opposite errors in two seeds cancel in every resample when drawn together, and would not when
    drawn apart.
    """
    one = np.array([1.0, 0.0, 1.0, 0.0])
    mean = np.mean([one, 1 - one], axis=0)
    assert bootstrap_intervals(mean[:, None], np.ones(4), list("abcd")) == [(50.0, 50.0)]


def test_resamples_are_reproducible_and_shared_by_columns() -> None:
    errors = np.arange(20.0).reshape(10, 2)
    errors[:, 1] = errors[:, 0]
    first, second = bootstrap_intervals(errors, np.full(10, 9.0), [str(k) for k in range(10)])
    assert (
        first
        == second
        == bootstrap_intervals(errors, np.full(10, 9.0), [str(k) for k in range(10)])[0]
    )


def test_ten_thousand_resamples_of_five_thousand_utterances_take_seconds() -> None:
    errors = np.random.default_rng(0).poisson(1.0, (5000, 6)).astype(float)
    start = time.perf_counter()
    bootstrap_intervals(errors, np.full(5000, 10.0), [str(k) for k in range(5000)])
    assert time.perf_counter() - start < 10  # 0.5 to 1 s on one idle core
