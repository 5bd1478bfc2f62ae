"""In which encoding a file is: what its bytes say, and a rule with evidence where they do not."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable
from typing import NamedTuple

# UTF-32 first: the mark of its little-endian form begins with that of UTF-16.
_MARKS = (
    *((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be")),
    *((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")),
)
_MULTIBYTE = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
_HIGH = re.compile(rb"[\x80-\xff]")
# What no Western text has: a capital with an accent after a small letter ('cafŽ'), a symbol inside a
# word ('S‡nchez'), a byte that stands for nothing. Apostrophes and dashes do stand inside words.
_ODD = re.compile(r"(?<=[a-z])[À-ÖØ-ÞŒŠŽŸ](?![A-Z])|(?<=[A-Za-z])[‡†‰ˆ˜‹›¸¨¯´¬±µ¶∑∏π∫Ω√∂∆˙˚˝˛ˇ](?=[a-z])|\ufffd")
_FEWEST_ODD, _TIMES = 2, 10
_FEWEST_NULS = 8


class Encoding(NamedTuple):
    """How to decode a file.

    Attributes
    ----------
    name, errors
        For `bytes.decode`.
    mark
        Length of the byte order mark, which is no text.
    note
        What to tell the user, or ``""``.
    """

    name: str
    errors: str = "strict"
    mark: int = 0
    note: str = ""


def find_encoding(start: bytes, chunks: Iterable[bytes]) -> Encoding:
    """Tell the encoding of a file.

    A byte order mark decides; else a NUL in every other byte means UTF-16; else the file
    is UTF-8 if all of it can be. Otherwise it is an old 8-bit encoding, or a mixture: as
    Windows-1252 (of which Latin-1 is a part), unless that reading puts capitals and
    symbols into the middle of words and MacRoman does not.

    Parameters
    ----------
    start
        The first bytes, 64K or all there are.
    chunks
        The whole file; read only as far as needed.
    """
    for mark, name in _MARKS:
        if start.startswith(mark):
            # Exports that were put together from several files are damaged in places.
            errors = "mechtag-cp1252" if name == "utf-8" else "replace"
            bad = _first_bad_line(chunks) if name == "utf-8" else None
            note = f"not UTF-8 from line {bad[0]} on; {_AS_CP1252}" if bad else ""
            return Encoding(name, errors, len(mark), note)
    if name := _utf16(start):
        return Encoding(name, "replace", 0, f"no byte order mark; read as {name.upper()}, for every other byte is NUL")
    bad = _first_bad_line(chunks)
    return _eight_bit(*bad) if bad else Encoding("utf-8")


_AS_CP1252 = "the bytes that are not were read as Windows-1252"


def _utf16(start: bytes) -> str:
    """Name of the form of UTF-16 without a mark, or ``""``; tags, commas and line ends give the NULs."""
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
    """Line of the first byte that is not UTF-8, and the bytes around it, a chunk after it among them."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    line = 1
    pending = b""
    feed = iter(chunks)
    for chunk in feed:
        try:
            decoder.decode(chunk)
        except UnicodeDecodeError as error:
            # ``error`` counts from bytes that the decoder had kept back, which hold no line end.
            return line + error.object[: error.start].count(b"\n"), pending + chunk + next(feed, b"")
        line += chunk.count(b"\n")
        pending = decoder.getstate()[0]
    return (line, pending) if pending else None


def _eight_bit(line: int, sample: bytes) -> Encoding:
    multibyte = len(_MULTIBYTE.findall(sample))
    single = len(_HIGH.findall(_MULTIBYTE.sub(b"", sample)))
    if multibyte * _TIMES > single:
        return Encoding("utf-8", "mechtag-cp1252", 0, f"not UTF-8 from line {line} on; {_AS_CP1252}")
    windows, mac = (
        _ODD.findall(sample.decode(name, errors="replace").replace("\xad", "")) for name in ("cp1252", "mac_roman")
    )
    if len(windows) >= _FEWEST_ODD and len(mac) * _TIMES <= len(windows):
        return Encoding(
            *("mac_roman", "strict", 0),
            f"not UTF-8; read as MacRoman, because as Windows-1252 {len(windows)} words would have "
            "capitals or symbols in the middle; if names look wrong, export again as UTF-8",
        )
    return Encoding("cp1252", "replace", 0, f"not UTF-8 from line {line} on; {_AS_CP1252}")


def _as_cp1252(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return error.object[error.start : error.end].decode("cp1252", errors="replace"), error.end


codecs.register_error("mechtag-cp1252", _as_cp1252)
