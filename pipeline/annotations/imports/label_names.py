"""Find the label of the codebook that is meant by a name in reviewers' files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BeforeValidator, Field
from rapidfuzz import fuzz, process

from mechtag.core.codebook import Codebook, Strict, read_yaml
from mechtag.core.errors import MechtagError
from mechtag.core.words import counted
from mechtag.pipeline.export.review_rows import column_names, fold_name

_NOT = "not "
_LEAST_ALIKE = 65.0
_SHOWN = 30
# Maximum number of comma-separated pieces of a name.
_COMMAS = 6
# In characters; anything longer is a comment.
_LONGEST_LIST = 5000
# Normalised names of decisions in screening programs.
_DECISIONS: Mapping[str, Literal[0, 1] | None] = {
    **dict.fromkeys(("include", "included", "relevant"), 1),
    **dict.fromkeys(("exclude", "excluded", "irrelevant", "not relevant"), 0),
    **dict.fromkeys(("maybe", "undecided", "unsure", "unclear"), None),
}


class Meaning(NamedTuple):
    """The meaning of a name that a file uses for a code.

    Attributes
    ----------
    key
        Key of the label; ``None`` if the name is to be ignored.
    value
        Code that a tick at this name stands for: ``1`` (yes), ``0`` (no) or ``None`` (not judged).
    role
        Key of the role of evidence that the name adds to the label, as in ``Trust: Context``. ``None`` if the name does
        not add a role.
    """

    key: str | None
    value: Literal[0, 1] | None = 1
    role: str | None = None


def _keys_as_text(value: Any) -> Any:
    # YAML reads names such as 1 or 2 as numbers.
    return {str(key): item for key, item in value.items()} if isinstance(value, dict) else value


class MapFile(Strict):
    """A user's mapping from the names in reviewers' files to labels, coders and records.

    Attributes
    ----------
    labels
        Meaning of each name in the files, in one of four forms. ``KEY``: the label with this key. ``not KEY``: the
        label does not apply. ``KEY:ROLE``: a passage that has this role of evidence for the label. ``None`` (``null``
        in the map file): the name is ignored.
    coders
        Name under which to record each coder, keyed by the coder's name in the files.
    papers
        Record id of each paper, keyed by the paper's name, DOI or title in the files.
    """

    labels: Annotated[dict[str, str | None], BeforeValidator(_keys_as_text)] = Field(default_factory=dict)
    coders: Annotated[dict[str, str], BeforeValidator(_keys_as_text)] = Field(default_factory=dict)
    papers: Annotated[dict[str, str], BeforeValidator(_keys_as_text)] = Field(default_factory=dict)


def read_map(path: str | Path) -> MapFile:
    """Read a user's map file (YAML), which maps names in reviewers' files to labels, coders and records.

    Raises
    ------
    MechtagError
        If the file is missing, is not a YAML mapping, or has an unknown key.
    """
    return read_yaml(
        path,
        MapFile,
        missing="no such map file; check the path",
        expected="a map file must be a mapping with any of the keys labels, coders and papers",
        empty={},
    )


def _meant(name: str, codebook: Codebook) -> Meaning | None:
    """Return what ``KEY``, ``not KEY`` or ``KEY:ROLE`` means in a map file; ``None`` if the text is invalid."""
    key, _, role = name.removeprefix(_NOT).partition(":")
    key, role = key.strip(), role.strip()
    negated = name.startswith(_NOT)
    if role:
        known = key in codebook.keys and role in codebook.role_names and not negated
        return Meaning(key, 1, role) if known else None
    return Meaning(key, 0 if negated else 1) if key in codebook.all_keys else None


def _divided(name: str) -> Iterator[tuple[str, str]]:
    """Yield each pair (label, role) that a name such as ``LABEL: ROLE`` or ``LABEL (ROLE)`` may mean."""
    name = name.strip()
    if ":" in name:
        first, _, rest = name.partition(":")
        before, _, last = name.rpartition(":")
        yield from dict.fromkeys(((first, rest), (before, last)))
    elif name.endswith(")") and "(" in name:
        label, _, role = name[:-1].rpartition("(")
        yield label, role


@dataclass(frozen=True)
class LabelMap:
    """Finds the label that a name in a file stands for.

    A name is looked up in the map file, then in the codebook, and then among words that state relevance, such as
    'included' and 'excluded'.

    Raises
    ------
    MechtagError
        If the map file refers to a key that is not in the codebook.
    """

    codebook: Codebook
    given: Mapping[str, str | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, key in self.given.items():
            if key is not None and _meant(key, self.codebook) is None:
                raise MechtagError(
                    f"map file: {name!r} is mapped to {key!r}, which is not a key of the codebook (its keys are "
                    f"{', '.join(self.codebook.all_keys)}). Map {name!r} to one of these keys, to KEY:ROLE with one of "
                    f"the roles {', '.join(self.codebook.role_names)}, or to null to ignore it"
                )

    @cached_property
    def _known(self) -> dict[str, Meaning]:
        known = {word: Meaning(self.codebook.relevance.key, value) for word, value in _DECISIONS.items()}
        # A name that two labels share identifies neither, unless it is the key of one.
        names = [fold_name(entry.name) for entry in self.codebook.entries]
        for name, entry in zip(names, self.codebook.entries, strict=True):
            if names.count(name) == 1:
                known[name] = Meaning(entry.key)
        shown = column_names(self.codebook.names)
        known |= {fold_name(name): Meaning(key) for key, name in shown.items()}
        known |= {fold_name(key): Meaning(key) for key in self.codebook.all_keys}
        for name, key in self.given.items():
            known[fold_name(name)] = (_meant(key, self.codebook) if key else None) or Meaning(None)
        return known

    @cached_property
    def _roles(self) -> dict[str, str]:
        return {fold_name(name): role.key for role in self.codebook.roles for name in (role.name, role.key)}

    def find(self, name: str | None) -> Meaning | None:
        """Return the meaning of a name that a file uses for a label; ``None`` if the name is unknown.

        If ``name`` is ``None``, the name means relevance. A name such as ``Trust: Context`` or ``Trust (context)``
        means a label and a role.
        """
        if name is None:
            return Meaning(self.codebook.relevance.key)
        if found := self._known.get(fold_name(name)):
            return found
        for label, part in _divided(name):
            known, role = self._known.get(fold_name(label)), self.find_role(part)
            # Relevance is not explained by passages, and a no is not either.
            if known and known.key in self.codebook.keys and known.value == 1 and role:
                return known._replace(role=role)
        return None

    def find_role(self, name: str) -> str | None:
        """Return the key of the role of evidence that a name means; ``None`` if the name does not mean a role.

        The name may be a plural, such as ``Outcomes``, and may have a prefix, as in ``Mechanism: resource``.
        """
        folded = [fold_name(part) for part in (name, name.rpartition(":")[2])]
        singular = [part.removesuffix("s") for part in folded]
        return next((self._roles[part] for part in (*folded, *singular) if part in self._roles), None)

    def split(self, cell: str) -> list[str]:
        """Split a table cell into label names at semicolons and commas.

        Known names that contain commas are not split.
        """
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
        """Raise `MechtagError` if ``unknown`` is not empty.

        The message lists the unknown names, suggests similar labels and shows an example of a map file.

        Parameters
        ----------
        unknown
            Places where each unknown name was found, keyed by name.
        """
        if not unknown:
            return
        choices = {fold_name(text): entry.key for entry in self.codebook.entries for text in (entry.key, entry.name)}
        lines = []
        for name, places in sorted(unknown.items(), key=lambda pair: (-len(pair[1]), pair[0]))[:_SHOWN]:
            near = process.extractOne(fold_name(name), list(choices), scorer=fuzz.WRatio, score_cutoff=_LEAST_ALIKE)
            hint = f"; most similar: {choices[near[0]]}" if near else ""
            lines.append(f"  {name[:100]!r} ({counted(len(places), 'time')}, first in {places[0]}){hint}")
        more = f"\n  and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
        raise MechtagError(
            f"the codebook has no labels with the following names ({len(unknown)}):\n"
            + "\n".join(lines)
            + more
            + f"\nThe labels are: {', '.join(self.codebook.all_keys)}\n"
            "Map each name to a label in a map file, for example\n"
            f"  labels:\n    {next(iter(sorted(unknown)))[:100]!r}: {self.codebook.keys[0]}\n"
            "To ignore a name, map it to null; if it is the name of a column, the whole column is ignored",
            options="pass the map file with --map FILE",
        )
