"""Open zip packages, and decode bytes, for the readers of full texts."""

from __future__ import annotations

import io
import zipfile

from mechtag.core.errors import MechtagError

# Maximum number of bytes of a package when it is unpacked.
_MOST_BYTES = 500_000_000


def open_package(data: bytes, name: str) -> zipfile.ZipFile:
    """Open a package in zip format, such as a DOCX document or an EPUB book.

    Raises
    ------
    MechtagError
        If the package would be too large when unpacked.
    zipfile.BadZipFile
        If the package is damaged.
    """
    package = zipfile.ZipFile(io.BytesIO(data))
    if sum(item.file_size for item in package.infolist()) > _MOST_BYTES:
        raise MechtagError(
            f"{name} would unpack to more than {_MOST_BYTES // 1_000_000} MB, so for safety it was not read; save the "
            "paper as PDF"
        )
    return package


def decoded(data: bytes, *encodings: str) -> str:
    """Decode bytes with the first of the given encodings that can decode them.

    If no given encoding can decode the bytes, Windows-1252 is used. If Windows-1252 cannot decode them either, Latin-1
    is used.
    """
    for encoding in (*encodings, "cp1252"):
        try:
            return data.decode(encoding)
        except (UnicodeDecodeError, LookupError):  # the name of an encoding may be wrong
            continue
    return data.decode("latin-1")
