"""Make full texts as the readers of files return them."""

from __future__ import annotations

from mechtag.core.full_text import FullText, Page, Quality, Section

QUALITY = Quality(pages=0, chars=0, scanned_pages=0, ocr_pages=0, references_cut=True, headings=3, letters_share=0.9)


def full_text(record_id: str, *sections: tuple[str, str, str], pages: bool = True) -> FullText:
    """Return a full text of sections (kind, title, body), each on its own page; without ``pages``, it has none."""
    text, found = "", []
    for number, (kind, title, body) in enumerate(sections):
        start, text = len(text), text + f"{title}\n{body}" + "\n\n" * (number + 1 < len(sections))
        found.append(Section(kind=kind, title=title, level=1, start=start, end=len(text)))
    numbered = [
        Page(number=number, label=str(number + 100), start=one.start, end=one.end)
        for number, one in enumerate(found, start=1)
    ]
    return FullText(
        record_id=record_id,
        text=text,
        sections=tuple(found),
        pages=tuple(numbered) if pages else (),
        source_file="a.pdf",
        format="pdf",
        sha256="0",
        reader="toy",
        quality=QUALITY.model_copy(update={"chars": len(text)}),
    )
