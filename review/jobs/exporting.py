"""Write the files that people can export, such as codes, decisions, references and the log of events."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Connection, select, true

from mechtag.core.files import read_json, replacing, write_csv
from mechtag.core.records import BETWEEN_QUOTES, Basis, name_answer
from mechtag.core.temporary import temporary_folder
from mechtag.pipeline.export import matrix
from mechtag.pipeline.export.coded_papers import CodedPapers, from_codings
from mechtag.pipeline.export.documents import UndatedZip
from mechtag.pipeline.export.evidence_roles.configurations import write_configurations
from mechtag.pipeline.export.evidence_roles.role_table import arrange_roles, write_role_table
from mechtag.pipeline.export.matrix import citable
from mechtag.pipeline.export.writers import write_coded
from mechtag.review.codings import coders_codings, final_codings
from mechtag.review.history import JUDGING, name_decision
from mechtag.review.import_log import write_imports
from mechtag.review.jobs.progress import Progress
from mechtag.review.jobs.tables import IDS, full_records
from mechtag.review.journal import EVENTS, FACTS, Journal, text_of_facts
from mechtag.review.plan import BASES, STAGES
from mechtag.review.roles import read_role_passages
from mechtag.review.sight import hidden_places, in_exercise, visible_tags
from mechtag.review.store import schema
from mechtag.review.store.accounts import names_of, withdrawn
from mechtag.review.store.exercises import hidden_records
from mechtag.review.store.readings import abstract_of, read_reading
from mechtag.review.store.records import read_entries
from mechtag.review.words import is_own
from mechtag.review.workspace import FOLDER, Workspace

KIND = "export"
_MATRICES: dict[str, Basis] = {"matrix": "abstract", "matrix-full-text": "full-text"}
_KEYWORD = "mechtag:"
# Left out of the archive of the project: the database with sessions and passwords, caches, backups and other exports.
_LEFT_OUT = ("review.sqlite3", "running", "cache", "exported", "backups")


class Format(NamedTuple):
    """A format in which an export can be written.

    Attributes
    ----------
    name, title
        Name of the format in forms, and title of the format on the page.
    file
        Name of the exported file.
    """

    name: str
    file: str
    title: str


@dataclass(frozen=True)
class Export:
    """A file that people can export.

    Attributes
    ----------
    name
        Name of the export in forms and jobs.
    file
        Name of the downloaded file; without its extension if there are ``formats``.
    title, help
        Title and explanation on the page.
    formats
        Formats that people can choose.
    open_to_blinded
        Whether the export is open to coders who may not see the codes of others. For such a coder, the file contains
        only the coder's own codes.
    names_people
        Whether the file contains the codes of each person by name. If an owner or adjudicator who exports the file can
        still judge a record, the codes of others for this record are left out.
    """

    name: str
    file: str
    title: str
    help: str
    open_to_blinded: bool = False
    names_people: bool = False
    formats: tuple[Format, ...] = ()

    def file_in(self, form: str | None) -> str:
        """Return the file name for the format named ``form``, or the attribute ``file`` if there is no such format."""
        chosen = next((one for one in self.formats if one.name == form), None)
        return chosen.file if chosen else self.file


EXPORTS = (
    Export(
        "codings",
        "codings.csv",
        "Codes of each person",
        "One row per record, person and label. In rows with final codes, the person is 'final'. mechtag can read "
        "this file.",
        open_to_blinded=True,
        names_people=True,
    ),
    Export(
        "decisions",
        "decisions.csv",
        "Decisions",
        "One row per record, with its decision, reason, labels and evidence. If the full text was coded, the labels "
        "and the evidence are those of the full text.",
        names_people=True,
    ),
    Export(
        "workbook",
        "decisions.xlsx",
        "Decisions as a workbook",
        "The table of decisions for Excel and LibreOffice.",
        names_people=True,
    ),
    Export(
        "matrix",
        "matrix.csv",
        "Matrix of papers by labels",
        "One row per paper and one column per label. Each cell is 1 (yes), 0 (no) or empty (not judged). A gold "
        "standard has the same format.",
    ),
    Export(
        "matrix-full-text",
        "matrix-full-text.csv",
        "Matrix of papers by labels, coded from full texts",
        "One row per paper that was coded from its full text, and one column per label. Each cell is 1 (yes), 0 (no) "
        "or empty (not judged).",
    ),
    Export(
        "included",
        "included.ris",
        "Included references",
        "Included records for EndNote, Zotero and similar programs, with labels as keywords.",
    ),
    Export(
        "excluded",
        "excluded.ris",
        "Excluded references",
        "Excluded records for EndNote, Zotero and similar programs, with the reason as a keyword.",
    ),
    Export("all", "all.ris", "All references", "All records, with the decision (if there is one) as a keyword."),
    Export(
        "table",
        "table",
        "Table of papers by labels for publication",
        "One row per relevant paper, with a tick for each of its labels, and a row of totals, as in published reviews.",
        formats=(
            Format("docx", "table.docx", "Word"),
            Format("xlsx", "table.xlsx", "Excel"),
            Format("html", "table.html", "HTML"),
            Format("md", "table.md", "Markdown"),
            Format("tex", "table.tex", "LaTeX"),
        ),
    ),
    Export(
        "programs",
        "codes",
        "Final codes for other programs",
        "The final codes with their evidence, and the papers.",
        formats=(
            Format("xlsx", "codes.xlsx", "Excel: codes, evidence, matrix and codebook"),
            Format("qdpx", "codes.qdpx", "NVivo, MAXQDA, ATLAS.ti, QualCoder (REFI-QDA project)"),
            Format("qdc", "codebook.qdc", "The codebook alone (REFI-QDA codebook)"),
            Format("ris", "codes.ris", "EndNote, Zotero, Mendeley (RIS), with the codes as notes"),
            Format("bibtex", "codes.bib", "BibTeX"),
            Format("rayyan", "rayyan.ris", "Rayyan"),
            Format("asreview", "asreview.csv", "ASReview"),
            Format("eppi", "eppi.json", "EPPI-Reviewer"),
            Format("label-studio", "label-studio.zip", "Label Studio: tasks and labelling configuration"),
        ),
    ),
    Export(
        "configurations",
        "configurations",
        "Configurations",
        "Sentences with roles of evidence, such as context and outcome, and the configurations to which people linked "
        "them. mechtag can read the CSV table.",
        open_to_blinded=True,
        names_people=True,
        formats=(
            Format("csv", "configurations.csv", "Table, one row per sentence (CSV)"),
            Format("xlsx", "configurations.xlsx", "Excel: context, mechanism and outcome"),
            Format("html", "configurations.html", "HTML: context, mechanism and outcome"),
            Format("md", "configurations.md", "Markdown: context, mechanism and outcome"),
        ),
    ),
    Export(
        "events",
        "events.jsonl",
        "Log of events",
        "Every action of every person, one JSON object per line.",
        names_people=True,
    ),
    Export(
        "project",
        "project.zip",
        "The project",
        "The folder of the project as a ZIP file, without passwords and without the database, which can be restored "
        "from the log of events.",
        names_people=True,
    ),
)
BY_NAME = {export.name: export for export in EXPORTS}


def folder_of(workspace: Workspace) -> Path:
    """Return the folder in which exported files are stored."""
    return workspace.folder / "exported"


def run(workspace: Workspace, arguments: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Write a file that a person requested, and delete earlier files of the same `Export`.

    Parameters
    ----------
    arguments
        The request of a person:

        - ``name``: `Export.name`
        - ``format``: name of the format, if the export has several formats
        - ``coder``: account number of the person whose codes are exported; ``None`` for the codes of all people
        - ``viewer``: account number of a person who can still judge some records. Codes that others gave for these
          records are left out. If ``viewer`` is ``None``, nothing is left out.

    Returns
    -------
    dict
        ``path``: name of the file. The function `folder_of` returns its folder.
    """
    export = BY_NAME[arguments["name"]]
    folder = folder_of(workspace)
    folder.mkdir(exist_ok=True)
    file = export.file_in(arguments.get("format"))
    stem, _, ending = file.partition(".")
    path = folder / f"{stem}-{progress.job}.{ending}"
    progress.start(1, f"Writing {file}")
    coder, viewer = arguments["coder"], arguments.get("viewer")
    if export.name == "codings":
        _write_codings(workspace, path, coder, viewer)
    elif export.name == "events":
        _write_events(workspace, path, viewer)
    elif export.name == "project":
        _write_project(workspace, path)
    elif export.name in ("decisions", "workbook"):
        header, rows = _decisions(workspace, viewer)
        if export.name == "decisions":
            write_csv(path, header, rows, bom=True)
        else:
            from mechtag.pipeline.export.review_workbook import write_table

            write_table(path, "Decisions", header, rows)
    elif export.name in ("matrix", "matrix-full-text"):
        matrix.write(path, matrix.arrange(_coded(workspace, _MATRICES[export.name]), "value"))
    elif export.name == "table":
        matrix.write(path, matrix.arrange(_coded(workspace)))
    elif export.name == "configurations":
        _write_roles(workspace, path, coder, viewer)
    elif export.name == "programs":
        _write_programs(arguments["format"], path, _coded(workspace))
    else:
        _write_ris(workspace, path, export.name)
    _delete_old(folder, path)
    return {"path": path.name}


