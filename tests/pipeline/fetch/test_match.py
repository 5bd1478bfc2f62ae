"""Test which papers found by services are accepted for a record, and which values of the record they may replace."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import pytest

from mechtag.core.records import Record
from mechtag.pipeline.fetch import europepmc, match
from mechtag.pipeline.fetch.found import Found
from mechtag.pipeline.fetch.match import Verdict
from mechtag.pipeline.fetch.merge import may_be_cut, merge
from mechtag.pipeline.fetch.placeholders import is_placeholder
from tests.support.services import PAPERS

RECORD = PAPERS[0].record(doi=False, pmid=False)
SURE = Verdict(1.0)
ABSTRACT = PAPERS[0].abstract


def found(**changed: object) -> Found:
    record = PAPERS[0].record(bare=False).model_copy(update=changed)
    record = record.model_copy(update={"record_id": f"doi:{record.doi}"})
    return Found(record, europepmc.SERVICE, "https://europepmc.org/article/MED/1", "2026-01-02T03:04:05Z")


@pytest.mark.parametrize(
    ("title", "doubt"),
    [
        (PAPERS[0].title, ""),
        (f"{PAPERS[0].title.upper()}.", ""),
        ("Across the teams of primary care: how leaders build trust", ""),
        (f"{PAPERS[0].title}: a study", ""),
        ("Soil moisture in alpine meadows", "The identifier of the record belongs to a paper with a different title."),
    ],
)
def test_a_paper_with_the_identifier_needs_the_title(title: str, doubt: str) -> None:
    assert match.by_identifier(RECORD, found(title=title)).doubt == doubt


def test_a_record_without_title_is_known_by_its_identifier() -> None:
    bare = RECORD.model_copy(update={"title": ""})
    assert match.by_identifier(bare, found()) == Verdict(None)


@pytest.mark.parametrize(
    ("changed", "doubt"),
    [
        ({}, ""),
        ({"year": 2001}, ""),
        ({"year": 2002}, "The years differ, or one of them is unknown."),
        ({"year": None}, "The years differ, or one of them is unknown."),
        ({"authors": ("familya, B",)}, ""),
        ({"authors": ("Other, Ann",)}, "The first authors differ, or one of them is unknown."),
        ({"authors": ()}, "The first authors differ, or one of them is unknown."),
        ({"title": f"{PAPERS[0].title} in towns"}, "The titles differ."),
    ],
)
def test_a_paper_with_the_title_needs_year_and_author(changed: dict[str, object], doubt: str) -> None:
    (one,) = match.by_title(RECORD, [found(**changed)])
    assert one.verdict.doubt == doubt


@pytest.mark.parametrize(("own", "other"), [("part 1", "part 2"), ("part I", "part II"), ("2012", "2013")])
def test_the_next_part_of_a_series_is_left_to_a_person(own: str, other: str) -> None:
    record = RECORD.model_copy(update={"title": f"{RECORD.title}: {own}"})
    (one,) = match.by_title(record, [found(title=f"{RECORD.title}: {other}")])
    assert one.verdict.likeness is not None
    assert one.verdict.likeness >= 0.95
    assert one.verdict.doubt == "The numbers in the titles differ, as in part 1 and part 2."
    first, _ = match.by_title(
        record, [found(title=f"{RECORD.title}: {own}"), found(title=f"{RECORD.title}: {other}", doi="10.5555/other")]
    )
    assert first.verdict.doubt == ""


def test_a_paper_with_another_title_is_not_a_candidate() -> None:
    assert match.by_title(RECORD, [found(title="Soil moisture in alpine meadows of the north")]) == []


def test_a_short_title_proves_nothing() -> None:
    short = RECORD.model_copy(update={"title": "Leading integrated care"})
    (one,) = match.by_title(short, [found(title="Leading integrated care")])
    assert one.verdict.doubt == "The title has fewer than 30 letters, so several papers may have it."


def test_two_papers_with_one_title_are_left_to_a_person() -> None:
    both = match.by_title(RECORD, [found(), found(doi="10.5555/other")])
    assert [one.verdict.doubt for one in both] == ["Several papers have this title, year and first author."] * 2
    assert [one.verdict.doubt for one in match.by_title(RECORD, [found(), found(abstract="")])] == [""]
    first, second = match.by_title(RECORD, [found(), found(doi="10.5555/other", year=1990)])
    assert (first.verdict.doubt, second.verdict.doubt != "") == ("", True)


def test_values_of_the_record_are_not_replaced() -> None:
    full = Record(record_id="r", title="T", abstract="Own abstract.", doi="10.1/own", pmid="7", year=1999)
    assert merge(full, found(), SURE, replace_shorter=True) == (full, [])
    filled, rows = merge(RECORD, found(), SURE, replace_shorter=False)
    assert (filled.abstract, filled.doi, filled.pmid) == (ABSTRACT, PAPERS[0].doi, PAPERS[0].pmid)
    assert filled.record_id == RECORD.record_id
    assert filled.raw == RECORD.raw
    assert [row.field for row in rows] == ["abstract", "doi", "pmid"]
    assert rows[0].sha256 == sha256(ABSTRACT.encode()).hexdigest()
    assert (rows[0].source, rows[0].licence, rows[0].likeness) == ("europepmc", "unknown", 1.0)
    _, (row, *_) = merge(RECORD, replace(found(), licence="cc by"), SURE, replace_shorter=False)
    assert row.licence == "cc by"


LONG = " ".join(
    f"Sentence {number} is about leaders of both services and the trust between them." for number in range(9)
)


@pytest.mark.parametrize(
    ("own", "asked", "replaced"),
    [
        (f"{LONG[:300]}…", True, True),
        (f"{LONG[:300]}…", False, False),
        (f"{LONG[:300]} ...", True, True),
        (LONG[:75], True, True),
        (f"{LONG[:300]}.", True, False),  # neither short nor cut off
        (f"Another beginning. {LONG[:100]}…", True, False),
        (f"{LONG} And more…", True, False),  # longer than the one that was found
        ("", False, True),
    ],
)
def test_only_abstracts_that_were_cut_off_are_replaced_if_asked(own: str, asked: bool, replaced: bool) -> None:
    record = RECORD.model_copy(update={"abstract": own})
    filled, _ = merge(record, found(abstract=LONG), SURE, replace_shorter=asked)
    assert filled.abstract == (LONG if replaced else own)


def test_what_may_be_cut() -> None:
    assert not may_be_cut("")
    assert may_be_cut("Short.")
    assert may_be_cut(f"{LONG} and…")
    assert not may_be_cut(LONG)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "No abstract available.",
        "There is no abstract available for this article, which was published as a letter to the editor in this issue.",
        "An abstract is not available for this content so a preview has been provided. As you have access to this "
        "content, a full PDF is available via the save PDF action button.",
        "This article has no abstract. Readers who want to know more can look at the complete text in the journal.",
        "Click on the article title to read more. Articles of this journal are sorted by issue and by their subject.",
        "Please see the full text of the paper for the details of the methods and for the list of all contributors.",
        "First page preview. The first page of the document is displayed where no abstract was supplied by authors.",
        "Copyright © 2019 Elsevier Ltd. All rights reserved. Published by Elsevier Ltd on behalf of the Society.",
        "Resumen en español disponible en línea",
        "This site uses cookies. By continuing to browse the site you are agreeing to our use of cookies everywhere.",
    ],
)
def test_placeholders_are_not_abstracts(text: str) -> None:
    assert is_placeholder(text)
    unfilled, rows = merge(RECORD, found(abstract=text, doi=None, pmid=None), SURE, replace_shorter=False)
    assert (unfilled, rows) == (RECORD, [])


@pytest.mark.parametrize(
    "text",
    [
        ABSTRACT,
        "No abstract principle of leadership was found in the forty interviews with managers of the two services.",
        "See what happens if leaders listen: forty managers of two services were interviewed on trust in their teams.",
        "The full text of forty plans was read by two researchers, who coded what leaders did to build trust.",
    ],
)
def test_abstracts_are_not_placeholders(text: str) -> None:
    assert not is_placeholder(text)
