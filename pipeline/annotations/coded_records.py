"""Read coded records, a second coder's codes, and exemplars from JSON Lines files.

The labels are passed to each function in codebook order; they are never taken from the data.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AliasChoices, Field, RootModel, StrictBool, ValidationError

from mechtag.core.codebook import Strict, describe_validation, read_yaml
from mechtag.core.errors import MechtagError
from mechtag.core.files import StrPath, write_text
from mechtag.core.records import FINAL, Coding, Record, Row, Sentence, make_record_id, normalise_doi, normalise_pmid
from mechtag.core.settings import TrainSettings
from mechtag.core.tables import is_table
from mechtag.pipeline.reading.text.headings import heading_name

#: Kind of text in a file; ``unknown`` if it is not documented.
Texts = Literal["synopses", "invented", "published", "unknown"]

#: Name of the set of records added by 'mechtag retrain'.
ADDED = "added"
ABOUT = "about.yaml"
_LINES = "*.jsonl"


class About(Strict):
    """Description of one file of coded records.

    ``title`` is the name of the file in reports. ``texts`` is ``synopses`` (reworded abstracts), ``invented`` (invented
    abstracts), or ``published`` (abstracts as published).
    """

    title: str = Field(min_length=1)
    texts: Literal["synopses", "invented", "published"]


class _Abouts(RootModel[dict[str, About]]):
    """Content of ``about.yaml``: a description of each file of coded records, keyed by file name without extension."""


def files_of(path: StrPath, what: str) -> list[Path]:
    """Return the ``*.jsonl`` files of a folder in alphabetical order; if ``path`` is a file, return only this file.

    Parameters
    ----------
    what
        Description of the expected content, for error messages.

    Raises
    ------
    MechtagError
        If the folder contains no ``*.jsonl`` file; if it contains a table (CSV, XLSX), which would be ignored; or if it
        contains ``added.jsonl``, a reserved name.
    """
    path = Path(path)
    if not path.is_dir():
        return [path]
    # macOS leaves files such as ._codes.jsonl on shared drives.
    found = sorted(file for file in path.glob(_LINES) if not file.name.startswith("."))
    tables = sorted(file.name for file in path.iterdir() if is_table(file) and file.suffix != ".txt")
    if tables:
        raise MechtagError(
            f"{path}: only {_LINES} files are read from a folder, so {', '.join(tables)} would be ignored; move "
            "these tables elsewhere, or pass one table instead of the folder"
        )
    if any(file.stem == ADDED for file in found):
        raise MechtagError(
            f"{path}: the name {ADDED}.jsonl is reserved for records that 'mechtag retrain' adds; rename the file"
        )
    if not found:
        raise MechtagError(f"{path}: this folder contains no {_LINES} file (expected {what}); check the path")
    return found


def read_about(path: StrPath, what: str) -> dict[str, tuple[str, Texts]]:
    """Return the title and kind of text of each file of coded records, keyed by file name without extension.

    The files are in the order of `files_of`. Their titles and kinds of text are read from ``about.yaml`` in the same
    folder. If ``about.yaml`` does not describe a file, its title is the file name, and its kind of text is ``unknown``.

    Raises
    ------
    MechtagError
        For the same reasons as in `files_of`; if ``about.yaml`` is invalid; or if it describes a file that is not in
        the folder.
    """
    path = Path(path)
    files = files_of(path, what)
    about = (path if path.is_dir() else path.parent) / ABOUT
    known: dict[str, About] = {}
    if about.is_file():
        expected = "file descriptions must be a mapping from file names to {title: ..., texts: ...}"
        known = read_yaml(about, _Abouts, missing="no such file; check the path", expected=expected, empty={}).root
        here = {file.stem for file in about.parent.glob(_LINES)}
        if strays := sorted(known.keys() - here):
            raise MechtagError(
                f"{about}: these names match no *.jsonl file in the folder: {', '.join(map(repr, strays))}; correct "
                f"the names (files found: {', '.join(sorted(here)) or 'none'})"
            )
    return {
        file.stem: (known[file.stem].title, known[file.stem].texts) if file.stem in known else (file.stem, "unknown")
        for file in files
    }


Basis = Literal["full-text", "abstract"]


class Codes(Row):
    """One coder's codes for one record and for each of its sentences.

    Attributes
    ----------
    key
        Identifier of the record in the coders' own list.
    labels
        Labels of the record, in codebook order.
    sentence_labels
        Labels of each sentence, in codebook order; ``None`` if the sentences were not coded.
    """

    key: str
    relevant: bool
    labels: tuple[str, ...]
    sentence_labels: tuple[tuple[str, ...], ...] | None
    coder: str
    basis: Basis
    codebook: str


class CodedRecord(Codes):
    """A coded record, with its text split into the sentences that were coded.

    Attributes
    ----------
    record
        The record. Its abstract consists of the sentences, joined by single spaces.
    sentences
        Sentences with offsets into the abstract.
    not_judged
        Labels without a code for the record, because nobody judged them or because coders disagree.
    sentences_not_judged
        Labels without usable codes for the sentences. ``sentence_labels`` must not be used for these labels. Either
        nobody read all sentences for the label, or those who did gave it a different code than the record now has.
        For example, coders disagree, or a later coding changed the record's code.
    added
        Whether the record was added by 'mechtag retrain'.
    hard
        ``True`` for an irrelevant record that is easily mistaken for a relevant one, ``False`` for any other record,
        ``None`` if the file does not say.
    set_name
        Name, without extension, of the file that contained the record; `ADDED` for records of 'mechtag retrain'.
    by_coder
        Codings of each coder, if the record was read from a table of codings. Otherwise empty: ``coder`` then gave all
        codes.
    """

    record: Record
    sentences: tuple[Sentence, ...]
    not_judged: tuple[str, ...] = ()
    sentences_not_judged: tuple[str, ...] = ()
    added: bool = False
    hard: bool | None = None
    set_name: str = ""
    by_coder: tuple[Coding, ...] = ()

    def code(self, label: str) -> int | None:
        """Return the record's code for a label: ``1`` (yes), ``0`` (no) or ``None`` (not judged)."""
        return None if label in self.not_judged else int(label in self.labels)

    def sentence_codes(self, label_keys: Sequence[str]) -> list[list[float]]:
        """Return one row of codes per sentence, in the order of ``label_keys``; empty if the sentences were not coded.

        A code is 1 (yes), 0 (no), or NaN if the sentences were not judged for the label.
        """
        return [
            [math.nan if key in self.sentences_not_judged else float(key in labels) for key in label_keys]
            for labels in self.sentence_labels or ()
        ]

    def codings(self, label_keys: Sequence[str], relevance_key: str) -> list[Coding]:
        """Return the codings of each coder, if they are known.

        Otherwise, return one `Coding` for relevance, followed by one `Coding` for each label in the order of
        ``label_keys``.
        """
        return list(self.by_coder) or [
            Coding(
                record_id=self.record.record_id,
                key=self.key,
                coder=self.coder,
                label=label,
                value=int(self.relevant) if label == relevance_key else self.code(label),
                basis=self.basis,
                codebook_version=self.codebook,
            )
            for label in (relevance_key, *label_keys)
        ]


