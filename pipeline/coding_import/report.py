"""The files that ``mechtag codings`` writes, and what it prints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.coding_import.conflicts import Conflict, Disagreement
from pipeline.coding_import.importing import Imported, Unmatched
from pipeline.exporters.table import excel_cell
from pipeline.files import write_csv, write_json, write_jsonl
from pipeline.records import Coding, Record

_UNMATCHED = (
    *("entry", "name", "title", "authors", "year", "doi", "pmid", "codes", "tried"),
    *("candidate_1", "candidate_2", "candidate_3"),
)
_CONFLICTS = ("kind", "record_id", "title", "coder", "basis", "labels", "values", "entries", "kept")
_DISAGREEMENTS = ("record_id", "title", "label", "basis", "yes", "no")


def write_imported(path: Path, imported: Imported) -> None:
    """Write the codings as `pipeline.codings.read_codings` reads them, and beside them what did not become one.

    unmatched.csv, conflicts.csv, disagreements.csv, rejected.jsonl and codings.json are written even
    where there is nothing to tell, so that those of an earlier run do not stay.
    """
    codings = [list(coding.model_dump().values()) for coding in imported.codings]
    write_csv(path.with_name("unmatched.csv"), _UNMATCHED, map(_unmatched, imported.unmatched), bom=True)
    write_csv(path.with_name("conflicts.csv"), _CONFLICTS, map(_conflict, imported.conflicts), bom=True)
    write_csv(path.with_name("disagreements.csv"), _DISAGREEMENTS, map(_disagreement, imported.disagreements), bom=True)
    write_jsonl(path.with_name("rejected.jsonl"), imported.rejected)
    write_json(path.with_name("codings.json"), imported.summary())
    write_csv(path, list(Coding.model_fields), codings, bom=True)


def _unmatched(row: Unmatched) -> Sequence[object]:
    paper, found = row.item.paper, row.found
    near = [_cited(record) for record in found.candidates]
    codes = (f"{code.label or 'decision'}: {_value(code.value)}" for code in row.item.codes)
    cells = (
        *(row.place, "; ".join(paper.names), paper.title, "; ".join(paper.authors), paper.year),
        *(paper.doi, paper.pmid, "; ".join(codes), "; ".join(found.tried), *near),
    )
    return [excel_cell(str(cell)) if cell is not None else None for cell in (*cells, *[""] * (3 - len(near)))]


def _cited(record: Record) -> str:
    author = record.authors[0].split(",")[0] if record.authors else "no author"
    return f"{record.record_id} | {author} ({record.year or 'no year'}) | {record.title}"


def _value(value: int | None) -> str:
    return "not judged" if value is None else str(value)


def _conflict(row: Conflict) -> Sequence[object]:
    first = row.rows[0]
    return [
        excel_cell(cell)
        for cell in (
            row.kind,
            first.record.record_id,
            first.record.title,
            first.coder,
            first.basis,
            "; ".join(dict.fromkeys(one.label for one in row.rows)),
            "; ".join(_value(one.value) for one in row.rows),
            "; ".join(one.place for one in row.rows),
            "one row" if row.kind == "doubled" else "none",
        )
    ]


def _disagreement(row: Disagreement) -> Sequence[object]:
    cells = row.record.record_id, row.record.title, row.label, row.basis, "; ".join(row.yes), "; ".join(row.no)
    return [excel_cell(cell) for cell in cells]


def tell(imported: Imported) -> Iterator[str]:
    """Say what was read, and what became of it, in lines whose counts add up."""
    for file, form in imported.files:
        yield f"{file}: {form}"
    counts = imported.entries
    ways = ", ".join(f"{count} by {way}" for way, count in imported.found_by.items())
    yield (
        f"Entries: {counts['read']} read = {counts['matched']} matched{f' ({ways})' if ways else ''} + "
        f"{counts['without codes']} without codes + {counts['unmatched']} unmatched + {counts['rejected']} rejected"
    )
    codes = imported.codes
    unticked = f" + {codes['unticked']} not ticked, which means no" if codes["unticked"] else ""
    yield (
        f"Codes: {codes['read']} read{unticked} = {codes['written']} written + {codes['doubled']} doubled or joined + "
        f"{codes['contradicting']} contradicting + {codes['unmatched']} of unmatched entries + "
        f"{codes['passed over']} passed over"
    )
    values = [coding.value for coding in imported.codings]
    yield f"Written: {values.count(1)} yes + {values.count(0)} no + {values.count(None)} not judged"
    records = len({coding.record_id for coding in imported.codings})
    coders = sorted({coding.coder for coding in imported.codings})
    yield f"Records coded: {records}; coders: {', '.join(coders) or 'none'}"
    if imported.disagreements:
        yield f"Coders differ, and what each said is kept: {len(imported.disagreements)} times (disagreements.csv)"
