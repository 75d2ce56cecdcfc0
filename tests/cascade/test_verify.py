"""What `verify` finds, and what it lets pass."""

import json
import os
import re
from random import Random

import torch
from cascades import copied, fails

from espnet_topdown import files
from espnet_topdown.cascade.cascade import Cascade
from espnet_topdown.cascade.phase_config import changes_of
from espnet_topdown.cascade.verify import _faults, _link_faults
from espnet_topdown.cli import main
from espnet_topdown.errors import TopdownError
from espnet_topdown.experiment.phase_dir import read_record
from espnet_topdown.training import checkpoint


def test_verify_finds_a_planted_change_of_one_weight(finished, base, tmp_path, capsys):
    copy = copied(finished, base, tmp_path)
    main(["verify", str(copy)])
    assert re.search(r"phase2: \d model files", capsys.readouterr().out)
    path = copy / "phase2" / "2epoch.pth"
    state = checkpoint.load_state(path)
    weight = state["encoder.encoders.2.norm1.weight"]
    weight[3] = torch.nextafter(weight[3], torch.tensor(9.0))
    torch.save(state, path)
    error = fails(capsys, "verify", str(copy))
    assert f"phase2: {path} is not what was recorded (its bytes changed)" in error


def test_verify_tells_pruned_files_from_lost_ones(finished, base, tmp_path, capsys):
    copy = copied(finished, base, tmp_path)
    (copy / "phase1" / "checkpoint.pth").unlink()  # as `prune` does
    main(["verify", str(copy)])
    assert re.search(r"phase1: \d model files \(1 pruned\)", capsys.readouterr().out)
    (copy / "phase2" / "config.yaml").unlink()
    record = json.loads((copy / "phase1" / "record.json").read_text())
    record["dev"]["curve"][0] += 0.25
    (copy / "phase1" / "record.json").write_text(json.dumps(record))
    error = fails(capsys, "verify", str(copy))
    assert f"{copy}/phase2/config.yaml is gone" in error
    assert f"{copy}/phase1/record.json is not as it was written" in error


def test_a_file_that_cannot_be_read_hides_no_other_fault(
    finished, base, tmp_path, capsys, monkeypatch
):
    copy = copied(finished, base, tmp_path)
    sha256 = files.sha256

    def refused(path):
        if path == copy / "phase1" / "config.yaml":
            raise TopdownError(f"cannot read {path}: Permission denied")
        return sha256(path)

    # By hand: nothing is closed to root.
    monkeypatch.setattr(files, "sha256", refused)
    (copy / "phase2" / "config.yaml").write_text("{}")
    error = fails(capsys, "verify", str(copy))
    assert f"phase1: cannot read {copy}/phase1/config.yaml: Permission denied" in error
    assert f"phase2: {copy}/phase2/config.yaml is not what was recorded" in error


def test_link_to_the_best_phase_is_no_phase(finished, base, tmp_path, capsys):
    copy = copied(finished, base, tmp_path)
    (copy / "best").unlink()
    (copy / "best").symlink_to("phase1")
    main(["verify", str(copy)])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["phase1", "phase2"]


def is_noticed(cascade: Cascade, name: str) -> bool:
    """Whether `verify`, or the record's reader before it, finds anything wrong with a phase."""
    try:
        record = read_record(cascade.paths.phase_dir(name))
    except TopdownError:
        return True
    if any(_faults(cascade, name, record)):
        return True
    return bool(changes_of(cascade, cascade.phase(name), {name: record}))


def test_200_flipped_bytes_are_each_found(finished, base, tmp_path):
    """In all that decoding or a child reads, and in what proves it."""
    cascade = Cascade.reopen(copied(finished, base, tmp_path))
    paths = {}
    for name in ("phase1", "phase2"):
        assert not is_noticed(cascade, name)
        directory = cascade.paths.phase_dir(name)
        for path in [*directory.glob("*.pth"), *directory.glob("topdown/*.json")]:
            if not path.is_symlink():
                paths[path] = name
        paths[directory / "config.yaml"] = paths[directory / "record.json"] = name
    random = Random(20)
    for _ in range(200):
        path = random.choice(sorted(paths))
        whole = path.read_bytes()
        place = random.randrange(len(whole))
        flipped = bytes([whole[place] ^ (1 << random.randrange(8))])
        path.write_bytes(whole[:place] + flipped + whole[place + 1 :])
        assert is_noticed(cascade, paths[path]), (path, place)
        path.write_bytes(whole)


def test_a_flip_that_leaves_the_same_json_is_found_too(finished, base, tmp_path):
    cascade = Cascade.reopen(copied(finished, base, tmp_path))
    path = cascade.paths.phase_dir("phase1") / "record.json"
    whole = path.read_bytes()
    assert whole.endswith(b"}\n")
    for last in (b" ", b"\r", b"\t", b""):
        path.write_bytes(whole[:-1] + last)
        assert is_noticed(cascade, "phase1"), last


def test_a_flip_in_the_bases_checkpoint_stops_no_reader(finished, base, tmp_path, capsys):
    cascade = copied(finished, base, tmp_path)
    path = base / "checkpoint.pth"
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 4
    times = path.stat().st_mtime_ns, path.stat().st_mtime_ns
    try:
        path.write_bytes(flipped)
        # With what the cascade keeps of its base, and without.
        for command in ("status", "results", "verify"):
            main([command, str(cascade)])
            assert "phase2" in capsys.readouterr().out
        (cascade / "model.json").unlink()
        main(["status", str(cascade)])
        assert "phase2" in capsys.readouterr().out
    finally:
        path.write_bytes(whole)
        os.utime(path, ns=times)


def test_verify_finds_a_link_that_points_elsewhere(finished, base, tmp_path, capsys):
    copy = copied(finished, base, tmp_path)
    latest = copy / "phase1" / "latest.pth"
    latest.unlink()
    latest.symlink_to("9epoch.pth")
    assert f"{latest} is no link to 2epoch.pth, as recorded" in fails(capsys, "verify", str(copy))


def test_a_link_without_what_it_points_to_is_a_fault(tmp_path):
    (tmp_path / "valid.acc.best.pth").symlink_to("1epoch.pth")
    links = {"links": {"valid.acc.best.pth": "1epoch.pth"}}
    assert len(list(_link_faults(tmp_path, links))) == 1
