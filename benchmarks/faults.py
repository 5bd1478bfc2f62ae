"""Generate faults: differences between two records of the same paper, as they occur in real libraries.

There is one function for each fault. The list of faults is based on exports and on public reports about deduplication,
and was written before mechtag's rules for deduplication. In addition, `library` generates harmless differences, which
are usual between records from two databases.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.corrupt import Change, abbreviate, change, initials, plain
from mechtag.core.records import Record

Fault = Callable[[Record, np.random.Generator], Change]

_SECTIONS = (
    "06 Biological Sciences 0605 Microbiology",
    "11 Medical and Health Sciences 1117 Public Health and Health Services",
    "1103 Clinical Sciences",
)
_LANGUAGES = ("German", "French", "Spanish", "Italian", "Chinese", "Polish", "Japanese", "Portuguese")
_CODES = ("P{}", "OP-{}", "PP{}", "S{}", "Abstract {}", "Poster {}", "#{}", "({})", "{}.", "O-{}:")
# Substitutions of letters that make a text look like a foreign language.
_FOREIGN = str.maketrans("aeioustnrlc", "oaueimdlsrz")


def _pick(rng: np.random.Generator, *options: Any) -> Any:
    return options[rng.integers(len(options))]


def _foreign(title: str) -> str:
    """Imitate a translation of a title: return a text of the same length with almost no word in common."""
    return title.lower().translate(_FOREIGN).capitalize()


def _number(value: str | None) -> int | None:
    found = re.search(r"\d+", value or "")
    return int(found[0]) if found else None


def _ends(record: Record) -> tuple[int, int] | None:
    found = re.fullmatch(r"\s*(\d+)\s*-+\s*(\d+)\s*", record.pages or "")
    return (int(found[1]), int(found[2])) if found and int(found[1]) < int(found[2]) else None


def _issue_running(record: Record, rng: np.random.Generator) -> Change:
    """Return a high issue number, as if issues were numbered continuously instead of from 1 in each volume."""
    return {"issue": str(int(rng.integers(13, 900)))}


def _issue_wrong(record: Record, rng: np.random.Generator) -> Change:
    return {"issue": str((_number(record.issue) or 0) + int(rng.integers(1, 8)))}


def _issue_month(record: Record, rng: np.random.Generator) -> Change:
    return {"issue": _pick(rng, "NOV", "January", "3 Pt 1", "Spring")}


def _volume_wrong(record: Record, rng: np.random.Generator) -> Change:
    return {"volume": str((_number(record.volume) or 9) + int(rng.integers(1, 9)))}


def _volume_missing(record: Record, rng: np.random.Generator) -> Change:
    return {"volume": None}


def _volume_is_year(record: Record, rng: np.random.Generator) -> Change:
    return {"volume": str(record.year or 2000)}


def _pages_missing(record: Record, rng: np.random.Generator) -> Change:
    return {"pages": None}


def _pages_first_wrong(record: Record, rng: np.random.Generator) -> Change:
    ends = _ends(record)
    return {"pages": f"{ends[0] + int(rng.integers(2, 90))}-{ends[1] + 90}" if ends else None}


def _pages_last_wrong(record: Record, rng: np.random.Generator) -> Change:
    ends = _ends(record)
    return {"pages": f"{ends[0]}-{ends[1] + int(rng.integers(1, 4))}" if ends else record.pages}


def _pages_style(record: Record, rng: np.random.Generator) -> Change:
    ends = _ends(record)
    if not ends:
        return {"pages": f"pp. {record.pages}"}
    first, last = map(str, ends)
    return {
        "pages": _pick(
            rng, f"{first}+", f"pp{first}-{last}", f"{first}-{last}; discussion {int(last) + 1}-3", f"{first} - {last}",
            f"{first}\u2013{last}", f"{first}-{last}.", f"{first},{last}", f"{first}-{last} ({len(last)} pages)",
        )
    }  # fmt: skip


def _pages_article_number(record: Record, rng: np.random.Generator) -> Change:
    return {"pages": f"e{rng.integers(10_000, 99_999)}"}


def _year_off(record: Record, rng: np.random.Generator) -> Change:
    return {"year": (record.year or 2000) + int(_pick(rng, -1, 1))}


def _year_missing(record: Record, rng: np.random.Generator) -> Change:
    return {"year": None}


def _journal_missing(record: Record, rng: np.random.Generator) -> Change:
    return {"journal": None}


def _journal_abbreviated(record: Record, rng: np.random.Generator) -> Change:
    return {"journal": _pick(rng, str, str.upper)(abbreviate(record.journal or "", rng))}


def _journal_initials(record: Record, rng: np.random.Generator) -> Change:
    words = [word for word in re.findall(r"\w+", record.journal or "") if len(word) > 3]
    return {"journal": "".join(word[0] for word in words).upper() if len(words) > 2 else record.journal}


def _journal_decorated(record: Record, rng: np.random.Generator) -> Change:
    form = _pick(rng, "The {}", "{} (Clinical ed.)", "{}: official journal of the society", "{} [electronic resource]")
    return {"journal": form.format(record.journal)}


def _title_original_in_brackets(record: Record, rng: np.random.Generator) -> Change:
    """Return a title in a foreign language, followed by its translation in brackets."""
    return {"title": f"{_foreign(record.title)} [{record.title.rstrip('.')}]"}


def _title_original_behind(record: Record, rng: np.random.Generator) -> Change:
    return {"title": f"{record.title.rstrip('.')} [{_foreign(record.title)}]"}


def _title_translated(record: Record, rng: np.random.Generator) -> Change:
    return {"title": _foreign(record.title)}


def _title_language_note(record: Record, rng: np.random.Generator) -> Change:
    language = _pick(rng, *_LANGUAGES)
    form = _pick(
        rng, "{} [{}]", "{} [Article in {}]", "{} (in {})", "{}. {}", "[{}] [{}]", "{} - [{}; English abstract]"
    )
    return {"title": form.format(record.title.rstrip("."), language)}


def _title_section(record: Record, rng: np.random.Generator) -> Change:
    return {"title": f"{record.title.rstrip('.')} {_pick(rng, *_SECTIONS)}"}


def _title_code_in_front(record: Record, rng: np.random.Generator) -> Change:
    return {"title": f"{_pick(rng, *_CODES).format(int(rng.integers(1, 2000)))} {record.title}"}


def _title_heading(record: Record, rng: np.random.Generator) -> Change:
    form = _pick(
        rng, "Original article: {}", "{} | {journal}", "{} - {journal}", "{}: original research", "{}. [Review]",
        "RESEARCH ARTICLE {}", "{}*", "{}1",
    )  # fmt: skip
    return {"title": form.format(record.title.rstrip("."), journal=record.journal)}


def _title_cut(record: Record, rng: np.random.Generator) -> Change:
    if len(record.title) < 60:
        return {}
    cut = record.title[: int(rng.integers(45, len(record.title) - 3))]
    return {"title": cut.rstrip() + _pick(rng, "", "...", "\u2026", " [...]")}


def _title_subtitle_missing(record: Record, rng: np.random.Generator) -> Change:
    return {"title": re.split(r"[:?.] ", record.title, maxsplit=1)[0]}


def _title_typing_errors(record: Record, rng: np.random.Generator) -> Change:
    title = record.title
    for _ in range(int(rng.integers(1, 3))):
        place = int(rng.integers(5, max(len(title) - 5, 6)))
        title = _pick(rng, title[:place] + title[place + 1 :], title[:place] + title[place - 1] + title[place:])
    return {"title": title}


def _title_words_changed(record: Record, rng: np.random.Generator) -> Change:
    """Return a title with one small word omitted, such as 'effect of' for 'the effect of'."""
    words = record.title.split()
    small = [place for place, word in enumerate(words) if place and word.lower() in ("the", "of", "a", "an", "in")]
    if not small:
        return {}
    place = small[rng.integers(len(small))]
    return {"title": " ".join(words[:place] + words[place + 1 :])}


def _authors_full(record: Record, rng: np.random.Generator) -> Change:
    """Return the authors with invented full given names; the other record of the paper has initials."""
    given = {"A": "Anna", "B": "Benjamin", "C": "Clara", "D": "David", "E": "Elena", "J": "Johannes", "M": "Maria"}

    def full(name: str) -> str:
        family, _, rest = name.partition(",")
        words = [given.get(word[0].upper(), f"{word[0].upper()}isa") for word in rest.split()]
        return f"{family}, {' '.join(words)}" if words else name

    return {"authors": tuple(map(full, record.authors))}


def _authors_first_only(record: Record, rng: np.random.Generator) -> Change:
    return {"authors": record.authors[:1]}


def _authors_et_al(record: Record, rng: np.random.Generator) -> Change:
    return {"authors": (*record.authors[:3], "et al")}


def _authors_missing(record: Record, rng: np.random.Generator) -> Change:
    return {"authors": ()}


def _authors_reversed(record: Record, rng: np.random.Generator) -> Change:
    return {"authors": tuple(reversed(record.authors))}


def _authors_swapped(record: Record, rng: np.random.Generator) -> Change:
    """Return the authors of a record with family names and given names exchanged."""
    swapped = (name.partition(",") for name in record.authors)
    return {"authors": tuple(f"{given.strip()}, {family}" if given else family for family, _, given in swapped)}


def _authors_transliterated(record: Record, rng: np.random.Generator) -> Change:
    table = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ø": "oe", "å": "aa", "ß": "ss"})
    return {"authors": tuple(plain(name.translate(table)).upper() for name in record.authors)}


def _authors_first_missing(record: Record, rng: np.random.Generator) -> Change:
    return {"authors": record.authors[1:]}


def _authors_group_added(record: Record, rng: np.random.Generator) -> Change:
    return {"authors": (_pick(rng, "Invented Study Group", "for the Investigators"), *record.authors)}


def _doi_missing(record: Record, rng: np.random.Generator) -> Change:
    return {"doi": None}


def _doi_wrong(record: Record, rng: np.random.Generator) -> Change:
    return {"doi": f"10.5555/wrong.{rng.integers(10**6)}"}


def _abstract_missing(record: Record, rng: np.random.Generator) -> Change:
    return {"abstract": ""}


def _abstract_cut(record: Record, rng: np.random.Generator) -> Change:
    return {"abstract": record.abstract[: len(record.abstract) // 2]}


FAULTS: tuple[Fault, ...] = (
    *(_issue_running, _issue_wrong, _issue_month, _volume_wrong, _volume_missing, _volume_is_year),
    *(_pages_missing, _pages_first_wrong, _pages_last_wrong, _pages_style, _pages_article_number),
    *(_year_off, _year_missing, _journal_missing, _journal_abbreviated, _journal_initials, _journal_decorated),
    *(_title_original_in_brackets, _title_original_behind, _title_translated, _title_language_note, _title_section),
    *(
        _title_code_in_front,
        _title_heading,
        _title_cut,
        _title_subtitle_missing,
        _title_typing_errors,
        _title_words_changed,
    ),
    *(_authors_full, _authors_first_only, _authors_et_al, _authors_missing, _authors_reversed, _authors_swapped),
    *(_authors_transliterated, _authors_first_missing, _authors_group_added),
    *(_doi_missing, _doi_wrong, _abstract_missing, _abstract_cut),
)


def library(record: Record, rng: np.random.Generator) -> Record:
    """Return a record as a different library would export it: without faults, but with other styles and fewer fields.

    The style of names, journal and pages may differ; the DOI and the abstract may be missing.
    """
    values: Change = {}
    if rng.random() < 0.5:
        values["authors"] = tuple(plain(initials(name)) for name in record.authors)
    if rng.random() < 0.4:
        values["journal"] = abbreviate(record.journal or "", rng)
    if rng.random() < 0.6:  # few libraries export DOIs of older papers
        values["doi"] = None
    if rng.random() < 0.3:
        values["abstract"] = ""
    if (ends := _ends(record)) and rng.random() < 0.4 and len(str(ends[0])) == len(str(ends[1])):
        first, last = map(str, ends)
        shared = next(place for place in range(len(first)) if first[place] != last[place])
        values["pages"] = f"{first}-{last[shared:]}"
    return change(record, **values)


def faulty(record: Record, fault: Fault, rng: np.random.Generator) -> Record:
    """Return a record as a different library would export it, with one fault."""
    held = library(record, rng)
    return change(held, **fault(held, rng))