def settled(codings: Sequence[Coding], relevance_key: str) -> list[Coding]:
    """Leave out the codings of one record that final codes of the review page (coder ``final``) replace.

    A final code replaces all other codes for the same label and basis, because people agreed on it, or an adjudicator
    settled it. If the final code says that the record is not relevant, only final codes are returned.
    """
    final = {(coding.label, coding.basis): coding.value for coding in codings if coding.coder == FINAL}
    irrelevant = 0 in (value for (label, _), value in final.items() if label == relevance_key)
    return [
        coding
        for coding in codings
        if coding.coder == FINAL or not (irrelevant or (coding.label, coding.basis) in final)
    ]


class Exemplar(Row):
    """An example sentence for labels, which somebody invented or took from a coded paper.

    Attributes
    ----------
    labels
        Labels for which the sentence is coded yes; empty for a negative example. All other labels of an invented
        sentence are coded no. All other labels of a sentence from a paper are not judged.
    record_id
        Record id of the paper; ``None`` if the sentence was invented.
    """

    id: str
    text: str
    labels: tuple[str, ...]
    record_id: str | None = None


# `labels` is an alias of `mechanisms`, for codebooks whose labels are not mechanisms.
_BOTH_NAMES = AliasChoices("mechanisms", "labels")
_Labels = Annotated[tuple[str, ...], Field(validation_alias=_BOTH_NAMES)]


