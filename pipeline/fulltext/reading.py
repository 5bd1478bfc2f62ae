"""Read the full text of a paper from a file in any supported format."""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple, cast

import mechtag
from mechtag.core.errors import MechtagError
from mechtag.core.full_text import Format, FullText, Quality
from mechtag.core.records import Row
from mechtag.core.source import readable
from mechtag.pipeline.fulltext.document import Draft, assemble, clean
from mechtag.pipeline.fulltext.ocr import Recogniser

#: Maximum size in bytes of a file.
LARGEST = 200_000_000
# A text of more characters is not a paper; the longest books have four million.
_LONGEST_TEXT = 20_000_000
# Number of characters of the beginning of a text in which title and identifiers are searched.
_BEGINNING = 20_000
_HEAD = 4096
# A full text with fewer characters, or with a smaller proportion of letters, was probably not read well.
_SHORT_TEXT, _FEW_LETTERS = 2_000, 0.6
# Tags at the start of a file; the first that is neither a declaration nor a comment is the root element.
_PROLOG = re.compile(
    r"[\s\ufeff]*+(?:(?:<\?(?:[^?]|\?(?!>))*+\?>|<!--(?:[^-]|-(?!->))*+-->"
    r"|<!DOCTYPE[^<>\[]*+(?:\[[^\]]*+\]\s*+)?>)\s*+)*+",
    re.I,
)
_ROOT = re.compile(r"<(?:[\w.-]+:)?([A-Za-z][\w.-]*)")
_HTML = re.compile(r"<!doctype\s+html|<(?:html|head|body)\b", re.I)
_BYTE_ORDER_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8-sig"}
_SURROGATE = re.compile("[\ud800-\udfff]")
# Binary formats that cannot be read; they are recognised so that the message can state what to do.
_FOREIGN = {
    b"\xd0\xcf\x11\xe0": "is a document of an old version of Word; open it and save it as DOCX or PDF",
    b"{\\rtf": "is an RTF document; open it and save it as DOCX or PDF",
    b"\x1f\x8b": "is compressed; unpack it first",
    b"\x89PNG": "is a picture; save the paper as PDF",
    b"\xff\xd8\xff": "is a picture; save the paper as PDF",
}


class _Reader(NamedTuple):
    """The function that reads a file format, and the library that it needs."""

    module: str  # in `formats`
    package: str = ""  # "" if the function needs no library
    function: str = "read"


_READERS: dict[Format, _Reader] = {
    "pdf": _Reader("pdf", "pypdfium2"),
    "jats": _Reader("jats", "lxml"),
    "tei": _Reader("tei", "lxml"),
    "docx": _Reader("docx", "python-docx"),
    "html": _Reader("html"),
    "epub": _Reader("html", "lxml", "read_epub"),
    "txt": _Reader("plain"),
}


class ReadFile(Row):
    """The result of reading a file: a full text without a record id, and details that identify the paper.

    Attributes
    ----------
    title
        Title that the file states, or ``""`` if the file states no title.
    doi, pmid, pmcid
        Identifiers that the file states. An identifier that is not stated is ``None``.
    beginning
        Text of the first page. If the format has no pages, the first characters of the text.
    """

    full_text: FullText
    title: str = ""
    doi: str | None = None
    pmid: str | None = None
    pmcid: str | None = None
    beginning: str = ""


def find_format(data: bytes, name: str) -> Format:
    """Return the format of a file with a full text, judging by its content.

    Raises
    ------
    MechtagError
        If the file is empty or damaged, or its format is not supported; the message begins with ``name``.
    """
    if not data.strip():
        raise MechtagError(f"{name} is empty; download or save it again")
    head = data[:_HEAD]
    if b"%PDF-" in head[:1024]:
        return "pdf"
    if head.startswith(b"PK\x03\x04"):
        return _find_packed(data, name)
    if foreign := next((reason for start, reason in _FOREIGN.items() if head.startswith(start)), ""):
        raise MechtagError(f"{name} {foreign}")
    encoding = next((known for mark, known in _BYTE_ORDER_MARKS.items() if head.startswith(mark)), "latin-1")
    text = head.decode(encoding, errors="replace")
    if "\0" in text:
        raise MechtagError(
            f"{name} is in an unknown binary format; save the paper as PDF, JATS or TEI XML, DOCX, HTML, EPUB or plain "
            "text"
        )
    start = cast("re.Match[str]", _PROLOG.match(text)).end()
    root = _ROOT.match(text, start)
    tag = root[1].lower() if root else ""
    if tag in ("article", "pmc-articleset"):
        return "jats"
    if tag in ("tei", "teicorpus"):
        return "tei"
    if tag in ("html", "head", "body") or _HTML.search(text[:start]):
        return "html"
    if text.lstrip(" \t\r\n\ufeff").startswith("<?xml"):
        raise MechtagError(
            f"{name} is an XML file, but its root element is <{root[1] if root else ''}>; mechtag reads JATS "
            "(<article>) and TEI (<TEI>). Download the article itself, or save it as PDF"
        )
    return "txt"


