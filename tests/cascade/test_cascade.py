"""Cascades as directories: moved, of other versions, and without results yet."""

import errno
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from cascades import copied, fails, run, words
from transcripts import write_scored

from espnet_topdown.cascade.cascade import Cascade
from espnet_topdown.cascade.checks.run import named
from espnet_topdown.cascade.paths import CascadePaths, default_directory
from espnet_topdown.cascade.phase_config import phase_config
from espnet_topdown.cli import main
from espnet_topdown.cli_parser import parser
from espnet_topdown.results import pages, seal


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


def test_every_phase_has_a_name_of_its_own_in_weights_and_biases(base, tmp_path):
    copy = shutil.copytree(base, tmp_path / "asr", symlinks=True)
    config = yaml.safe_load((copy / "config.yaml").read_text())
    own = {"use_wandb": True, "wandb_project": "digits", "wandb_name": "base", "wandb_id": "b1"}
    (copy / "config.yaml").write_text(yaml.safe_dump(config | own))
    (tmp_path / "rnn.yaml").write_text("phases: [{cut: decoder}]")
    cascade = Cascade.open(copy, tmp_path / "rnn.yaml")
    options = phase_config(cascade, cascade.phases[0], {})
    assert options["wandb_project"] == "digits"
    assert options["wandb_name"] == "asr_topdown_rnn/phase1"
    assert "wandb_id" not in options


def test_results_of_an_undecoded_cascade_are_written(finished, base, tmp_path, capsys):
    copy = copied(finished, base, tmp_path)
    main(["results", str(copy)])
    out = capsys.readouterr().out
    assert "cascade: 2 phases and 0 controls (its plan.yaml), base asr" in out
    assert "trained by: espnet 20" in out
    pages = f"all tables: {copy}/RESULTS.md\nthe same with pictures: {copy}/report.html\n"
    assert out.endswith(pages)
    for name in ("RESULTS.md", "results.json", "report.html"):
        assert (copy / name).exists()


def test_a_cascade_of_a_sealed_study_shows_dev_alone(finished, base, tmp_path, capsys):
    """Its report is made anew after every phase, and would tell what was decoded so far."""
    own = shutil.copytree(base, tmp_path / base.name, symlinks=True)
    copy = copied(finished, own, tmp_path)
    heard = [(f"s-s-{number}", "s", ["one", "two"]) for number in range(60)]
    for phase in (own, copy / "phase1"):
        write_scored(phase, "test", heard, heard)
    (own / "perplexity.json").write_text(
        json.dumps([{"text": "x/test/text", "kind": "stream", "perplexity": 9.0, "targets": 500}])
    )
    seal.seal(own, "tiny")
    main(["results", str(copy)])
    out = capsys.readouterr().out
    assert f"its test results are not shown while {own}/sealed is there" in out
    written = [(copy / name).read_text() for name in ("RESULTS.md", "results.json", "report.html")]
    for text in (out, *written):
        assert "phase1" in text
        # "WER" alone stands in base64 too, one picture in five.
        assert "WER: " not in text
        assert "ppl test" not in text
    # The recipe would print what it scores.
    assert f"while {own}/sealed is there; 'study run' decodes" in fails(capsys, "decode", str(copy))
    # Nor is it shown of the base or a phase alone, or of the two.
    aside = copy / "aside/phase1.1"
    shutil.copytree(copy / "phase1", aside)
    for alone in ([own], [copy / "phase1"], [aside], [own, copy / "phase1"]):
        main(["results", *map(str, alone)])
        out = capsys.readouterr().out
        assert f"not shown while {own}/sealed is there" in out
        assert "WER" not in out
    seal.unseal(own)
    main(["results", str(copy)])
    out = capsys.readouterr().out
    assert "WER: test" in out
    assert "ppl test" in out


def test_fresh_layers_that_the_bases_freeze_param_leaves_random_are_refused_by_plan(
    base, tmp_path, capsys
):
    copy = shutil.copytree(base, tmp_path / "asr", symlinks=True)
    config = yaml.safe_load((copy / "config.yaml").read_text())
    frozen = ["encoder.embed", "decoder.output"]
    (copy / "config.yaml").write_text(yaml.safe_dump(config | {"freeze_param": frozen}))
    plan = tmp_path / "plan.yaml"
    plan.write_text("phases: [{cut: encoder.1}, {cut: decoder}]")
    error = fails(capsys, "plan", str(copy), "--plan", str(plan))
    assert "phase1: encoder.embed: drawn anew, but freeze_param (encoder.embed, decoder" in error
    assert "phase2: encoder.embed: drawn anew" in error
    plan.write_text("phases: [{cut: encoder.1, train: {freeze_param: []}}]")
    main(["plan", str(copy), "--plan", str(plan)])
    table = capsys.readouterr().out
    assert "is trained in phase1, as the plan says, and stays frozen elsewhere" in table
    (row,) = [line for line in table.splitlines() if line.startswith("phase0 ")]
    # Two convolutions and a projection, and the decoder's output: 160 + 2,320 + 1,040 + 90.
    assert row.split()[5:7] == ["3,610", "7,277"]
    plan.write_text("phases: [{cut: encoder.1, train: {freeze_param: [ctc]}}]")
    error = fails(capsys, "plan", str(copy), "--plan", str(plan))
    assert "freeze_param must be [], which trains what the base's freeze_param froze" in error


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_results_are_printed_for_a_reader_who_may_not_write(number, finished, monkeypatch, capsys):
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), "RESULTS.md")

    monkeypatch.setattr(pages, "write_cascade", refuse)
    main(["results", str(finished)])
    said = capsys.readouterr()
    assert "phase2" in said.out
    assert (
        f"note: {finished}: {os.strerror(number)}; RESULTS.md and the pictures were not" in said.err
    )


