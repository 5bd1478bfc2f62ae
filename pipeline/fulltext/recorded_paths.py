"""Find the files that reference managers recorded for a paper, such as the PDFs in a Zotero library."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from mechtag.core.records import Record
from mechtag.pipeline.reading.markup import texts

if TYPE_CHECKING:  # `merged` imports this module
    from mechtag.pipeline.dedupe.merged import MergedRecords

# RIS writes attachments to L1-L4. Columns and fields of other formats, in lower case.
_FIELDS = frozenset(("l1", "l2", "l3", "l4", "file attachments", "file_attachments", "local-url"))
_BIBTEX_FIELD, _LINK_FIELDS = "file", frozenset(("ur", "url"))
_SUFFIX = re.compile(r"\.(?:pdf|xml|nxml|tei|docx|x?html?|epub|txt)$", re.I)
_SCHEME = re.compile(r"^(?:file:(?://(?:localhost)?(?=/))?|internal-pdf:(?://)?)", re.I)
_DRIVE = re.compile(r"^[a-z]:$", re.I)
_WEB = re.compile(r"^[a-z][a-z0-9+.-]+://", re.I)
# LaTeX escapes of characters in paths, as Mendeley writes them.
_LATEX = {r"{\_}": "_", r"{\&}": "&", r"{\%}": "%", r"{\#}": "#", r"$\backslash$": ""} | {
    rf"\{char}": char for char in "_&%#$"
}


def recorded_paths(record: Record) -> list[tuple[str, ...]]:
    """Return the file paths in the fields of a record, each as a tuple of its folders and its file name.

    All names are in lower case, and paths may be written with slashes or backslashes, because the record may have been
    exported on a different computer. Web addresses are not returned.
    """
    found = dict.fromkeys(parts for value in _values(record.raw) if (parts := _parts(value)))
    return list(found)


def _values(fields: Sequence[tuple[str, Any]]) -> Iterator[str]:
    for name, value in fields:
        field = name.casefold()
        if not isinstance(value, str):
            continue
        if field == _BIBTEX_FIELD:
            yield from _bibtex_paths(value)
        elif field in _FIELDS:
            yield from re.split(r";\s|\n", value)
        elif field in _LINK_FIELDS and value.casefold().startswith("file:"):
            yield value
    # EndNote XML.
    yield from texts(fields, "urls", "pdf-urls", "url")


def _bibtex_paths(value: str) -> Iterator[str]:
    r"""Yield the paths in a field that JabRef, Zotero or Mendeley wrote in the form ``description:path:type;...``.

    A backslash precedes a colon, semicolon or backslash that belongs to the path. Some programs write only the path, or
    write a Windows drive without the backslash; drives are ignored.
    """
    for written, plain in _LATEX.items():
        value = value.replace(written, plain)
    for entry in re.findall(r"(?:\\.|[^;\\])+", value):
        parts = [re.sub(r"\\([:;\\])", r"\1", part) for part in re.findall(r"(?:\\.|[^:\\])*(?::|$)", entry)]
        yield from (path for part in parts if _SUFFIX.search(path := part.removesuffix(":").strip()))


def _parts(value: str) -> tuple[str, ...]:
    path = value.strip()
    if scheme := _SCHEME.match(path):
        path = unquote(path[scheme.end() :])
    elif _WEB.match(path):
        return ()
    return _folded(re.split(r"[/\\]", path)) if _SUFFIX.search(path) else ()


def _folded(parts: Sequence[str]) -> tuple[str, ...]:
    # macOS stores the letters of file names and their accents separately.
    return tuple(
        unicodedata.normalize("NFC", part).casefold()
        for part in parts
        if part not in ("", ".") and not _DRIVE.match(part)
    )


class RecordedPaths:
    """Finds the record whose fields contain the path of a given file.

    Parameters
    ----------
    records
        Records without duplicates.
    files
        All files that will be looked up; they show whether a file name is unique.
    merged
        Records that were merged into ``records``; files that they name belong to the kept records.
    """

    def __init__(self, records: Sequence[Record], files: Sequence[Path], merged: MergedRecords | None = None) -> None:
        self._by_name: dict[str, list[tuple[tuple[str, ...], str, str]]] = defaultdict(list)
        for record in records:
            for path in recorded_paths(record):
                self._by_name[path[-1]].append((path, record.record_id, ""))
        for duplicate, kept in merged or ():
            for path in duplicate.paths:
                self._by_name[path[-1]].append((path, kept, duplicate.record_id))
        self._count: Mapping[str, int] = _counts(files)

    def find(self, file: Path) -> tuple[str, str] | None:
        """Return the id of the record whose fields contain the path of a file; ``None`` if there is no single record.

        A path in a record matches a file if both end in the same folder and file name. A file name without a folder
        matches only if exactly one of the files has this name. If several paths match, the one with the most folders
        in common is used.

        The second item of the result is the id of the merged record that contains the path, or ``""`` if the record
        itself contains it.
        """
        parts = _folded(file.absolute().parts)
        ranked: dict[int, dict[str, str]] = defaultdict(dict)
        for path, record_id, duplicate in self._by_name.get(parts[-1], ()):
            length = _common_end(path, parts)
            if length > 1 or (len(path) == 1 and self._count[parts[-1]] == 1):
                ranked[length].setdefault(record_id, duplicate)
        best = ranked[max(ranked)] if ranked else {}
        return next(iter(best.items())) if len(best) == 1 else None


def _counts(files: Sequence[Path]) -> dict[str, int]:
    found: dict[str, int] = defaultdict(int)
    for file in files:
        found[_folded([file.name])[0]] += 1
    return found


def _common_end(left: Sequence[str], right: Sequence[str]) -> int:
    length = 0
    for one, other in zip(reversed(left), reversed(right), strict=False):
        if one != other:
            break
        length += 1
    return length
