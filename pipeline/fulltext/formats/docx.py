"""Read Word documents (.docx)."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from typing import Any

from mechtag.core.errors import MechtagError
from mechtag.pipeline.fulltext.document import Block, Draft
from mechtag.pipeline.fulltext.files import open_package

# Identifiers of the built-in styles, which are in English in every language of Word.
_HEADING = re.compile(r"heading\s?([1-9])$", re.I)


def read(data: bytes, name: str) -> Draft:
    """Read a Word document; headings are the paragraphs in the styles 'Heading 1' to 'Heading 9'.

    Raises
    ------
    MechtagError
        If the file is damaged, protected by a password, or has no text.
    """
    import docx
    from docx.opc.exceptions import PackageNotFoundError

    try:
        open_package(data, name).close()
        document = docx.Document(io.BytesIO(data))
        blocks = list(_blocks(document))
    except MechtagError:
        raise
    except (zipfile.BadZipFile, PackageNotFoundError, KeyError, ValueError, SyntaxError, RuntimeError, OSError):
        raise MechtagError(f"{name} cannot be read as a Word document; open it in Word and save it again") from None
    if not any(block.text.strip() for block in blocks):
        raise MechtagError(f"{name} contains no text; open it in Word and check its content")
    title = next((block.text for block in blocks if block.kind == "title"), document.core_properties.title or "")
    first_page = "\n".join(block.text for block in blocks[:40])
    return Draft(blocks=blocks, title=title, first_page=first_page)


def _blocks(document: Any) -> Iterator[Block]:
    for item in document.iter_inner_content():
        if hasattr(item, "rows"):
            for row in item.rows:
                yield Block(" ".join(cell.text for cell in row.cells), kind="table")
            continue
        style = (item.style.style_id or "") if item.style is not None else ""
        heading = _HEADING.match(style)
        if style.casefold() == "title":
            yield Block(item.text, 1, "title")
        elif heading:
            yield Block(item.text, int(heading[1]))
        elif style.casefold() == "caption":
            yield Block(item.text, kind="caption")
        else:
            yield Block(item.text)
