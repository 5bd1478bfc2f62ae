"""Counts for a PRISMA 2020 flow diagram: of a tagged batch, and of a small file for what mechtag cannot know.

The steps are those of the PRISMA 2020 statement (Page et al. 2021, doi:10.1136/bmj.n71).
What each key of the file means stands in docs/prisma.md.
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

# Far above any review: a count beyond it is a slip of the keyboard, and would not fit its line in the drawing.
_LARGEST = 99_999_999
# Zero-width joiners shape letters of Persian and Indic scripts; other format characters can turn text around.
_JOINERS = "\u200c\u200d"


def clean_name(value: object) -> str:
    """Put a name on one line, without characters that are invisible or that XML cannot hold."""
    text = " ".join(str(value).split())
    kept = (char for char in text if char in _JOINERS or unicodedata.category(char) not in ("Cc", "Cf", "Cs"))
    return " ".join("".join(kept).replace("\ufffe", "").replace("\uffff", "").split())


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{value!r} is no count; write a whole number without commas or quotes, such as 5673")
    if not 0 <= value <= _LARGEST:
        raise ValueError(f"{value} is out of range; a count is a whole number from 0 to {_LARGEST:,}")
    return value


def _source(value: object) -> int | tuple[str, ...] | None:
    """Tell a count, nothing (not known), or the names of files whose count is in the summary."""
    if isinstance(value, str):
        return (clean_name(value),)
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return tuple(clean_name(item) for item in value)
    return None if value is None else _count(value)


def _named(value: object) -> dict[str, object]:
    if not isinstance(value, dict) or not value:
        raise ValueError("expected one or more lines 'name: count'")
    named: dict[str, object] = {}
    for key, item in value.items():
        name = clean_name(key)
        if isinstance(key, int):
            # YAML reads {Embase: 1,204} as two lines: Embase with 1, and 204 with nothing.
            raise ValueError(f"{key} stands where a name should; write counts without commas, such names in quotes")
        if not name or name in named:
            raise ValueError(f"{key!r} stands twice" if name else f"{key!r} is no name that can be printed")
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
    """What happened to records before screening; the block ``prisma`` of ``summary.json``.

    Attributes
    ----------
    identified_by_source
        Records read, by file; ``None`` where not known, and then ``duplicates_removed``
        and ``removed_for_other_reasons`` are ``None`` too.
    removed_by_automation
        Always 0 in what mechtag writes: it ranks and suggests, and removes no record.
    removed_for_other_reasons
        Entries that could not be read; they stand in ``rejected.jsonl``.
    screened
        Unique records, for people to screen.
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
            raise ValueError("sources, duplicates and other reasons are known together or not at all")
        if self.without_abstract > self.screened:
            raise ValueError(f"{self.without_abstract} without abstract are more than the {self.screened} screened")
        return self

    @property
    def identified(self) -> int | None:
        """All records read."""
        return None if self.identified_by_source is None else sum(self.identified_by_source.values())

    def lines(self) -> Iterator[str]:
        """Tell the counts in plain words."""
        if self.identified_by_source is None:
            yield "Records identified and duplicates removed: not known"
        else:
            sources = "; ".join(f"{clean_name(name)} {count:,}" for name, count in self.identified_by_source.items())
            yield f"{self.identified:,} records identified ({sources})"
            yield (
                f"Removed before screening: {self.duplicates_removed:,} duplicates, {self.removed_by_automation:,} by "
                f"automation, {self.removed_for_other_reasons:,} that could not be read"
            )
        yield f"{self.screened:,} records to screen, {self.without_abstract:,} of them without abstract"


class _Removed(Strict):
    duplicates: Known = 0
    automation: Known = 0
    other_reasons: Known = 0


class _Screening(Strict):
    screened: Known | None = None
    excluded: Known | None = None
    excluded_by_automation: Known | None = None
    kept: Known | None = None


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
    """Counts that mechtag cannot know; see docs/prisma.md for every key."""

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
        """Take a key with nothing behind it, as a form that is not filled in has them, for left out."""
        if not isinstance(data, dict):
            return data
        return {key: value for key, value in data.items() if value is not None or key not in cls.model_fields}

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.reports_together is not None:
            if self.other_methods is None:
                raise ValueError("reports_together joins two ways of searching; without other_methods, use reports")
            if self.reports is not None or "reports" in self.other_methods.model_fields_set:
                raise ValueError("give either reports_together, or reports and other_methods.reports; not both")
        return self


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML would keep the last in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} stands twice", key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_elsewhere(path: str | Path) -> Elsewhere:
    """Read counts from elsewhere (YAML).

    Raises
    ------
    MechtagError
        The file is missing or no YAML mapping; a key is unknown or stands twice; a count is
        no whole number, or negative.
    """
    return read_yaml(
        path,
        Elsewhere,
        missing="no such file; expected counts as docs/prisma.md describes them",
        expected="expected a mapping such as 'screening: ...'",
        loader=_Loader,
    )


def read_identification(path: str | Path) -> Identification:
    """Read the block ``prisma`` of a ``summary.json``.

    Raises
    ------
    MechtagError
        The file is missing or no JSON, or its block is missing or not as `Identification` says.
    """
    block = read_json(path).get("prisma")
    if block is None:
        raise MechtagError(f"{path}: has no counts under 'prisma'; name the summary.json that 'mechtag tag' wrote")
    try:
        return Identification.model_validate(block)
    except ValidationError as error:
        raise MechtagError(describe_validation(f"{path}: prisma", error)) from None
