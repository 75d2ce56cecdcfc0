"""Records on disk: nothing is lost, references stand once, and what does not fit is refused."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from made_records import NAMES, RIGHT, SET, WRONG, lm_record, phase, usual, write

from espnet_topdown.errors import TopdownError
from espnet_topdown.study.record_files import find_records, read_record, write_record
from espnet_topdown.study.records import Record

OTHER = "decode/other"


def rich(seed: int) -> Record:
    """A record of two sets, one of which phase 0 was not decoded on."""
    heard = {
        SET: {NAMES[0]: "", NAMES[1]: "Zwei one two three four", NAMES[2]: "one four"},
        OTHER: {"b-b1": "né no"},
    }
    one = usual(seed, replace(phase("phase3", "top_down", 0.9, (), cut="x"), hypotheses=heard))
    other = {"a-a1": "oui", "b-b1": "né non"}
    return replace(one, references={**one.references, OTHER: other})


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    for name, one in {"words": rich(1), "perplexities": lm_record(1, 60, 58, 61, 59)}.items():
        [path] = write(tmp_path / name, one).glob("seed*.json")
        assert read_record(path) == one


def test_epochs_and_recordings_are_kept(tmp_path: Path) -> None:
    base, *others = usual(1).phases
    told = replace(base, train_loss=(3.0, None, 1.0), lr=(0.1, 0.1, 0.05), trigger=2)
    said = {"test": {name: tuple(f"{name}{k}" for k in range(4)) for name in NAMES}}
    training = {"max_epoch": 80, "optim_conf": {"lr": 0.002}}
    one = replace(usual(1), phases=(told, *others), recordings=said, training=training)
    path = write(tmp_path, one) / "seed1.json"
    assert read_record(path) == one
    names = tmp_path / "recordings.json"
    names.write_text(names.read_text().replace(f"{NAMES[3]}0 ", "", 1))
    with pytest.raises(TopdownError, match=f"{NAMES[3]} of test has 3 recordings and 4 words"):
        read_record(path)


def test_a_record_of_before_epochs_were_kept_is_read(tmp_path: Path) -> None:
    path = write(tmp_path, usual(1)) / "seed1.json"
    stored = json.loads(path.read_text())
    for values in stored["phases"]:
        for key in ("train_loss", "lr", "trigger"):
            del values[key]
    path.write_text(json.dumps(stored))
    assert read_record(path) == usual(1)


def test_references_stand_once_and_a_phase_on_a_line(tmp_path: Path) -> None:
    write(tmp_path, usual(1), usual(2))
    assert json.loads((tmp_path / "references.json").read_text()) == usual(1).references
    text = (tmp_path / "seed2.json").read_text()
    assert RIGHT not in text
    assert WRONG not in text
    lines = [json.loads(line.strip(" ,")) for line in text.splitlines() if '"name":' in line]
    assert [line["name"] for line in lines] == [phase.name for phase in usual(2).phases]
    assert json.loads(text)["misheard"][SET]["59"] == {"3:NINE": [5]}


def test_later_sets_join_the_references_of_earlier_records(tmp_path: Path) -> None:
    write(tmp_path, usual(1), rich(2))
    records = find_records([tmp_path])["tiny"]
    assert records == [usual(1), rich(2)]


def test_recordings_of_sets_that_another_seed_has_are_kept(tmp_path: Path) -> None:
    """Without them its strings would be resampled as if they shared no recording."""
    said = {"test": {name: tuple(f"{name}{k}" for k in range(4)) for name in NAMES}}
    path = write(tmp_path, replace(usual(1), recordings=said)) / "seed1.json"
    write(tmp_path, replace(usual(2), recordings={"noisy": said["test"]}))
    assert read_record(path).recordings == said
    other = {"test": said["test"] | {NAMES[0]: ("a", "b", "c", "d")}}
    with pytest.raises(TopdownError, match="has other recordings of test than seed 3 was made of"):
        write(tmp_path, replace(usual(3), recordings=other))


def test_references_in_another_order_are_the_same(tmp_path: Path) -> None:
    backwards = dict(reversed(usual(2).references[SET].items()))
    write(tmp_path, usual(1), replace(usual(2), references={SET: backwards}))
    assert find_records([tmp_path])["tiny"][1] == usual(2)


def test_other_references_are_refused_when_written(tmp_path: Path) -> None:
    write(tmp_path, usual(1))
    other = replace(usual(2), references={SET: {**usual(2).references[SET], NAMES[0]: "one"}})
    with pytest.raises(TopdownError, match="holds other references of decode/test than seed 2"):
        write_record(tmp_path / "seed2.json", other)
    assert find_records([tmp_path]) == {"tiny": [usual(1)]}


def test_a_mix_up_of_references_is_refused_when_read(tmp_path: Path) -> None:
    write(tmp_path, usual(1))
    path = tmp_path / "references.json"
    path.write_text(path.read_text().replace(RIGHT, "one two three five", 1))
    with pytest.raises(TopdownError, match="was recorded with other references of decode/test"):
        find_records([tmp_path])


def test_a_record_of_an_earlier_format_says_how_to_record_again(tmp_path: Path) -> None:
    old = {"model": "tiny", "seed": 1, "references": {}, "phases": []}
    (tmp_path / "seed1.json").write_text(json.dumps(old))
    command = "python3 -m espnet_topdown.study record tiny --seeds 1"
    with pytest.raises(TopdownError, match=f"another format .* with `{command}`"):
        find_records([tmp_path])


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "holds no seed"), ("[]", "is not the record of a seed"), ("{", "is damaged")],
)
def test_what_is_no_record_is_refused(tmp_path: Path, content: str | None, says: str) -> None:
    if content is not None:
        (tmp_path / "seed1.json").write_text(content)
    with pytest.raises(TopdownError, match=says):
        find_records([tmp_path])


DAMAGE = {
    "no dev criterion": ('"dev_name": "valid acc max"', '"dev": 1', "dev_name is missing"),
    "unknown kind": ('"kind":"base"', '"kind":"bass"', "phase 0: kind 'bass' is unknown"),
    "no number": ('"dev":0.5', '"dev":"x"', "phase 0: dev must be a number, not 'x'"),
    "dev of no epoch": ('"dev":0.7', '"dev":0.9', "phase 1: dev 0.9 is none of its curve"),
    "no dev of phase 0": ('"dev":0.5', '"dev":null', "phase 0: dev None is none of its curve"),
    "settings": ('"settings":""', '"settings":"{"', "phase 0: settings must be settings in JSON"),
    "damaged edit": ('"3:NINE"', '"NINE"', "misheard: 'NINE' is no edit of 'one two three four'"),
    "no such phase": ('"3:NINE":[5]', '"3:NINE":[9]', "misheard: list index out of range"),
    "no counts": ('"kind":"base"', '"kind":"base","counted":{"s":{"u":[1]}}', "five counts"),
    "set of no name": (
        '"complete": true',
        '"complete": true, "selected_on": [[1]]',
        "list of sets",
    ),
    "phases not a list": ('"phases": [', '"phases": 1, "phase": [', "phases must be a list, not 1"),
}


@pytest.mark.parametrize(("good", "bad", "says"), DAMAGE.values(), ids=DAMAGE)
def test_damage_is_named(tmp_path: Path, good: str, bad: str, says: str) -> None:
    path = write(tmp_path, usual(1)) / "seed1.json"
    text = path.read_text()
    assert good in text
    path.write_text(text.replace(good, bad, 1))
    with pytest.raises(TopdownError) as raised:
        find_records([tmp_path])
    assert says in str(raised.value)


def test_a_record_without_phase_0_is_damaged(tmp_path: Path) -> None:
    path = write(tmp_path, usual(1)) / "seed1.json"
    stored = json.loads(path.read_text())
    path.write_text(json.dumps(stored | {"phases": [], "misheard": {}}))
    with pytest.raises(TopdownError, match="phase 0 is missing"):
        find_records([tmp_path])


def test_a_seed_given_twice_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "tiny", usual(1))
    with pytest.raises(TopdownError, match="seed 1 of tiny was read before"):
        find_records([folder, folder])
