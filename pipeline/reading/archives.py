"""Read the files in zip and gzip archives in memory, without unpacking the archives to disk.

Archives are untrusted input. Sizes are limited before and during reading, and the names of the files in an archive are
used only in messages.
"""

from __future__ import annotations

import gzip
import io
import lzma
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from mechtag.core.errors import MechtagError
from mechtag.core.source import Source, Watched

_ZIP, _GZIP = (b"PK\x03\x04", b"PK\x05\x06"), b"\x1f\x8b"
# Text compresses to about a tenth of its size; a much higher ratio indicates a decompression bomb.
_HIGHEST_RATIO, _UNSUSPECTED = 200, 16 << 20
_LARGEST, _MOST_MEMBERS = 8 << 30, 1000
_ENCRYPTED = 0x1
_FAULTS = (
    *(zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError),
    *(EOFError, NotImplementedError, RuntimeError, ValueError),
)


@contextmanager
def _archive(path: Path) -> Iterator[None]:
    try:
        yield
    except _FAULTS as error:
        raise MechtagError(
            f"{path}: the archive is damaged or truncated ({error}); download it again, or unpack it and "
            "pass the unpacked files instead"
        ) from None
    except OSError as error:
        raise MechtagError(
            f"{path}: the file cannot be read: {error.strerror or error}; check its path and permissions"
        ) from None


def refuse_bomb(path: Path, size: int, packed: int) -> None:
    """Raise an error if the unpacked ``size`` of a file is suspiciously large compared with its ``packed`` size."""
    if size > _LARGEST or (size > _UNSUSPECTED and size > _HIGHEST_RATIO * packed):
        raise MechtagError(
            f"{path}: the file unpacks to more than {_LARGEST >> 30} GB, or to more than {_HIGHEST_RATIO} times its "
            "size. This is far more than is usual for search exports. If the file is genuine, unpack it and pass the "
            "unpacked files instead"
        )


def _unpacked(stream: Any, path: Path, packed: int) -> BinaryIO:
    """Return a stream that unpacks a file, and that raises an error if the unpacked data are too large."""
    # Count the bytes while they are read, because the size that the archive states may be false.
    size = 0

    def on_read(count: int) -> None:
        nonlocal size
        size += count
        refuse_bomb(path, size, packed)

    return io.BufferedReader(Watched(stream, partial(_archive, path), on_read))


def _is_document(archive: zipfile.ZipFile) -> bool:
    """Return whether a zip file is a single document, such as an XLSX workbook or a QDPX project."""
    names = archive.namelist()
    return not {"[Content_Types].xml", "mimetype"}.isdisjoint(names) or any(name.endswith(".qde") for name in names)


def unpack(source: Source) -> Iterator[tuple[str, Source]]:
    """Yield the files in an archive one by one, or the file itself if it is not an archive.

    Yields
    ------
    tuple of str and Source
        Name and content of a file. The name is ``""`` unless the file is in a zip archive. If a file in an archive is
        unreadable, an error is raised only when the file is read.

    Raises
    ------
    MechtagError
        If the archive is damaged or empty, or if it contains too many files or files that are too large.
    """
    if source.start.startswith(_GZIP):
        packed = source.path.stat().st_size
        yield "", Source(source.path, opener=partial(_open_gzip, source, packed), packed=packed, on_read=source.on_read)
    elif source.start.startswith(_ZIP):
        yield from _unzip(source)
    else:
        yield "", source


def _open_gzip(source: Source, packed: int) -> BinaryIO:
    return _unpacked(gzip.GzipFile(source.path), source.path, packed)


def _unzip(source: Source) -> Iterator[tuple[str, Source]]:
    with _archive(source.path):
        archive = zipfile.ZipFile(source.path)
    with archive:
        if _is_document(archive):
            yield "", source
            return
        members = [info for info in archive.infolist() if not (info.filename.endswith("/") or _hidden(info.filename))]
        if not members:
            raise MechtagError(f"{source.path}: the archive contains no files; export the search results again")
        if len(members) > _MOST_MEMBERS:
            raise MechtagError(
                f"{source.path}: the archive contains {len(members)} files, but at most {_MOST_MEMBERS} are allowed; "
                "unpack it, and pass the unpacked files instead"
            )
        refuse_bomb(source.path, sum(info.file_size for info in members), source.path.stat().st_size)
        seen: Counter[str] = Counter()
        for info in sorted(members, key=lambda info: info.filename):
            name = _safe_name(info.filename)
            seen[name] += 1
            # Several members may be shown by one name: 'a.ris' and './a.ris'.
            name = f"{name} ({seen[name]})" if seen[name] > 1 else name
            path = source.path / name
            opener = partial(_open_member, archive, info, path)
            yield name, Source(path, opener=opener, packed=info.compress_size, on_read=source.on_read)


def _open_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> BinaryIO:
    if info.flag_bits & _ENCRYPTED:
        raise MechtagError(
            f"{path}: the file is encrypted; unpack it with its password, and pass the unpacked file instead"
        )
    with _archive(path):
        return _unpacked(archive.open(info), path, info.compress_size)


def refuse_nested(member: Source) -> None:
    """Raise an error if a file in an archive is itself an archive, because nesting could be endless.

    Raises
    ------
    MechtagError
        If the file is a gzip file, or a zip file that is not a document such as XLSX.
    """
    packed = member.start.startswith(_GZIP)
    if member.start.startswith(_ZIP):
        with _archive(member.path), zipfile.ZipFile(io.BytesIO(member.data)) as archive:
            packed = not _is_document(archive)
    if packed:
        raise MechtagError(
            f"{member.path}: this is an archive within an archive; unpack it, and pass the unpacked files instead"
        )


def _hidden(name: str) -> bool:
    return name.startswith("__MACOSX/") or name.rsplit("/", 1)[-1].startswith(".")


def _safe_name(name: str) -> str:
    """Remove control characters, and path components such as ``..``, from the name of a file in an archive."""
    parts = name.replace("\\", "/").split("/")
    kept = ("".join(char for char in part if char.isprintable()) for part in parts if part not in ("", ".", ".."))
    return "/".join(kept) or "unnamed"
