"""Read text in any encoding from a file on disk or in an archive."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from mechtag.core.errors import MechtagError

# UTF-32 comes first, because its little-endian byte order mark begins with that of UTF-16.
_MARKS = (
    *((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be")),
    *((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")),
)
_MULTIBYTE = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
_HIGH = re.compile(rb"[\x80-\xff]")
# Patterns that no Western text has: an accented capital after a small letter ('cafŽ'), a symbol inside a
# word ('S‡nchez'), an undefined byte. Apostrophes and dashes may occur inside words.
_ODD = re.compile(r"(?<=[a-z])[À-ÖØ-ÞŒŠŽŸ](?![A-Z])|(?<=[A-Za-z])[‡†‰ˆ˜‹›¸¨¯´¬±µ¶∑∏π∫Ω√∂∆˙˚˝˛ˇ](?=[a-z])|\ufffd")
_FEWEST_ODD, _TIMES = 2, 10
_FEWEST_NULS = 8


class Encoding(NamedTuple):
    """Encoding of a file, and how to decode it.

    Attributes
    ----------
    name, errors
        Arguments of `bytes.decode`.
    mark
        Length of the byte order mark, which is not part of the text.
    note
        Note for the user; ``""`` if there is none.
    """

    name: str
    errors: str = "strict"
    mark: int = 0
    note: str = ""


def find_encoding(start: bytes, chunks: Iterable[bytes]) -> Encoding:
    """Detect the encoding of a file.

    A byte order mark determines the encoding. Without one, a NUL in every other byte means UTF-16, and a file
    that is valid UTF-8 throughout is UTF-8. Any other file is in an old 8-bit encoding or a mixture of encodings:
    it is read as Windows-1252 (which includes Latin-1), unless words would then have capitals and symbols in the
    middle but would not have them in MacRoman.

    Parameters
    ----------
    start
        The first 64 KB, or the whole file if it is smaller.
    chunks
        The whole file in pieces, which are read only as far as needed.
    """
    for mark, name in _MARKS:
        if start.startswith(mark):
            # Exports that were concatenated from several files are damaged only in places.
            errors = "mechtag-cp1252" if name == "utf-8" else "replace"
            bad = _first_bad_line(chunks) if name == "utf-8" else None
            note = f"the file is not UTF-8 from line {bad[0]} on; {_AS_CP1252}" if bad else ""
            return Encoding(name, errors, len(mark), note)
    if name := _utf16(start):
        return Encoding(
            name, "replace", 0, f"there is no byte order mark; read as {name.upper()}, because every other byte is NUL"
        )
    bad = _first_bad_line(chunks)
    return _eight_bit(*bad) if bad else Encoding("utf-8")


_AS_CP1252 = "invalid bytes were read as Windows-1252"


def _utf16(start: bytes) -> str:
    """Detect UTF-16 without a byte order mark by its NUL bytes; return its name, or ``""`` for other encodings."""
    even, odd = start[::2].count(0), start[1::2].count(0)
    if max(even, odd) < max(_FEWEST_NULS, len(start) / 20) or min(even, odd) * 50 > max(even, odd):
        return ""
    name = "utf-16-le" if odd > even else "utf-16-be"
    try:
        text = codecs.getincrementaldecoder(name)().decode(start)
    except UnicodeDecodeError:
        return ""
    return "" if re.search(r"[\x01-\x08\x0e-\x1f]", text) else name


def _first_bad_line(chunks: Iterable[bytes]) -> tuple[int, bytes] | None:
    """Return the line of the first byte that is not UTF-8, and the bytes around it; ``None`` if all are UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    line = 1
    pending = b""
    feed = iter(chunks)
    for chunk in feed:
        try:
            decoder.decode(chunk)
        except UnicodeDecodeError as error:
            # The position in ``error`` starts at bytes kept back by the decoder, which contain no line end.
            return line + error.object[: error.start].count(b"\n"), pending + chunk + next(feed, b"")
        line += chunk.count(b"\n")
        pending = decoder.getstate()[0]
    return (line, pending) if pending else None


