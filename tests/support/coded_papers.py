"""Papers, a codebook and plain rows of codings, shared by the tests of imported codings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mechtag.core.codebook import load_codebook
from mechtag.core.settings import DedupeSettings
from mechtag.pipeline.annotations.imports.importer import Imported, read_codings_from
from mechtag.pipeline.annotations.imports.label_names import MapFile
from mechtag.pipeline.reading.ingest import ingest
from tests.support.paths import ROOT

CODINGS = ROOT / "tests/fixtures/codings"
BOOK = load_codebook(CODINGS / "codebook.yaml")
RECORDS = ingest([CODINGS / "records.jsonl"]).records
Row = tuple[str | None, str, str, int | None, str]


def import_from(*paths: Path, **said: Any) -> Imported:
    """Import files of codings with options of `read_codings_from`; ``labels`` stands for ``MapFile(labels=...)``."""
    labels = said.pop("labels", None)
    if labels is not None:
        said["mapped"] = MapFile(labels=labels)
    records = said.pop("records", RECORDS)
    return read_codings_from(paths, records, BOOK, DedupeSettings(), **{"basis": "abstract", **said})


def rows(imported: Imported) -> list[Row]:
    """Return the key of the paper, coder, label, value and basis of each coding."""
    return [(row.key, row.coder, row.label, row.value, row.basis) for row in imported.codings]


def brief(imported: Imported) -> list[str]:
    """Return each coding as text, such as 'marchetti-2017 ann trust=1'; '?' means not judged."""
    return [f"{row.key} {row.coder} {row.label}={'?' if row.value is None else row.value}" for row in imported.codings]


def evidence(imported: Imported) -> dict[str, str]:
    return {f"{row.coder} {row.label}": row.evidence for row in imported.codings if row.evidence}


def check_counts(imported: Imported) -> None:
    """Check that the counts of an import add up, and agree with its codings and rejected entries."""
    entries, codes = imported.entries, imported.codes
    assert entries["read"] == sum(entries[name] for name in ("matched", "without codes", "unmatched", "rejected"))
    kept = ("written", "doubled", "contradicting", "unmatched", "passed over")
    assert codes["read"] + codes["unticked"] == sum(codes[name] for name in kept)
    assert (codes["written"], entries["unmatched"]) == (len(imported.codings), len(imported.unmatched))
    assert (entries["rejected"], entries["matched"]) == (len(imported.rejected), sum(imported.found_by.values()))


def fixture(name: str, **said: Any) -> Imported:
    imported = import_from(CODINGS / name, **said)
    check_counts(imported)
    return imported


def write(path: Path, content: str) -> Path:
    path.write_text(content, encoding="utf-8")
    return path


def write_lines(path: Path, *objects: dict[str, Any]) -> Path:
    return write(path, "\n".join(map(json.dumps, objects)) + "\n")
