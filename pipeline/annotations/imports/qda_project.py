"""Read the sources and codings of a REFI-QDA project (``.qdpx``), without unpacking it to disk."""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from mechtag.core.errors import MechtagError
from mechtag.core.source import Source
from mechtag.pipeline.fulltext.xml import child_of, children, every, parse, text_of
from mechtag.pipeline.reading.archives import refuse_bomb
from mechtag.pipeline.reading.tagged import Entry

_FAULTS = (
    *(zipfile.BadZipFile, zlib.error, KeyError),
    *(NotImplementedError, RuntimeError, EOFError, OSError, ValueError),
)
_INTERNAL = "internal://"
# How far a position may be off, in characters, because programs count line ends differently.
_OFF = 50
_LONG_ENOUGH = 5


class QdaCoding(NamedTuple):
    """A coding of a passage, or of a whole source.

    Attributes
    ----------
    path
        Names from the root of the code tree to the code.
    sets
        Names of the sets to which the code belongs; users group codes in sets.
    quote
        Text of the passage. If the whole source was coded, ``quote`` is the text of the user's note on the coding, or
        ``""`` if there is no note.
    """

    path: tuple[str, ...]
    coder: str
    date: str
    quote: str
    sets: tuple[str, ...] = ()


class QdaSource(NamedTuple):
    """A source (text) of a REFI-QDA project, with the codings and variables of the source.

    Attributes
    ----------
    variables
        Values of the variables of the source and of the case to which it belongs, keyed by the name of the variable.
    users
        Names of all users of the project.
    codes
        All codes of the project. Each code is the path of names from the root of the code tree.
    """

    name: str
    text: str
    codings: tuple[QdaCoding, ...]
    variables: Mapping[str, str]
    users: tuple[str, ...]
    codes: tuple[tuple[str, ...], ...]


def recognise(source: Source) -> bool:
    """Return whether a file is a REFI-QDA project, which is a zip archive with a file ``*.qde``."""
    return any(name.endswith(".qde") for name in source.members)


def read(source: Source) -> Iterator[Entry]:
    """Yield one entry per source, including sources without text. The only field of an entry is a `QdaSource`.

    Raises
    ------
    MechtagError
        If the archive or its project file is damaged or suspiciously large.
    """
    with _opened(source) as archive:
        yield from _Project(_root(source, archive), archive).entries()


def read_root(source: Source) -> Any:
    """Return the root element of the project file; raise the same errors as `read`."""
    with _opened(source) as archive:
        return _root(source, archive)


def _root(source: Source, archive: zipfile.ZipFile) -> Any:
    name = next(name for name in archive.namelist() if name.endswith(".qde"))
    return parse(archive.read(name), f"{source.path}: {name}")


@contextmanager
def _opened(source: Source) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(io.BytesIO(source.data)) as archive:
            refuse_bomb(source.path, sum(info.file_size for info in archive.infolist()), len(source.data))
            yield archive
    except _FAULTS as error:
        raise MechtagError(
            f"{source.path}: the file is not readable as a REFI-QDA project: {error}; export the project again"
        ) from None


class _Fault(Exception):
    """Raised if the text of a source, or a passage that a coder selected in it, cannot be read."""


@dataclass
class _Project:
    root: Any
    archive: zipfile.ZipFile

    def __post_init__(self) -> None:
        self._users = {_guid(user): user.get("name") or user.get("id") or "" for user in every(self.root, "User")}
        self._codes: dict[str, tuple[str, ...]] = {}
        for codebook in children(self.root, "CodeBook"):
            for codes in children(codebook, "Codes"):
                self._add_codes(codes, ())
        self._sets: dict[str, list[str]] = {}
        for one in every(self.root, "Set"):
            for member in children(one, "MemberCode"):
                self._sets.setdefault(_target(member), []).append(" ".join((one.get("name") or "").split()))
        names = {_guid(variable): variable.get("name", "") for variable in every(self.root, "Variable")}
        self._notes = {_guid(note): self._content(note) for note in every(self.root, "Note")}
        self._variables: dict[str, dict[str, str]] = {}
        for case in every(self.root, "Case"):
            for reference in children(case, "SourceRef"):
                self._variables.setdefault(_target(reference), {}).update(_values(case, names))
        self._names = names

    def _add_codes(self, parent: Any, path: tuple[str, ...]) -> None:
        for code in children(parent, "Code"):
            own = (*path, " ".join((code.get("name") or "").split()))
            self._codes[_guid(code)] = own
            self._add_codes(code, own)

    def entries(self) -> Iterator[Entry]:
        sources = child_of(self.root, "Sources")
        for number, element in enumerate(() if sources is None else sources, start=1):
            fault, found = "", None
            try:
                found = self._source(element)
            except _Fault as error:
                fault = str(error)
            yield Entry(number, element.sourceline or 1, [("source", found)], fault)

    def _source(self, element: Any) -> QdaSource:
        inner = child_of(element, "Representation")
        holder = element if inner is None else inner
        raw = self._content(holder)
        codings = []
        selections = (*children(holder, "PlainTextSelection"), *children(element, "PDFSelection"))
        coded = [(selection, codes) for selection in selections if (codes := list(children(selection, "Coding")))]
        counting = _counting([selection for selection, _ in coded], raw)
        for selection, codes in coded:
            quote = _passage(selection, raw, counting)
            codings += [self._coding(code, quote) for code in codes]
        codings += [
            self._coding(code, "")
            for holding in dict.fromkeys((element, holder))
            for code in children(holding, "Coding")
        ]
        return QdaSource(
            name=element.get("name") or "",
            text=_lines(raw),
            codings=tuple(codings),
            variables={**self._variables.get(_guid(element), {}), **_values(element, self._names)},
            users=tuple(self._users.values()),
            codes=tuple(self._codes.values()),
        )

    def _coding(self, element: Any, quote: str) -> QdaCoding:
        code = _target(child_of(element, "CodeRef"))
        noted = (self._notes.get(_target(note), "") for note in children(element, "NoteRef"))
        return QdaCoding(
            path=self._codes.get(code, (f"code {code}",)),
            coder=self._users.get((element.get("creatingUser") or "").strip("{}").upper(), ""),
            date=(element.get("creationDateTime") or "")[:10],
            quote=quote or next(filter(None, noted), ""),
            sets=tuple(self._sets.get(code, ())),
        )

    def _content(self, element: Any) -> str:
        """Return the plain text of a source or note."""
        inside = child_of(element, "PlainTextContent")
        if inside is not None:
            return text_of(inside)
        path = element.get("plainTextPath") or ""
        if not path.startswith(_INTERNAL):
            return ""
        name = path.removeprefix(_INTERNAL)
        members = {member.casefold(): member for member in self.archive.namelist()}
        member = members.get(f"sources/{name}".casefold()) or members.get(name.casefold())
        if member is None:
            raise _Fault(
                f"the archive lacks the file with the text of this source, {path[:100]!r}; export the project again"
            )
        try:
            return self.archive.read(member).decode("utf-8-sig")
        except UnicodeDecodeError:
            raise _Fault(
                f"the text of this source, in the file {path[:100]!r}, is not in UTF-8; export the project again"
            ) from None


