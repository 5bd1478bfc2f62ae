"""Export the decisions of a model and the codings of people to files that other programs read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, get_args

from mechtag.core.errors import MechtagError
from mechtag.core.outputs import check_outputs
from mechtag.core.parquet import Rows, iterate_full_texts, iterate_predictions
from mechtag.core.records import Basis, Coding, Prediction, Record, is_llm
from mechtag.core.tables import is_table
from mechtag.core.words import counted
from mechtag.pipeline.export.coded_papers import (
    CodedPapers,
    What,
    decided_paper,
    from_codings,
    from_predictions,
    joined,
    joined_paper,
    no_decisions,
)
from mechtag.pipeline.export.evidence_roles.configurations import RolePassage
from mechtag.pipeline.export.matrix import Cells
from mechtag.project import Project
from mechtag.workflows.reporter import SILENT, Reporter

if TYPE_CHECKING:
    from mechtag.pipeline.export.review_workbook import TableSheet
    from mechtag.pipeline.export.workbook import DerivedSheets
    from mechtag.pipeline.reading.text.sign import ReadSigns

#: Formats of tagged records alone, with the original fields of the records.
_TAGGED = ("csv", "ris", "xlsx")
# Formats in which a code is always that of a person.
_OF_PEOPLE = ("rayyan", "asreview", "eppi")
FORMATS = (*_TAGGED, "matrix", "qdpx", "qdc", "bibtex", "label-studio", *_OF_PEOPLE)
# Extensions that programs expect; those of a matrix and of ASReview choose the format, so their writers check them.
_EXTENSIONS = {
    **{"csv": ".csv", "ris": ".ris", "xlsx": ".xlsx", "qdpx": ".qdpx", "qdc": ".qdc", "bibtex": ".bib"},
    **{"label-studio": ".json", "rayyan": ".ris", "eppi": ".json"},
}
_ONE_KIND = "--what decisions or --what codings"
# Formats with papers; the others contain the codebook alone.
_WITH_PAPERS = tuple(name for name in FORMATS if name != "qdc")
# Options by the field of `Request` that they set, and the formats on which they have an effect.
_OPTIONS: dict[str, tuple[str, Sequence[str]]] = {
    "cells": ("--cells", ("matrix",)),
    "note": ("--note", ("matrix",)),
    **{name: (f"--{name}", _WITH_PAPERS) for name in ("coder", "basis", "what", "records", "codings")},
    "full_texts": ("--full-texts", _WITH_PAPERS),
    "roles": ("--roles", ("xlsx", "qdpx")),
    "fetched": ("--without-fetched", _WITH_PAPERS),
}


@dataclass(frozen=True)
class Request:
    """A request to export decisions or codings.

    Attributes
    ----------
    source
        Folder or ``predictions.parquet`` that `tag.tag` wrote, or a table of codings.
    records
        Table of records, or search export; by default, ``records.parquet`` next to the predictions.
    codings
        Table of codings to export together with, or instead of, the decisions in ``source``.
    full_texts
        Table of full texts that `attach` wrote. Quotations are located in these texts.
    what
        Content to export; by default, everything that ``source`` and ``codings`` contain.
    coder
        Coder whose codes are exported; by default, the codes of all coders are exported.
    basis
        Basis of the codes to export. If ``None``, a code based on the full text takes precedence over the same coder's
        code based on the abstract.
    roles
        Table of configurations. The passages in this table are exported with the codes of people.
    fetched
        Table ``fetched.csv`` that the command ``fetch`` wrote. Fetched texts without an open licence are left out of
        the export. If ``None``, no text is left out.
    cells
        Content of the cells of a matrix.
    note
        Sentence to add below a matrix.
    """

    source: Path
    records: Path | None = None
    codings: Path | None = None
    full_texts: Path | None = None
    what: What | None = None
    coder: str = ""
    basis: Basis | None = None
    roles: Path | None = None
    fetched: Path | None = None
    cells: Cells = "tick"
    note: str = ""


def export(project: Project, request: Request, to: str, output: Path, reporter: Reporter = SILENT) -> str:
    """Write decisions or codings to a file, and return a sentence that states what was written.

    Parameters
    ----------
    to
        Format of the file; one of `FORMATS`.

    Raises
    ------
    MechtagError
        In these cases:

        - the format is unknown, or the name of the output has the wrong extension for the format;
        - an input is missing or cannot be read;
        - the output would overwrite an input, or a file that contains a person's decisions;
        - a setting in ``request`` has no effect in this format, or does not fit the content to export.
    """
    if to not in FORMATS:
        raise MechtagError(f"unknown export format {to!r}; choose one of: {', '.join(FORMATS)}")
    read = (request.source, request.records, request.codings, request.full_texts, request.roles, request.fetched)
    check_outputs([output], (*read, project.settings.codebook))
    if output.is_dir():
        raise MechtagError(f"{output} is a folder; name the file to write")
    extension = _EXTENSIONS.get(to)
    if extension and output.suffix.lower() != extension:
        raise MechtagError(
            f"{output}: programs recognise the format {to} by the extension {extension}; change the name of the output"
        )
    _refuse_unused_options(request, to)
    if to == "qdc":
        from mechtag.pipeline.export.refi_qda import write_codebook

        write_codebook(output, project.codebook)
        return f"{output}: {counted(len(project.codebook.labels), 'label')} written"
    found = _find(request)
    check_outputs([output], (found.predictions, found.records, found.codings))
    if to == "label-studio":
        check_outputs([output.with_suffix(".xml")], read)
    if request.coder and found.what == "decisions":
        raise MechtagError(
            "this export contains only decisions of a model, so you cannot select the codes of one person; select no "
            "coder, or add a table of codings",
            options="omit --coder, or add --codings",
        )
    if to in _OF_PEOPLE and found.what == "decisions":
        raise MechtagError(
            f"only codings of people can be exported to the format {to}, because programs that read this format would "
            "show a model's decisions as codings of people; name a table of codings",
            options="--codings",
        )
    if to == "matrix" and found.what == "both":
        raise MechtagError(
            "a matrix cannot show decisions of the model and codes of people together; choose one of them",
            options=_ONE_KIND,
        )
    if to == "csv" and found.what == "both":
        raise MechtagError("a CSV table contains either decisions or codings; choose one of them", options=_ONE_KIND)
    if to in _OF_PEOPLE:
        found = replace(found, what="codings", predictions=None)
    content = _read(request, found, reporter)
    if (to in _TAGGED and found.what == "decisions") or (to == "xlsx" and found.what == "both"):
        return _write_tagged(project, request, found, content, to, output, reporter)
    coded = _coded(project, request, found, content, to, reporter)
    written = len(coded.papers)
    if to == "matrix":
        from mechtag.pipeline.export import matrix

        arranged = matrix.arrange(coded, request.cells, request.note)
        matrix.write(output, arranged)
        written = len(arranged.rows)
    else:
        from mechtag.pipeline.export.writers import write_coded

        for note in write_coded(to, output, coded):
            reporter.note(note)
    return f"{output}: {counted(written, 'paper')} written"


def _refuse_unused_options(request: Request, to: str) -> None:
    """Raise an error if the request has a setting that has no effect in the export format ``to``."""
    unset = Request(request.source)
    for field, (option, formats) in _OPTIONS.items():
        if getattr(request, field) != getattr(unset, field) and to not in formats:
            raise MechtagError(
                f"{field!r} would have no effect on an export to {to}; choose a format to which it applies: "
                f"{', '.join(formats)}",
                options=f"omit {option}, or change --to",
            )


@dataclass(frozen=True)
class _Found:
    """The kind of content to export, and the files to read; a file that is not needed is ``None``."""

    what: What
    predictions: Path | None
    codings: Path | None
    records: Path


def _find(request: Request) -> _Found:
    source, codings = request.source, request.codings
    if not source.exists():
        raise MechtagError(f"{source}: no such file or folder; check the path")
    predictions: Path | None = source / "predictions.parquet" if source.is_dir() else source
    if is_table(source):
        if codings is not None:
            raise MechtagError(
                f"{source} and {codings} are two tables of codings, which cannot be exported together; export each "
                "table separately",
                options="omit --codings",
            )
        predictions, codings = None, source
    elif source.is_file() and source.suffix.lower() != ".parquet":
        raise MechtagError(
            f"{source}: this file cannot be exported; name a folder that 'mechtag tag' wrote, its file "
            f"predictions.parquet, or a table of codings (CSV or XLSX). If the file contains records, tag them "
            f"first: 'mechtag tag {source} -o out'"
        )
    there: What = "both" if predictions and codings else "decisions" if predictions else "codings"
    what = request.what or there
    if what not in get_args(What):
        raise MechtagError(f"{what!r} cannot be exported; choose one of: {', '.join(get_args(What))}", options="--what")
    if what != "decisions" and codings is None:
        raise MechtagError(f"{source} contains decisions, but no codings; add a table of codings", options="--codings")
    if what != "codings" and predictions is None:
        raise MechtagError(
            f"{source} is a table of codings and contains no decisions. As the source, name the folder that "
            "'mechtag tag' wrote. Pass the table of codings separately",
            options=f"--codings {source}",
        )
    records = request.records or (predictions.with_name("records.parquet") if predictions else None)
    if records is None:
        raise MechtagError(
            f"{source}: a table of codings does not describe its papers; name the table of records, or the search "
            "export",
            options="--records",
        )
    return _Found(what, predictions if what != "codings" else None, codings if what != "decisions" else None, records)


class _Content(NamedTuple):
    """The records and predictions to export; both can be iterated several times."""

    records: Iterable[Record]
    predictions: Iterable[Prediction]


def _read(request: Request, found: _Found, reporter: Reporter) -> _Content:
    from mechtag.pipeline.fetch.unpublishable import leave_out
    from mechtag.pipeline.reading.ingest import stream_unique

    records = stream_unique(found.records, reporter.note)
    source = found.predictions
    predictions = Rows(lambda: iterate_predictions(source)) if source else ()
    return _Content(*(leave_out(request.fetched, records, predictions) if request.fetched else (records, predictions)))


def _write_tagged(
    project: Project, request: Request, found: _Found, content: _Content, to: str, output: Path, reporter: Reporter
) -> str:
    from mechtag.pipeline.export.review_workbook import guide_to
    from mechtag.pipeline.export.tagged import export as write_export
    from mechtag.pipeline.reading.text.sign_by_vectors import read_signs_by

    rows = Rows(lambda: (row for row in content.predictions if request.basis in (None, row.basis)))
    if next(iter(rows), None) is None:
        raise no_decisions(request.basis)
    codebook, read_signs = project.codebook, read_signs_by(project.settings.tag)
    labels = [(entry.key, entry.name) for entry in codebook.entries]
    with ExitStack() as stack:
        sheets = None
        if to == "xlsx":
            if found.what == "both":
                coded = _coded(project, request, replace(found, predictions=None), content, to, reporter)
            else:
                coded = CodedPapers(codebook, (), _passages(project, request, found, (), reporter))
            sheets = stack.enter_context(_further_sheets(coded, output.parent, read_signs))
        written = write_export(
            *(to, output, content.records, rows, labels, guide_to(codebook)),
            tables=sheets.tables() if sheets else (),
            read_signs=read_signs,
            on_record=sheets.add if sheets else None,
        )
    return f"{output}: {counted(written, 'record')} written"


class _FurtherSheets:
    """Builds sheets that are added to the review workbook: codes of people, and decisions of the model."""

    def __init__(self, people: CodedPapers, derived: DerivedSheets, read_signs: ReadSigns) -> None:
        self._people, self._derived, self._read_signs = people, derived, read_signs
        self._waiting = {paper.record.record_id: (place, paper) for place, paper in enumerate(people.papers)}
        # In the sheets, papers with codes of people come first.
        self._places = count(len(people.papers))

    def add(self, record: Record, predictions: Sequence[Prediction]) -> None:
        """Add the model's decisions on one record to the sheets, together with the codes of people for this record."""
        paper = decided_paper(record, predictions, self._people.codebook, read_signs=self._read_signs)
        if paper is None:
            return
        if record.record_id in self._waiting:
            place, coded = self._waiting.pop(record.record_id)
            self._derived.add(joined_paper(coded, paper, self._people.codebook), place)
        else:
            self._derived.add(paper, next(self._places))

    def tables(self) -> Iterator[TableSheet]:
        """Yield the sheets. Call `add` for all records first."""
        from mechtag.pipeline.export import workbook

        for place, paper in self._waiting.values():
            self._derived.add(paper, place)
        if self._people.papers:
            yield workbook.codes(self._people)
        yield from self._derived.sheets()


