"""What every reader shares: a file's text, the entries in it, and the form of a reader."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.errors import MechtagError

_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
# Control characters that no text has; tab, line ends, form feed and DOS end-of-file are harmless.
_BINARY = re.compile(r"[\x00-\x08\x0e-\x19\x1b-\x1f]")
_SHARE_OF_BINARY, _FEW = 0.01, 8
_HEAD = 65536


@dataclass(frozen=True, slots=True)
class Entry:
    """One record as it stands in a file.

    Attributes
    ----------
    number, line
        Of the record in the file and of its first line, from 1.
    fields
        Names and values in file order; a repeated field is a repeated pair. Values are
        whatever JSON can hold.
    fault
        Why the entry cannot be read at all, or ``""``.
    notes
        What was odd about it, though it was read.
    """

    number: int
    line: int
    fields: Sequence[tuple[str, Any]]
    fault: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Format:
    """How one file format is told from others, read, and mapped to the record contract.

    Attributes
    ----------
    recognise
        Whether a file is of this format, by its content.
    read
        Cut the file into entries without judging them.
    clean
        Map the fields of an entry to attributes of `pipeline.records.Record`; lists for
        ``authors`` and ``keywords``, text or ``None`` for the others.
    """

    name: str
    recognise: Callable[[Source], bool]
    read: Callable[[Source], Iterator[Entry]]
    clean: Callable[[Sequence[tuple[str, Any]]], Mapping[str, Any]]


@dataclass
class Source:
    """A file to read.

    Attributes
    ----------
    path
        Where it is.
    notes
        What was odd about the file as a whole, after ``text`` was read.
    """

    path: Path
    notes: list[str] = field(default_factory=list)

    @cached_property
    def data(self) -> bytes:
        """The file's bytes."""
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise MechtagError(f"{self.path}: cannot be read: {error.strerror}") from None

    @property
    def start(self) -> bytes:
        """The first 64K bytes, enough to recognise a binary format."""
        return self.data[:_HEAD]

    def lines(self) -> Iterator[str]:
        r"""Lines of `text`, each with ``\n`` at its end except perhaps the last."""
        return iter(io.StringIO(self.text))

    @cached_property
    def text(self) -> str:
        r"""The file as text with ``\n`` line ends.

        UTF-8 or UTF-16; bytes that are not UTF-8 are taken for Windows-1252 one by one,
        so that a damaged or mixed file loses no more than those.

        Raises
        ------
        MechtagError
            The file is empty or is not text.
        """
        data = self.data
        if not data.strip():
            raise MechtagError(f"{self.path}: the file is empty; export the search results again")
        if data.startswith(_UTF16):
            text = data.decode("utf-16", errors="replace")
        else:
            text = self._decode(data)
        head = text[:_HEAD]
        if "\0" in text or len(_BINARY.findall(head)) > max(_FEW, _SHARE_OF_BINARY * len(head)):
            raise MechtagError(
                f"{self.path}: a binary file, not text (it starts with {data[:8]!r}); "
                "export the search results as RIS, CSV, TSV or JSONL"
            )
        return text.replace("\r\n", "\n").replace("\r", "\n")

    def _decode(self, data: bytes) -> str:
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
        self.notes.append(f"not UTF-8 from line {line} on; the bytes that are not were read as Windows-1252")
        return data.decode("utf-8-sig", errors="mechtag-cp1252")

    @property
    def head(self) -> str:
        """The first 64K characters, enough to recognise a format."""
        return self.text[:_HEAD]


def _as_cp1252(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return error.object[error.start : error.end].decode("cp1252", errors="replace"), error.end


codecs.register_error("mechtag-cp1252", _as_cp1252)