def _delete_old(folder: Path, newest: Path) -> None:
    """Delete the earlier files of the same export as ``newest``."""
    stem = newest.name.rpartition("-")[0]
    for path in folder.glob(f"{stem}-*{newest.suffix}"):
        if path != newest:
            with suppress(OSError):
                path.unlink()


def _write_codings(workspace: Workspace, path: Path, coder: int | None, viewer: int | None) -> None:
    from mechtag.pipeline.annotations.coding_table import write_codings

    with workspace.store.read() as connection:
        codings = coders_codings(connection, coder=coder, viewer=viewer)
        if coder is None:
            codings += final_codings(connection)
    write_codings(path, codings)


def _write_events(workspace: Workspace, path: Path, viewer: int | None) -> None:
    Journal(workspace).flush()
    hidden = _hidden_names(workspace, viewer)
    with replacing(path) as part, part.open("wb") as target:
        for source in sorted((workspace.folder / "log").glob(EVENTS)):
            with source.open("rb") as lines:
                target.writelines(
                    line for line in lines if not hidden or not _is_hidden(json.loads(line), hidden, viewer)
                )


def _hidden_names(workspace: Workspace, viewer: int | None) -> set[tuple[str, str]]:
    """Return the pairs of record id and stage for which ``viewer`` must not see the codes of others."""
    if viewer is None:
        return set()
    with workspace.store.read() as connection:
        names = {number: name for number, name in connection.execute(IDS)}
        return {(names[record], stage) for record, stage in hidden_places(connection, viewer)}