class _CodesLine(Row):
    key: str = Field(min_length=1)
    relevant: StrictBool
    mechanisms: _Labels
    sentences: tuple[tuple[str, ...], ...] = ()
    coder: str = Field(min_length=1)
    basis: Basis
    codebook: str


class _SentenceLine(Row):
    text: str = Field(pattern=r"\S")
    section: str = ""
    mechanisms: tuple[str, ...] | None = Field(default=None, validation_alias=_BOTH_NAMES)


class _CodedLine(Row):
    key: str = Field(min_length=1)
    title: str = Field(pattern=r"\S")
    authors: tuple[str, ...] = ()
    year: int | None = None
    journal: str | None = None
    doi: str | None = None
    pmid: str | None = None
    type: str | None = None
    kind: str | None = None
    relevant: StrictBool
    hard: StrictBool | None = None
    mechanisms: _Labels
    reason: str = ""
    sentences: tuple[_SentenceLine, ...] = Field(min_length=1)
    coder: str = Field(min_length=1)
    basis: Basis
    codebook: str


class _ExemplarLine(Row):
    id: str = Field(min_length=1)
    text: str = Field(pattern=r"\S")
    mechanisms: _Labels
    record_id: str | None = Field(default=None, min_length=1)


LineT = TypeVar("LineT", bound=Row)


