"""Detect the encoding of a file, and decode the file; the parts of a file may have different encodings."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import NamedTuple

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
# Number of pieces of a file, after its first odd byte, by which the encoding is judged.
_MOST_EXAMINED = 256


class Encoding(NamedTuple):
    """The encoding of a file, and the arguments for decoding the file.

    Attributes
    ----------
    name, errors
        Arguments ``encoding`` and ``errors`` of `bytes.decode`.
    mark
        Length of the byte order mark in bytes; the mark is not part of the text.
    note
        Note for the user if something about the encoding is unusual, otherwise ``""``.
    """

    name: str
    errors: str = "strict"
    mark: int = 0
    note: str = ""


_SWAPPED = {"utf-16-le": "utf-16-be", "utf-16-be": "utf-16-le"}
_ASCII_START = re.compile(rb"[\t\n\r -~]{6}")
_LATIN_CHARACTER = re.compile(r"[\t\n\r -~]")
# Characters that are not text, and ASCII within a word of another script.
_IMPLAUSIBLE = re.compile(
    r"[\x00-\x08\x0e-\x1f\ue000-\uf8ff\ufffd-\uffff]|(?<=[^\x00-\u02ff])[0-9A-Za-z@]|[0-9A-Za-z@](?=[^\x00-\u02ff])"
)
_UNLIKELY = 4


def find_encoding(start: bytes, chunks: Iterable[bytes]) -> Encoding:
    """Detect the encoding of a file.

    If the file has a byte order mark, the mark determines the encoding. Otherwise, the encoding is the first of these
    that fits:

    1. UTF-16, if every other byte is NUL.
    2. UTF-8, if all bytes are valid UTF-8, or if many of the non-ASCII characters are valid UTF-8. Invalid bytes are
       then read as Windows-1252.
    3. MacRoman, if Windows-1252 would put capitals and symbols in the middle of words, and MacRoman would not.
    4. Windows-1252, which includes Latin-1.

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
            bad = _first_bad_line(iter(chunks)) if name == "utf-8" else None
            note = f"the file is not UTF-8 from line {bad[0]} on; {_AS_CP1252}" if bad else ""
            return Encoding(name, errors, len(mark), note)
    if name := _utf16(start):
        return Encoding(
            *(name, "replace", 0),
            f"the file has no byte order mark and was read as {name.upper()}, because every other byte is NUL",
        )
    feed = iter(chunks)
    bad = _first_bad_line(feed)
    # A part of a file that was joined from several may be UTF-8.
    if bad:
        return _eight_bit(*bad, islice(feed, _MOST_EXAMINED))
    # If UTF-16 follows, the part before it may end within a character.
    return Encoding("utf-8", "mechtag-cp1252")


_AS_CP1252 = "invalid bytes were read as Windows-1252"


def _utf16(start: bytes) -> str:
    """Return ``utf-16-le`` or ``utf-16-be`` if bytes are UTF-16 text without a byte order mark, otherwise ``""``."""
    # In UTF-16, one of the two bytes of a Latin letter is NUL.
    even, odd = start[::2].count(0), start[1::2].count(0)
    if max(even, odd) < max(_FEWEST_NULS, len(start) / 20) or min(even, odd) * 50 > max(even, odd):
        return ""
    name = "utf-16-le" if odd > even else "utf-16-be"
    # Text of 8 bits may precede UTF-16, which `find_parts` finds, or the first byte may be missing.
    if _ASCII_START.match(start) or _plausible(start[1:], _SWAPPED[name]) > _plausible(start, name):
        return ""
    try:
        text = codecs.getincrementaldecoder(name)().decode(start)
    except UnicodeDecodeError:
        return ""
    return "" if re.search(r"[\x01-\x08\x0e-\x1f]", text) else name


