"""Generate records of a paper as a different database would export it, and records of different but similar papers."""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Callable
from typing import Any

import numpy as np

from mechtag.core.records import Record, make_record_id

_SMALL_WORDS = frozenset("a an and for in of on the to".split())
_PREPRINT = "10.1101/20{year:02d}.01.{day:02d}.{number:08d}"

Change = dict[str, Any]


def change(record: Record, **values: Any) -> Record:
    """Return a copy of a record with some fields changed, and with a record id computed from the changed fields."""
    changed = record.model_copy(update=values)
    names = {name: getattr(changed, name) for name in ("doi", "pmid", "title", "year", "authors")}
    return changed.model_copy(update={"record_id": make_record_id(**names)})


def _pick(rng: np.random.Generator, *options: Any) -> Any:
    return options[rng.integers(len(options))]


def _cut_pages(record: Record, rng: np.random.Generator) -> str | None:
    """Return the pages of a record in a different style, such as '123-9' or '123' for '123-129'."""
    first, dash, last = (record.pages or "").replace("--", "-").partition("-")
    if not dash:
        return record.pages
    shared = next((index for index, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), 0)
    short = last[shared:] if len(first) == len(last) else last
    return str(_pick(rng, f"{first}-{short}", first, f"{first}\u2013{last}", f"pp. {first}-{last}"))


def initials(name: str) -> str:
    """Return ``Family, F. M.`` for ``Family, First Middle``."""
    family, _, given = name.partition(",")
    return f"{family}, {' '.join(f'{word[0]}.' for word in given.split())}" if given.strip() else name


def plain(name: str) -> str:
    """Return the name of a person without accents."""
    return "".join(char for char in unicodedata.normalize("NFKD", name) if not unicodedata.combining(char))


def _authors(record: Record, rng: np.random.Generator) -> tuple[str, ...]:
    names = [plain(initials(name)) for name in record.authors]
    kind = rng.random()
    if kind < 0.08:
        return tuple(names[:1])
    if kind < 0.14:
        return tuple(names[:3])
    if kind < 0.18:
        return tuple(name.replace(", ", " ") for name in names)
    return tuple(names)


def _title(title: str, rng: np.random.Generator) -> str:
    """Return a title as a different database might print it."""
    kind = rng.random()
    if kind < 0.15:
        return title.upper()
    if kind < 0.35:
        return title.rstrip(".") + "."
    if kind < 0.45:
        return html.escape(title).replace(" and ", " &amp; ", 1)
    if kind < 0.55:
        return title.replace(": ", " - ").replace("-", " ", 1)
    if kind < 0.60:
        return f"[{title.rstrip('.')}]."
    if kind < 0.65 and len(title) > 90:
        return title[: int(rng.integers(75, len(title) - 5))]
    if kind < 0.72 and ": " in title:
        return title.partition(": ")[0]
    if kind < 0.80 and len(title) > 20:  # a typing error
        place = int(rng.integers(5, len(title) - 5))
        return title[:place] + title[place + 1 :]
    return title


def abbreviate(journal: str, rng: np.random.Generator) -> str:
    """Abbreviate the name of a journal: truncate longer words and omit small words."""
    words = [word for word in journal.split() if word.lower() not in _SMALL_WORDS]
    if len(words) < 2:
        return journal
    return " ".join(word if len(word) < 6 else word[: int(rng.integers(3, 6))] for word in words)


def corrupt(record: Record, rng: np.random.Generator) -> Record:
    """Return a record as a different database would export it: less complete, and spelled differently."""
    values: Change = {"title": _title(record.title, rng), "authors": _authors(record, rng)}
    if rng.random() < 0.35:
        values["doi"] = None
    if rng.random() < 0.35:
        values["journal"] = abbreviate(record.journal or "", rng) or None
    if rng.random() < 0.4:
        values["pages"] = _cut_pages(record, rng)
    if rng.random() < 0.15:
        values["abstract"] = ""
    elif rng.random() < 0.2:
        values["abstract"] = f"BACKGROUND: {record.abstract} Copyright (c) {record.year} The Authors."
    for name, share in (("journal", 0.03), ("volume", 0.06), ("issue", 0.3), ("pages", 0.08), ("type", 0.4)):
        if rng.random() < share:
            values[name] = None
    if rng.random() < 0.05 and record.year:  # online before print
        values |= {"year": record.year - 1, "volume": None, "issue": None, "pages": None}
    if rng.random() < 0.02:
        values["authors"] = ()
    return change(record, **values)


def _moved(record: Record, rng: np.random.Generator, volumes: int = 0) -> Change:
    """Return pages, volume, year and DOI that a different paper in the same journal might have.

    ``volumes`` is the number of volumes (and years) by which the different paper is later.
    """
    start = int(rng.integers(300, 2000))
    volume = (record.volume or "").split(" ")[0]
    return {
        "pages": f"{start}-{start + int(rng.integers(2, 12))}",
        "volume": str(int(volume) + volumes) if volume.isdigit() else record.volume,
        "year": (record.year or 2000) + volumes,
        "doi": None if rng.random() < 0.5 else f"10.5555/{rng.integers(10**9)}",
    }


def _notice(record: Record, rng: np.random.Generator) -> Record:
    word = _pick(rng, "Erratum to: {}", "Correction: {}", "Corrigendum to '{}'", "{} (Erratum)", "Retraction: {}")
    return change(record, **_moved(record, rng), title=word.format(record.title), abstract="")


