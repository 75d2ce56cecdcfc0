"""FSDD: strings say their text, sets share no recording, babble has its level, faults are named."""

import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from espnet_topdown import files
from espnet_topdown.corpora import fsdd

SPEAKERS = ("ann", "bob", "cy")
LENGTH = 400  # samples of a fake recording
Strings = dict[str, tuple[list[str], np.ndarray]]


def level(digit: int) -> float:
    """Fake recordings are constant; the level tells the digit."""
    return (digit + 1) / 64


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory like a clone of FSDD: 3 speakers, 10 digits, 50 recordings each."""
    root = tmp_path_factory.mktemp("fsdd")
    (root / "recordings").mkdir()
    for speaker in SPEAKERS:
        for digit in range(10):
            for take in range(50):
                path = root / "recordings" / f"{digit}_{speaker}_{take}.wav"
                soundfile.write(path, np.full(LENGTH, level(digit)), fsdd.RATE, subtype="PCM_16")
    return root


def prepare(source: Path, output: Path, *options: str) -> None:
    sizes = ["--train_strings", "6", "--dev_strings", "6", "--test_strings", "6"]
    places = ["--fsdd", str(source), "--output", str(output), "--checksum", "none"]
    places += ["--downloads", str(output / "downloads")]
    fsdd.main([*places, *sizes, *options])


def read_set(folder: Path) -> Strings:
    """Utterance -> its words and samples."""
    audio = dict(line.split() for line in (folder / "wav.scp").read_text().splitlines())
    texts = [line.split() for line in (folder / "text").read_text().splitlines()]
    return {name: (words, soundfile.read(audio[name])[0]) for name, *words in texts}


def heard(samples: np.ndarray) -> list[str]:
    """The words of a string without babble, by the levels of its recordings."""
    levels = np.rint(samples[samples > 0] * 64).astype(int) - 1
    assert len(levels) % LENGTH == 0
    return [fsdd.WORDS[digit] for digit in levels[::LENGTH]]


def assert_equal(first: Strings, second: Strings) -> None:
    assert first.keys() == second.keys()
    for utterance, (words, samples) in first.items():
        assert second[utterance][0] == words
        np.testing.assert_array_equal(second[utterance][1], samples)


def test_strings_say_their_text(clone: Path, tmp_path: Path) -> None:
    prepare(clone, tmp_path, "--snr_db", "none")
    for name in ("train", "dev", "test"):
        strings = read_set(tmp_path / name)
        assert len(strings) == 6
        for words, samples in strings.values():
            assert 3 <= len(words) <= 7
            assert heard(samples) == words
            assert not samples[: int(0.1 * fsdd.RATE)].any()
    owners = (tmp_path / "test" / "spk2utt").read_text().splitlines()
    assert [line.split()[0] for line in owners] == list(SPEAKERS)


def test_several_levels_of_babble_are_sets_of_the_same_strings(clone: Path, tmp_path: Path) -> None:
    prepare(clone, tmp_path, "--snr_db", "clean,10,-5")
    assert sorted(path.name for path in tmp_path.glob("t*")) == [
        *("test_-5dB", "test_10dB", "test_clean"),
        *("train_-5dB", "train_10dB", "train_clean"),
    ]
    clean = read_set(tmp_path / "dev_clean")
    for words, samples in clean.values():
        assert heard(samples) == words
    for level in ("10dB", "-5dB"):
        noisy = read_set(tmp_path / f"dev_{level}")
        for utterance, (words, samples) in clean.items():
            twin, heard_there = noisy[utterance.replace("_clean", f"_{level}")]
            assert twin == words
            assert len(heard_there) == len(samples)
    said = {(tmp_path / f"dev_{level}" / "recordings").read_text() for level in ("10dB", "-5dB")}
    assert len({text.replace("_10dB", "_-5dB") for text in said}) == 1
    made_by = [files.read_json(tmp_path / f"{name}_10dB/options.json") for name in ("dev", "test")]
    assert made_by[0] == made_by[1]
    assert made_by[0]["snr_db"] == "clean,10,-5"


def test_a_set_says_which_recordings_its_strings_are_of(clone: Path, tmp_path: Path) -> None:
    prepare(clone, tmp_path)
    for name in ("train", "dev", "test"):
        lines = (tmp_path / name / "recordings").read_text().splitlines()
        said = {utterance: names for utterance, *names in map(str.split, lines)}
        strings = read_set(tmp_path / name)
        assert said.keys() == strings.keys()
        for utterance, names in said.items():
            spoken = [recording.split("_") for recording in names]
            assert [fsdd.WORDS[int(digit)] for digit, _, _ in spoken] == strings[utterance][0]
            assert {speaker for _, speaker, _ in spoken} == {utterance.split("-")[0]}
            assert {int(take) for *_, take in spoken} <= {*fsdd.TAKES[name]}


def test_no_recording_is_heard_in_two_sets(clone: Path, tmp_path: Path) -> None:
    """Bit by bit, a set stays as it was when every recording outside it is replaced."""
    prepare(clone, tmp_path / "first")
    for name, takes in (("train", range(20, 50)), ("dev", range(15, 20)), ("test", range(15))):
        other = tmp_path / f"other_{name}"
        shutil.copytree(clone, other)
        for path in (other / "recordings").iterdir():
            if int(path.stem.split("_")[2]) not in takes:
                soundfile.write(path, np.full(LENGTH // 2, -0.3), fsdd.RATE, subtype="PCM_16")
        prepare(other, tmp_path / "second")
        before, after = (read_set(tmp_path / run / name) for run in ("first", "second"))
        assert_equal(before, after)


@pytest.mark.parametrize("snr_db", [0.0, 10.0])
def test_babble_has_the_level_asked_for(snr_db: float) -> None:
    noise = np.random.default_rng(1)
    takes = {
        ("ann", digit): [0.05 * noise.standard_normal(LENGTH) for _ in range(3)]
        for digit in range(10)
    }
    clean, noisy = (
        fsdd.make_string(takes, "ann", snr, np.random.default_rng(2)) for snr in (None, snr_db)
    )
    assert clean[0] == noisy[0] and noisy[2].shape == clean[2].shape
    said = clean[2][clean[2] != 0]
    ratio = 10 * np.log10(np.mean(said**2) / np.mean((noisy[2] - clean[2]) ** 2))
    assert ratio == pytest.approx(snr_db, abs=1e-6)


def test_babble_leaves_the_recordings_of_the_string_out() -> None:
    """Where ann's said recordings are the only positive ones, nothing is added above zero."""
    takes = {("ann", digit): [np.full(LENGTH, 0.1)] for digit in range(10)}
    takes |= {("bob", digit): [np.full(LENGTH, -0.1)] for digit in range(10)}
    digits, _, clean = fsdd.make_string(takes, "ann", None, np.random.default_rng(3))
    takes |= {("ann", digit): [np.zeros(LENGTH)] for digit in range(10) if digit not in digits}
    *_, noisy = fsdd.make_string(takes, "ann", 10.0, np.random.default_rng(3))
    assert (noisy - clean < 1e-9).all() and (noisy - clean).min() < -0.01


