"""Read text in any encoding from a file on disk or in an archive."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from mechtag.core.encodings import Part, decode, find_encoding, find_parts, first_bytes, lines_before
from mechtag.core.errors import MechtagError

# Control characters that do not occur in text; tab, line ends, form feed and DOS end-of-file are harmless.
_BINARY = re.compile(r"[\x00-\x08\x0e-\x19\x1b-\x1f]")
_SHARE_OF_BINARY, _FEW = 0.01, 8
_WEB_PAGE = re.compile(
    r"[\s\ufeff]*(?:<\?xml[^>]*>\s*)?(?:<!--.{0,1000}?-->\s*)?<(?:!doctype\s+html|html|head|body)\b", re.I | re.S
)
_HEAD = 65536
# Small enough to stay in the processor's cache, and for Python to allocate without a system call.
_CHUNK = 1 << 16
#: Maximum size in bytes of a file that must be in memory as a whole, and of a line in any other file.
LARGEST_WHOLE = 1 << 30


class Watched(io.RawIOBase):
    """A stream that reports how many bytes were read, and raises read errors as `MechtagError`."""

    def __init__(
        self, stream: Any, guard: Callable[[], AbstractContextManager[None]], on_read: Callable[[int], None]
    ) -> None:
        self._stream, self._guard, self._on_read = stream, guard, on_read

    def readable(self) -> bool:
        """Return ``True``, because the stream can always be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read bytes into the buffer, and return their number; 0 means that the stream has ended."""
        with self._guard():
            count: int = self._stream.readinto(buffer)
        self._on_read(count)
        return count

    def close(self) -> None:
        """Close this stream and the wrapped stream."""
        self._stream.close()
        super().close()


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Convert each `OSError` in the ``with`` block to a `MechtagError`, which states that ``path`` cannot be read."""
    try:
        yield
    except OSError as error:
        raise MechtagError(
            f"{path}: the file cannot be read: {error.strerror or error}; check its path and permissions"
        ) from None


class Survey(NamedTuple):
    """Result of reading a whole file.

    Attributes
    ----------
    parts
        Parts of the file, each with its encoding; more than one if files in different encodings were joined.
    size
        Size of the file in bytes.
    nuls
        Number of NUL bytes.
    """

    parts: tuple[Part, ...]
    size: int
    nuls: int