def _guid(element: Any) -> str:
    return (element.get("guid") or "").strip("{}").upper()


def _target(element: Any) -> str:
    return "" if element is None else (element.get("targetGUID") or "").strip("{}").upper()


def _values(element: Any, names: Mapping[str, str]) -> dict[str, str]:
    """Return the values of all variables of an XML element (a case or a source), keyed by variable name."""
    found = {}
    for value in children(element, "VariableValue"):
        reference = child_of(value, "VariableRef")
        name = names.get(_target(reference), "")
        content = " ".join(text_of(one) for one in value if one is not reference)
        found[name] = " ".join(content.split())
    return found


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


class _Counting(NamedTuple):
    """A way in which a program counts the characters of a text.

    Attributes
    ----------
    text
        The text; a line end may have one character or two.
    utf16
        Whether positions count UTF-16 code units, of which an emoji has two, instead of code points.
    """

    text: str
    utf16: bool = False

    def passage(self, start: int, end: int) -> str:
        """Return the text from one position up to another, with one character per line end."""
        if not self.utf16:
            return _lines(self.text[start:end])
        return _lines(self.text.encode("utf-16-le")[2 * start : 2 * end].decode("utf-16-le", "ignore"))


def _counting(selections: Sequence[Any], raw: str) -> _Counting:
    """Return the way of counting by which most selections in the text ``raw`` agree with their names.

    By default, positions count code points, with one character per line end, as in the standard.
    """
    texts = dict.fromkeys((_lines(raw), raw))
    ways = [_Counting(text) for text in texts]
    if any(char > "\uffff" for char in raw):
        ways += [_Counting(text, utf16=True) for text in texts]
    if len(ways) == 1:
        return ways[0]

    def agreeing(way: _Counting) -> int:
        found = 0
        for selection in selections:
            named, cut = _name_of(selection)
            if len(named) >= _LONG_ENOUGH and selection.get("startPosition") is not None:
                passage = " ".join(way.passage(*_ends(selection)).split())
                found += passage.startswith(named) if cut else passage == named
        return found

    return max(ways, key=agreeing)


def _name_of(selection: Any) -> tuple[str, bool]:
    """Return the name of a selection, usually the beginning of its passage, and whether it was marked as cut off."""
    shown = " ".join((selection.get("name") or text_of(child_of(selection, "Description"))).split())
    named = shown.removesuffix("...").rstrip("… ")
    return named, named != shown


def _ends(selection: Any) -> tuple[int, int]:
    return _position(selection.get("startPosition")), _position(selection.get("endPosition"))


def _passage(selection: Any, raw: str, counting: _Counting) -> str:
    """Return the text of the passage that a coder selected in the text ``raw``."""
    inner = child_of(selection, "Representation")
    if inner is not None:  # a passage of a PDF, whose text the program stored
        return " ".join(text_of(child_of(inner, "PlainTextContent")).split())
    if selection.get("startPosition") is None:
        return ""
    text = _lines(raw)
    start, end = _ends(selection)
    named, _ = _name_of(selection)
    quote = counting.passage(start, end)
    # If the passage does not begin with its name, the program counted characters in yet another way, so the name is
    # searched for near these positions.
    if len(named) >= _LONG_ENOUGH and not " ".join(quote.split()).startswith(named):
        pattern = re.compile(r"\s+".join(map(re.escape, named.split())))
        around = max(0, start - _OFF - raw.count("\r", 0, start)), end + _OFF
        if (found := pattern.search(text, *around)) is not None:
            return text[found.start() : found.start() + end - start]
    length = len(counting.text.encode("utf-16-le")) // 2 if counting.utf16 else len(counting.text)
    if not 0 <= start < end <= length:
        raise _Fault(
            f"a coded passage extends from character {start} to {end}, but the text has {length} characters; export "
            "the project again"
        )
    return quote


def _position(value: str | None) -> int:
    if value is None or not re.fullmatch(r"\s*\d{1,12}\s*", value):
        raise _Fault(
            f"a coded passage has the position {str(value)[:50]!r}, which is not a number; export the project again"
        )
    return int(value)
