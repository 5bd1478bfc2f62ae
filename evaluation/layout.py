"""Parts of the accuracy table: a section of it, and how figures are written in its cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

NONE = "–"


@dataclass(frozen=True)
class Section:
    """A heading, some lines of text, and perhaps a table; a cell may hold two lines."""

    title: str
    lines: Sequence[str] = ()
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()


def words(name: str) -> str:
    """Write a name of the files as words."""
    return name.replace("_", " ")


def number(value: float | None, decimals: int = 2) -> str:
    """Write a number with so many decimals."""
    return NONE if value is None else f"{value:.{decimals}f}"


def share(value: float | None) -> str:
    """Write a share in hundredths."""
    return NONE if value is None else f"{value:.0%}"


def interval(figure: Mapping[str, float | None], decimals: int = 2) -> str:
    """Write the interval of a figure; nothing where it has none."""
    if figure["ci_low"] is None:
        return ""
    return f"{number(figure['ci_low'], decimals)} to {number(figure['ci_high'], decimals)}"


def cell(figure: Mapping[str, float | None], decimals: int = 2) -> str:
    """Write a figure, with its p-value where it has one, and its interval on a second line."""
    p_value = figure.get("p_value")
    first = number(figure["value"], decimals)
    if p_value is not None:
        first += " p<0.001" if p_value < 0.001 else f" p={p_value:.3f}"
    return f"{first}\n{interval(figure, decimals)}".rstrip()
