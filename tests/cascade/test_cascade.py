"""Cascades as directories: moved, of other versions, and without results yet."""

import shutil

import yaml
from cascades import copied, fails, run, words

from espnet_topdown.cli import main


def test_cascade_can_be_moved(finished, base, tmp_path, capsys):
    exp = tmp_path / "moved"
    moved_base = shutil.copytree(base, exp / base.name, symlinks=True)
    copied(finished, moved_base, exp)
    moved = tmp_path / "elsewhere"
    exp.rename(moved)
    main(["verify", str(moved / "cascade")])
    assert "phase1: " in capsys.readouterr().out


def test_config_of_another_espnet_version_passes_only_what_this_one_knows(base, tmp_path, capsys):
    copy = shutil.copytree(base, tmp_path / "old", symlinks=True)
    config = yaml.safe_load((copy / "config.yaml").read_text())
    (copy / "config.yaml").write_text(
        yaml.safe_dump(config | {"gone_and_off": False, "required": ["output_dir"]})
    )
    assert run(copy, tmp_path, "phases: [{cut: decoder}]").exists()
    (copy / "config.yaml").write_text(yaml.safe_dump(config | {"gone_but_set": 3}))
    (tmp_path / "plan.yaml").write_text("phases: [{cut: encoder.1}]")
    error = fails(capsys, *words(copy, tmp_path, cascade=tmp_path / "c2"))
    assert "sets options that this ESPnet does not know: gone_but_set=3" in error


def test_results_of_an_undecoded_cascade_are_written(finished, base, tmp_path, capsys):
    copy = copied(finished, base, tmp_path)
    main(["results", str(copy)])
    out = capsys.readouterr().out
    assert "cascade: plan plan.yaml of 2 phases and 0 controls, base asr" in out
    assert "trained by: espnet 20" in out
    for name in ("RESULTS.md", "results.json", "report.html"):
        assert (copy / name).exists()


def test_a_second_call_reads_what_the_first_has_made(finished, base, tmp_path, capsys, monkeypatch):
    copy = copied(finished, base, tmp_path)
    main(["results", str(copy)])
    first = capsys.readouterr().out
    monkeypatch.setattr("espnet_topdown.results.pages.compare_sets", None)
    main(["results", str(copy)])
    assert capsys.readouterr().out == first
    monkeypatch.undo()
    # A phase that is gone changes the page.
    (copy / "phase2" / "record.json").unlink()
    main(["results", str(copy)])
    assert "Not finished: phase2 (done)." in capsys.readouterr().out


def test_a_reader_who_may_not_write_sees_the_results(finished, base, tmp_path, capsys, monkeypatch):
    def refused(*_):
        raise PermissionError(13, "Permission denied")

    copy = copied(finished, base, tmp_path)
    monkeypatch.setattr("espnet_topdown.results.pages.write_text", refused)
    main(["results", str(copy)])
    done = capsys.readouterr()
    assert "phase2" in done.out
    assert f"{copy}: not written (Permission denied), only printed" in done.err


def test_two_cascades_of_one_base_are_written_where_asked(finished, base, tmp_path, capsys):
    one, other = (copied(finished, base, tmp_path / name) for name in ("a", "b"))
    second = other.rename(tmp_path / "b" / "slower")
    main(["results", str(one), str(second), "--output", str(tmp_path / "both")])
    text = (tmp_path / "both" / "RESULTS.md").read_text()
    assert "|phase0|base|" in text and text.count("|base|") == 1
    assert "|cascade/phase1|top_down|" in text and "|slower/phase1|top_down|" in text
    assert "## Cascade against cascade: dev" in text
    assert "|cascade/phase1 - slower/phase1|cascade/phase1|slower/phase1|" in text
    assert (tmp_path / "both" / "results.json").exists()
    # Without --output a page of several is printed alone.
    assert not (one / "RESULTS.md").exists()
    main(["results", str(one), str(second)])
    assert "slower/phase1" in capsys.readouterr().out
