"""Read the file paths that reference managers recorded for a paper, such as the paths of PDFs in a Zotero library."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import unquote

from mechtag.core.records import Record
from mechtag.pipeline.reading.markup import texts

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

    All names are in lower case. Paths with slashes and paths with backslashes are recognised, because the record may be
    from a different computer. Web addresses are not returned.
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
    """Yield the paths of attached files in a BibTeX field that JabRef, Zotero or Mendeley wrote."""
    # The field has the form 'description:path:type;...', or contains only a path. In a path, a backslash should precede
    # each colon, semicolon and backslash. If it is missing after a Windows drive, the drive is lost.
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
    return folded(re.split(r"[/\\]", path)) if _SUFFIX.search(path) else ()


def folded(parts: Sequence[str]) -> tuple[str, ...]:
    """Convert the folder and file names in a path to a form in which paths can be compared.

    The names are in lower case, each letter and its accent are one character, and a Windows drive is left out.
    """
    # macOS stores the letters of file names and their accents separately.
    return tuple(
        unicodedata.normalize("NFC", part).casefold()
        for part in parts
        if part not in ("", ".") and not _DRIVE.match(part)
    )