def _find_packed(data: bytes, name: str) -> Format:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = set(archive.namelist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError):
        raise MechtagError(f"{name} is cut off or damaged; download it again") from None
    if "word/document.xml" in members:
        return "docx"
    # The first member of an EPUB is stored without compression and says that the file is one.
    if b"application/epub+zip" in data[:100]:
        return "epub"
    raise MechtagError(f"{name} is a zip file, but neither a DOCX document nor an EPUB book; unpack it first")


def read_full_text(
    path: Path,
    name: str,
    on_pages: Callable[[int], None] = lambda _: None,
    recogniser: Recogniser | None = None,
) -> ReadFile:
    """Read a full text in any supported format, in this process.

    To read untrusted files, use `isolated.IsolatedReader` instead. A damaged file can crash the libraries that read it.

    Parameters
    ----------
    path
        Path of the file.
    name
        Name of the file in the result and in messages.
    on_pages
        Function that is called with the number of pages of a PDF, before its text is read.
    recogniser
        Recognises the text of scanned pages of a PDF. By default, scanned pages have no text.

    Raises
    ------
    MechtagError
        If the file cannot be read. The message begins with ``name``.
    """
    with readable(path):
        data = path.read_bytes()
    form = find_format(data, name)
    reader = _READERS[form]
    # Import only the reader that is needed, because each format needs a different library.
    module = import_module(f"mechtag.pipeline.fulltext.formats.{reader.module}")
    read = getattr(module, reader.function)
    draft: Draft = read(data, name, on_pages, recogniser) if form == "pdf" else read(data, name)
    return assemble_file(draft, form, name, hashlib.sha256(data).hexdigest())


def assemble_file(draft: Draft, form: Format, name: str, sha256: str) -> ReadFile:
    """Build the full text of a file.

    Parameters
    ----------
    draft
        Content of the file, as the reader of its format returned it.
    form
        Format of the file.
    name
        Name of the file in the result and in messages.
    sha256
        Hash of the file.

    Raises
    ------
    MechtagError
        If the draft contains no text, or far more text than a paper.
    """
    if not any(clean(block.text) for block in draft.blocks):
        raise MechtagError(f"{name} contains no text; download it again, or save it in a different format")
    draft = replace(
        draft,
        blocks=[block._replace(text=_storable(block.text)) for block in draft.blocks],
        page_labels=[_storable(label) for label in draft.page_labels],
    )
    text, sections, pages = assemble(draft.blocks, draft.page_labels)
    if len(text) > _LONGEST_TEXT:
        raise MechtagError(
            f"{name} contains {len(text):,} characters of text, but a paper may have at most {_LONGEST_TEXT:,}; if "
            "the file contains more than the paper, such as a whole book, save the paper as a separate file"
        )
    letters = sum(map(str.isalpha, text)) / (len(text) - text.count(" ") - text.count("\n"))
    quality = Quality(
        pages=len(pages),
        chars=len(text),
        scanned_pages=draft.scanned_pages,
        ocr_pages=len(draft.ocr_pages),
        references_cut=any(section.kind == "references" for section in sections),
        headings=sum(bool(section.title) for section in sections),
        letters_share=round(letters, 4),
    )
    full_text = FullText(
        record_id="",
        text=text,
        sections=sections,
        pages=tuple(
            page.model_copy(update={"ocr": True}) if page.number in draft.ocr_pages else page for page in pages
        ),
        source_file=name,
        format=form,
        sha256=sha256,
        reader=_reader_name(_READERS[form].package),
        licence=_storable(draft.licence) if draft.licence else None,
        quality=quality,
        warnings=(*map(_storable, draft.warnings), *_warnings(quality)),
    )
    return ReadFile(
        full_text=full_text,
        title=_storable(draft.title),
        doi=draft.doi and _storable(draft.doi),
        pmid=draft.pmid and _storable(draft.pmid),
        pmcid=draft.pmcid and _storable(draft.pmcid),
        beginning=_storable((draft.first_page or text)[:_BEGINNING]),
    )


def _storable(text: str) -> str:
    """Replace unpaired surrogates, which cannot be stored in UTF-8, with U+FFFD."""
    return _SURROGATE.sub("\ufffd", text)


def _warnings(quality: Quality) -> list[str]:
    found = []
    if quality.chars < _SHORT_TEXT:
        found.append(f"The text has only {quality.chars:,} characters, so it may not be the whole paper.")
    if quality.letters_share < _FEW_LETTERS:
        found.append(f"Only {quality.letters_share:.0%} of the characters are letters, so the text may be garbled.")
    return found


def _reader_name(package: str) -> str:
    own = f"mechtag {mechtag.__version__}"
    try:
        return f"{own}, {package} {version(package)}" if package else own
    except PackageNotFoundError:  # the package is installed in a way that pip does not know
        return f"{own}, {package}"
