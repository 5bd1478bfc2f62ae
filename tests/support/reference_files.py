"""The public reference files. Tests that need them are skipped if the files are missing."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from benchmarks.references import SYSTEMS, Outcome, files
from benchmarks.references import read as read_file
from benchmarks.sets import BENCH
from mechtag.core.records import normalise_title

FOLDER = BENCH / "references"
if not FOLDER.is_dir():
    pytest.skip(f"needs the reference files in {FOLDER}; MECHTAG_BENCH names their folder", allow_module_level=True)

FILES = files(FOLDER)
JABREF = FOLDER / "jabref_importers/jablib/src/test/resources/org/jabref/logic/importer/fileformat"
SAME = FOLDER / SYSTEMS / "Datasets"


def named(paths: list[Path]) -> dict[str, Any]:
    return {"argvalues": paths, "ids": [path.name for path in paths]}


@cache
def outcome(path: Path) -> Outcome:
    return read_file(path, FOLDER)


def words(name: str) -> frozenset[str]:
    """Return the words of a name without initials, as a set, so that their order does not matter."""
    return frozenset(word for word in normalise_title(name).split() if len(word) > 1)


# Files that mechtag does not read, with a pattern of the reason in its message.

REFUSED = {
    "CffImporterReferences.cff": "a CITATION.cff file, which cites one piece of software",
    **{f"CitaviXmlImporterTest{number}.ctv6bak": "Citavi|binary" for number in range(1, 6)},
    "MedlineImporterTestMinimalEntry.bib": "in an unknown format; it starts with '% Encoding: UTF-8'",
    "Endnote.pattern.no_enw": "in an unknown format; it starts with '%0'",
    "IsiImporterTestEmpty.isi": "in an unknown format; it starts with '##'",
    "MODSImporterTestMods.xml": "a MODS file, the format of library catalogues",
    "MODSImporterTestModsCollection.xml": "a MODS file, the format of library catalogues",
    "MedlinePlainImporterTestInvalidFormat.xml": "in an unknown format; it starts with 'PMC some PMC",
    "OvidImporterTest2Invalid.txt": r"text from Ovid in which records do not start with a record number \('<1>'\)",
    **{f"RepecNepImporterTest{number}.txt": "a RePEc newsletter" for number in range(1, 4)},
    "generic_labels_no_title.csv": "no column contains titles; found the columns abstract, file_attachments2, authors",
}
