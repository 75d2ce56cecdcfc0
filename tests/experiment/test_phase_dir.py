"""Records: what was written is read, what is damaged is named."""

import pytest

from espnet_topdown.errors import TopdownError
from espnet_topdown.experiment.phase_dir import read_record, record_sum, write_record

RECORD = {
    "phase": "phase1",
    "kind": "top_down",
    "parent": "../exp",
    "model_sha256": "0f",
    "seed": 1000,
    "epochs": 2,
    "hours": 0.5,
    "key": {},
    "dev": {"curve": [0.5, 0.6]},
    "files": {},
    "base": {},
    "bytes": {},
    "links": {},
}


def test_a_phase_is_finished_when_its_record_is_there(tmp_path):
    directory = tmp_path / "phase1"
    assert read_record(directory) is None
    write_record(directory, RECORD)
    record = read_record(directory)
    assert record.pop("sha256") == record_sum(RECORD)
    assert record == RECORD


DAMAGES = {
    "no seed": ({"seed": None}, "no valid seed"),
    "epochs a truth value": ({"epochs": True}, "no valid epochs"),
    "no curve": ({"dev": {}}, "no valid dev.curve"),
    "an empty curve": ({"dev": {"curve": []}}, "no valid dev.curve"),
    "a curve in words": ({"dev": {"curve": ["a"]}}, "no valid dev.curve"),
    "of another phase": ({"phase": "phase2"}, "is of phase2, not of phase1"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_record_is_refused(name, tmp_path):
    damage, fragment = DAMAGES[name]
    write_record(tmp_path / "phase1", RECORD | damage)
    with pytest.raises(TopdownError, match=fragment):
        read_record(tmp_path / "phase1")
