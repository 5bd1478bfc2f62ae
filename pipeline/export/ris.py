"""Write ``tagged.ris``: the original records, with labels as keywords and evidence as notes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from mechtag.core.files import replacing
from mechtag.core.records import ABSTRACTS_ALONE, DEFINITIONS_ALONE, Prediction, Record, normalise_doi
from mechtag.pipeline.reading.formats.ris import LONG_TAGS
from mechtag.pipeline.reading.text.cleaning import is_missing

_DEFINITIONS = "mechtag: suggestions from the definitions of the codebook alone; probabilities are rough"
_ABSTRACTS_ALONE = "mechtag: every label in full texts needs review; the model decides labels in abstracts only"
_NOT_SCORED = "mechtag: labels not scored, relevance is a clear no"
_TAG = re.compile(r"[A-Z][A-Z0-9]{1,9}")
_ABSTRACTS = ("AB", "N2")
_WEB_OF_SCIENCE = frozenset({"PT", "SO", "UT"})  # its tags also have two letters, but different meanings

# Space before text that would be read as a field if it began a line.
_BEFORE_FIELD = re.compile(r"(?<![\s\ufeff])[\s\ufeff]++(?=[A-Za-z][A-Za-z0-9]\s++-)")
# Characters that some program treats as a line end, and the rest of the space.
_LINE_END = re.compile(r"[\r\n\v\f\x1c-\x1e\x85\u2028\u2029].*", re.S)

# RIS types of the reference types of BibTeX, CSL, Crossref, PubMed and Web of Science.
_TYPES = {
    "article": "JOUR",
    "article-journal": "JOUR",
    "journal article": "JOUR",
    "journal-article": "JOUR",
    "review": "JOUR",
    "book": "BOOK",
    "monograph": "BOOK",
    "book chapter": "CHAP",
    "book-chapter": "CHAP",
    "chapter": "CHAP",
    "inbook": "CHAP",
    "incollection": "CHAP",
    "conference paper": "CPAPER",
    "inproceedings": "CPAPER",
    "paper-conference": "CPAPER",
    "proceedings-article": "CPAPER",
    "proceedings paper": "CPAPER",
    "dissertation": "THES",
    "mastersthesis": "THES",
    "phdthesis": "THES",
    "thesis": "THES",
    "report": "RPRT",
    "techreport": "RPRT",
    "posted-content": "UNPB",
    "preprint": "UNPB",
}
_RIS_TYPES = frozenset(
    "ABST ADVS AGGR ANCIENT ART BILL BLOG BOOK CASE CHAP CHART CLSWK COMP CONF CPAPER CTLG DATA DBASE DICT EBOOK "
    "ECHAP EDBOOK EJOUR ELEC ENCYC EQUA FIGURE GEN GOVDOC GRANT HEAR ICOMM INPR JFULL JOUR LEGAL MANSCPT MAP MGZN "
    "MPCT MULTI MUSIC NEWS PAMP PAT PCOMM RPRT SER SLIDE SOUND STAND STAT STD THES UNBILL UNPB VIDEO WEB".split()
)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _from_ris(record: Record) -> bool:
    """Return whether a record comes from a RIS file, and not from a file of a similar format."""
    tags = [tag for tag, _ in record.raw]
    if "TY" not in tags and (any(len(tag) > 2 for tag in tags) or not _WEB_OF_SCIENCE.isdisjoint(tags)):
        return False
    return bool(tags) and all(map(_TAG.fullmatch, tags))


def _as_ris(tag: str, value: str) -> tuple[str, str]:
    """Convert a field to RIS, and return its tag and value; a field without a RIS tag becomes a note."""
    if len(tag) == 2:
        return tag, value
    known = LONG_TAGS.get(tag, "")
    if tag == "PMID":
        return "C5", f"PMID: {value}"
    return (known, value) if len(known) == 2 else ("N1", f"{tag}: {value}")


def _type(record: Record) -> str:
    kind = (record.type or "").strip()
    if kind.upper() in _RIS_TYPES:
        return kind.upper()
    return _TYPES.get(kind.lower(), "JOUR" if record.journal else "GEN")


def _from_attributes(record: Record) -> Iterator[tuple[str, str]]:
    """Yield RIS fields for the attributes of a record that was read from a format other than RIS."""
    start, _, end = (record.pages or "").replace("–", "-").partition("-")
    yield "TY", _type(record)
    yield "TI", _one_line(record.title)
    yield from (("AU", _one_line(author)) for author in record.authors)
    for tag, value in (
        ("PY", record.year),
        ("T2", record.journal),
        ("VL", record.volume),
        ("IS", record.issue),
        ("SP", start.strip()),
        ("EP", end.strip(" -")),
        ("DO", record.doi),
        ("AN", record.pmid),
        ("DB", "PubMed" if record.pmid else None),
        ("LA", record.language),
        ("UR", record.url),
        ("AB", record.abstract),
    ):
        if value:
            yield tag, _one_line(str(value))
    yield from (("KW", _one_line(keyword)) for keyword in record.keywords)


def _filled(record: Record, fields: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield RIS fields for the DOI and the abstract of a record, unless ``fields`` already contains them."""
    # They come from a duplicate, or were added later, for example by 'mechtag fetch'.
    if record.doi and record.doi not in (normalise_doi(value) for _, value in fields):
        yield "DO", record.doi
    if record.abstract and not any(tag in _ABSTRACTS for tag, _ in fields):
        yield "AB", _one_line(record.abstract)


