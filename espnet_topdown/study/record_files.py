"""The files of a record, of which references stand once a study.

``records/MODEL/references.json``: set -> utterance -> text.

``records/MODEL/seedN.json``: a header, one line a phase, and ``misheard``: set -> place of an
utterance in the references -> edits (`espnet_topdown.study.edits`) -> places of the phases that
heard it so. What is not listed was heard as the reference has it.

``records/MODEL/recordings.json``: data set -> utterance -> names of the recordings that it was made
of, of corpora whose utterances share recordings.

What a record holds is said in `espnet_topdown.study.records`, what is refused as one in
`espnet_topdown.study.record_rules`.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from espnet_topdown import files
from espnet_topdown.errors import TopdownError
from espnet_topdown.experiment.quality import Criterion
from espnet_topdown.recognise import but
from espnet_topdown.results.outside import Outside
from espnet_topdown.results.trn import tokens_of
from espnet_topdown.study.edits import hypotheses_of, misheard_of
from espnet_topdown.study.record_rules import ADVICE, FORMAT, HEADER, check_record
from espnet_topdown.study.records import Record, RecordedPhase, Texts

REFERENCES = "references.json"
RECORDINGS = "recordings.json"
# Lists of a phase, apart from what it heard.
LISTS = ("curve", "frozen", "train_loss", "lr", "loaded", "small_texts")
# Of a phase: what follows from the rest of the file.
NOT_STORED = ("directory", "criterion", "hypotheses")


def find_records(places: Iterable[Path]) -> dict[str, list[Record]]:
    """Model -> its records by seed; `places` are records or directories of them.

    Raises:
        TopdownError: a place holds no record, a file is no record, or a seed of a model occurs
            twice.
    """
    studies: dict[str, dict[int, Record]] = {}
    for path in _paths(places):
        record = read_record(path)
        seeds = studies.setdefault(record.model, {})
        if record.seed in seeds:
            raise TopdownError(
                f"{path}: seed {record.seed} of {record.model} was read before; give it once"
            )
        seeds[record.seed] = record
    return {model: [seeds[seed] for seed in sorted(seeds)] for model, seeds in studies.items()}


def _paths(places: Iterable[Path]) -> Iterable[Path]:
    for place in places:
        paths = sorted(place.glob("seed*.json")) if place.is_dir() else [place]
        if not paths:
            raise TopdownError(
                f"{place} holds no seed*.json{but(place)}; give the records of a study, such as"
                " records/rnn"
            )
        yield from paths


def read_record(path: Path) -> Record:
    """The record in `path`, with the references beside it.

    Raises:
        TopdownError: the file is no record, one of an earlier format, or damaged; or its references
            are not those beside it.
    """
    # What was not written here is not damaged, and must not be moved away.
    if path.is_file() and path.suffix != ".json":
        raise TopdownError(f"{path} is not the record of a seed{but(path)}; {ADVICE}")
    stored = files.read_json(path)
    check_record(path, stored)
    references = _references_of(path, stored["references"])
    try:
        hypotheses = hypotheses_of(stored, references)
    except (LookupError, ValueError) as error:
        raise TopdownError(f"{path} is damaged (misheard: {error}); {ADVICE}") from None
    phases = []
    for values, texts in zip(stored["phases"], hypotheses, strict=True):
        fields = _without(values, "decoded")
        fields |= {key: tuple(values.get(key, ())) for key in LISTS}
        # null where nothing was measured, here and in `_stored`.
        fields["perplexity"] = values["perplexity"] or {}
        fields["counted"] = {
            dataset: {utterance: Outside(*counts) for utterance, counts in of_set.items()}
            for dataset, of_set in values.get("counted", {}).items()
        }
        phase = RecordedPhase(
            **fields,
            directory=Path(values["name"]),
            criterion=Criterion.parse(stored["dev_name"]),
            hypotheses=texts,
        )
        phases.append(phase)
    header = {key: stored.get(key) for key in HEADER if key != "misheard"}
    header |= {"references": references, "phases": tuple(phases)}
    for key in ("speakers", "training"):
        header[key] = stored.get(key) or {}
    header["selected_on"] = tuple(stored.get("selected_on") or ())
    return Record(**header, recordings=_recordings_of(path, references))


def _references_of(path: Path, hashes: Mapping[str, str]) -> dict[str, Texts]:
    """The references of each set that a record names, which must have the hash that it names."""
    here = path.with_name(REFERENCES)
    # A language model has no references, and no file of them.
    stored = files.read_json(here) if hashes else {}
    for dataset, sha256 in hashes.items():
        if _sha256(stored.get(dataset, {})) != sha256:
            raise TopdownError(
                f"{path} was recorded with other references of {dataset} than {here} holds; keep"
                " the records of one study together with their references"
            )
    return {dataset: stored[dataset] for dataset in hashes}


def _recordings_of(
    path: Path, references: Mapping[str, Texts]
) -> dict[str, dict[str, tuple[str, ...]]]:
    """The recordings of each set that a record has references of, where they are known."""
    here = path.with_name(RECORDINGS)
    stored = _read_if_there(here)
    recordings = {}
    for name, texts in references.items():
        dataset = name.rpartition("/")[2]
        if dataset not in stored:
            continue
        recordings[dataset] = {
            utterance: tuple(names.split(" ")) for utterance, names in stored[dataset].items()
        }
        for utterance, text in texts.items():
            names = recordings[dataset].get(utterance, ())
            if len(names) != len(tokens_of(text)):
                raise TopdownError(
                    f"{here}: {utterance} of {dataset} has {len(names)} recordings and"
                    f" {len(tokens_of(text))} words; keep the records of one study together"
                )
    return recordings


def _read_if_there(path: Path) -> dict[str, Any]:
    stored: dict[str, Any] = files.read_json(path) if path.exists() else {}
    return stored


def _without(values: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in keys}


def write_record(path: Path, record: Record) -> None:
    """Write a record to `path`, and its references beside it where they are not there yet.

    Raises:
        TopdownError: other references, or recordings, of one of its sets are there.
    """
    here = path.with_name(REFERENCES)
    known: dict[str, Texts] = _read_if_there(here)
    references = dict(known)
    for dataset, texts in record.references.items():
        if references.setdefault(dataset, texts) != texts:
            raise TopdownError(
                f"{here} holds other references of {dataset} than seed {record.seed} was scored"
                f" with; one study has one test set: decode its seeds again, or move {path.parent}"
                " away to begin a new one"
            )
    _write_recordings(path.with_name(RECORDINGS), record)
    # Before the record: a kill in between leaves nothing that names references not there.
    if references != known:
        files.write_text(here, _json(references, levels=2) + "\n")
    files.write_text(path, _json(_stored(record, references), levels=2) + "\n")


def _write_recordings(here: Path, record: Record) -> None:
    """Add the recordings of a record's sets to those of other seeds, which may have other sets."""
    known = _read_if_there(here)
    recordings = dict(known)
    for dataset, utterances in record.recordings.items():
        texts = {utterance: " ".join(names) for utterance, names in utterances.items()}
        if recordings.setdefault(dataset, texts) != texts:
            raise TopdownError(
                f"{here} has other recordings of {dataset} than seed {record.seed} was made of; one"
                f" study has one test set: move {here.parent} away to begin a new one"
            )
    if recordings != known:
        files.write_text(here, _json(recordings, levels=2) + "\n")