@contextmanager
def _further_sheets(people: CodedPapers, folder: Path, read_signs: ReadSigns) -> Iterator[_FurtherSheets]:
    from mechtag.pipeline.export import workbook

    with workbook.deriving(people.codebook, folder, people.passages) as derived:
        yield _FurtherSheets(people, derived, read_signs)


def _coded(
    project: Project, request: Request, found: _Found, content: _Content, to: str, reporter: Reporter
) -> CodedPapers:
    """Return the papers to export, with their codings and decisions."""
    from mechtag.pipeline.annotations.coding_table import read_codings
    from mechtag.pipeline.annotations.record_finder import Finder

    codebook, settings, records = project.codebook, project.settings, list(content.records)
    texts = _full_texts(request, records)
    parts = []
    if found.codings:
        codings = read_codings(found.codings, codebook.all_keys, Finder(records, settings.dedupe))
        if to in _OF_PEOPLE:
            codings = _of_people(codings, found.codings, to, reporter)
        parts.append(from_codings(codings, records, codebook, texts, request.basis, request.coder, settings.sentences))
        known = {record.record_id for record in records}
        if missing := {row.record_id or row.key for row in codings} - known:
            reporter.note(
                f"note: {found.records} lacks the records of {counted(len(missing), 'coded paper')}; codes of papers "
                "without a record are exported without bibliographic data"
            )
    if found.predictions:
        from mechtag.pipeline.reading.text.sign_by_vectors import read_signs_by

        read_signs = read_signs_by(settings.tag)
        parts.append(from_predictions(records, content.predictions, codebook, texts, request.basis, read_signs))
    coded = joined(*parts) if len(parts) == 2 else parts[0]
    return replace(coded, passages=_passages(project, request, found, records, reporter))