@dataclass
class Source:
    """A file to read, which may be in an archive.

    Attributes
    ----------
    path
        Path of the file. For a file in an archive: the path of the archive, followed by the name of the member.
    notes
        Irregularities of the file. The list is complete once the file has been read to its end.
    opener
        Function that opens the file in an archive; ``None`` for a separate file.
    packed
        Compressed size in the archive, in bytes; ``None`` for a separate file.
    on_read
        Function that is called while the text is read, with the number of bytes read since its last call. For a file in
        an archive, these are compressed bytes.
    """

    path: Path
    notes: list[str] = field(default_factory=list)
    opener: Callable[[], BinaryIO] | None = None
    packed: int | None = None
    on_read: Callable[[int], None] = lambda _: None

    def open(self) -> BinaryIO:
        """Open the file at its first byte."""
        with readable(self.path):
            return self.opener() if self.opener else self.path.open("rb", buffering=0)

    def _chunks(self, size: int = _CHUNK) -> Iterator[bytes]:
        with (
            self.open() as stream,
            io.BufferedReader(Watched(stream, partial(readable, self.path), lambda _: None), size) as watched,
        ):
            while chunk := watched.read(size):
                yield chunk

    @cached_property
    def start(self) -> bytes:
        """Return the first 64 KB of the file as bytes, for recognising binary formats."""
        return next(self._chunks(_HEAD), b"")

    @cached_property
    def data(self) -> bytes:
        """Return the bytes of the file, for formats that cannot be read line by line.

        Raises
        ------
        MechtagError
            If the file cannot be read, or has more than `LARGEST_WHOLE` bytes.
        """
        chunks, size = [], 0
        for chunk in self._chunks():
            size += len(chunk)
            self._refuse_large(size)
            chunks.append(chunk)
        return b"".join(chunks)

    @cached_property
    def members(self) -> tuple[str, ...]:
        """Return the names of the members of a zip archive.

        The result is ``()`` if the file is not a zip archive, or is damaged.

        Raises
        ------
        MechtagError
            If the file cannot be read, or has more than `LARGEST_WHOLE` bytes.
        """
        if not self.start.startswith(b"PK\x03\x04"):
            return ()
        try:
            with zipfile.ZipFile(io.BytesIO(self.data)) as archive:
                return tuple(archive.namelist())
        except (zipfile.BadZipFile, ValueError, NotImplementedError):
            return ()

    def _refuse_large(self, size: int) -> None:
        if size > LARGEST_WHOLE:
            raise MechtagError(
                f"{self.path}: the file is larger than {LARGEST_WHOLE >> 20} MB, the limit for a format that "
                "cannot be read line by line; export the results as several files"
            )

    @cached_property
    def survey(self) -> Survey:
        """Read the whole file once, find its encodings, and add notes on irregularities to ``notes``.

        Raises
        ------
        MechtagError
            If the file cannot be read, is empty, is binary, is a web page, or has a line of more than `LARGEST_WHOLE`
            bytes.
        """
        size = nuls = run = 0
        blank = True

        def surveyed() -> Iterator[bytes]:
            nonlocal size, nuls, run, blank
            for chunk in self._chunks():
                size, blank = size + len(chunk), blank and chunk.isspace()
                nuls += chunk.count(0) if 0 in chunk else 0  # Searching for the first one is faster.
                run = 0 if b"\n" in chunk or b"\r" in chunk else run + len(chunk)
                if run > LARGEST_WHOLE:
                    raise MechtagError(
                        f"{self.path}: the file has a line of more than {LARGEST_WHOLE >> 20} MB, so it is not a "
                        "search export; export the search results again"
                    )
                yield chunk

        chunks = surveyed()
        encoding = find_encoding(self.start, chunks)
        self._refuse_foreign(find_parts([self.start], encoding))
        for _ in chunks:  # the encoding may be known before the end
            pass
        if blank:
            raise MechtagError(f"{self.path}: the file is empty; save or export it again")
        # Without NULs, no part is UTF-16.
        parts = find_parts(self._chunks(), encoding) if nuls else (Part(0, encoding),)
        if len(parts) > 1 and parts[0].is_narrow:
            # The bytes of the next part say nothing about the first.
            end = parts[1].start
            parts = (Part(0, find_encoding(self.start[:end], first_bytes(self._chunks(), end))), *parts[1:])
        self.notes.extend(part.encoding.note for part in parts[:1] if part.encoding.note)
        for before, part in pairwise(parts):
            line = lines_before(part, self._chunks(), parts) + 1
            old, new = before.encoding.name.upper(), part.encoding.name.upper()
            self.notes.append(
                f"in or before line {line}, a byte of the {new} text is missing or superfluous; check the record there"
                if old == new
                else f"the encoding changes from {old} to {new} at line {line}; if the file was joined from several "
                "exports, read each export separately"
            )
        if nuls and all(part.is_narrow for part in parts):
            self.notes.append(
                f"{nuls} NUL bytes were ignored, because they do not occur in text; the file may be damaged"
            )
        return Survey(parts, size, nuls)

    def _refuse_foreign(self, parts: Sequence[Part]) -> None:
        head = "".join(decode([self.start], parts, cut=True))
        if self.start.startswith(b"%PDF") or len(_BINARY.findall(head)) > max(_FEW, _SHARE_OF_BINARY * len(head)):
            raise MechtagError(
                f"{self.path}: this is a binary file, not text (it starts with {self.start[:8]!r}); "
                "export search results as RIS, CSV, TSV or JSONL, and save tables as CSV or XLSX"
            )
        if _WEB_PAGE.match(head):
            raise MechtagError(
                f"{self.path}: this is a web page (HTML), such as a login page or a list of results, not an export. "
                "Use the database's export or download button, or save the page as text"
            )

    def _decoded(self) -> Iterator[str]:
        parts, size, nuls = self.survey
        share = 1 if self.packed is None else self.packed / size

        def watched() -> Iterator[bytes]:
            for chunk in self._chunks():
                self.on_read(round(len(chunk) * share))
                yield chunk

        for text in decode(watched(), parts):
            yield text.replace("\0", "") if nuls else text

    def lines(self) -> Iterator[str]:
        r"""Yield the lines of the file, each with ``\n`` at its end; the last line may have no ``\n``.

        Raises
        ------
        MechtagError
            If the file cannot be read as text; see `survey`.
        """
        begun: list[str] = []
        for text in self._decoded():
            *lines, rest = text.split("\n")
            if lines:
                lines[0] = "".join((*begun, lines[0]))
                begun.clear()
            for line in lines:
                yield line + "\n"
            begun.append(rest)
        if last := "".join(begun):
            yield last

    @cached_property
    def text(self) -> str:
        r"""Return the file as text with ``\n`` line ends, for formats that cannot be read line by line.

        Raises
        ------
        MechtagError
            If the file cannot be read as text (see `survey`), or has more than `LARGEST_WHOLE` bytes.
        """
        self._refuse_large(self.survey.size)
        return "".join(self._decoded())

    @cached_property
    def head(self) -> str:
        """Return the first 64 KB of the file as text; raise the same errors as `survey`."""
        return "".join(decode([self.start], self.survey.parts, cut=True)).replace("\0", "")

    def beginning(self, head: str) -> Source:
        """Return a copy of this source whose `head` is the given text.

        The format of the copy is recognised from the given text only.
        """
        part = Source(self.path, opener=self.opener)
        part.__dict__.update(start=self.start, head=head)
        return part