def _stored(record: Record, references: Mapping[str, Texts]) -> dict[str, Any]:
    """A record as its file has it."""
    phases = []
    for phase in record.phases:
        values = _without(vars(phase), *NOT_STORED)
        values |= {"perplexity": phase.perplexity or None, "decoded": list(phase.hypotheses)}
        if not phase.counted:
            del values["counted"]
        phases.append(values)
    changed = {
        "references": {dataset: _sha256(references[dataset]) for dataset in record.references},
        "phases": phases,
        "misheard": {
            dataset: misheard_of(record.phases, dataset, references[dataset])
            for dataset in record.references
        },
    }
    header = _without(vars(record), "recordings")
    # As earlier versions wrote it.
    for key in ("speakers", "analysis", "selected_on", "training"):
        if not header[key]:
            del header[key]
    return {"format": FORMAT, **header, **changed}


def _sha256(texts: Texts) -> str:
    # Their order counts: the utterances of misheard are numbered by it.
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()


def _json(value: Any, levels: int, margin: str = "\n") -> str:
    """JSON text whose outer `levels` are written an item a line, the rest as short as can be."""
    if levels == 0 or not value or not isinstance(value, dict | list | tuple):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    inner = f"{margin} "
    if not isinstance(value, dict):
        items = [_json(item, levels - 1, inner) for item in value]
        return f"[{inner}{f',{inner}'.join(items)}{margin}]"
    items = []
    for key, item in value.items():
        # One level more, so that an utterance stands on a line as a phase does.
        below = levels if key == "misheard" else levels - 1
        items.append(f"{json.dumps(key, ensure_ascii=False)}: {_json(item, below, inner)}")
    return f"{{{inner}{f',{inner}'.join(items)}{margin}}}"
