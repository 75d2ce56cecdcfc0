"""WSJ: every list of the fake discs is as written out here, and bad input names what is missing."""

import gzip
import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_audio import as_on_disc, speak, write_sphere
from fake_wsj import disc_path, make_wsj

from espnet_topdown.corpora import wsj
from espnet_topdown.corpora.wsj_text import normalize, normalize_word

UTTERANCES = {
    "train_si284": "011c0201 011c0202 01ac0301 20bc0301 46kc0301 46kc0302 46lc0301",
    "test_dev93": "4k0c0301 4k0c030a 4k1c0301",
    "test_eval92": "440c0401 440c0402 441c0401",
    "test_eval93": "4oac0201",
    "test_dev93_5k": "4k3c0201",
    "test_eval92_5k": "442c0201",
    "test_eval93_5k": "4obc0201",
    "dev_dt_20": "4k0c0301 4k0c030a 4k1c0301 4k2c0301",
    "dev_dt_05": "4k3c0201",
}


@pytest.fixture(autouse=True)
def no_sph2pipe(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A PATH with gzip only, so that entries do not depend on the machine."""
    bare = tmp_path_factory.mktemp("bin")
    (bare / "gzip").symlink_to(shutil.which("gzip"))
    monkeypatch.setenv("PATH", str(bare))


def prepare(tree: Path, output: Path, *options: str) -> None:
    roots = ["--wsj0", str(tree / "LDC93S6B"), "--wsj1", str(tree / "LDC94S13B")]
    wsj.main([*roots, "--output", str(output), *options])


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    make_wsj(tmp_path / "corpus", tiny_audio=True)
    return tmp_path / "corpus"


def ids_of(path: Path) -> list[str]:
    """The first words of a list."""
    return [line.split()[0] for line in path.read_text().splitlines()]


def files_of(output: Path) -> list[Path]:
    """The files below a directory, which need not be there."""
    return [path for path in output.rglob("*") if path.is_file()]


@pytest.fixture
def refusal(refused: Callable[..., str]) -> Callable[..., str]:
    """``refusal(tree, output, *options)``: the message where `prepare` must write nothing."""

    def run(tree: Path, output: Path, *options: str) -> str:
        message = refused(prepare, tree, output, *options)
        assert not files_of(output)
        return message

    return run


def test_every_set_has_its_utterances_and_lists(tree: Path, tmp_path: Path) -> None:
    prepare(tree, tmp_path / "data")
    for name, utterances in UTTERANCES.items():
        directory = tmp_path / "data" / name
        for file in ("text", "utt2spk", "wav.scp"):
            assert ids_of(directory / file) == utterances.split()
        owners = (directory / "utt2spk").read_text().splitlines()
        assert owners == [f"{u} {u[:3]}" for u in utterances.split()]


def test_training_lists_are_these(tree: Path, tmp_path: Path) -> None:
    prepare(tree, tmp_path / "data")
    train = tmp_path / "data/train_si284"
    assert (train / "text").read_text().splitlines() == [
        "011c0201 SEVEN ,COMMA QUIET RIVERS DON'T SLEEP .PERIOD",
        "011c0202 <NOISE> A *PLAIN* WALK TOOK TEN POINT FIVE MINUTES",
        "01ac0301 GREY CLOUDS CAME BACK LATE",
        "20bc0301 AND THEN THEY DIDN'T COUNT -DASH NINE PERCENT I. B. OF IT",
        "46kc0301 GREEN <NOISE> LAMPS GLOW",
        "46kc0302 WORD:WITH:COLONS A-B-C -DASH --DASHES <TWO WORDS> [NOT A NOISE] <NOISE>",
        "46lc0301 PRICES ROSE PERCENT POINT POINT",
    ]
    assert (train / "spk2utt").read_text().splitlines() == [
        "011 011c0201 011c0202",
        "01a 01ac0301",
        "20b 20bc0301",
        "46k 46kc0301 46kc0302",
        "46l 46lc0301",
    ]
    audio = disc_path(tree, "13-1.1/wsj1/si_tr_s/46k/46kc0301.wv1")
    assert (train / "wav.scp").read_text().splitlines()[4] == f"46kc0301 {audio}"
    assert (tmp_path / "data/nlsyms.txt").read_text() == "<NOISE>\n<TWO\n"
    # Nothing but a pause.
    assert (tmp_path / "data/dev_dt_20/text").read_text().splitlines()[3] == "4k2c0301"


def test_lm_text_is_upper_case_numbered_and_without_markup(tree: Path, tmp_path: Path) -> None:
    prepare(tree, tmp_path / "data")
    assert (tmp_path / "data/local/other_text/text").read_text().splitlines() == [
        "wsj1_lng_0000001 THE FIRST LINE OF MADE UP NEWS ,COMMA",
        "wsj1_lng_0000002 A SECOND ONE ISN'T LONG",
        "wsj1_lng_0000003 THIRD",
        "wsj1_lng_0000004 THE LAST",
        "wsj1_lng_0000005 WORDS 'QUOTED' AND \"MORE\"",
    ]


def test_bytes_outside_ascii_pass_unchanged(tree: Path, tmp_path: Path) -> None:
    dot = disc_path(tree, "13-34.1/wsj1/trans/wsj1/si_tr_s/46l/46lc0300.dot")
    dot.write_bytes(b"caf\xe9 \xa0x (46lc0301)\n")
    prepare(tree, tmp_path / "data")
    assert (tmp_path / "data/train_si284/text").read_bytes().endswith(b"46lc0301 CAF\xe9 \xa0X\n")


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("[<x]", ""),
        ("[x>]", ""),
        ("[x/]", ""),
        ("[/x]", ""),
        ("foo[x/]", ""),
        ("~", ""),
        (".", ""),
        ("..", ".."),
        ("[tongue_click]", "<NOISE>"),
        ("a[b]c", "<NOISE>"),
        ("[a-b]", "[A-B]"),
        ("<it's>", "IT'S"),
        ("<a-b>", "<A-B>"),
        (r"\%PERCENT", "PERCENT"),
        (r"\.POINT", "POINT"),
        ("--DASH", "-DASH"),
        (r"I\.", "I."),
        ("\\.", ""),
    ],
)
def test_each_form_of_word(word: str, expected: str) -> None:
    assert normalize_word(word) == expected


def test_dropped_words_leave_no_blanks() -> None:
    assert normalize("  a [<x]   b ~ ") == "A B"


def test_compressed_discs_are_read_through_this_package(tmp_path: Path) -> None:
    pytest.importorskip("desphere")
    make_wsj(tmp_path / "corpus", shorten=True)
    prepare(tmp_path / "corpus", tmp_path / "data", "--audio_check", "full")
    lines = (tmp_path / "data/train_si284/wav.scp").read_text().splitlines()
    assert [line.endswith("|") for line in lines] == [False, False, False, False, True, True, False]
    assert lines[4].startswith("46kc0301 python3 -m espnet_topdown.corpora.sphere /")


def test_unset_roots_name_variable_corpus_and_discs(refused: Callable[..., str]) -> None:
    message = refused(wsj.main, ["--wsj0", "", "--wsj1", ""])
    assert "WSJ0 is not set: set it in db.sh to the directory of LDC93S6B (or LDC93S6A)" in message
    message = refused(wsj.main, ["--wsj0", "/", "--wsj1", "/nowhere"])
    assert "WSJ1=/nowhere is no directory: set it in db.sh to the directory of LDC94S13B" in message


def test_missing_discs_are_named_together(
    tree: Path, tmp_path: Path, refusal: Callable[..., str]
) -> None:
    shutil.rmtree(disc_path(tree, "11-2.1"))
    shutil.rmtree(disc_path(tree, "13-34.1"))
    message = refusal(tree, tmp_path / "data")
    assert f"disc 11-2.1 of LDC93S6B (or LDC93S6A): no directory {tree}/LDC93S6B/11-2.1" in message
    assert f"disc 13-34.1 of LDC94S13B (or LDC94S13A): no directory {tree}/LDC94S13B" in message


def test_discs_that_lie_in_several_directories_are_found(
    tree: Path, tmp_path: Path, refusal: Callable[..., str]
) -> None:
    wsj0 = tree / "LDC93S6B"
    for part, discs in (("csr_1_senn_d1", ("11-1.1", "11-2.1")), ("csr_1_senn_d2", ("11-13.1",))):
        (wsj0 / part).mkdir()
        for disc in discs:
            (wsj0 / disc).rename(wsj0 / part / disc)
    prepare(tree, tmp_path / "data")
    for name in ("train_si284", "test_eval92"):
        assert ids_of(tmp_path / "data" / name / "text") == UTTERANCES[name].split()
    # Beside one at the top others are copies.
    shutil.copytree(wsj0 / "csr_1_senn_d2/11-13.1", wsj0 / "11-13.1")
    shutil.copytree(wsj0 / "csr_1_senn_d2/11-13.1", wsj0 / "csr_1_senn_d1/11-13.1")
    prepare(tree, tmp_path / "again")
    shutil.copytree(wsj0 / "csr_1_senn_d1/11-1.1", wsj0 / "csr_1_senn_d2/11-1.1")
    message = refusal(tree, tmp_path / "other")
    both = f"{wsj0}/csr_1_senn_d1/11-1.1 and in {wsj0}/csr_1_senn_d2/11-1.1"
    assert f"WSJ's disc 11-1.1 is in {both}; leave one there" in message


def test_a_line_that_is_no_transcript_costs_no_other(
    tree: Path, tmp_path: Path, refusal: Callable[..., str]
) -> None:
    dot = disc_path(tree, "13-34.1/wsj1/trans/wsj1/si_tr_s/46k/46kc0300.dot")
    with dot.open("a") as stream:
        stream.write("half a line without an id\n")
    message = refusal(tree, tmp_path / "data")
    assert f"transcripts cannot be read (1):\n  {dot}, line 3: expected" in message
    assert "no transcript in its .dot file" not in message
    prepare(tree, tmp_path / "data", "--faults", "skip")
    assert ids_of(tmp_path / "data/train_si284/text") == UTTERANCES["train_si284"].split()


def test_a_transcript_file_that_cannot_be_read_is_refused_or_skipped(
    tree: Path, tmp_path: Path, refusal: Callable[..., str]
) -> None:
    dot = disc_path(tree, "13-34.1/wsj1/trans/wsj1/si_tr_s/46l/46lc0300.dot")
    dot.write_text("nothing here\n")
    message = refusal(tree, tmp_path / "data")
    assert "LDC94S13B" in message and f"{dot}, line 1: expected 'transcript (uttid008)'" in message
    prepare(tree, tmp_path / "data", "--faults", "skip")
    assert "46lc0301" not in (tmp_path / "data/train_si284/text").read_text()


def test_compressed_discs_without_a_decoder_are_refused_at_once(
    tmp_path: Path, refusal: Callable[..., str], monkeypatch
) -> None:
    make_wsj(tmp_path / "corpus", shorten=True)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "no decoder for pcm is installed" in refusal(tmp_path / "corpus", tmp_path / "data")


def test_an_index_that_names_a_missing_disc_is_refused(
    tree: Path, tmp_path: Path, refusal: Callable[..., str]
) -> None:
    shutil.rmtree(disc_path(tree, "13-2.1"))
    message = refusal(tree, tmp_path / "data")
    index = f"{tree}/LDC94S13B/13-34.1/wsj1/doc/indices/si_tr_s.ndx"
    assert f"no directory {tree}/LDC94S13B/13-2.1, nor deeper (named by {index})" in message
    prepare(tree, tmp_path / "data", "--faults", "skip")
    assert "46lc0301" not in ids_of(tmp_path / "data/train_si284/text")


def test_a_line_that_is_no_entry_is_named(
    tree: Path, tmp_path: Path, refusal: Callable[..., str]
) -> None:
    with disc_path(tree, "13-34.1/wsj1/doc/indices/h1_p0.ndx").open("a") as index:
        index.write("13-16.1 wsj1/x.wv1\n")
    assert "h1_p0.ndx, line 6: expected 'DISC_ID:path'" in refusal(tree, tmp_path / "data")


def test_missing_transcripts_are_refused_or_skipped(
    tree: Path, tmp_path: Path, refusal: Callable[..., str], caplog
) -> None:
    disc_path(tree, "13-34.1/wsj1/trans/wsj1/si_tr_s/46l/46lc0300.dot").unlink()
    disc_path(tree, "13-34.1/wsj1/trans/wsj1/si_tr_s/46k/46kc0300.dot").write_text(
        "only one (46kc0301)\n"
    )
    message = refusal(tree, tmp_path / "data")
    assert "LDC94S13B (or LDC94S13A): no transcript file on any disc for" in message
    assert "(expected 46lc0300.dot)" in message
    assert "no transcript in its .dot file for (1):" in message
    assert "46kc0302.wv1" in message
    prepare(tree, tmp_path / "data", "--faults", "skip")
    assert sum(": no transcript" in record.getMessage() for record in caplog.records) == 2
    for name in ("text", "wav.scp", "utt2spk"):
        assert ids_of(tmp_path / "data/train_si284" / name) == [
            "011c0201",
            "011c0202",
            "01ac0301",
            "20bc0301",
            "46kc0301",
        ]


def test_bad_audio_is_refused_or_skipped(
    tree: Path, tmp_path: Path, refusal: Callable[..., str]
) -> None:
    audio = [disc_path(tree, f"13-1.1/wsj1/si_tr_s/46k/46kc030{i}.wv1") for i in (1, 2)]
    audio[0].write_bytes(audio[0].read_bytes()[:-1])
    write_sphere(audio[1], speak("x", 8000), 8000)
    disc_path(tree, "13-2.1/wsj1/si_tr_s/46l/46lc0301.wv1").unlink()
    message = refusal(tree, tmp_path / "data")
    both = "LDC93S6B (or LDC93S6A) or LDC94S13B (or LDC94S13A)"
    assert f"error: {both}: audio cannot be used (3):" in message
    assert "46kc0301.wv1: truncated (1343 bytes, its header needs 1344)" in message
    assert "46kc0302.wv1: 8000 samples per second and 1 channel(s), expected 16000 and 1" in message
    assert "46lc0301.wv1: cannot be read (No such file or directory)" in message
    prepare(tree, tmp_path / "data", "--faults", "skip")
    assert (tmp_path / "data/train_si284/spk2utt").read_text().split()[-1] == "20bc0301"


def test_a_missing_index_names_its_corpus(
    tree: Path, tmp_path: Path, refusal: Callable[..., str]
) -> None:
    index = disc_path(tree, "13-34.1/wsj1/doc/indices/si_tr_s.ndx")
    index.unlink()
    message = refusal(tree, tmp_path / "data")
    assert message.endswith(f"error: LDC94S13B (or LDC94S13A): no index file {index}\n")


def test_a_corpus_without_any_training_audio_is_refused(
    tree: Path, tmp_path: Path, refusal: Callable[..., str]
) -> None:
    for disc in ("11-1.1", "11-2.1", "13-1.1", "13-2.1"):
        for path in disc_path(tree, disc).rglob("*.wv1"):
            path.write_bytes(b"")
    message = refusal(tree, tmp_path / "data", "--faults", "skip")
    assert "no utterance of train_si284 has both audio and transcript" in message


def test_missing_lm_text_names_the_directory(
    tree: Path, tmp_path: Path, refusal: Callable[..., str]
) -> None:
    shutil.rmtree(disc_path(tree, "13-32.1/wsj1/doc/lng_modl/lm_train/np_data/88"))
    assert "LDC94S13B (or LDC94S13A): no *.z in" in refusal(tree, tmp_path / "data")


def test_damaged_lm_text_leaves_no_file(
    tree: Path, tmp_path: Path, refusal: Callable[..., str]
) -> None:
    path = disc_path(tree, "13-32.1/wsj1/doc/lng_modl/lm_train/np_data/88/w88_001.z")
    path.write_bytes(gzip.compress(b"some text\n" * 1000)[:-20])
    assert "cannot be decompressed" in refusal(tree, tmp_path / "data")


def contents(output: Path) -> dict[str, str]:
    """What stands in the lists of text of a preparation, by path."""
    texts = [*output.glob("*/text"), output / "local/other_text/text", output / "nlsyms.txt"]
    return {str(path.relative_to(output)): path.read_text() for path in texts}


@pytest.mark.parametrize("version", ["", ";1"])
def test_discs_with_names_in_upper_case_are_read(tree: Path, tmp_path: Path, version: str) -> None:
    prepare(tree, tmp_path / "lower")
    for root in ("LDC93S6B", "LDC94S13B"):
        as_on_disc(tree / root, version)
    prepare(tree, tmp_path / "upper", "--audio_check", "full")
    assert contents(tmp_path / "upper") == contents(tmp_path / "lower")
    scp = (tmp_path / "upper/train_si284/wav.scp").read_text().splitlines()
    assert scp[0] == f"011c0201 {tree}/LDC93S6B/11-1.1/WSJ0/SI_TR_S/011/011C0201.WV1{version}"


def test_discs_under_the_names_of_their_labels_are_found(tree: Path, tmp_path: Path) -> None:
    for disc in [*(tree / "LDC93S6B").iterdir(), *(tree / "LDC94S13B").iterdir()]:
        disc.rename(disc.with_name(disc.name.replace("-", "_").replace(".", "_")))
    prepare(tree, tmp_path / "data")
    assert ids_of(tmp_path / "data/test_dev93/text") == UTTERANCES["test_dev93"].split()


def test_indices_in_upper_case_name_files_in_lower_case(tree: Path, tmp_path: Path) -> None:
    index = disc_path(tree, "13-34.1/wsj1/doc/indices/si_tr_s.ndx")
    index.write_text(index.read_text().upper())
    # With its ending, which this index usually lacks.
    test = disc_path(tree, "11-13.1/wsj0/doc/indices/test/nvp/si_et_20.ndx")
    test.write_text(test.read_text().replace("c0401\n", "c0401.WV1\n"))
    prepare(tree, tmp_path / "data")
    for name in ("train_si284", "test_eval92"):
        assert ids_of(tmp_path / "data" / name / "text") == UTTERANCES[name].split()
        assert ids_of(tmp_path / "data" / name / "wav.scp") == UTTERANCES[name].split()


@pytest.mark.parametrize("end", ["\n", "\r\n", "  \n\n", "\x1a"])
def test_blank_lines_of_indices_and_transcripts_say_nothing(
    tree: Path, tmp_path: Path, end: str
) -> None:
    for path in [*tree.rglob("*.ndx"), *tree.rglob("*.dot")]:
        path.write_text(path.read_text() + end)
    prepare(tree, tmp_path / "data")
    assert ids_of(tmp_path / "data/train_si284/text") == UTTERANCES["train_si284"].split()


@pytest.mark.parametrize("name", ["test_dev93", "test_eval92"])
def test_skipping_all_of_a_validation_or_test_set_is_refused(
    tree: Path, tmp_path: Path, refusal: Callable[..., str], name: str
) -> None:
    for utterance in UTTERANCES[name].split():
        for path in tree.rglob(f"{utterance}.wv1"):
            path.write_bytes(b"")
    message = refusal(tree, tmp_path / "data", "--faults", "skip")
    assert f"no utterance of {name} has both audio and transcript; nothing was written" in message


def test_a_spare_set_that_is_empty_is_not_written(tree: Path, tmp_path: Path, caplog) -> None:
    for path in tree.rglob("442c0201.wv1"):
        path.write_bytes(b"")
    prepare(tree, tmp_path / "data", "--faults", "skip")
    assert not (tmp_path / "data/test_eval92_5k").exists()
    assert "test_eval92_5k: not written, as no utterance has" in caplog.text


@pytest.mark.parametrize("ending", [".Z", ".gz", ".z;1"])
def test_lm_text_is_read_under_any_ending(tree: Path, tmp_path: Path, ending: str) -> None:
    prepare(tree, tmp_path / "data")
    for path in tree.rglob("*.z"):
        path.rename(path.with_name(path.stem + ending))
    prepare(tree, tmp_path / "other")
    assert contents(tmp_path / "other") == contents(tmp_path / "data")


@pytest.mark.parametrize("name", ["my corpora", "Müller/é"])
def test_corpora_below_directories_of_any_name_are_read(
    tree: Path, tmp_path: Path, name: str
) -> None:
    root = tmp_path / name
    root.parent.mkdir(exist_ok=True)
    tree.rename(root)
    prepare(root, tmp_path / "data")
    scp = tmp_path / "data/train_si284/wav.scp"
    assert ids_of(scp) == UTTERANCES["train_si284"].split()
    assert f"{root}/LDC93S6B/" in scp.read_text(encoding="utf-8")
