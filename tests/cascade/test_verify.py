"""What `verify` finds, and what it lets pass."""

import json
import re

import torch
from cascades import copied, fails

from espnet_topdown.cli import main
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
    assert (
        "2epoch.pth is not what was recorded (frozen tensors changed:"
        " encoder.encoders.2.norm1.weight)" in error
    )


def test_verify_tells_pruned_files_from_lost_ones(finished, base, tmp_path, capsys):
    copy = copied(finished, base, tmp_path)
    (copy / "phase1" / "checkpoint.pth").unlink()  # as `prune` does
    main(["verify", str(copy)])
    assert re.search(r"phase1: \d model files \(1 pruned\)", capsys.readouterr().out)
    for path in (copy / "phase2" / "record.json", copy / "phase2" / "topdown" / "proof.json"):
        data = json.loads(path.read_text())
        data["files"]["valid.loss.ave_2best.pth"] = "0" * 64
        path.write_text(json.dumps(data))
    record = json.loads((copy / "phase1" / "record.json").read_text())
    record["dev"]["curve"][0] += 0.25
    (copy / "phase1" / "record.json").write_text(json.dumps(record))
    error = fails(capsys, "verify", str(copy))
    assert "valid.loss.ave_2best.pth" in error and "disagree about the dev curve" in error


def test_link_to_the_best_phase_is_no_phase(finished, base, tmp_path, capsys):
    copy = copied(finished, base, tmp_path)
    (copy / "best").unlink()
    (copy / "best").symlink_to("phase1")
    main(["verify", str(copy)])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["phase1", "phase2"]