def read_text(path: Path, what: str) -> str:
    """Return the content of a UTF-8 text file.

    Raises
    ------
    MechtagError
        If the file cannot be read. The message mentions ``what``, a description of the expected file.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise MechtagError(f"{path}: no such file (expected {what}); check the path") from None
    except UnicodeDecodeError as error:
        raise MechtagError(
            f"{path}: the file is not UTF-8 text (expected {what}): {error}; save the file as UTF-8"
        ) from None
    except OSError as error:
        raise MechtagError(
            f"{path}: the file cannot be read (expected {what}): {error.strerror or error}; check its path and "
            "permissions"
        ) from None


def json_lines(path: Path, model: type[LineT], what: str) -> Iterator[tuple[int, LineT]]:
    """Yield the number of each line of a JSON Lines file, and the line as an instance of ``model``.

    Raises
    ------
    MechtagError
        If the file cannot be read or is empty, or if a line is not valid. The message mentions ``what``, a description
        of the expected file.
    """
    found = False
    # Not splitlines: JSON strings may contain U+2028 and other Unicode line separators.
    for number, line in enumerate(read_text(path, what).split("\n"), start=1):
        if not line.strip():
            continue
        found = True
        try:
            yield number, model.model_validate(json.loads(line))
        except ValidationError as error:
            raise MechtagError(describe_validation(f"{path}: line {number}", error)) from None
        except (ValueError, RecursionError) as error:
            raise MechtagError(
                f"{path}: line {number} is not valid JSON ({error}); write one {{...}} object per line"
            ) from None
    if not found:
        raise MechtagError(f"{path}: the file is empty (expected {what}); check that you named the right file")


def _ordered(labels: Sequence[str], label_keys: Sequence[str], place: str) -> tuple[str, ...]:
    for label in labels:
        if label not in label_keys:
            raise MechtagError(
                f"{place}: the codebook has no label {label!r}; use one of its labels: {', '.join(label_keys)}"
            )
    return tuple(key for key in label_keys if key in labels)


def _codes(
    line: _CodesLine | _CodedLine, per_sentence: Sequence[Sequence[str]] | None, label_keys: Sequence[str], place: str
) -> dict[str, Any]:
    labels = _ordered(line.mechanisms, label_keys, place)
    if labels and not line.relevant:
        raise MechtagError(
            f"{place}: this record is coded as not relevant, but also as {', '.join(labels)}; remove these labels, or "
            "set 'relevant' to true"
        )
    sentence_labels = []
    for number, names in enumerate(per_sentence or (), start=1):
        ordered = _ordered(names, label_keys, f"{place}, sentence {number}")
        stray = [label for label in ordered if label not in labels]
        if stray:
            codes, pronoun = ("this code", "it") if len(stray) == 1 else ("these codes", "them")
            raise MechtagError(
                f"{place}, sentence {number}: this sentence is coded as {', '.join(map(repr, stray))}, but its record "
                f"does not have {codes}; add {pronoun} to the record, or remove {pronoun} from the sentence"
            )
        sentence_labels.append(ordered)
    return {
        "key": line.key,
        "relevant": line.relevant,
        "labels": labels,
        "sentence_labels": None if per_sentence is None else tuple(sentence_labels),
        "coder": line.coder,
        "basis": line.basis,
        "codebook": line.codebook,
    }


def refuse_doubled(seen: dict[str, tuple[Path, int]], name: str, path: Path, line: int) -> None:
    """Raise an error if an identifier (``name``) occurs a second time; otherwise, add it to ``seen``.

    The values of ``seen`` are the file and the line number of each identifier.

    Raises
    ------
    MechtagError
        If ``seen`` already contains the identifier.
    """
    if name in seen:
        earlier, number = seen[name]
        file = "" if earlier == path else f" of {earlier}"
        raise MechtagError(
            f"{path}: line {line}: '{name}' already occurs on line {number}{file}; keep one of the two lines"
        )
    seen[name] = path, line


def _per_sentence(line: _CodedLine, place: str) -> list[tuple[str, ...]] | None:
    """Return the labels of each sentence of a record; ``None`` if no sentence was coded."""
    codes = [sentence.mechanisms for sentence in line.sentences]
    if all(names is None for names in codes):
        return None
    for number, names in enumerate(codes, start=1):
        if names is None:
            raise MechtagError(
                f"{place}: sentence {number} has no codes, but other sentences of this record do. Add 'mechanisms' to "
                "this sentence ([] if none applies). If only the record as a whole was coded, remove 'mechanisms' "
                "from all its sentences instead"
            )
    return [names for names in codes if names is not None]


def _coded_record(line: _CodedLine, codes: Mapping[str, Any], path: Path, number: int) -> CodedRecord:
    doi, pmid = normalise_doi(line.doi), normalise_pmid(line.pmid)
    record_id = make_record_id(doi=doi, pmid=pmid, title=line.title, year=line.year, authors=line.authors)
    sentences: list[Sentence] = []
    start = 0
    for index, sentence in enumerate(line.sentences):
        text = sentence.text.strip()
        sentences.append(
            Sentence(
                record_id=record_id,
                sentence=index,
                section=heading_name(sentence.section),
                start=start,
                end=start + len(text),
                text=text,
            )
        )
        start += len(text) + 1
    record = Record(
        record_id=record_id,
        title=line.title,
        abstract=" ".join(sentence.text for sentence in sentences),
        authors=line.authors,
        year=line.year,
        journal=line.journal,
        doi=doi,
        pmid=pmid,
        type=line.type,
        source_file=path.name,
        source_index=number,
        raw=tuple(line.model_dump(mode="json").items()),
    )
    return CodedRecord(**codes, record=record, sentences=tuple(sentences), hard=line.hard, set_name=path.stem)


def read_coded(path: StrPath, label_keys: Sequence[str]) -> list[CodedRecord]:
    """Read coded records from JSON Lines files.

    The field ``sentences`` of a line is a list of objects with the fields ``text``, ``section`` and ``mechanisms`` (the
    labels). ``section`` is the heading printed above the sentence. If only the record as a whole was coded, the
    sentences have no ``mechanisms``.

    Parameters
    ----------
    path
        A file, or a folder of files.
    label_keys
        Labels of the codebook, in codebook order and without relevance.

    Raises
    ------
    MechtagError
        For the same reasons as in `files_of`, and in these cases:

        - A file is missing or empty.
        - A line is not JSON, lacks a field, or has an unknown field or label.
        - A paper occurs more than once.
        - An irrelevant record has a label.
        - A sentence has a label that its record lacks.
        - Only some of the sentences of a record are coded.
    """
    what = "coded records, one JSON object per line"
    coded, seen_papers = [], dict[str, tuple[Path, int]]()
    for file in files_of(path, what):
        for number, line in json_lines(file, _CodedLine, what):
            place = f"{file}: line {number}"
            codes = _codes(line, _per_sentence(line, place), label_keys, place)
            record = _coded_record(line, codes, file, number)
            refuse_doubled(seen_papers, record.record.record_id, file, number)
            coded.append(record)
    return coded


def read_codes(path: StrPath, label_keys: Sequence[str]) -> list[Codes]:
    """Read a second coder's codes from JSON Lines files, which contain no texts.

    The field ``sentences`` of a line is a list with the labels of each sentence, ``[[label, ...], ...]``. The field is
    omitted if only the record was coded. The parameters and errors are the same as in `read_coded`.
    """
    what = "codes, one JSON object per line"
    rows, seen = [], dict[str, tuple[Path, int]]()
    for file in files_of(path, what):
        for number, line in json_lines(file, _CodesLine, what):
            refuse_doubled(seen, line.key, file, number)
            rows.append(Codes(**_codes(line, line.sentences or None, label_keys, f"{file}: line {number}")))
    return rows


def read_exemplars(path: StrPath, label_keys: Sequence[str]) -> list[Exemplar]:
    """Read exemplars from a JSON Lines file.

    Each line has the fields ``id``, ``text`` and ``mechanisms``. The field ``record_id`` is optional.

    Raises
    ------
    MechtagError
        If the file is missing or empty, if a line is not valid, or if two exemplars have the same id.
    """
    path = Path(path)
    exemplars, seen = [], dict[str, tuple[Path, int]]()
    for number, line in json_lines(path, _ExemplarLine, "exemplars, one JSON object per line"):
        refuse_doubled(seen, line.id, path, number)
        labels = _ordered(line.mechanisms, label_keys, f"{path}: line {number}")
        exemplars.append(Exemplar(id=line.id, text=line.text.strip(), labels=labels, record_id=line.record_id))
    return exemplars


def all_exemplars(settings: TrainSettings, label_keys: Sequence[str]) -> list[Exemplar]:
    """Return the exemplars in the files that are named by the settings ``train.exemplars`` and ``train.examples``.

    The file ``train.examples`` may be missing. Raises the same errors as `read_exemplars`.
    """
    exemplars = read_exemplars(settings.exemplars, label_keys) if settings.exemplars else []
    if Path(settings.examples).is_file():
        exemplars += read_exemplars(settings.examples, label_keys)
    return exemplars


def write_exemplars(path: Path, exemplars: Iterable[Exemplar]) -> None:
    """Write exemplars, of which there must be at least one, to a JSON Lines file that `read_exemplars` can read."""
    lines = [
        json.dumps(
            {"id": one.id, "text": one.text, "labels": one.labels}
            | ({} if one.record_id is None else {"record_id": one.record_id}),
            ensure_ascii=False,
        )
        for one in exemplars
    ]
    write_text(path, "".join(f"{line}\n" for line in lines))
