"""Read the counts for a PRISMA 2020 flow diagram from ``summary.json`` and from a file of counts that the user wrote.

The steps follow the PRISMA 2020 statement (Page et al. 2021, doi:10.1136/bmj.n71).
docs/prisma.md describes every key of the user's file.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import BeforeValidator, PlainValidator, ValidationError, model_validator

from mechtag.core.codebook import Strict, describe_validation, read_yaml
from mechtag.core.errors import MechtagError
from mechtag.core.files import read_json
from mechtag.core.words import counted

# Far more records than in any review; a higher count is a typing error and would not fit into its box.
_LARGEST = 99_999_999
# Zero-width joiners shape Persian and Indic letters; other format characters can reverse the direction of text.
_JOINERS = "\u200c\u200d"


def clean_name(value: object) -> str:
    """Return a name, such as the name of a database, on one line and without invisible characters.

    Characters that are illegal in XML are removed, too.
    """
    text = " ".join(str(value).split())
    kept = (char for char in text if char in _JOINERS or unicodedata.category(char) not in ("Cc", "Cf", "Cs"))
    return " ".join("".join(kept).replace("\ufffe", "").replace("\uffff", "").split())


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{value!r} is not a count; write a whole number without commas or quotes, such as 5673")
    if not 0 <= value <= _LARGEST:
        raise ValueError(f"{value} is out of range; a count is a whole number from 0 to {_LARGEST:,}")
    return value


def _source(value: object) -> int | tuple[str, ...] | None:
    """Validate what the user entered for a source: a count, or one or more names of exports.

    Names are returned as a tuple, even if there is only one. For an empty value, the result is ``None``.
    """
    if isinstance(value, str):
        return (clean_name(value),)
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return tuple(clean_name(item) for item in value)
    return None if value is None else _count(value)


def _named(value: object) -> dict[str, object]:
    if not isinstance(value, dict) or not value:
        raise ValueError("expected one or more lines 'name: count', such as 'Embase: 1204'; correct this entry")
    named: dict[str, object] = {}
    for key, item in value.items():
        name = clean_name(key)
        if isinstance(key, int):
            # YAML reads {Embase: 1,204} as two lines: Embase with 1, and 204 with nothing.
            raise ValueError(
                f"{key} is a number, but a name is expected here; write counts without commas (1204, not 1,204), and "
                "put names that consist of digits in quotes"
            )
        if not name or name in named:
            raise ValueError(
                f"{key!r} appears twice; keep one of the two lines" if name else f"{key!r} is not a printable name"
            )
        named[name] = item
    return named


def _excluded(value: object) -> int | dict[str, int] | None:
    if isinstance(value, dict):
        return {name: _count(item) for name, item in _named(value).items()}
    return None if value is None else _count(value)


Known = Annotated[int, PlainValidator(_count)]
Sources = Annotated[
    dict[str, Annotated[int | tuple[str, ...] | None, PlainValidator(_source)]], BeforeValidator(_named)
]
OtherSources = Annotated[dict[str, Known | None], BeforeValidator(_named)]


class Identification(Strict):
    """Counts of records before screening, as stored under ``prisma`` in ``summary.json``.

    Attributes
    ----------
    identified_by_source
        Number of records read from each file, keyed by file name. ``None`` if it is not known. In this case,
        ``duplicates_removed`` and ``removed_for_other_reasons`` are also ``None``.
    removed_by_automation
        Number of records removed by automation tools. mechtag always writes 0, because it removes no records.
    removed_for_other_reasons
        Number of unreadable entries, which are listed in ``rejected.jsonl``.
    screened
        Number of unique records that people have to screen.
    """

    identified_by_source: dict[str, Known] | None = None
    duplicates_removed: Known | None = None
    removed_by_automation: Known = 0
    removed_for_other_reasons: Known | None = None
    screened: Known
    without_abstract: Known

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        parts = (self.identified_by_source, self.duplicates_removed, self.removed_for_other_reasons)
        if 0 < sum(part is None for part in parts) < len(parts):
            raise ValueError(
                "only some of the counts 'identified_by_source', 'duplicates_removed' and 'removed_for_other_reasons' "
                "are known; run 'mechtag tag' again"
            )
        if self.without_abstract > self.screened:
            raise ValueError(
                f"'without_abstract' is {self.without_abstract}, but 'screened' is only {self.screened}; correct one "
                "of the counts"
            )
        return self

    @property
    def identified(self) -> int | None:
        """Return the number of records identified in all sources, or ``None`` if the number is not known."""
        return None if self.identified_by_source is None else sum(self.identified_by_source.values())

    def lines(self) -> Iterator[str]:
        """Yield lines of text that state the counts, to be printed on the terminal."""
        if self.identified_by_source is None:
            yield "Records identified and duplicates removed: not known"
        else:
            sources = "; ".join(f"{clean_name(name)} {count:,}" for name, count in self.identified_by_source.items())
            yield f"{counted(self.identified or 0, 'record')} identified ({sources})"
            yield (
                f"Removed before screening: {counted(self.duplicates_removed or 0, 'duplicate')}, "
                f"{self.removed_by_automation:,} by automation, {self.removed_for_other_reasons:,} that could not be "
                "read"
            )
        yield f"{counted(self.screened, 'record')} to screen, {self.without_abstract:,} of them without an abstract"


class _Removed(Strict):
    duplicates: Known = 0
    automation: Known = 0
    other_reasons: Known = 0


class _Screening(Strict):
    screened: Known | None = None
    excluded: Known | None = None
    excluded_by_automation: Known | None = None
    kept: Known | None = None
    # Records without a final decision, while screening goes on.
    not_yet_screened: Known = 0


class _Reports(Strict):
    sought: Known | None = None
    not_retrieved: Known | None = None
    assessed: Known | None = None
    excluded: Annotated[int | dict[str, int] | None, PlainValidator(_excluded)] = None


class _OtherMethods(Strict):
    sources: OtherSources
    records_excluded: Known = 0
    reports: _Reports = _Reports()


class _Studies(Strict):
    studies: Known | None = None
    reports: Known | None = None


class Elsewhere(Strict):
    """Counts from outside mechtag, which the user wrote to a file. docs/prisma.md describes every key of the file."""

    title: str = ""
    databases: Sources | None = None
    registers: Sources | None = None
    removed_before_screening: _Removed | None = None
    screening: _Screening = _Screening()
    reports: _Reports | None = None
    other_methods: _OtherMethods | None = None
    reports_together: _Reports | None = None
    included: _Studies = _Studies()
    previous: _Studies | None = None

    @model_validator(mode="before")
    @classmethod
    def _without_empty_blocks(cls, data: Any) -> Any:
        """Remove keys without a value, which a partly completed template contains."""
        if not isinstance(data, dict):
            return data
        return {key: value for key, value in data.items() if value is not None or key not in cls.model_fields}

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.reports_together is not None:
            if self.other_methods is None:
                raise ValueError(
                    "'reports_together' needs the key 'other_methods', which is missing; use the key 'reports' instead"
                )
            if self.reports is not None or "reports" in self.other_methods.model_fields_set:
                raise ValueError(
                    "'reports_together' cannot be combined with 'reports' or 'other_methods.reports'; remove "
                    "'reports_together', or remove the other two"
                )
        return self


class _Loader(yaml.SafeLoader):
    """A YAML loader that rejects repeated keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        # PyYAML would silently keep only the last of the repeated keys.
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} appears twice", key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_elsewhere(path: str | Path) -> Elsewhere:
    """Read the YAML file in which a user wrote the counts that mechtag cannot know; see `Elsewhere`.

    Raises
    ------
    MechtagError
        If the file is missing or is not a YAML mapping; if a key is unknown or repeated; or if a count is negative or
        is not a whole number.
    """
    return read_yaml(
        path,
        Elsewhere,
        missing="no such file (expected a file of counts as described in docs/prisma.md); check the path",
        expected="the counts must be a mapping such as 'screening: ...'",
        loader=_Loader,
    )


def read_identification(path: str | Path) -> Identification:
    """Read the counts before screening from the block ``prisma`` of a ``summary.json``.

    Raises
    ------
    MechtagError
        If the file is missing or is not JSON, or if the block is missing or is not a valid `Identification`.
    """
    block = read_json(path).get("prisma")
    if block is None:
        raise MechtagError(
            f"{path}: the file has no counts under 'prisma'; use the summary.json written by 'mechtag tag'"
        )
    try:
        return Identification.model_validate(block)
    except ValidationError as error:
        raise MechtagError(describe_validation(f"{path}: prisma", error)) from None