def _additions(predictions: Mapping[str, Prediction], labels: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield the RIS fields that mechtag adds to a record: keywords for its labels, and notes."""
    tagged = [
        (key, name, prediction)
        for key, name in labels
        if (prediction := predictions.get(key)) and prediction.decision != "no"
    ]
    if any(prediction.score is None for prediction in predictions.values()):
        yield "N1", _NOT_SCORED
    if any(prediction.model_id.startswith(DEFINITIONS_ALONE) for prediction in predictions.values()):
        yield "N1", _DEFINITIONS
    if any(one.model_id.startswith(ABSTRACTS_ALONE) and one.basis == "full-text" for one in predictions.values()):
        yield "N1", _ABSTRACTS_ALONE
    for key, _, prediction in tagged:
        yield "KW", f"mechtag:{key}" + ("?" if prediction.decision == "refer" else "")
    for _, name, prediction in tagged:
        sure = "" if prediction.probability is None else f" (probability {prediction.probability:.2f})"
        for evidence in sorted(prediction.evidence, key=lambda evidence: -evidence.score):
            yield "N1", _one_line(f'mechtag evidence for {name}{sure}: "{evidence.text}"')


def _ours(tag: str, value: str, labels: Sequence[tuple[str, str]]) -> bool:
    """Return whether a RIS field was added by an earlier run of mechtag."""
    if tag == "KW":
        return value.strip().rstrip("?") in {f"mechtag:{key}" for key, _ in labels}
    return tag == "N1" and value.startswith(
        (
            _NOT_SCORED,
            _DEFINITIONS,
            _ABSTRACTS_ALONE,
            *(f"mechtag evidence for {_one_line(name)}" for _, name in labels),
        )
    )


def _field(tag: str, value: str) -> str:
    """Format one RIS field; a line of ``value`` that looks like a new field is joined to the line before it."""
    value = _BEFORE_FIELD.sub(lambda space: _LINE_END.sub(" ", space[0]), value)
    return f"{tag}  - " + value.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")


def _block(record: Record, added: Iterable[tuple[str, str]], is_ours: Callable[[str, str], bool]) -> str:
    """Return a record in RIS format, with the fields ``added`` and without fields for which ``is_ours`` is true."""
    if _from_ris(record):
        pairs = (_as_ris(tag, "" if value is None else str(value)) for tag, value in record.raw if tag != "ER")
        fields = [
            (tag, value)
            for tag, value in pairs
            if not is_ours(tag, value) and not (tag in _ABSTRACTS and is_missing(value))
        ]
        # Other readers start a record at TY.
        start = next(((tag, value) for tag, value in fields if tag == "TY"), ("TY", _type(record)))
        fields = [start, *((tag, value) for tag, value in fields if tag != "TY")]
        fields += _filled(record, fields)
    else:
        fields = list(_from_attributes(record))
    fields += added
    return "".join(f"{_field(tag, value)}\n" for tag, value in fields) + "ER  - \n"


@contextmanager
def writing(
    labels: Sequence[tuple[str, str]], path: Path
) -> Iterator[Callable[[Record, Mapping[str, Prediction]], None]]:
    """Yield a function that adds a tagged record to a RIS file (UTF-8).

    A record from a RIS file keeps its fields. A DOI or an abstract that the record obtained later, for example from a
    duplicate, is added. The fields of all other records are made from the attributes of `Record`.

    For each label decided ``yes``, a field ``KW  - mechtag:KEY`` is added. For each label decided ``refer``, a field
    ``KW  - mechtag:KEY?`` is added. The evidence is added in fields ``N1``. Fields that an earlier run of mechtag added
    for these labels are removed.

    Parameters
    ----------
    labels
        Key and name of every label, relevance first.
    """
    with writing_records(path) as write:
        yield lambda record, predictions: write(
            record, _additions(predictions, labels), lambda tag, value: _ours(tag, value, labels)
        )


@contextmanager
def writing_records(
    path: Path,
) -> Iterator[Callable[[Record, Iterable[tuple[str, str]], Callable[[str, str], bool]], None]]:
    """Yield a function that adds a record, with further fields, to a RIS file (UTF-8).

    The yielded function has the same parameters as `_block`.
    """
    # No byte order mark, or rispy would miss the first record. Lone surrogates, which UTF-8 cannot encode, become "?".
    with replacing(path) as part, part.open("w", encoding="utf-8", errors="replace", newline="") as file:
        between = ""

        def add(record: Record, added: Iterable[tuple[str, str]], is_ours: Callable[[str, str], bool]) -> None:
            nonlocal between
            file.write(between + _block(record, added, is_ours))
            between = "\n"

        yield add