def _of_people(codings: Sequence[Coding], path: Path, to: str, reporter: Reporter) -> list[Coding]:
    """Return the codings of people, and add a note on the codings of language models."""
    people = [row for row in codings if not is_llm(row.coder)]
    llms = ", ".join(sorted({row.coder for row in codings if is_llm(row.coder)}))
    if llms and not people:
        raise MechtagError(
            f"{path}: all codings are by a language model ({llms}), and only codings of people can be exported to the "
            f"format {to}, because programs that read this format would show them as codings of people"
        )
    if llms:
        count = counted(len(codings) - len(people), "coding")
        reporter.note(f"note: {count} by a language model ({llms}) left out, because {to} shows all codes as people's")
    return people


def _passages(
    project: Project, request: Request, found: _Found, records: Sequence[Record], reporter: Reporter
) -> tuple[RolePassage, ...]:
    """Return the passages with roles of evidence that are to be exported."""
    from mechtag.pipeline.annotations.coding_table import read_role_codings
    from mechtag.pipeline.annotations.record_finder import Finder
    from mechtag.pipeline.export.evidence_roles.configurations import passages_from, read_configurations

    passages: list[RolePassage] = []
    if found.codings:
        passages += passages_from(
            read_role_codings(found.codings, project.codebook, Finder(records, project.settings.dedupe))
        )
    if request.roles:
        configurations = read_configurations(request.roles, project.codebook)
        passages += configurations.passages
        for row in configurations.rejected:
            reporter.note(f"{request.roles}: row {row.line} is left out: {row.reason}")
    return tuple(
        row
        for row in passages
        if (not request.coder or row.coder == request.coder) and request.basis in (None, row.basis or request.basis)
    )


def _full_texts(request: Request, records: list[Record]) -> Mapping[str, str]:
    if request.full_texts is None:
        return {}
    known = {record.record_id for record in records}
    return {one.record_id: one.text for one in iterate_full_texts(request.full_texts) if one.record_id in known}
