"""Write zip archives without timestamps, and remove characters that XML forbids."""

from __future__ import annotations

import io
import os
import re
import shutil
import zipfile
from datetime import datetime
from typing import Any

#: Date of every exported document: what a file says about its origin must not differ between two runs.
DATE = datetime(2000, 1, 1)
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


def legal_text(text: str, instead: str = "") -> str:
    """Return a text without the characters that XML files cannot contain.

    Each character that XML forbids becomes ``instead``. Each lone surrogate, which UTF-8 cannot encode, becomes a
    question mark.
    """
    return _ILLEGAL.sub(instead, text.encode("utf-8", errors="replace").decode())


class UndatedZip(zipfile.ZipFile):
    """A zip archive without timestamps, so that equal content yields equal bytes."""

    def writestr(self, zinfo_or_arcname: Any, data: Any, *_: Any, **__: Any) -> None:
        """Add a file with the given bytes or text to the archive."""
        super().writestr(self._member(zinfo_or_arcname), data)

    def write(self, filename: Any, arcname: Any = None, *_: Any, **__: Any) -> None:
        """Add a file to the archive."""
        member = self._member(arcname)
        member.file_size = os.path.getsize(filename)
        with open(filename, "rb") as source, self.open(member, "w") as target:
            shutil.copyfileobj(source, target)

    def _member(self, name: str) -> zipfile.ZipInfo:
        member = zipfile.ZipInfo(name, _ZIP_DATE)
        member.compress_type, member.create_system, member.external_attr = zipfile.ZIP_DEFLATED, 3, 0o644 << 16
        return member


def undated(archive: bytes) -> bytes:
    """Return a copy of a zip archive without timestamps."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, UndatedZip(target, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    return target.getvalue()