def _plausible(sample: bytes, name: str) -> int:
    """Rate how plausible it is that bytes are text in the encoding ``name``; a higher number is more plausible."""
    # In the wrong byte order, Latin letters, spaces and line ends would be read as other characters.
    text = sample[: len(sample) // 2 * 2].decode(name, errors="replace")
    return len(_LATIN_CHARACTER.findall(text)) - _UNLIKELY * len(_IMPLAUSIBLE.findall(text))


def _first_bad_line(feed: Iterator[bytes]) -> tuple[int, bytes, int] | None:
    """Find the first line that is not valid UTF-8; return ``None`` if all lines are valid.

    Otherwise, return the number of the line, some bytes around the error, and the number of UTF-8 continuation bytes
    in the pieces of ``feed`` before the error.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    line, multibyte = 1, 0
    pending = b""
    for chunk in feed:
        try:
            multibyte += len(chunk) - len(decoder.decode(chunk))
        except UnicodeDecodeError as error:
            # The position in ``error`` starts at bytes kept back by the decoder, which contain no line end.
            return line + error.object[: error.start].count(b"\n"), pending + chunk + next(feed, b""), multibyte
        line += chunk.count(b"\n")
        pending = decoder.getstate()[0]
    return (line, pending, multibyte) if pending else None


def _eight_bit(line: int, sample: bytes, multibyte: int, rest: Iterable[bytes]) -> Encoding:
    single = 0
    for chunk in chain([sample], rest):
        others, count = _MULTIBYTE.subn(b"", chunk)
        multibyte += count
        single += len(_HIGH.findall(others))
    if multibyte * _TIMES > single:
        return Encoding("utf-8", "mechtag-cp1252", 0, f"the file is not UTF-8 from line {line} on; {_AS_CP1252}")
    windows, mac = (
        _ODD.findall(sample.decode(name, errors="replace").replace("\xad", "")) for name in ("cp1252", "mac_roman")
    )
    if len(windows) >= _FEWEST_ODD and len(mac) * _TIMES <= len(windows):
        return Encoding(
            *("mac_roman", "strict", 0),
            "the file is not UTF-8 and was read as MacRoman, because reading it as Windows-1252 would put capitals or "
            f"symbols inside words in at least {len(windows):,} places; if names look wrong, export the file again as "
            "UTF-8",
        )
    return Encoding("cp1252", "replace", 0, f"the file is not UTF-8 from line {line} on; {_AS_CP1252}")


def _as_cp1252(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return error.object[error.start : error.end].decode("cp1252", errors="replace"), error.end


codecs.register_error("mechtag-cp1252", _as_cp1252)


class Part(NamedTuple):
    """A part of a file that has the same encoding throughout.

    The part begins at the offset ``start`` and ends where the next part begins. If the part has a byte order mark, the
    mark is included.
    """

    start: int
    encoding: Encoding

    @property
    def is_narrow(self) -> bool:
        """Return whether the encoding is UTF-8 or an 8-bit encoding; text in these encodings contains no NULs."""
        return not self.encoding.name.startswith(("utf-16", "utf-32"))


# Latin characters in UTF-16: so many of them, or fewer after a byte order mark, are no accident. In 8-bit text, which
# has no NULs, fewer are sufficient.
_LATIN = rb"[\t\n\r -~]"


def _wide(latin: bytes, fewest: int) -> dict[str, re.Pattern[bytes]]:
    return {
        "utf-16-le": re.compile(rb"\xff\xfe(?:%b\x00){4,}|(?:%b\x00){%d,}" % (_LATIN, latin, fewest)),
        "utf-16-be": re.compile(rb"\xfe\xff(?:\x00%b){4,}|(?:\x00%b){%d,}" % (_LATIN, latin, fewest)),
    }


_WIDE, _WIDE_LINE = _wide(_LATIN, 16), _wide(rb"[\t\n\r -~\xa0-\xff]", 4)
# The start of two characters to which the bytes of a line end belong, or, in the group, of the second of them.
_SHIFTED_END = {
    "utf-16-le": re.compile(rb"(?=\x00\n)|(?=[^\x00]\n\x00%b)" % _LATIN, re.S),
    "utf-16-be": re.compile(rb"(?=(\n)\x00)|(?=%b\x00\n)" % _LATIN, re.S),
}
_FOREIGN = re.compile(r"[^\x00-\u02ff]")
# Text of 8 bits within UTF-16, where Latin letters, spaces and line ends contain NULs; shorter lines begin with a tag.
_FEWEST_NARROW = 24
_NARROW = re.compile(rb"[^\x00]{%d,}|(?<=[\x00\n])[A-Z][A-Z0-9 ]{1,3} ?- [\t -~]*\r?\n" % _FEWEST_NARROW)
# Words, not letters alone: the bytes of some texts of 16 bits are all letters.
_ASCII_LINE = re.compile(rb"(?=[\t -~]{24})(?=[A-Za-z]{0,23}[^A-Za-z])(?:[^A-Za-z]{0,2}[A-Za-z]){12}")
# Bytes at the end of a piece that are examined again with the next piece, and bytes of a part by which it is judged.
_OVERLAP, _SAMPLE, _COMPARED = 2048, 1024, 4096
# A file with more parts was probably made to cause harm, because finding each part takes time.
_MOST_PARTS = 1000
_FEWEST_LETTERS, _MOST_INVALID = 0.55, 0.2
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x19\x1b-\x1f]")


def find_parts(chunks: Iterable[bytes], encoding: Encoding) -> tuple[Part, ...]:
    """Divide a file into parts, so that each part has one encoding.

    A new part begins where the file changes between UTF-16 and another encoding, or between the two byte orders of
    UTF-16. For example, the program ``cat`` may have joined files in different encodings.

    Parameters
    ----------
    chunks
        The file in pieces.
    encoding
        Encoding that was detected at the start of the file. It is the encoding of the first part, unless the bytes
        show otherwise.
    """
    parts = [Part(0, encoding)]
    if encoding.name.startswith("utf-32"):
        return tuple(parts)
    data, offset = b"", 0
    for chunk in chunks:
        data += chunk
        place = max(parts[-1].start - offset, 0)
        while len(parts) < _MOST_PARTS and (found := _next_part(data, offset, place, parts[-1])):
            if found.start == parts[-1].start:
                parts.pop()
            parts.append(found)
            place = found.start - offset
        done = max(len(data) - _OVERLAP, 0)
        data, offset = data[done:], offset + done
    return tuple(parts)


def _next_part(data: bytes, offset: int, place: int, part: Part) -> Part | None:
    """Return the next part of a file after ``part``, if it begins in ``data``; otherwise, return ``None``.

    A part begins where the encoding changes, and after a missing or superfluous byte in UTF-16.
    """
    # ``place`` is the position in ``data`` from which to search; ``offset`` is the offset of ``data`` in the file.
    found = [_next_wide(data, offset, place, part, name) for name in _WIDE if name != part.encoding.name]
    if not part.is_narrow:
        found += [_next_narrow(data, offset, place, part), _next_shifted(data, offset, place, part)]
    return min(filter(None, found), key=lambda next_part: next_part.start, default=None)


def _next_wide(data: bytes, offset: int, place: int, part: Part, name: str) -> Part | None:
    for found in (_WIDE_LINE if part.is_narrow else _WIDE)[name].finditer(data, place):
        start, mark = found.start(), 2 * found[0].startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        # Within UTF-16, the bytes of which characters consist look like those of the other order from one byte on.
        if not part.is_narrow and (offset + start - part.start) % 2:
            continue
        # From one byte on, Latin letters are the same in the other byte order.
        here, there = (
            _plausible(data[first : first + _COMPARED], order)
            for first, order in ((start, name), (start + 1, _SWAPPED[name]))
        )
        if not mark and there > here:
            name, start = _SWAPPED[name], start + 1
        # After text of 8 bits, its last line end and the first NUL of 'utf-16-be' look like a character.
        if part.is_narrow and name == "utf-16-le" and found[0].startswith((b"\n", b"\r")) and there == here:
            continue
        start = _line_start(data, place, start, name) if part.is_narrow and not mark else start
        return Part(offset + start, Encoding(name, "replace", mark))
    return None


def _line_start(data: bytes, place: int, start: int, name: str) -> int:
    """Return the position at which a line of UTF-16 text begins.

    ``start`` is the position of the first Latin letters of the line; letters of a different script may precede them.
    """
    end = data.rfind(b"\n", max(place, start - _OVERLAP), start)
    before = data[end + 1 : start].decode(name, errors="replace")
    foreign = _FOREIGN.search(before) and not _IMPLAUSIBLE.search(before)
    return end + 1 if end >= 0 and foreign and (start - end) % 2 else start


def _next_shifted(data: bytes, offset: int, place: int, part: Part) -> Part | None:
    """Find the part that begins after a missing or superfluous byte in UTF-16 text; return ``None`` if there is none.

    The wrong byte is recognised only at a later line end, so the part begins at this line end.
    """
    # From the error on, characters are read one byte too early or too late, so the two bytes of a line end are read as
    # parts of two characters. If a Latin letter is next to the line end, one of these characters is U+0A00, which does
    # not exist, or an isolated character of an Indian script.
    for found in _SHIFTED_END[part.encoding.name].finditer(data, place):
        start = found.end() + 1 if found.lastindex is None else found.start() - 1
        if (offset + start - part.start) % 2 and offset + start > part.start:
            return Part(offset + start, Encoding(part.encoding.name, "replace"))
    return None


def _next_narrow(data: bytes, offset: int, place: int, part: Part) -> Part | None:
    for found in _NARROW.finditer(data, place):
        # A character of UTF-16 has two bytes.
        start = found.start() + (offset + found.start() - part.start) % 2
        # A byte before a NUL may be the first byte of a line end in 'utf-16-le'.
        end = found.end() - (found.end() < len(data))
        sample = data[start : min(end, start + _SAMPLE)]
        # After the first line, text of 16 bits without NULs may follow.
        tag_line = len(found[0]) < _FEWEST_NARROW
        if tag_line or _is_narrow(sample) or _is_narrow(sample[: sample.find(b"\n") + 1]) or _ASCII_LINE.match(sample):
            mark = next((len(mark) for mark, _ in _MARKS if data.startswith(mark, start)), 0)
            return Part(offset + start, Encoding("utf-8", "mechtag-cp1252", mark))
    return None


def _is_narrow(sample: bytes) -> bool:
    """Return whether bytes look like lines of text in UTF-8 or an 8-bit encoding."""
    if len(sample) < _FEWEST_NARROW:
        return False
    text = sample.decode("utf-8", errors="mechtag-cp1252")
    letters = sum(char.isalpha() or char == " " for char in text)
    return (
        ("\n" in text or "\r" in text)
        and not _CONTROL.search(text)
        and letters >= _FEWEST_LETTERS * len(text)
        and sample.decode("utf-8", errors="replace").count("\ufffd") <= _MOST_INVALID * len(sample)
    )


def decode(chunks: Iterable[bytes], parts: Sequence[Part], *, cut: bool = False) -> Iterator[str]:
    r"""Yield the text of a file in pieces, with ``\n`` as line ends and without byte order marks.

    Parameters
    ----------
    chunks
        The bytes of the file in pieces.
    parts
        Parts of the file; see `find_parts`.
    cut
        Whether ``chunks`` are only the beginning of the file. The last piece may then end within a character.
    """
    waiting = list(reversed(parts))
    decoder, text_start, offset = _decoder(parts[0].encoding), 0, 0
    for chunk in chunks:
        place = 0
        while place < len(chunk):
            if waiting and offset + place == waiting[-1].start:
                yield decoder.decode(b"", final=True)
                start, encoding = waiting.pop()
                decoder, text_start = _decoder(encoding), start + encoding.mark
            end = min(len(chunk), waiting[-1].start - offset) if waiting else len(chunk)
            yield decoder.decode(chunk[max(place, min(text_start - offset, end)) : end])
            place = end
        offset += len(chunk)
    if not cut:
        yield decoder.decode(b"", final=True)


def _decoder(encoding: Encoding) -> io.IncrementalNewlineDecoder:
    return io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(encoding.name)(encoding.errors), translate=True)


def lines_before(part: Part, chunks: Iterable[bytes], parts: Sequence[Part]) -> int:
    """Return the number of line ends in a file before the part ``part``."""
    before = [other for other in parts if other.start < part.start]
    return sum(text.count("\n") for text in decode(first_bytes(chunks, part.start), before))


def first_bytes(chunks: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Yield the first ``size`` bytes of a file in pieces; ``chunks`` are the pieces of the whole file."""
    for chunk in chunks:
        yield chunk[:size]
        if size <= len(chunk):
            return
        size -= len(chunk)
