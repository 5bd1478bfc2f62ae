"""Open packages and decode texts of full texts that come from elsewhere."""

from __future__ import annotations

import io
import zipfile

from mechtag.core.errors import MechtagError

# Largest number of bytes that a package may unfold to.
_MOST_BYTES = 500_000_000


def open_package(data: bytes, name: str) -> zipfile.ZipFile:
    """Open a package in zip format, such as a DOCX document or an EPUB book.

    Raises
    ------
    MechtagError
        If the content of the package is too large.
    zipfile.BadZipFile
        If the package is damaged.
    """
    package = zipfile.ZipFile(io.BytesIO(data))
    if sum(item.file_size for item in package.infolist()) > _MOST_BYTES:
        raise MechtagError(f"{name} unfolds to more than {_MOST_BYTES // 1_000_000} MB; it is not read")
    return package


def decoded(data: bytes, *encodings: str) -> str:
    """Decode a text by the first of the encodings that fits or, if none does, as Windows-1252 or Latin-1."""
    for encoding in (*encodings, "cp1252"):
        try:
            return data.decode(encoding)
        except (UnicodeDecodeError, LookupError):  # the name of an encoding may be wrong
            continue
    return data.decode("latin-1")