def _eight_bit(line: int, sample: bytes) -> Encoding:
    multibyte = len(_MULTIBYTE.findall(sample))
    single = len(_HIGH.findall(_MULTIBYTE.sub(b"", sample)))
    if multibyte * _TIMES > single:
        return Encoding("utf-8", "mechtag-cp1252", 0, f"the file is not UTF-8 from line {line} on; {_AS_CP1252}")
    windows, mac = (
        _ODD.findall(sample.decode(name, errors="replace").replace("\xad", "")) for name in ("cp1252", "mac_roman")
    )
    if len(windows) >= _FEWEST_ODD and len(mac) * _TIMES <= len(windows):
        return Encoding(
            *("mac_roman", "strict", 0),
            f"the file is not UTF-8 and was read as MacRoman, because in Windows-1252 {len(windows)} words would have "
            "capitals or symbols in the middle; if names look wrong, export the file again as UTF-8",
        )
    return Encoding("cp1252", "replace", 0, f"the file is not UTF-8 from line {line} on; {_AS_CP1252}")


def _as_cp1252(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return error.object[error.start : error.end].decode("cp1252", errors="replace"), error.end


codecs.register_error("mechtag-cp1252", _as_cp1252)


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
        """Return that the stream can be read, which is always true."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read bytes into the buffer until it is full or the stream ends; return the number of bytes read."""
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
    """Convert errors that occur in this context when ``path`` is read to `MechtagError`."""
    try:
        yield
    except OSError as error:
        raise MechtagError(
            f"{path}: the file cannot be read: {error.strerror or error}; check its path and permissions"
        ) from None


class Survey(NamedTuple):
    """Results of one pass over a file: its encoding, unpacked size in bytes, and number of stray NULs."""

    encoding: Encoding
    size: int
    nuls: int


@dataclass
class Source:
    """A file to read, which may be in an archive.

    Attributes
    ----------
    path
        Path of the file; in an archive, the path of the archive followed by the member's name.
    notes
        Notes on irregularities of the whole file; complete once the file has been read to its end.
    opener
        Function that opens the file, if it is in an archive.
    packed
        Compressed size in an archive, in bytes; ``None`` for a separate file.
    on_read
        Function that is called while the text is read, with the number of bytes on disk that were read.
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
        """Return the file's bytes, for formats that cannot be read line by line.

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

    def _refuse_large(self, size: int) -> None:
        if size > LARGEST_WHOLE:
            raise MechtagError(
                f"{self.path}: the file is larger than {LARGEST_WHOLE >> 20} MB, the limit for a format that "
                "cannot be read line by line; export the results in parts"
            )

    @cached_property
    def survey(self) -> Survey:
        """Examine the whole file and add its irregularities to ``notes``.

        Raises
        ------
        MechtagError
            If the file is empty or is not text.
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
        self._refuse_foreign(encoding)
        for _ in chunks:  # the encoding may be known before the end
            pass
        if blank:
            raise MechtagError(f"{self.path}: the file is empty; save or export it again")
        nuls = 0 if encoding.name.startswith(("utf-16", "utf-32")) else nuls
        if encoding.note:
            self.notes.append(encoding.note)
        if nuls:
            self.notes.append(
                f"{nuls} NUL bytes were ignored, because they do not occur in text; the file may be damaged"
            )
        return Survey(encoding, size, nuls)

    def _refuse_foreign(self, encoding: Encoding) -> None:
        head = self.start[encoding.mark :].decode(encoding.name, errors="replace")
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
        """Yield the text of the file in pieces, with line feeds as line ends."""
        encoding, size, nuls = self.survey
        share = 1 if self.packed is None else self.packed / size
        decoder = io.IncrementalNewlineDecoder(
            codecs.getincrementaldecoder(encoding.name)(encoding.errors), translate=True
        )
        mark = encoding.mark
        for chunk in chain(self._chunks(), [b""]):
            self.on_read(round(len(chunk) * share))
            text = decoder.decode(chunk[mark:], final=not chunk)
            yield text.replace("\0", "") if nuls else text
            mark = 0

    def lines(self) -> Iterator[str]:
        r"""Yield the lines of the file one by one, each ending in ``\n`` except perhaps the last.

        Raises
        ------
        MechtagError
            For the same reasons as in `survey`.
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
            For the same reasons as in `survey`, or because the file has more than `LARGEST_WHOLE` bytes.
        """
        self._refuse_large(self.survey.size)
        return "".join(self._decoded())

    @cached_property
    def head(self) -> str:
        """Return the first 64 KB of the file as text, to recognise its format; raises the same errors as `survey`."""
        encoding = self.survey.encoding
        decoder = codecs.getincrementaldecoder(encoding.name)(encoding.errors)
        head = decoder.decode(self.start[encoding.mark :])
        return head.replace("\0", "").replace("\r\n", "\n").replace("\r", "\n")

    def beginning(self, head: str) -> Source:
        """Return a source for the same file whose ``head`` is the given text."""
        part = Source(self.path, opener=self.opener)
        part.__dict__.update(start=self.start, head=head)
        return part
