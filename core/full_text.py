"""Define the full text of a paper, and the sections and pages into which it is divided."""

from __future__ import annotations

from typing import Literal

from mechtag.core.records import Row

#: Kind of a section. ``back`` is for notes such as acknowledgements and funding, ``other`` for any other section.
Kind = Literal[
    "title",
    "abstract",
    "introduction",
    "methods",
    "results",
    "discussion",
    "conclusion",
    "other",
    "back",
    "references",
    "table",
    "caption",
]
#: Format of the file that a full text was read from.
Format = Literal["pdf", "jats", "tei", "docx", "html", "epub", "txt"]


class Section(Row):
    """A section of a full text.

    Its text is the slice from ``start`` to ``end`` of the full text. If the section has a title, the slice begins with
    the title. ``level`` is 1 for main sections.

    A section ends where the next section begins. If a section has subsections, it therefore ends at the first
    subsection.
    """

    kind: Kind
    title: str
    level: int
    start: int
    end: int


class Page(Row):
    """A page of a full text; if ``text`` is the full text, the text of the page is ``text[start:end]``.

    Attributes
    ----------
    number
        Number of the page in the file, from 1.
    label
        Label of the page as stated in the file, such as ``xii``. If the file states no label, the label is the number.
    ocr
        Whether the text was recognised in a picture of the page.
    """

    number: int
    label: str
    start: int
    end: int
    ocr: bool = False


class Quality(Row):
    """What a person needs to know to judge whether a full text was read well.

    Attributes
    ----------
    pages
        Number of pages; 0 if the format has no pages.
    chars
        Number of characters of the text.
    scanned_pages
        Number of pages without text.
    ocr_pages
        Number of pages whose text comes from optical character recognition.
    references_cut
        Whether a list of references was found and separated from the text.
    headings
        Number of headings that were found.
    letters_share
        Proportion of letters among all characters except spaces.
    """

    pages: int
    chars: int
    scanned_pages: int
    ocr_pages: int
    references_cut: bool
    headings: int
    letters_share: float


class FullText(Row):
    r"""The full text of one paper.

    Paragraphs are separated by ``\n``, and sections by ``\n\n``. The text contains no other control characters and no
    soft hyphens. It is in Unicode normalisation form C.

    Attributes
    ----------
    record_id
        Identifier of the record to which the file was attached; empty until it is attached.
    sections
        Sections in the order of the text. They cover the whole text without gaps or overlaps.
    pages
        Pages in the order of the text. They cover the whole text without gaps or overlaps. Empty if the format has no
        pages.
    source_file
        Name of the file.
    sha256
        SHA-256 of the file.
    reader
        Name and version of the program that read the file.
    licence
        Licence that the file names; ``None`` if the file names no licence.
    warnings
        Sentences that describe what may be wrong with the text.
    """

    record_id: str
    text: str
    sections: tuple[Section, ...]
    pages: tuple[Page, ...]
    source_file: str
    format: Format
    sha256: str
    reader: str
    licence: str | None = None
    quality: Quality
    warnings: tuple[str, ...] = ()


class FullTextTagging(Row):
    """How a full text was tagged.

    ``windows`` is the number of windows that were scored. A window is a run of sentences about as long as an abstract,
    and the abstract itself counts as one window. Each text in ``notes`` describes something unusual about the tagging.
    """

    windows: int
    notes: tuple[str, ...] = ()
