"""Define the rows and columns of ``tagged.csv`` and ``review.xlsx``, the tables that reviewers fill in."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from mechtag.core.records import ABSTRACTS_ALONE, DEFINITIONS_ALONE, Evidence, Prediction, Record, normalise_title
from mechtag.core.tables import DECISION, NOTES, OWN_CODE
from mechtag.pipeline.export.sorting import Row, sorting
from mechtag.pipeline.reading.text.sections import is_cut
from mechtag.pipeline.reading.text.sentences import sentence_before
from mechtag.pipeline.reading.text.sign import ReadSigns, absence_in, by_words

# Maximum number of characters in a cell, which Excel counts in UTF-16 units; see
# https://support.microsoft.com/office/excel-specifications-and-limits. Excel truncates longer text without a warning,
# so truncate it here and add a note.
_CELL_LIMIT = 32_767
_CUT = " [cut: a cell holds 32,767 characters]"
NOT_SCORED = "not scored"
# In an Excel table, names of columns are unique whatever their case, and have at most 255 characters.
_NAME = 200

# First words that refer to the sentence before, which the evidence is then quoted with.
_REFERS_BACK = re.compile(
    r"\W*(?:(?:and|but|so|thus|hence|therefore|then|yet|also|moreover|furthermore|besides|additionally|consequently|"
    r"accordingly|subsequently|similarly|likewise|conversely|instead|otherwise|however|nevertheless|nonetheless|"
    r"this|that|these|those|such|it|its|he|she|his|her|they|them|their|theirs|both|neither|either|another|others?|"
    r"here|the (?:latter|former|same|other)|(?:in|by) (?:this|that|these|those|doing|contrast|addition|turn)|"
    r"(?:of|for|to|from|with|through|under|on|at|as|because of|due to|despite|among|after) (?:this|that|these|those|"
    r"them|which|it)|for (?:example|instance)|as (?:a result|such|well)|on the (?:other hand|contrary)|which)\b)",
    re.I,
)


class Column(NamedTuple):
    """A column of the table for reviewers.

    Attributes
    ----------
    width
        Width in a spreadsheet, in characters.
    meaning
        Explanation of the column for reviewers.
    """

    name: str
    width: int
    meaning: str


#: Columns before those of the labels; a spreadsheet keeps the columns up to the title in view.
FIRST = (
    Column("rank", 7, "Reading order. Number 1 is the paper that is most likely relevant."),
    Column(
        DECISION,
        11,
        "Your decision on the paper: yes (relevant), no or maybe. Neither an empty cell nor 'maybe' counts as no.",
    ),
    Column("authors", 17, "Authors, separated by semicolons."),
    Column("year", 7, "Year of publication."),
    Column("title", 36, "Title of the paper."),
    Column("abstract", 90, "Abstract, as mechtag read it."),
    Column("abstract_note", 15, "'none' if there is no abstract; 'cut off' if the abstract ends in mid-sentence."),
    Column(NOTES, 28, "Your notes, in any words. mechtag keeps them when it reads the table back."),
    Column("journal", 20, "Journal, or the book or series in which the paper was published."),
    Column("source file", 18, "Search export that the record was read from."),
)
#: Columns after those of the labels.
LAST = (
    Column("doi", 20, "Digital object identifier."),
    Column("pmid", 11, "PubMed identifier."),
    Column(
        "model",
        20,
        f"Model that made the suggestions. '{DEFINITIONS_ALONE}...' uses only the definitions of the codebook. "
        f"'{ABSTRACTS_ALONE}...' decides labels in abstracts only: in full texts, every label needs review.",
    ),
    Column("record_id", 22, "Identifier by which mechtag finds the paper again. Do not change it."),
)


#: Column of tables that contain decisions based on full texts, before those of the labels.
BASIS = Column(
    "basis",
    11,
    "What the labels were searched for in: abstract or full-text. Relevance is judged by title and abstract.",
)
#: End of the names of columns for the pages of the evidence, in the order of the evidence.
PAGES = ": pages"
#: End of the names of columns that mark evidence of absence; see `mechtag.pipeline.reading.text.sign`.
SIGN = ": sign"


def column_names(names: Mapping[str, str]) -> dict[str, str]:
    """Return a unique name for each label, keyed by label key; the names of the label's columns begin with it.

    The unique name is the name of the label, shortened if necessary. If this is also the name or the key of another
    label, the label's own key is added. Differences in case, accents and punctuation are ignored.

    Parameters
    ----------
    names
        Name of each label, by key.
    """
    shown = {key: excel_cell(name)[:_NAME] for key, name in names.items()}
    owners: dict[str, set[str]] = {}
    for key, name in shown.items():
        owners.setdefault(fold_name(name), set()).add(key)
        owners.setdefault(fold_name(key), set()).add(key)
    return {key: name if owners[fold_name(name)] == {key} else f"{name} ({key})" for key, name in shown.items()}


def fold_name(name: str) -> str:
    """Return a name in lower case, without accents and punctuation, so that it can be compared with other names."""
    return normalise_title(name.replace("_", " "))


def header(labels: Sequence[tuple[str, str]], by_basis: bool = False) -> list[str]:
    """Return the names of all columns of the table for reviewers.

    Parameters
    ----------
    labels
        Key and name of each label, relevance first. Relevance has no column for the sign (present or absent) of
        evidence, and no column for the reviewer's code, which is entered in the column ``decision`` instead.
    by_basis
        Whether the table has the column ``basis`` and, for each label, a column for the pages of the evidence.
    """
    names = column_names(dict(labels))
    parts = (": probability", ": decision", ": evidence", *([PAGES] if by_basis else []), SIGN, OWN_CODE)
    own = [f"{names[key]}{part}" for place, (key, _) in enumerate(labels) for part in parts[: None if place else -2]]
    return [
        *(column.name for column in FIRST),
        *([BASIS.name] if by_basis else []),
        *own,
        *(column.name for column in LAST),
    ]


def excel_cell(text: str) -> str:
    """Return a text on one line; if it is too long for an Excel cell, cut it and append ``[cut: ...]``."""
    text = " ".join(text.split())
    room = _CELL_LIMIT - 1  # the apostrophe that `neutralise` may put before a formula
    units = text.encode("utf-16-le", errors="replace")
    if len(units) <= 2 * room:
        return text
    return units[: 2 * (room - len(_CUT))].decode("utf-16-le", errors="ignore") + _CUT


def _quote(record: Record, prediction: Prediction) -> str:
    """Return the evidence of a prediction in quotation marks, the strongest sentence first."""
    if prediction.decision == "no":
        return ""
    strongest = sorted(prediction.evidence, key=lambda evidence: -evidence.score)
    return excel_cell(" ".join(f"“{_before(record, evidence)}{evidence.text}”" for evidence in strongest))


def _before(record: Record, evidence: Evidence) -> str:
    if evidence.basis == "full-text" or not _REFERS_BACK.match(evidence.text):
        return ""
    earlier = sentence_before(record.abstract, evidence.start)
    return f"[{earlier}] " if earlier else ""


def _abstract_note(abstract: str) -> str:
    if not abstract:
        return "none"
    return "cut off" if is_cut(abstract) else ""


def _pages(prediction: Prediction | None) -> str:
    """Return the pages of the evidence, separated by commas; the page of the strongest evidence comes first."""
    if prediction is None or prediction.decision == "no":
        return ""
    strongest = sorted(prediction.evidence, key=lambda evidence: -evidence.score)
    return ", ".join(dict.fromkeys(evidence.page for evidence in strongest if evidence.page))


def _absence(prediction: Prediction | None, read_signs: ReadSigns) -> str:
    """Return ``absent`` if all evidence has this sign, ``partly absent`` if some has it, and ``""`` otherwise."""
    if prediction is None or prediction.decision == "no":
        return ""
    return absence_in(read_signs([evidence.text for evidence in prediction.evidence]))


def cells_of(
    record: Record,
    predictions: Mapping[str, Prediction],
    labels: Sequence[tuple[str, str]],
    by_basis: bool = False,
    read_signs: ReadSigns = by_words,
) -> Iterator[str | float | None]:
    """Yield the cells of a record in the table for reviewers, in the order of `header`, without the column ``rank``.

    ``read_signs`` is the function that decides the sign of sentences: ``present`` or ``absent``.
    """
    yield None
    yield excel_cell("; ".join(record.authors))
    yield record.year
    yield excel_cell(record.title)
    yield excel_cell(record.abstract)
    yield _abstract_note(record.abstract)
    yield None
    yield excel_cell(record.journal or "")
    yield excel_cell(record.source_file)
    if by_basis:
        yield next((prediction.basis for prediction in predictions.values()), "")
    for place, (key, _) in enumerate(labels):
        prediction = predictions.get(key)
        if prediction is None:
            yield from (None, None, None)
        else:
            yield None if prediction.probability is None else round(prediction.probability, 4)
            yield NOT_SCORED if prediction.score is None else prediction.decision
            yield _quote(record, prediction)
        if by_basis:
            yield _pages(prediction)
        if place:
            yield _absence(prediction, read_signs)
            yield None
    yield excel_cell(record.doi or "")
    yield excel_cell(record.pmid or "")
    yield next((prediction.model_id for prediction in predictions.values()), "")
    yield excel_cell(record.record_id)


@contextmanager
def ranking(
    labels: Sequence[tuple[str, str]], folder: Path, by_basis: bool = False, read_signs: ReadSigns = by_words
) -> Iterator[tuple[Callable[[Record, Mapping[str, Prediction]], None], Callable[[], Iterator[Row]]]]:
    """Yield two functions that sort the table rows of tagged records by relevance.

    The first function adds a record and its predictions. The second function yields the sorted rows; call it after all
    records were added. The rows are in descending order of the probability of relevance. Rows with the same probability
    are ordered by ``record_id``. Rows without a probability come last. Temporary files are written to ``folder``.
    """
    relevance = labels[0][0]
    with sorting(folder) as sorter:

        def add(record: Record, predictions: Mapping[str, Prediction]) -> None:
            prediction = predictions.get(relevance)
            probability = prediction.probability if prediction else None
            order = 1.0 if probability is None else -probability
            sorter.add([order, record.record_id, list(cells_of(record, predictions, labels, by_basis, read_signs))])

        def ranked() -> Iterator[list[Any]]:
            return ([rank, *cells] for rank, (_, _, cells) in enumerate(sorter.sorted(), start=1))

        yield add, ranked
