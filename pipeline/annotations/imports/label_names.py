"""From the names that reviewers gave to their codes to the labels of the codebook."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BeforeValidator, Field
from rapidfuzz import fuzz, process

from mechtag.core.codebook import Codebook, Strict, read_yaml
from mechtag.core.errors import MechtagError
from mechtag.core.records import normalise_title

_NOT = "not "
_LEAST_ALIKE = 65.0
_SHOWN = 30
# Pieces that a name with commas in it may have.
_COMMAS = 6
# Characters; what is longer is a remark.
_LONGEST_LIST = 5000
# How screening programs write their decisions, normalised.
_DECISIONS: Mapping[str, Literal[0, 1] | None] = {
    **dict.fromkeys(("include", "included", "relevant"), 1),
    **dict.fromkeys(("exclude", "excluded", "irrelevant", "not relevant"), 0),
    **dict.fromkeys(("maybe", "undecided", "unsure", "unclear"), None),
}


class Meaning(NamedTuple):
    """What a tick at a name says: ``key`` holds (1), does not (0), is not judged; no key says nothing at all."""

    key: str | None
    value: Literal[0, 1] | None = 1


def _keys_as_text(value: Any) -> Any:
    """Programs number coders and labels, and YAML reads numbers as such."""
    return {str(key): item for key, item in value.items()} if isinstance(value, dict) else value


class MapFile(Strict):
    """What a user says of names in the files of reviewers.

    Attributes
    ----------
    labels
        A key of the codebook for a name, ``not KEY`` where the name says that the label does not
        hold, or nothing (``null``) where it is to be passed over.
    coders
        One name for each coder, whatever programs call them.
    papers
        Record id for the name, DOI or title that a file gives.
    """

    labels: Annotated[dict[str, str | None], BeforeValidator(_keys_as_text)] = Field(default_factory=dict)
    coders: Annotated[dict[str, str], BeforeValidator(_keys_as_text)] = Field(default_factory=dict)
    papers: Annotated[dict[str, str], BeforeValidator(_keys_as_text)] = Field(default_factory=dict)


def read_map(path: str | Path) -> MapFile:
    """Read a map file (YAML).

    Raises
    ------
    MechtagError
        It is missing, is no YAML mapping, or has an unknown key.
    """
    return read_yaml(
        path,
        MapFile,
        missing="no such map file",
        expected="a map file is a mapping of labels, coders, papers",
        empty={},
    )


def _folded(name: str) -> str:
    return normalise_title(name.replace("_", " "))


@dataclass(frozen=True)
class LabelMap:
    """Names of labels: those of a map file, then keys and names of the codebook, then words for relevance.

    Raises
    ------
    MechtagError
        The map file names a key that is not in the codebook.
    """

    codebook: Codebook
    given: Mapping[str, str | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, key in self.given.items():
            if key is not None and key.removeprefix(_NOT) not in self.codebook.all_keys:
                raise MechtagError(
                    f"map file: {name!r} stands for {key!r}, which is no key of the codebook; it has "
                    f"{', '.join(self.codebook.all_keys)}; nothing (null) has a name passed over"
                )

    @cached_property
    def _known(self) -> dict[str, Meaning]:
        known = {word: Meaning(self.codebook.relevance.key, value) for word, value in _DECISIONS.items()}
        for entry in self.codebook.entries:
            known |= {_folded(entry.name): Meaning(entry.key), _folded(entry.key): Meaning(entry.key)}
        for name, key in self.given.items():
            negated = key is not None and key.startswith(_NOT)
            known[_folded(name)] = Meaning(key.removeprefix(_NOT) if key else None, 0 if negated else 1)
        return known

    def find(self, name: str | None) -> Meaning | None:
        """Say what a name stands for; ``None`` for an unknown one. No name stands for relevance."""
        if name is None:
            return Meaning(self.codebook.relevance.key)
        return self._known.get(_folded(name))

    def split(self, cell: str) -> list[str]:
        """Cut a cell into names of labels, at semicolons and commas; a name that is known is not cut."""
        if len(cell) > _LONGEST_LIST:
            return [cell]
        names = []
        for part in cell.replace("\n", ";").split(";"):
            pieces = part.split(",")
            place = 0
            while place < len(pieces):
                ends = range(min(len(pieces), place + _COMMAS), place + 1, -1)
                end = next((end for end in ends if self.find(",".join(pieces[place:end]))), place + 1)
                names.append(",".join(pieces[place:end]).strip())
                place = end
        return [name for name in names if name]

    def refuse_unknown(self, unknown: Mapping[str, list[str]]) -> None:
        """Refuse names that stand for nothing known.

        Parameters
        ----------
        unknown
            For each name, the places where it was found.

        Raises
        ------
        MechtagError
            There is one; with the nearest labels, and what to write into a map file.
        """
        if not unknown:
            return
        choices = {_folded(text): entry.key for entry in self.codebook.entries for text in (entry.key, entry.name)}
        lines = []
        for name, places in sorted(unknown.items(), key=lambda pair: (-len(pair[1]), pair[0]))[:_SHOWN]:
            near = process.extractOne(_folded(name), list(choices), scorer=fuzz.WRatio, score_cutoff=_LEAST_ALIKE)
            hint = f"; nearest: {choices[near[0]]}" if near else ""
            lines.append(f"  {name[:100]!r} ({len(places)} times, first in {places[0]}){hint}")
        more = f"\n  and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
        raise MechtagError(
            f"{len(unknown)} names are no label of the codebook ({', '.join(self.codebook.all_keys)}):\n"
            + "\n".join(lines)
            + more
            + "\nWrite what each stands for into a map file and give it with --map, for example\n"
            f"  labels:\n    {next(iter(sorted(unknown)))[:100]!r}: {self.codebook.keys[0]}\n"
            "or null for what is to be passed over; the name of a column with null has all of it passed over"
        )
