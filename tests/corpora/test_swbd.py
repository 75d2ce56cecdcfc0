"""Switchboard and eval2000: rules of words, times, repeats and references, and refusals."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_audio import as_on_disc, speak, write_sphere
from fake_swbd import DICTIONARY, make_swbd

from espnet_topdown.corpora import eval2000, fisher, swbd, swbd_text
from espnet_topdown.corpora.eval2000 import Segment


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_swbd(tmp_path_factory.mktemp("swbd"), fisher=True, tiny_audio=True)


@pytest.fixture
def damaged(corpus: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(corpus, tmp_path / "corpus"))


@pytest.fixture(autouse=True)
def no_sph2pipe(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path_factory.mktemp("bin")))


def prepare(root: Path, output: Path, *options: str) -> None:
    places = ["--swbd", str(root), "--output", str(output)]
    swbd.main([*places, "--train_dev_size", "18", *options])


@pytest.fixture
def refusal(refused: Callable[..., str]) -> Callable[..., str]:
    """``refusal(root, output, *options)``: the message where `prepare` must write nothing."""

    def run(root: Path, output: Path, *options: str) -> str:
        message = refused(prepare, root, output, *options)
        assert not output.exists()
        return message

    return run


def test_train_dev_is_the_beginning_with_every_rule_of_words(corpus: Path, tmp_path: Path) -> None:
    prepare(corpus, tmp_path)
    text = [line.split(" ", 1) for line in (tmp_path / "train_dev/text").read_text().splitlines()]
    assert [utterance for utterance, _ in text][:3] == [
        "sw02001-A_000000-000110",
        "sw02001-A_000120-000230",
        "sw02001-A_000240-000350",
    ]
    assert [words for _, words in text][:16] == [
        "story and wo[rd]-- so",
        "it it'n here lem-",
        "-y way -b- five",
        "ab- trust ex now",
        "yuppiedom ammn-t- them them's",
        "i work at i b m and i b m",
        "the t v's on and c ds play",
        "a i and i said i and a",
        "i d card n a a c p",
        "hello [silence]",
        "come here yes",
        "[noise] [vocalized-noise] [laughter] right",
        "[noise]",
        "uh-huh",
        "bs a t m's s us",
        "don't e-",
    ]
    assert len(text) == 18


def test_segments_and_recordings_of_train_dev(corpus: Path, tmp_path: Path) -> None:
    prepare(corpus, tmp_path)
    segments = (tmp_path / "train_dev/segments").read_text().splitlines()
    assert segments[0] == "sw02001-A_000000-000110 sw02001-A 0 1.1"
    assert segments[9] == "sw02001-A_001080-001190 sw02001-A 10.8 11.9"
    # The turn of silence between them is left out.
    assert segments[10] == "sw02001-A_001320-001430 sw02001-A 13.2 14.3"
    reader = "python3 -m espnet_topdown.corpora.sphere --channel 1"
    audio = f"{corpus}/LDC97S62/swb1_d1/data/sw02001.sph"
    assert (tmp_path / "train_dev/wav.scp").read_text() == f"sw02001-A {reader} {audio} |\n"
    owners = (tmp_path / "train_dev/utt2spk").read_text().splitlines()
    assert {line.split()[1] for line in owners} == {"sw02001-A"}


def test_train_nodup_is_the_rest(corpus: Path, tmp_path: Path) -> None:
    prepare(corpus, tmp_path)
    lines = []
    for name in ("train_dev", "train_nodup"):
        lines += (tmp_path / name / "text").read_text().splitlines()
    ids = [line.split()[0] for line in lines]
    assert len(ids) == 3 * 2 * (22 - 2)
    assert ids == sorted(set(ids))


@pytest.mark.parametrize(
    ("word", "plain"),
    [
        ("[laughter-story]", "story"),
        ("[LAUGHTER-b]-", "b-"),
        ("[it'n/isn't]", "it'n"),
        ("[lem[guini]-/linguini]", "lem-"),
        ("-[an]y", "-y"),
        ("[an]y", "-y"),
        ("-[a]b[out]-", "-b-"),
        ("ab[solute]", "ab-"),
        ("ex[specially]-/especially]", "ex"),
        ("{w}", "w"),
        ("ammu[n]it-", "ammn-t-"),
        ("them_1", "them"),
        ("them_1's", "them_1's"),
        ("[noise]", "[noise]"),
    ],
)
def test_each_form_of_word(word: str, plain: str) -> None:
    assert swbd_text.map_word(word) == plain


def test_of_two_silences_in_a_row_the_second_stays() -> None:
    assert swbd_text.clean("[silence] a [SILENCE] [silence] <b_aside> b <E_ASIDE>") == [
        "a",
        "[silence]",
        "b",
    ]


def test_acronyms_are_words_that_are_pronounced_as_their_letters() -> None:
    acronym = swbd_text.acronyms(DICTIONARY)
    assert {w: acronym[w] for w in ("IBM", "TV's", "CDs", "ATM's", "a", "NAACP", "KP", "W")} == {
        "IBM": "i._b._m.",
        "TV's": "t._v.'s",
        "CDs": "c._d.s",
        "ATM's": "a._t._m.'s",
        "a": "a.",
        "NAACP": "n._a._a._c._p.",
        "KP": "k._p.",
        "W": "w.",
    }
    assert not {"bs", "s", "us", "story"} & acronym.keys()


def test_i_is_a_letter_only_beside_single_capitals() -> None:
    acronym = swbd_text.acronyms(DICTIONARY)
    words = ["I", "saw", "A", "I", "and", "I", "B", "M"]
    assert swbd_text.expand(words, acronym) == "i saw a. i. and i. b. m."
    assert swbd_text.expand(["i", "and", "IBM"], acronym) == "i and i._b._m."


def test_sentences_said_300_times_are_thinned_as_kaldi_does() -> None:
    # With 400 copies a copy stays where r < 0.75. The first r: 103349 mod 71147 = 32202, divided by
    # 71147 is 0.4526; then 64404 -> 0.9052; 25459 -> 0.3578; 57661 -> 0.8105; 18716 -> 0.2631.
    texts = {f"u{i:03d}": "uh-huh" for i in range(400)} | {"v": "once", "w": " once "}
    kept = swbd_text.without_repeats(texts, 300)
    assert kept[:3] == ["u000", "u002", "u004"] and kept[-2:] == ["v", "w"]
    assert 290 <= len(kept) - 2 <= 310
    assert len(swbd_text.without_repeats({f"u{i}": "yes" for i in range(299)}, 300)) == 299


def test_eval2000_text_segments_and_stm(corpus: Path, tmp_path: Path) -> None:
    prepare(corpus, tmp_path)
    test = tmp_path / "eval2000"
    lines = (test / "text").read_text().splitlines()
    assert [line for line in lines if line.startswith("en_4101-A")] == [
        "en_4101-A_000005-000090 well i think so",
        "en_4101-A_000125-000236 he's",
        "en_4101-A_000245-000330 don't know no",
        "en_4101-A_000365-000476 yes of- course not",
        # 4.85 * 100 is 484.99999999999994.
        "en_4101-A_000484-000570 true",
    ]
    assert len((test / "wav.scp").read_text().splitlines()) == 80
    segments = dict(line.split(" ", 1) for line in (test / "segments").read_text().splitlines())
    assert segments["en_4101-A_000005-000090"] == "en_4101-A 0.00 1.00"
    # Half of the gap of 90 ms behind it.
    assert segments["en_4101-A_000125-000236"] == "en_4101-A 1.15 2.41"
    stm = (test / "stm").read_text()
    assert "(WELL I) THINK" in stm
    assert "((" not in stm
    assert "HE'S (%HESITATION) A  POLICE" in stm
    assert "ASIDE" not in stm


def test_segments_are_widened_by_the_margin_or_half_the_gap() -> None:
    segments = {
        "a": Segment("r", 0.05, 1.0),
        "b": Segment("r", 1.1, 2.0),
        "c": Segment("r", 1.9, 3.0),
        "d": Segment("s", 5.0, 6.0),
    }
    widened = eval2000.widen(segments)
    times = {u: (round(s.start_s, 4), round(s.end_s, 4)) for u, s in widened.items()}
    assert times == {"a": (0.0, 1.05), "b": (1.05, 2.0), "c": (1.9, 3.1), "d": (4.9, 6.1)}


def test_ids_of_eval2000_cut_the_times() -> None:
    assert Segment("en_4156-A", 301.85, 5.69).utterance == "en_4156-A_030185-000569"
    # 1.15 * 100 is 114.99999999999999.
    assert Segment("x", 1.15, 2.3).utterance == "x_000114-000229"


def test_lm_text_has_fisher_before_the_training_text(corpus: Path, tmp_path: Path) -> None:
    prepare(corpus, tmp_path)
    lines = (tmp_path / "lm_train.txt").read_text().splitlines()
    assert lines[:4] == [
        "fe_03_00002-A-000110-000235 so [laughter] the topic is",
        "fe_03_00002-A-000509-000520 i",
        "fe_03_00002-B-000305-000470 i b m [noise] yeah",
        "fe_03_05851-A-000110-000235 so [laughter] the topic is",
    ]
    assert lines[6:] == (tmp_path / "train_nodup/text").read_text().splitlines()


def test_without_fisher_the_lm_text_is_the_training_text(damaged: Path, tmp_path: Path) -> None:
    for name in fisher.PARTS:
        shutil.rmtree(damaged / name)
    prepare(damaged, tmp_path / "data")
    training = (tmp_path / "data/train_nodup/text").read_text()
    assert (tmp_path / "data/lm_train.txt").read_text() == training


def test_fisher_is_found_as_other_corpora_are(corpus: Path, damaged: Path, tmp_path: Path) -> None:
    prepare(corpus, tmp_path / "data")
    for name in fisher.PARTS:
        (damaged / name).rename(damaged / name.lower())
    call = next((damaged / "ldc2004t19").rglob("*.txt"))
    call.rename(call.with_suffix(".TXT"))
    trans = next((damaged / "ldc2005t19").rglob("trans"))
    trans.rename(tmp_path / "elsewhere")
    trans.symlink_to(tmp_path / "elsewhere")
    prepare(damaged, tmp_path / "other")
    expected = (tmp_path / "data/lm_train.txt").read_text()
    assert (tmp_path / "other/lm_train.txt").read_text() == expected


def test_what_was_found_of_fisher_is_told(
    damaged: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    prepare(damaged, tmp_path / "data")
    assert f"Fisher has 11699 calls, found 2 in {damaged}" in caplog.text
    for name in fisher.PARTS:
        shutil.rmtree(damaged / name)
    prepare(damaged, tmp_path / "data")
    assert f"no Fisher (LDC2004T19, LDC2005T19) in {damaged}" in caplog.text


def test_one_half_of_fisher_is_refused(
    damaged: Path, tmp_path: Path, refusal: Callable[..., str]
) -> None:
    shutil.rmtree(damaged / "LDC2005T19")
    assert "Fisher is incomplete: LDC2004T19 found" in refusal(damaged, tmp_path / "data")


def test_a_call_of_fisher_under_another_name_is_refused(
    damaged: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    path = damaged / "LDC2004T19/fe_03_p1_tran/data/trans/000/fe_03_00002.txt"
    path.write_text("# fe_03_00003.sph\n")
    message = refused(prepare, damaged, tmp_path / "data")
    assert not list((tmp_path / "data").iterdir())
    assert f"{path}: expected '# fe_03_00002.sph' in its first line" in message


def test_unset_root_and_missing_corpora_are_named(
    tmp_path: Path, refusal: Callable[..., str], refused: Callable[..., str]
) -> None:
    message = refused(swbd.main, ["--swbd", ""])
    assert "SWBD is not set: set SWBD in db.sh to the parent directory of LDC97S62" in message
    (tmp_path / "LDC97S62").mkdir()
    message = refusal(tmp_path, tmp_path / "data")
    assert f"no directory {tmp_path}/LDC2002S09/hub5e_00/english" in message
    assert "LDC2002T43" in message


def test_missing_transcripts_say_where_and_whence(
    damaged: Path, tmp_path: Path, refusal: Callable[..., str]
) -> None:
    shutil.rmtree(damaged / "LDC97S62/transcriptions")
    message = refusal(damaged, tmp_path / "data")
    assert f"{damaged}/LDC97S62/transcriptions/swb_ms98_transcriptions" in message
    assert "openslr.org/5" in message


def test_transcripts_without_audio_are_refused_or_skipped(
    damaged: Path, tmp_path: Path, refusal: Callable[..., str]
) -> None:
    (damaged / "LDC97S62/swb1_d2/data/sw02002.sph").unlink()
    message = refusal(damaged, tmp_path / "data")
    assert (
        f"transcripts without an audio file (sw0NNNN.sph) below {damaged}/LDC97S62 (1):" in message
    )
    # One line for both sides.
    assert message.count("sw02002.sph (") == 1
    prepare(damaged, tmp_path / "data", "--faults", "skip")
    assert "sw02002" not in (tmp_path / "data/train_nodup/text").read_text()


def test_conversations_that_a_release_lacks_are_left_out(
    damaged: Path, tmp_path: Path, caplog, monkeypatch
) -> None:
    (damaged / "LDC97S62/swb1_d2/data/sw02002.sph").unlink()
    monkeypatch.setattr(swbd, "CONVERSATIONS", (2, 3))  # as the DVDs: one less than the transcripts
    prepare(damaged, tmp_path / "data")
    assert f"below {damaged}/LDC97S62: sw02002.sph (" in caplog.text
    assert "left out, as releases with 2 files lack 1" in caplog.text
    assert "sw02002" not in (tmp_path / "data/train_nodup/text").read_text()


def test_of_many_conversations_without_audio_ten_are_shown(
    tmp_path: Path, refusal: Callable[..., str]
) -> None:
    make_swbd(tmp_path / "corpus", conversations=14, turns=3, tiny_audio=True)
    for path in (tmp_path / "corpus/LDC97S62").rglob("sw020[01]*.sph"):
        if path.name > "sw02002.sph":
            path.unlink()
    message = refusal(tmp_path / "corpus", tmp_path / "data")
    assert "(12):" in message and "... and 2 more" in message
    assert message.count(".sph (") == 10


@pytest.mark.parametrize("version", ["", ";1"])
def test_names_in_upper_case_are_found(
    damaged: Path, tmp_path: Path, corpus: Path, version: str
) -> None:
    discs = ["LDC97S62/swb1_d1", "LDC97S62/swb1_d2", "LDC97S62/swb1_d3"]
    for name in [*discs, "LDC97S62/transcriptions", "LDC2002T43"]:
        as_on_disc(damaged / name, version)
    as_on_disc(damaged / "LDC2002S09/hub5e_00", version)
    prepare(damaged, tmp_path / "upper")
    prepare(corpus, tmp_path / "lower")
    for name in ("train_nodup/text", "train_dev/segments", "eval2000/text", "eval2000/stm"):
        assert (tmp_path / "upper" / name).read_bytes() == (tmp_path / "lower" / name).read_bytes()


def test_audio_of_another_rate_or_one_channel_is_refused(
    damaged: Path, tmp_path: Path, refusal: Callable[..., str]
) -> None:
    write_sphere(damaged / "LDC97S62/swb1_d1/data/sw02001.sph", speak("x", 16000), 16000, "ulaw")
    message = refusal(damaged, tmp_path / "data")
    assert "sw02001.sph: 16000 samples per second and 1 channel(s), expected 8000 and 2" in message


def test_audio_without_transcripts_is_told(
    damaged: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    next((damaged / "LDC97S62/transcriptions").rglob("sw2001A-ms98-a-trans.text")).unlink()
    prepare(damaged, tmp_path / "data")
    assert "LDC97S62: sides with audio but without a transcript in" in caplog.text
    assert " (1): sw02001-A" in caplog.text


def test_a_transcript_of_silence_or_of_faults_is_one(
    damaged: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    silent, wrong = (
        next((damaged / "LDC97S62/transcriptions").rglob(f"sw2001{side}-ms98-a-trans.text"))
        for side in "AB"
    )
    silent.write_text("sw2001A-ms98-a-0001 0.0 1.0 [silence]\n")
    wrong.write_text("sw2001B-ms98-a-0001 900.0 901.0 hello\n")
    prepare(damaged, tmp_path / "data", "--faults", "skip")
    assert "sides with audio but without a transcript" not in caplog.text


@pytest.mark.parametrize(
    "line",
    ["sw2001A-ms98-a-0001 zero 1.0 hello", "sw2001-a 0.0 1.0 hello", "\ufeffsw2001A- 0 1 hello"],
)
def test_a_line_that_is_no_turn_is_named(
    damaged: Path, tmp_path: Path, refusal: Callable[..., str], line: str
) -> None:
    path = next((damaged / "LDC97S62/transcriptions").rglob("sw2001A-ms98-a-trans.text"))
    path.write_text(f"{line}\n", encoding="utf-8")
    message = refusal(damaged, tmp_path / "data")
    assert f"{path}, line 1: expected 'sw2001A-ms98-a-0001 start end words'" in message


def test_the_side_of_a_turn_may_be_a_small_letter(
    corpus: Path, damaged: Path, tmp_path: Path
) -> None:
    path = next((damaged / "LDC97S62/transcriptions").rglob("sw2001A-ms98-a-trans.text"))
    path.write_text(path.read_text().replace("sw2001A", "sw2001a"))
    prepare(damaged, tmp_path / "small")
    prepare(corpus, tmp_path / "data")
    text = (tmp_path / "small/train_nodup/text").read_text()
    assert text == (tmp_path / "data/train_nodup/text").read_text()


def test_audio_of_one_name_in_two_places_is_refused(
    damaged: Path, tmp_path: Path, refusal: Callable[..., str]
) -> None:
    audio = damaged / "LDC97S62/swb1_d1/data/sw02001.sph"
    other = damaged / "LDC97S62/zz_old/sw02001.sph"
    other.parent.mkdir()
    other.symlink_to(audio)
    prepare(damaged, tmp_path / "linked")
    other.unlink()
    shutil.copyfile(audio, other)
    prepare(damaged, tmp_path / "copied")
    other.unlink()
    other.write_bytes(audio.read_bytes()[:-1] + b"x")
    message = refusal(damaged, tmp_path / "data")
    assert "LDC97S62: audio of one name in several places" in message
    assert f"{audio} and {other}" in message


def test_links_that_loop_and_what_macos_leaves_are_passed_over(
    corpus: Path, damaged: Path, tmp_path: Path
) -> None:
    prepare(corpus, tmp_path / "data")
    for name in ("y", "z"):
        (damaged / "LDC97S62" / name).symlink_to(".")
    (damaged / "LDC97S62/swb1_d1/data/._sw02001.sph").write_bytes(b"")
    prepare(damaged, tmp_path / "looped")
    plain, looped = (
        (tmp_path / name / "train_nodup/wav.scp").read_text() for name in ("data", "looped")
    )
    assert looped == plain.replace(str(corpus), str(damaged))


def test_corpora_below_a_directory_with_other_letters_are_read(
    damaged: Path, tmp_path: Path
) -> None:
    root = damaged.rename(tmp_path / "Müller")
    prepare(root, tmp_path / "data")
    scp = (tmp_path / "data/train_nodup/wav.scp").read_text(encoding="utf-8")
    assert f"{root}/LDC97S62/" in scp


@pytest.mark.parametrize(
    "times, said",
    [
        ("100.0 101.0", "sw02001-A_010000-010100 begins at 100 s, but its recording has 26.4 s"),
        ("25.2 26.9", "sw02001-A_002520-002690 ends at 26.9 s, but its recording has 26.4 s"),
        ("1.2 0.9", "sw02001-A_000120-000090 ends at 0.9 s, but begins at 1.2 s"),
        ("1.2 1.2", "sw02001-A_000120-000120 ends at 1.2 s, but begins at 1.2 s"),
        ("-1.2 1.2", "begins at -1.19 s, before its recording"),
    ],
)
def test_turns_outside_their_audio_are_refused_or_skipped(
    damaged: Path, tmp_path: Path, refusal: Callable[..., str], times: str, said: str
) -> None:
    place = "LDC97S62/transcriptions/swb_ms98_transcriptions/20/2001/sw2001A-ms98-a-trans.text"
    lines = (damaged / place).read_text().splitlines(keepends=True)
    lines[-1] = f"sw2001A-ms98-a-0022 {times} oh well\n"
    (damaged / place).write_text("".join(lines))
    message = refusal(damaged, tmp_path / "out")
    assert "LDC97S62: turns outside their audio (1):" in message and said in message
    prepare(damaged, tmp_path / "out", "--faults", "skip")
    assert "oh well" not in (tmp_path / "out/train_nodup/text").read_text()


def test_a_turn_that_ends_little_behind_its_audio_stays(damaged: Path, tmp_path: Path) -> None:
    place = "LDC97S62/transcriptions/swb_ms98_transcriptions/20/2001/sw2001A-ms98-a-trans.text"
    lines = (damaged / place).read_text().splitlines(keepends=True)
    lines[-1] = "sw2001A-ms98-a-0022 25.2 26.8 oh well\n"
    (damaged / place).write_text("".join(lines))
    prepare(damaged, tmp_path / "out")
    segments = (tmp_path / "out/train_nodup/segments").read_text()
    assert "sw02001-A_002520-002680 sw02001-A 25.2 26.8\n" in segments


def test_segments_that_differ_from_the_references_are_refused(
    damaged: Path, tmp_path: Path, refusal: Callable[..., str]
) -> None:
    with (damaged / "LDC2002S09/hub5e_00/english/hub5e_00.pem").open("a") as pem:
        pem.write("en_4100 A unknown_speaker 500.00 501.00\n")
    message = refusal(damaged, tmp_path / "data")
    assert "LDC2002S09" in message
    assert "LDC2002T43" in message
    assert "1 are in one only, e.g. en_4100-A_050000-050100" in message


@pytest.mark.parametrize(
    ("times", "said"),
    [
        ("0.05 19.00", "en_4100-B_000005-001900 ends at 19 s, but its recording has 8.4 s"),
        ("0.05 0.05", "en_4100-B_000005-000005 ends at 0.05 s, but begins at 0.05 s"),
    ],
)
def test_segments_of_eval2000_outside_their_audio_are_refused_or_skipped(
    damaged: Path, tmp_path: Path, refusal: Callable[..., str], times: str, said: str
) -> None:
    pem = damaged / "LDC2002S09/hub5e_00/english/hub5e_00.pem"
    stm = next(damaged.rglob("hub5e00.english.000405.stm"))
    for path in (pem, stm):
        lines = path.read_text().splitlines(keepends=True)
        (first, *_) = (n for n, line in enumerate(lines) if line.startswith("en_4100 B"))
        lines[first] = lines[first].replace("0.05 0.90", times)
        path.write_text("".join(lines))
    message = refusal(damaged, tmp_path / "data")
    assert f"LDC2002S09: segments outside their audio (1):\n  {pem}: {said}" in message
    prepare(damaged, tmp_path / "data", "--faults", "skip")
    kept = tmp_path / "data/eval2000"
    assert said.split()[0] not in (kept / "segments").read_text() + (kept / "text").read_text()
    stm = (kept / "stm").read_text()
    assert f"en_4100_B {times} " not in stm and "en_4100_B 1.25 2.36 " in stm


def test_a_missing_file_of_eval2000_is_refused(
    damaged: Path, tmp_path: Path, refusal: Callable[..., str]
) -> None:
    (damaged / "LDC2002S09/hub5e_00/english/en_4100.sph").unlink()
    assert "LDC2002S09: expected 40 .sph files" in refusal(damaged, tmp_path / "data")


def test_a_file_of_eval2000_under_another_name_is_refused(
    damaged: Path, tmp_path: Path, refusal: Callable[..., str]
) -> None:
    english = damaged / "LDC2002S09/hub5e_00/english"
    (english / "en_4100.sph").rename(english / "en_9999.sph")
    message = refusal(damaged, tmp_path / "data")
    kind = f"LDC2002S09: hub5e_00.pem names recordings without an .sph file in {english} (1):"
    assert f"{kind}\n  en_4100" in message


def test_the_stm_leaves_out_what_is_skipped(damaged: Path, tmp_path: Path) -> None:
    path = damaged / "LDC2002S09/hub5e_00/english/en_4101.sph"
    path.write_bytes(path.read_bytes()[:1030])
    prepare(damaged, tmp_path / "data", "--faults", "skip")
    stm = (tmp_path / "data/eval2000/stm").read_text()
    assert "en_4101" not in stm and "en_4102" in stm and ";;" in stm
    assert "en_4101" not in (tmp_path / "data/eval2000/text").read_text()


@pytest.mark.parametrize(("part", "name"), [("sw", "Switchboard"), ("en", "CallHome")])
def test_skipping_all_of_a_part_of_eval2000_is_refused(
    damaged: Path, tmp_path: Path, refusal: Callable[..., str], part: str, name: str
) -> None:
    for path in (damaged / "LDC2002S09").rglob(f"{part}_*.sph"):
        path.write_bytes(b"")
    message = refusal(damaged, tmp_path / "data", "--faults", "skip")
    assert f"no utterance of {name} (eval2000) has both audio and reference" in message


def test_blank_lines_of_corpus_files_say_nothing(
    corpus: Path, damaged: Path, tmp_path: Path
) -> None:
    for path in [*damaged.rglob("*-trans.text"), *damaged.rglob("*.pem"), *damaged.rglob("*.stm")]:
        path.write_text(path.read_text().replace("\n", "\r\n") + "\r\n\x1a")
    prepare(damaged, tmp_path / "blank")
    prepare(corpus, tmp_path / "plain")
    for name in ("train_nodup/text", "train_dev/segments", "eval2000/text"):
        assert (tmp_path / "blank" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()


def test_transcripts_are_found_by_their_parent_too(damaged: Path, tmp_path: Path) -> None:
    (damaged / "LDC97S62/transcriptions").rename(tmp_path / "unpacked")
    prepare(damaged, tmp_path / "data", "--transcripts", str(tmp_path / "unpacked"))
    assert (tmp_path / "data/train_dev/text").exists()


def test_an_empty_eval2000_is_refused(
    damaged: Path, tmp_path: Path, refusal: Callable[..., str]
) -> None:
    (damaged / "LDC2002S09/hub5e_00/english/hub5e_00.pem").write_text(";; nothing\n")
    next(damaged.rglob("hub5e00.english.000405.stm")).write_text(";; nothing\n")
    assert "LDC2002S09, LDC2002T43: no utterance" in refusal(damaged, tmp_path / "data")


@pytest.mark.parametrize("size", ["0", "120", "-1"])
def test_a_train_dev_size_that_leaves_nothing_is_refused(
    corpus: Path, tmp_path: Path, refusal: Callable[..., str], size: str
) -> None:
    message = refusal(corpus, tmp_path / "data", "--train_dev_size", size)
    assert f"train_dev_size {size}" in message and "120 utterances" in message