def _is_hidden(event: Mapping[str, Any], hidden: set[tuple[str, str]], viewer: int | None) -> bool:
    """Return whether an event must be left out of the log that ``viewer`` exports.

    ``hidden`` is the result of `_hidden_names`.
    """
    if event["coder"] == viewer or event["kind"] not in JUDGING | {"tag"}:
        return False
    stages = STAGES if event["stage"] is None else (event["stage"],)
    return any((event["record"], stage) in hidden for stage in stages)


def _write_project(workspace: Workspace, path: Path) -> None:
    write_imports(workspace)
    Journal(workspace).flush()
    root = workspace.project.root
    own = root / FOLDER
    facts = own / "log" / FACTS
    with replacing(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
        for source in sorted(root.rglob("*")):
            inside = source.relative_to(root)
            hidden = any(name.startswith(".") for name in inside.parts)
            left_out = own in source.parents and source.relative_to(own).parts[0].startswith(_LEFT_OUT)
            if source == facts:
                # Nobody else sees a person's own words.
                kept = {key: value for key, value in read_json(facts).items() if not is_own(key)}
                archive.writestr(str(Path(root.resolve().name) / inside), text_of_facts(kept))
            elif source.is_file() and not source.is_symlink() and not hidden and not left_out:
                archive.write(source, Path(root.resolve().name) / inside)


def _finals(connection: Connection, labels: Collection[str]) -> dict[tuple[int, str], dict[str, Any]]:
    """Return the final codes of the given labels, keyed first by record number and stage, and then by label.

    Codes of a running calibration exercise, in which several people judge the same records, are left out.
    """
    found: dict[tuple[int, str], dict[str, Any]] = {}
    final = schema.final
    # Nobody may see codes of a running calibration exercise before it ends.
    shown = ~in_exercise(connection, final.c.record, final.c.stage)
    for row in connection.execute(select(final).where(shown, final.c.label.in_(labels))):
        found.setdefault((row.record, row.stage), {})[row.label] = row
    return found


def _decisions(workspace: Workspace, viewer: int | None) -> tuple[list[str], Iterator[list[Any]]]:
    """Return the header and the rows of the table of decisions, with one row per paper.

    Decisions and notes of others that ``viewer`` must not see yet are left out.
    """
    from mechtag.pipeline.export.review_rows import excel_cell

    codebook = workspace.codebook
    with workspace.store.read() as connection:
        finals = _finals(connection, codebook.all_keys)
        people = names_of(connection)
        hidden = set() if viewer is None else hidden_places(connection, viewer)
        # What people said about a copy belongs to its paper.
        paper = {row.id: row.id for row in connection.execute(select(schema.record.c.id).order_by(schema.record.c.id))}
        paper |= {row.record: row.into for row in connection.execute(select(schema.joined))}
        votes: dict[int, dict[str, list[str]]] = {}
        current = schema.current
        counted = current.c.committed == 1, current.c.coder.not_in(withdrawn())
        for row in connection.execute(select(current).where(current.c.stage == "screen", *counted)):
            if row.coder != viewer and (row.record, "screen") in hidden:
                continue
            given = votes.setdefault(paper[row.record], {}).setdefault(people[row.coder], [])
            given.append(name_decision(row.value, row.refer))
        notes: dict[int, list[str]] = {}
        for row in connection.execute(select(schema.note).where(schema.note.c.audience == "team")):
            if row.coder != viewer and any((row.record, stage) in hidden for stage in STAGES):
                continue
            notes.setdefault(paper[row.record], []).append(f"{people[row.coder]}: {row.text}")
        tags: dict[int, list[str]] = {}
        shown = true() if viewer is None else visible_tags(connection, viewer, unblinded=False)
        for row in connection.execute(select(schema.tag).where(shown)):
            tags.setdefault(paper[row.record], []).append(row.tag)
        records = read_entries(connection, [record for record in paper if paper[record] == record])
        texts = {
            row.id: read_reading(connection, row, "full-text") for row in records if (row.id, "full-text") in finals
        }
    voters = sorted({name for each in votes.values() for name in each})
    header = [
        *(
            "record_id",
            "title",
            "authors",
            "year",
            "journal",
            "doi",
            "pmid",
            "abstract",
            "decision",
            "reason",
            "how",
            "basis",
        ),
        *voters,
        *(name for label in codebook.labels for name in (label.name, f"{label.name}: evidence")),
        *("tags", "notes"),
    ]

    def rows() -> Iterator[list[Any]]:
        for row in records:
            screen = finals.get((row.id, "screen"), {}).get(codebook.relevance.key)
            # If a paper was coded from its full text, these codes are shown, not those from its abstract.
            text = texts.get(row.id)
            codes = finals.get((row.id, "code" if text is None else "full-text"), {})
            quote = (abstract_of(row) if text is None else text).quote
            labels: list[Any] = []
            for label in codebook.labels:
                code = codes.get(label.key)
                labels.append(name_answer(code.value) if code is not None else "")
                labels.append(excel_cell(quote(json.loads(code.sentences)) if code is not None else ""))
            yield [
                *(row.record_id, excel_cell(row.title), excel_cell("; ".join(row.authors)), row.year),
                *(excel_cell(row.journal or ""), row.doi or "", row.pmid or "", excel_cell(row.abstract)),
                "" if screen is None else name_decision(screen.value),
                "" if screen is None else screen.reason or "",
                "" if screen is None else screen.how,
                "" if not codes else "abstract" if text is None else "full text",
                *("; ".join(dict.fromkeys(votes.get(row.id, {}).get(name, ()))) for name in voters),
                *labels,
                "; ".join(dict.fromkeys(tags.get(row.id, ()))),
                excel_cell(" | ".join(notes.get(row.id, ()))),
            ]

    return header, rows()


def _write_roles(workspace: Workspace, path: Path, coder: int | None, viewer: int | None) -> None:
    with workspace.store.read() as connection:
        found = read_role_passages(connection, workspace.codebook, coder=coder, viewer=viewer)
        wanted = schema.record.c.id.in_({row.record for row in found})
        rows = {row.record_id: row for row in connection.execute(select(schema.record).where(wanted))}
    passages = [row.passage for row in found]
    if path.suffix == ".csv":
        write_configurations(path, passages)
        return
    records = list(full_records(workspace, rows))
    write_role_table(path, arrange_roles(passages, workspace.codebook, map(citable, records)))


def _write_programs(form: str, path: Path, coded: CodedPapers) -> None:
    """Write codes in the format of another program, in a zip file if the format has two files."""
    if path.suffix != ".zip":
        write_coded(form, path, coded)
        return
    with temporary_folder(path.parent) as folder, replacing(path) as part:
        write_coded(form, folder / "tasks.json", coded)
        with UndatedZip(part, "w") as archive:
            for file in sorted(folder.glob("tasks.*")):
                archive.write(file, file.name)


def _coded(workspace: Workspace, basis: Basis | None = None) -> CodedPapers:
    """Return all papers with their final codes, and the full texts that were coded.

    If ``basis`` is given, codes of labels that have a different basis are left out. Codes of relevance are always
    returned.
    """
    book = workspace.codebook
    with workspace.store.read() as connection:
        # Codes of retired labels are kept in the database.
        codings = [row for row in final_codings(connection) if row.label in book.all_keys]
        # Passages name the people who gave them roles, so they wait until nobody can judge their record any more.
        need = schema.need
        closed = select(need.c.record, need.c.stage).where(need.c.state.in_(("conflict", "referred", "settled")))
        judged = {(row.record, row.stage) for row in connection.execute(closed)}
        judged -= {(record, stage) for stage in BASES for record in hidden_records(connection, stage)}
        roles = read_role_passages(connection, book)
        passages = [row.passage for row in roles if (row.record, row.stage) in judged]
        gone = {row.record for row in connection.execute(select(schema.joined.c.record))}
        rows = connection.execute(select(schema.record).order_by(schema.record.c.id))
        numbers = {row.record_id: row for row in rows if row.id not in gone}
        by_text = [
            numbers[row.record_id].id for row in codings if row.basis == "full-text" and row.record_id in numbers
        ]
        texts = {
            row.record_id: read_reading(connection, row, "full-text")
            for row in read_entries(connection, sorted(set(by_text)))
        }
    own = []
    for row in codings:
        if basis not in (None, row.basis) and row.label != book.relevance.key:
            continue
        if row.basis == "full-text" and row.sentences and (text := texts.get(row.record_id or "")):
            quotes = (text.sentence(number) for number in row.sentences if number < len(text.sentences))
            row = row.model_copy(update={"evidence": BETWEEN_QUOTES.join(quotes) or None})
        own.append(row)
    found = {record.record_id: record for record in full_records(workspace, numbers)}
    records = [found[record_id] for record_id in numbers]
    full_texts = {record_id: text.text for record_id, text in texts.items()}
    coded = from_codings(own, records, book, full_texts, settings=workspace.project.settings.sentences)
    # Passages of labels without a final yes could show what people said about records that are still open.
    settled = {(row.record_id, row.basis, row.label) for row in own if row.value == 1}
    kept = (row for row in passages if (row.record_id, row.basis, row.label) in settled)
    return replace(coded, passages=tuple(kept))


def _write_ris(workspace: Workspace, path: Path, name: str) -> None:
    from mechtag.pipeline.export.ris import writing_records

    relevance = workspace.codebook.relevance.key
    with workspace.store.read() as connection:
        finals = _finals(connection, workspace.codebook.all_keys)
        gone = {row.record for row in connection.execute(select(schema.joined.c.record))}
        numbers = {row.record_id: row for row in connection.execute(select(schema.record)) if row.id not in gone}
    wanted = {"included": 1, "excluded": 0}.get(name)
    with writing_records(path) as add:
        for record in full_records(workspace, numbers):
            number = numbers[record.record_id].id
            screen = finals.get((number, "screen"), {}).get(relevance)
            if wanted is not None and (screen is None or screen.value != wanted):
                continue
            codes = finals.get((number, "full-text")) or finals.get((number, "code"), {})
            add(record, _fields(screen, codes, workspace.codebook.names), _is_ours)


def _fields(screen: Any, codes: Mapping[str, Any], names: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield RIS tags and values that describe the decision on a record and the labels of the record."""
    said = []
    if screen is not None and screen.value is not None:
        decision = "included" if screen.value else "excluded"
        yield "KW", f"{_KEYWORD}{decision}"
        yield "LB", f"{_KEYWORD}{decision}"
        said.append(decision)
        if screen.reason:
            reason = " ".join(screen.reason.split())
            yield "KW", f"{_KEYWORD}reason={reason}"
            said.append(f"reason: {reason}")
    for key, row in codes.items():
        if row.value == 1:
            yield "KW", f"{_KEYWORD}{key}"
            said.append(names[key])
    if said:
        yield "N1", f"{_KEYWORD} {'; '.join(said)}"


def _is_ours(tag: str, value: str) -> bool:
    return tag in ("KW", "LB", "N1") and value.startswith(_KEYWORD)
