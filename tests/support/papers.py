"""Invented papers whose fields a test can change."""

from typing import Any

from mechtag.core.records import Record, make_record_id
from mechtag.core.settings import DedupeSettings
from mechtag.pipeline.dedupe.results import Deduped

SETTINGS = DedupeSettings()
LONG = "Sharing the lead in stroke care networks: a qualitative study"
SMITH = ("Marchetti, Lucia", "O'Neill, Peter J.")
TEXT = "Three networks of hospitals were studied for two years. " * 4


def record(index: int = 1, **values: Any) -> Record:
    """Return the record of an article with all bibliographic fields but no identifiers; ``values`` replace fields."""
    whole: dict[str, Any] = {
        **{"title": LONG, "authors": SMITH, "year": 2017, "journal": "Journal of Invented Care", "volume": "12"},
        **{"issue": "3", "pages": "45-58", "doi": None, "pmid": None, "type": "JOUR", **values},
    }
    names = ("doi", "pmid", "title", "year", "authors")
    record_id = make_record_id(**{name: whole[name] for name in names})
    return Record(record_id=record_id, source_file="a.ris", source_index=index, **whole)


def bare(index: int = 1, **values: Any) -> Record:
    """Return a record that has only a title, authors and the fields in ``values``."""
    return record(index, **{**dict.fromkeys(("year", "journal", "volume", "issue", "pages", "type")), **values})


def partition(found: Deduped) -> set[frozenset[tuple[str, int]]]:
    return {frozenset((member.source_file, member.source_index) for member in group.members) for group in found.groups}