def test_seed_decides(clone: Path, tmp_path: Path) -> None:
    texts = []
    for run, seed in (("a", "5"), ("b", "5"), ("c", "6")):
        prepare(clone, tmp_path / run, "--seed", seed)
        texts.append((tmp_path / run / "train" / "text").read_text())
    assert texts[0] == texts[1] != texts[2]


def test_a_set_written_anew_keeps_no_segments(clone: Path, tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "segments").write_text("old old 0 1\n")
    prepare(clone, tmp_path)
    assert not (tmp_path / "train" / "segments").exists()


def test_rotation_holds_speakers_out(clone: Path, tmp_path: Path) -> None:
    prepare(clone, tmp_path, "--rotation", "cy")
    for name, speaker in (("train", "bob"), ("dev", "ann"), ("test", "cy")):
        lines = (tmp_path / name / "utt2spk").read_text().splitlines()
        assert {line.split()[1] for line in lines} == {speaker}


def test_archive_gives_the_same_sets(clone: Path, tmp_path: Path) -> None:
    archive = tmp_path / "fsdd.tar.xz"
    with tarfile.open(archive, "w:xz", preset=0) as tar:
        tar.add(clone / "recordings", "recordings")
    prepare(clone, tmp_path / "a")
    prepare(archive, tmp_path / "b")
    assert_equal(read_set(tmp_path / "a" / "test"), read_set(tmp_path / "b" / "test"))


def test_an_archive_is_read_where_another_was_unpacked_before(clone: Path, tmp_path: Path) -> None:
    older = tmp_path / "data" / "downloads" / "fsdd-1" / "recordings"
    older.mkdir(parents=True)
    soundfile.write(older / "7_bob_49.wav", np.ones(LENGTH), fsdd.RATE)
    archive = tmp_path / "fsdd.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(clone / "recordings", "fsdd-2/recordings")
    found = fsdd.recordings_dir(archive, tmp_path / "data" / "downloads")
    assert found == tmp_path / "data" / "downloads" / "fsdd-2" / "recordings"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--rotation", "bo"], "no such speaker; did you mean bob?"),
        (["--snr_db", "loud"], "--snr_db loud: give a number"),
        (["--snr_db", "clean,10,10"], "--snr_db clean,10,10: of several, each is a number"),
        (["--snr_db", "none,10"], "--snr_db none,10: of several, each is a number of dB or clean"),
        (["--snr_db", "clean,loud"], "--snr_db loud: give a number"),
        (["--snr_db", "nan"], "--snr_db nan: give a number"),
        (["--snr_db", "inf"], "--snr_db inf: give a number"),
        (["--snr_db=-4000"], "--snr_db -4000: give a number"),
        (["--seed", "-1"], "--seed -1: give a whole number"),
        (["--dev_strings", "0"], "--dev_strings 0: every set needs"),
    ],
)
def test_bad_options_are_named(
    clone: Path, tmp_path: Path, options: list[str], says: str, refused: Callable[..., str]
) -> None:
    assert says in refused(prepare, clone, tmp_path, *options)