def _reply(record: Record, rng: np.random.Generator) -> Record:
    word = _pick(rng, "Reply to: {}", "Re: {}", "Comment on {}", "{}: authors' reply", "Response to '{}'")
    return change(record, **_moved(record, rng), title=word.format(record.title), abstract="")


def _second_part(record: Record, rng: np.random.Generator) -> Record:
    word = _pick(rng, "{}: part II", "{}. Part 2: follow-up", "{}: a second study")
    return change(record, **_moved(record, rng, int(rng.integers(2))), title=word.format(record.title))


def _meeting_abstract(record: Record, rng: np.random.Generator) -> Record:
    page = int(rng.integers(1, 900))
    journal, kind = _pick(
        rng,
        (record.journal, "article"),
        (f"{record.journal}. Conference: {rng.integers(10, 60)}th Annual Meeting", "article"),
        ("Proceedings of the Annual Congress", "inproceedings"),
    )
    place = {"journal": journal, "issue": "Suppl 1", "pages": f"S{page}", "type": kind, "doi": None}
    return change(record, **{**_moved(record, rng, -1), **place}, abstract=record.abstract[:600])


def _preprint(record: Record, rng: np.random.Generator) -> Record:
    year = (record.year or 2000) - int(rng.integers(2))
    doi = _PREPRINT.format(year=year % 100, day=rng.integers(1, 28), number=rng.integers(10**8))
    place = dict.fromkeys(("volume", "issue", "pages", "type"))
    return change(record, **place, year=year, journal=_pick(rng, "medRxiv", "bioRxiv", None), doi=doi)


def _protocol(record: Record, rng: np.random.Generator) -> Record:
    word = _pick(rng, "{}: study protocol", "{}: protocol of a randomised trial")
    return change(record, **_moved(record, rng, -1), title=word.format(record.title))


def _registration(record: Record, rng: np.random.Generator) -> Record:
    number = f"NCT{rng.integers(10**8):08d}"
    place: Change = dict.fromkeys(("volume", "issue", "pages", "doi"))
    journal = _pick(rng, "ClinicalTrials.gov", f"https://clinicaltrials.gov/show/{number}")
    return change(record, **place, journal=journal, authors=(number,), abstract="")


def _of_others(record: Record, rng: np.random.Generator) -> Record:
    """Return the record of a different paper, by different people, that has the same title."""
    names = tuple(f"{_pick(rng, 'Okafor', 'Lindqvist', 'Marchetti', 'Quiroga')}, {_pick(rng, 'A', 'B')}." for _ in "12")
    return change(record, **_moved(record, rng, 2), authors=names, journal="Annals of Invented Research", abstract="")


def _next_year(record: Record, rng: np.random.Generator) -> Record:
    """Return the report that the same organisation publishes under the same title a year later."""
    return change(record, **_moved(record, rng, 1), abstract=record.abstract[::-1])


def _retraction(record: Record, rng: np.random.Generator) -> Record:
    """Return a retraction notice, which has the title, the authors and sometimes the pages of the retracted paper."""
    word = _pick(rng, "RETRACTED: {}", "Retraction notice to '{}'", "Retraction: {}", "{} [Retraction of vol 3, 2001]")
    place = _moved(record, rng, int(rng.integers(3))) if rng.random() < 0.7 else {"doi": None}
    return change(record, **place, title=word.format(record.title), abstract="")


def _cochrane_update(record: Record, rng: np.random.Generator) -> Record:
    """Return an update of a Cochrane review: same title and authors, but a later year and an invented review number."""
    later: Change = {"year": (record.year or 2000) + int(rng.integers(2, 6)), "issue": "4"}
    number = f"CD{rng.integers(10**6):06d}"
    doi = f"10.1002/14651858.{number.lower()}.pub{rng.integers(3, 6)}" if rng.random() < 0.5 else None
    return change(
        record, **later, volume=None, pages=number, journal="Cochrane Database of Systematic Reviews", doi=doi
    )


def _other_edition(record: Record, rng: np.random.Generator) -> Record:
    """Return a later edition of a book or guideline, or an abridged reprint of a paper in a different journal."""
    journal = _pick(rng, "Invented University Press", "Journal of Invented Reprints")
    return change(record, **_moved(record, rng, int(rng.integers(3, 9))), journal=journal, abstract="")


def _dissertation(record: Record, rng: np.random.Generator) -> Record:
    place: Change = dict.fromkeys(("volume", "issue", "pages", "doi"))
    kind = {"type": "phdthesis", "journal": "Invented University", "authors": record.authors[:1]}
    return change(record, **place, **kind, year=(record.year or 2000) - 1)


def _data_set(record: Record, rng: np.random.Generator) -> Record:
    place: Change = dict.fromkeys(("volume", "issue", "pages"))
    return change(record, **place, type="dataset", journal="Zenodo", doi=f"10.5281/zenodo.{rng.integers(10**7)}")


NEAR_MISSES: tuple[Callable[[Record, np.random.Generator], Record], ...] = (
    *(_notice, _reply, _second_part, _meeting_abstract, _preprint),
    *(_protocol, _registration, _of_others, _next_year),
    *(_retraction, _cochrane_update, _other_edition, _dissertation, _data_set),
)


def near_miss(record: Record, rng: np.random.Generator) -> Record:
    """Return a record of a different paper that closely resembles the given record."""
    return NEAR_MISSES[rng.integers(len(NEAR_MISSES))](record, rng)