def test_a_full_disk_is_told_as_that(finished, monkeypatch, capsys):
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "RESULTS.md")

    monkeypatch.setattr(pages, "write_cascade", refuse)
    assert "No space left" in fails(capsys, "results", str(finished))


@pytest.mark.parametrize("given", [".", "sub/..", "../asr/", "../asr/."])
def test_a_base_has_its_name_from_wherever_it_is_given(given, tmp_path, monkeypatch):
    (tmp_path / "asr" / "sub").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "asr")
    directory = default_directory(Path(given), Path("conf/rnn.yaml"))
    assert directory.resolve() == tmp_path / "asr_topdown_rnn"
    args = parser().parse_args(["plan", given, "--plan", "rnn"])
    assert args.exp.name == "asr"


def test_a_phase_is_asked_for_by_its_name_before_its_number():
    cascade = SimpleNamespace(by_name=dict.fromkeys(["3", "phase3", "phase4"]))
    assert [named(cascade, asked) for asked in ("3", "phase3", "4")] == ["3", "phase3", "phase4"]


def test_links_hold_below_a_parent_that_is_a_link(tmp_path):
    (tmp_path / "deep" / "disk").mkdir(parents=True)
    (tmp_path / "recipe" / "exp" / "asr").mkdir(parents=True)
    # The cascade's parent is a link into another depth: there `..` is another directory.
    (tmp_path / "recipe" / "cascades").symlink_to(tmp_path / "deep" / "disk")
    directory = tmp_path / "recipe" / "cascades" / "c"
    directory.mkdir()
    paths = CascadePaths(directory, tmp_path / "recipe" / "exp" / "asr")
    paths.link_best("phase0")
    assert (directory / "best").resolve() == (tmp_path / "recipe" / "exp" / "asr").resolve()
    again = paths.absolute(paths.relative(paths.base))
    assert again.resolve() == paths.base.resolve()


def test_a_base_that_is_a_link_keeps_its_name(tmp_path):
    (tmp_path / "scratch").mkdir()
    (tmp_path / "exp" / "c").mkdir(parents=True)
    (tmp_path / "exp" / "asr").symlink_to(tmp_path / "scratch")
    paths = CascadePaths(tmp_path / "exp" / "c", tmp_path / "exp" / "asr")
    assert paths.relative(paths.base) == "../asr"


def test_a_change_that_phases_share_is_told_once(finished, base, tmp_path, capsys):
    copy = copied(finished, base, tmp_path)
    (tmp_path / "plan.yaml").write_text(
        "{train: {max_epoch: 9}, phases: [{cut: decoder}, {cut: encoder.1}]}"
    )
    error = fails(capsys, *words(base, tmp_path))
    assert "phase1, phase2 are finished, but what they depend on changed" in error
    assert error.count("settings.max_epoch: 2 -> 9") == 1
    assert json.loads((copy / "phase1" / "record.json").read_text())["epochs"] == 2


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


@pytest.mark.parametrize("damage", ["phases: [", None])
def test_a_lost_copy_of_the_plan_is_written_anew_by_run(damage, finished, base, tmp_path, capsys):
    copy = copied(finished, base, tmp_path)
    whole = (copy / "plan.yaml").read_bytes()
    (tmp_path / "plan.yaml").write_bytes(whole)
    (copy / "plan.yaml").unlink()
    if damage:
        (copy / "plan.yaml").write_text(damage)
    records = {path: path.read_bytes() for path in copy.glob("*/record.json")}
    error = fails(capsys, "status", str(copy))
    assert "'espnet-topdown run' with the same plan writes it anew" in error
    assert "shipped" not in error
    main(words(base, tmp_path, cascade=copy))
    capsys.readouterr()
    main(["status", str(copy)])
    assert "phase1" in capsys.readouterr().out
    assert (copy / "plan.yaml").read_bytes() == whole
    assert records == {path: path.read_bytes() for path in copy.glob("*/record.json")}


def test_a_cascade_whose_base_was_moved_alone_says_what_is_missing(
    finished, base, tmp_path, capsys
):
    copy = copied(finished, base, tmp_path)
    header = json.loads((copy / "cascade.json").read_text())
    header["base"] = "../gone"
    (copy / "cascade.json").write_text(json.dumps(header))
    for command in ("status", "results", "verify"):
        error = fails(capsys, command, str(copy))
        assert f"{copy} was made of the base {tmp_path}/gone, which is not there" in error