def test_recordings_are_known_by_their_checksum(
    clone: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    # As coreutils: (cd recordings; sha256sum *.wav | sha256sum)
    command = "LC_ALL=C; sha256sum *.wav | sha256sum"
    said = subprocess.run(
        ["bash", "-c", command],
        cwd=clone / "recordings",
        capture_output=True,
        text=True,
        check=True,
    )
    right = said.stdout.split()[0]
    prepare(clone, tmp_path / "right", "--checksum", right)
    error = refused(prepare, clone, tmp_path / "wrong", "--checksum", fsdd.SHA256)
    assert f"the 1500 recordings have the checksum {right}, not {fsdd.SHA256}" in error
    assert not (tmp_path / "wrong" / "train").exists()


def damage_nothing(root: Path) -> None:
    shutil.rmtree(root / "recordings")


def lose_one(root: Path) -> None:
    (root / "recordings" / "7_bob_49.wav").unlink()


def wrong_rate(root: Path) -> None:
    soundfile.write(root / "recordings" / "7_bob_49.wav", np.ones(LENGTH), 16000)


def stranger(root: Path) -> None:
    shutil.copy(root / "recordings" / "7_bob_49.wav", root / "recordings" / "readme.wav")


def test_an_output_that_is_a_file_is_named(
    clone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match="1"):
        prepare(clone, tmp_path / "file", "--downloads", str(tmp_path / "downloads"))
    assert f"{tmp_path}/file/train/wav: Not a directory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (damage_nothing, "has no recordings like 7_theo_0.wav"),
        (lose_one, "recordings are missing (1): 7_bob_49.wav; fetch"),
        (wrong_rate, "7_bob_49.wav: 16000 Hz"),
        (stranger, "readme.wav: FSDD names its recordings"),
    ],
)
def test_bad_sources_are_named(
    clone: Path,
    tmp_path: Path,
    harm: Callable[[Path], None],
    says: str,
    refused: Callable[..., str],
) -> None:
    shutil.copytree(clone, tmp_path / "copy")
    harm(tmp_path / "copy")
    assert says in refused(prepare, tmp_path / "copy", tmp_path / "data")
    assert not (tmp_path / "data" / "test").exists()


# Of a recipe: what makes data, and no more.
RUN = """#!/usr/bin/env bash
while [ $# -gt 0 ]; do
    [ "$1" != --local_data_opts ] || options=$2
    shift
done
[ -n "${options:-}" ] || exit 0
python3 -m espnet_topdown.corpora.fsdd --fsdd "${CLONE}" --checksum none \\
    --train_strings 6 --test_strings 6 ${options}
mkdir -p exp/asr_stats_{transformer_fixed,clean_to_noisy}/valid dump/raw/test{,_0dB}
tee exp/asr_stats_{transformer_fixed,clean_to_noisy}/valid/text_shape.word \\
    dump/raw/test{,_0dB}/wav.scp <<< "made"
"""
# Trains nothing, and tells that it was called.
PYTHON = """#!/usr/bin/env bash
[ "$2" = espnet_topdown.study ] || exec "${REAL}" "$@"
echo "$@"
"""


@pytest.mark.parametrize("model", ["transformer_fixed", "clean_to_noisy"])
def test_a_planned_study_begins_in_a_fresh_directory(
    model: str, clone: Path, tmp_path: Path
) -> None:
    egs2 = Path(__file__).parents[2] / "egs2"
    recipe = tmp_path / "fsdd/asr1"
    shutil.copytree(egs2 / "TEMPLATE", tmp_path / "TEMPLATE")
    shutil.copytree(egs2 / "fsdd/asr1/conf", recipe / "conf")
    for name in ("run_study.sh", "run_clean_to_noisy.sh", "path.sh"):
        shutil.copy(egs2 / "fsdd/asr1" / name, recipe / name)
    script = (recipe / "run_study.sh").read_text().replace("dev_strings=1000", "dev_strings=6")
    (recipe / "run_study.sh").write_text(script)
    for path, text in ((recipe / "run.sh", RUN), (tmp_path / "bin/python3", PYTHON)):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    environment = os.environ | {"CLONE": str(clone), "REAL": sys.executable}
    environment |= {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    environment |= {"ESPNET_TOPDOWN_WARM": "none", "PYTHONPATH": str(egs2.parent)}
    command = ["bash", "run_study.sh", model, "--jobs", "2"]
    for _ in range(2):
        done = subprocess.run(command, cwd=recipe, env=environment, text=True, capture_output=True)
        assert done.returncode == 0, done.stderr
        assert f"-m espnet_topdown.study run {model} --jobs 2" in done.stdout
    # The dev set of another study.
    dev = recipe / ("data/dev_clean" if model == "clean_to_noisy" else "data/dev") / "options.json"
    dev.write_text(dev.read_text().replace('"dev_strings": 6', '"dev_strings": 60'))
    done = subprocess.run(command, cwd=recipe, env=environment, text=True, capture_output=True)
    assert done.returncode != 0
    assert f"{dev.parent.relative_to(recipe)} is not the dev set of 6 strings" in done.stderr
