"""Write coded papers as references: in RIS, in BibTeX, and in files that Rayyan or ASReview can import."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

from mechtag.core.codebook import Codebook
from mechtag.core.errors import MechtagError
from mechtag.core.files import write_csv, write_text
from mechtag.core.records import BETWEEN_QUOTES, Record
from mechtag.pipeline.export.coded_papers import Code, CodedPaper, CodedPapers, agreed
from mechtag.pipeline.export.documents import legal_text
from mechtag.pipeline.export.latex import escape
from mechtag.pipeline.export.matrix import cite
from mechtag.pipeline.export.review_rows import excel_cell
from mechtag.pipeline.export.ris import writing_records

#: First words of a note that contains the code of a person.
CODE = "mechtag code: "
#: First words of a note that quotes the evidence for a label, followed by the key of the label.
QUOTE = "evidence for "
_KEYWORD = "mechtag:"
# First words of the notes that mechtag writes; other notes belong to the user, even if they mention mechtag.
_NOTES = (CODE, "mechtag: ", "mechtag evidence for ")
_RAYYAN = {"yes": "Included", "no": "Excluded", "needs review": "Maybe", "not judged": "Undecided"}
_ASREVIEW = {"yes": 1, "no": 0}
_RELEVANT = {"yes": "ASReview_relevant", "no": "ASReview_irrelevant"}
# Separators in lists of Rayyan's labels, and what looks like one of its headings.
_NO_RAYYAN_LABEL = re.compile(r'[,;|"\n]|=>|RAYYAN-')


def _one_line(text: str) -> str:
    return " ".join(legal_text(text).split())


def write_ris(path: Path, coded: CodedPapers) -> None:
    """Write papers as RIS with all their original fields; labels are added as keywords, and each code as a note."""
    with writing_records(path) as add:
        for paper in coded.papers:
            keywords = (("KW", keyword) for keyword in _keywords(paper, coded.codebook))
            notes = (("N1", note) for note in _notes(paper, coded.codebook))
            add(paper.record, (*keywords, *notes), _is_ours)


def _is_ours(tag: str, value: str) -> bool:
    return (tag == "KW" and value.startswith(_KEYWORD)) or (tag == "N1" and value.startswith(_NOTES))


def _keywords(paper: CodedPaper, codebook: Codebook) -> Iterator[str]:
    """Yield a keyword for each label that is decided yes or needs review, and one for a paper that is not relevant."""
    # If people coded the paper, the codes of models are ignored.
    people = paper._replace(codes=tuple(code for code in paper.codes if not code.model_id))
    decided = people if people.codes else paper
    for key in codebook.all_keys:
        answer = agreed(decided.of_label(key))
        if answer in ("yes", "needs review"):
            yield f"{_KEYWORD}{key}{'?' if answer == 'needs review' else ''}"
        elif answer == "no" and key == codebook.relevance.key:
            yield f"{_KEYWORD}not-{key}"


def _notes(paper: CodedPaper, codebook: Codebook) -> Iterator[str]:
    for code in paper.codes:
        # The key is the first word in square brackets, and only a note begins with the words that begin a note.
        name = _harmless(codebook.names[code.label]).replace("[", "(").replace("]", ")")
        said = f"{name} [{code.label}] = {code.answer}"
        quotes = _harmless(BETWEEN_QUOTES.join(quote.text for quote in code.quotes))
        parts = [said, f"coder: {_harmless(code.coder)}", f"basis: {code.basis}"]
        parts += [f"date: {code.date}"] if code.date else []
        if any(quote.sign for quote in code.quotes):
            parts.append(f"signs: {', '.join(quote.sign or '-' for quote in code.quotes)}")
        parts += [f'quote: "{quotes}"'] if quotes else []
        yield CODE + "; ".join(parts)


def _harmless(text: str) -> str:
    """Change a text so that no part of it looks like the beginning of a note about a code."""
    return _one_line(text).replace(CODE, CODE.replace(":", " :"))


def write_bibtex(path: Path, coded: CodedPapers) -> None:
    """Write papers as BibTeX; labels are written as keywords, and codes to the field ``annote``."""
    records = [paper.record for paper in coded.papers]
    blocks = []
    seen: dict[str, int] = {}
    for paper, cited in zip(coded.papers, cite(records), strict=True):
        name = re.sub(r"[^A-Za-z0-9]+", "", unicodedata.normalize("NFKD", cited)) or "paper"
        seen[name.lower()] = number = seen.get(name.lower(), 0) + 1
        fields = [(field, value) for field, value in _bibtex(paper, coded.codebook) if value]
        lines = ",\n".join(f"  {field} = {{{value}}}" for field, value in fields)
        kind = "article" if paper.record.journal else "misc"
        blocks.append(f"@{kind}{{{name}{f'-{number}' if number > 1 else ''},\n{lines}\n}}\n")
    write_text(path, "\n".join(blocks))


def _bibtex(paper: CodedPaper, codebook: Codebook) -> Iterator[tuple[str, str]]:
    record = paper.record
    yield "title", _escaped(record.title)
    # Names that BibTeX would divide, as at the word 'and' or at a second comma, are kept together by braces.
    names = (
        f"{{{name}}}" if " and " in f" {name} ".lower() or name.count(",") > 1 else name
        for name in map(_escaped, record.authors)
    )
    yield "author", " and ".join(names)
    yield "year", str(record.year or "")
    for field in ("journal", "volume", "pages", "language", "abstract", "pmid"):
        yield field, _escaped(getattr(record, field) or "")
    for field in ("doi", "url"):
        yield field, _verbatim(getattr(record, field) or "")
    yield "number", _escaped(record.issue or "")
    yield "key", _escaped(record.record_id)
    yield "keywords", _escaped(", ".join((*record.keywords, *_keywords(paper, codebook))))
    yield "annote", _escaped(" ".join(_notes(paper, codebook)))


def _verbatim(text: str) -> str:
    """Return a DOI or URL for BibTeX, with braces and backslashes percent-encoded."""
    return _one_line(text).replace("\\", "%5C").replace("{", "%7B").replace("}", "%7D")


def _escaped(text: str) -> str:
    return escape(_one_line(text))


def write_rayyan(path: Path, coded: CodedPapers) -> None:
    """Write papers as RIS, with decisions and labels in Rayyan's notation.

    In Rayyan, a label belongs to the whole team. A label is therefore written only if all coders who judged the label
    answered yes. Decisions are written for each coder. Quotations are written as notes of each coder.
    """
    with writing_records(path) as add:
        for paper in coded.papers:
            add(paper.record, [("N1", _rayyan(paper, coded))], _is_rayyan)


def _is_rayyan(tag: str, value: str) -> bool:
    return tag == "N1" and "RAYYAN-" in value


def _rayyan(paper: CodedPaper, coded: CodedPapers) -> str:
    decisions = [
        f"{_ruby(code.coder)}=>{_ruby(_RAYYAN[code.answer])}" for code in paper.of_label(coded.codebook.relevance.key)
    ]
    labels = [
        key if _NO_RAYYAN_LABEL.search(name) else _one_line(name)
        for key, name in coded.names.items()
        if key != coded.codebook.relevance.key and agreed(paper.of_label(key)) == "yes"
    ]
    notes: dict[str, list[str]] = {}
    for code in paper.codes:
        if note := quote_note(code):
            notes.setdefault(code.coder, []).append(note)
    written = ", ".join(f"{_ruby(coder)}=>[{', '.join(map(_ruby, own))}]" for coder, own in notes.items())
    parts = (
        f"RAYYAN-INCLUSION: {{{', '.join(decisions)}}}" if decisions else "",
        f"RAYYAN-LABELS: {','.join(labels)}" if labels else "",
        f"USER-NOTES: {{{written}}}" if written else "",
    )
    return " | ".join(filter(None, parts))


def quote_note(code: Code) -> str:
    """Return a note with the quotations that support a code; ``""`` if there are no quotations."""
    quotes = _one_line(BETWEEN_QUOTES.join(quote.text for quote in code.quotes))
    return f"{QUOTE}{code.label}: {quotes}" if quotes else ""


def _ruby(text: str) -> str:
    """Return text as a quoted Ruby string, as in the decisions and notes of Rayyan."""
    # Rayyan would read '|' as a separator, and 'RAYYAN-' or 'USER-' as a heading.
    text = json.dumps(_one_line(text), ensure_ascii=False).replace("|", "\\u007c")
    return re.sub("(RAYYAN|USER)-", r"\1\\u002d", text)


def write_asreview(path: Path, coded: CodedPapers) -> None:
    """Write papers with their decisions, tags and notes to a CSV or RIS file that ASReview can read.

    The extension of the file name determines the format.

    Raises
    ------
    MechtagError
        If the papers have several coders, or if the extension is neither ``.csv`` nor ``.ris``.
    """
    coder = one_coder(coded, "ASReview")
    if path.suffix.lower() not in (".csv", ".ris"):
        raise MechtagError(f"{path}: ASReview reads only CSV and RIS; use the extension .csv or .ris")
    columns = ["asreview_label", "asreview_user_name", "asreview_note"]
    columns += [f"asreview_tag_codes_{key}" for key in coded.codebook.keys]
    if path.suffix.lower() == ".ris":
        with writing_records(path) as add:
            for paper in coded.papers:
                relevance = agreed(paper.of_label(coded.codebook.relevance.key))
                cells = zip(columns, _asreview(paper, coded.codebook, coder), strict=True)
                own = (f"{name}: {cell}" for name, cell in cells if cell not in ("", None))
                notes = (("N1", note) for note in (_RELEVANT.get(relevance, "ASReview_not_seen"), *own))
                add(paper.record, notes, lambda tag, value: tag == "N1" and value.lower().startswith("asreview_"))
        return
    rows = [[*_record_cells(paper.record), *_asreview(paper, coded.codebook, coder)] for paper in coded.papers]
    write_csv(path, [*_RECORD, *columns], rows)


def one_coder(coded: CodedPapers, program: str) -> str:
    """Return the name of the only coder of the papers.

    ``program`` is the name of the program that will read the file. The name appears in the error message.

    Raises
    ------
    MechtagError
        If the papers have several coders.
    """
    if len(coded.coders) > 1:
        raise MechtagError(
            f"a file for {program} can contain the codes of only one person, but {', '.join(coded.coders)} coded these "
            "papers; choose one coder",
            options="--coder NAME",
        )
    return coded.coders[0]


def _asreview(paper: CodedPaper, codebook: Codebook, coder: str) -> list[str | int | None]:
    answers = [agreed(paper.of_label(key)) for key in codebook.all_keys]
    values = [_ASREVIEW.get(answer) for answer in answers]
    note = " | ".join(filter(None, map(quote_note, paper.codes)))
    return [values[0], _one_line(coder), excel_cell(note), *values[1:]]


_RECORD = ("record_id", "title", "abstract", "authors", "year", "journal", "doi", "pmid", "keywords", "url")


def _record_cells(record: Record) -> Sequence[str | int | None]:
    return [
        *(record.record_id, excel_cell(record.title), excel_cell(record.abstract)),
        *(excel_cell("; ".join(record.authors)), record.year, excel_cell(record.journal or "")),
        *(record.doi, record.pmid, excel_cell("; ".join(record.keywords)), record.url),
    ]
