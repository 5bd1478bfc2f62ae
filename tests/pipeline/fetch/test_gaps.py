"""Test that services are asked in turn for what records lack, and that no record is lost, whatever they answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mechtag.core.records import Record
from mechtag.pipeline.fetch.cache import NAME, Cache
from mechtag.pipeline.fetch.gaps import SERVICES, USUAL, Result, Wanted, fill
from mechtag.pipeline.fetch.openalex import mark_gaps
from mechtag.pipeline.fetch.requests import readable_json
from mechtag.pipeline.fetch.transport import Transport
from mechtag.pipeline.reading.columns import from_inverted
from tests.support.services import EMAIL, KEY, PAPERS, FakeClock, FakeServices, Reply, inverted

ALL = [paper.record() for paper in PAPERS]
Fill = Callable[..., Result]


@pytest.fixture
def services() -> Iterator[FakeServices]:
    with FakeServices(FakeClock()).serving() as serving:
        yield serving


@pytest.fixture
def ask(services: FakeServices, tmp_path: Path) -> Iterator[Fill]:
    with Cache(tmp_path / NAME) as cache:

        def ask(records: list[Record], wanted: Wanted | None = None, **options: object) -> Result:
            options = {"addresses": services.addresses, "clock": FakeClock(), **options}
            with Transport(cache, EMAIL, **options) as transport:  # type: ignore[arg-type]
                return fill(records, wanted or Wanted(), transport, lambda *_: nullcontext(lambda _: None))

        yield ask


def test_each_record_gets_the_abstract_from_the_first_service_that_has_it(ask: Fill, services: FakeServices) -> None:
    result = ask(ALL)
    sources = {row.record_id: row.source for row in result.fetched if row.field == "abstract"}
    assert [sources[record.record_id] for record in ALL] == [paper.holders[0] for paper in PAPERS]
    for record, paper in zip(result.records, PAPERS, strict=True):
        words = record.abstract.replace("AIM: ", "").replace("RESULTS: ", "")
        words = words.replace("Aim\n", "").replace("\nResults\n", " ")
        assert words == paper.abstract
    # One request for many records; OpenAlex without a key answers for one work at a time.
    assert [services.count(name) for name in SERVICES] == [1, 1, 6, 1, 0, 0]


def test_a_structured_abstract_keeps_its_headings(ask: Fill) -> None:
    by_xml, by_json, _, plain = ask(ALL[:4]).records
    assert by_xml.abstract.startswith("AIM: We asked 20 leaders of primary care how trust grows. RESULTS: They kept")
    assert by_json.abstract.startswith("Aim\nWe asked 21 leaders of district nursing how trust grows.\nResults\nThey")
    assert plain.abstract == PAPERS[3].abstract  # without 'Abstract' in front


def test_records_without_identifiers_are_searched_by_title_and_then_looked_up(
    ask: Fill, services: FakeServices
) -> None:
    nameless = [paper.record(doi=False, pmid=False) for paper in PAPERS]
    result = ask(nameless)
    assert [record.doi for record in result.records] == [paper.doi for paper in PAPERS]
    assert all(record.abstract for record in result.records)
    assert [record.record_id for record in result.records] == [record.record_id for record in nameless]
    assert result.candidates == []
    # Europe PMC knows half of the papers; only the others are searched at Crossref, and OpenAlex needs a key.
    searched = [asked.service for asked in services.asked if "TITLE" in asked.query.get("query", "")]
    assert len(searched) == 12
    assert sum("query.bibliographic" in asked.query for asked in services.asked) == 6


def test_with_a_key_openalex_is_asked_for_many_works_at_once(ask: Fill, services: FakeServices) -> None:
    result = ask([paper.record(pmid=False) for paper in PAPERS], Wanted(sources=("openalex",)), keys={"openalex": KEY})
    (asked,) = services.asked
    assert asked.query["filter"].count("|") == 11
    assert sum(bool(record.abstract) for record in result.records) == 3
    nameless = [PAPERS[2].record(doi=False, pmid=False)]
    assert ask(nameless, Wanted(sources=("openalex",)), keys={"openalex": KEY}).records[0].doi == PAPERS[2].doi
    # Without a DOI, the PubMed id is used.
    ask([PAPERS[4].record(doi=False)], Wanted(sources=("openalex",)), keys={"openalex": KEY})
    assert services.asked[-1].query["filter"] == f"pmid:{PAPERS[4].pmid}"


def test_semantic_scholar_is_asked_only_if_the_user_says_so(ask: Fill, services: FakeServices) -> None:
    services.papers[0] = replace(PAPERS[0], holders=("semantic_scholar",))
    assert not ask(ALL[:1]).records[0].abstract
    assert services.count("semantic_scholar") == 0
    result = ask(ALL[:2], Wanted(sources=(*USUAL, "semantic_scholar")))
    assert result.records[0].abstract == PAPERS[0].abstract
    assert result.fetched[0].url == "https://www.semanticscholar.org/paper/s0"


def test_complete_records_are_not_asked_for(ask: Fill, services: FakeServices) -> None:
    complete = [paper.record(bare=False) for paper in PAPERS]
    result = ask(complete)
    assert result.records == complete
    assert services.asked == []
    ask(ALL, Wanted(limit=2, sources=("crossref",)))
    assert services.asked[-1].query["filter"] == f"doi:{PAPERS[0].doi},doi:{PAPERS[1].doi}"


def test_only_identifiers_are_fetched_on_request(ask: Fill, services: FakeServices) -> None:
    known = [paper.record(doi=False, bare=False) for paper in PAPERS if paper.pmid]
    result = ask([*known, ALL[0]], Wanted(what=("identifiers",)))
    assert [record.doi for record in result.records[:-1]] == [paper.doi for paper in PAPERS if paper.pmid]
    assert [services.count(name) for name in SERVICES] == [1, 0, 0, 0, 0, 0]


def test_the_record_of_another_paper_is_left_to_a_person(ask: Fill, services: FakeServices) -> None:
    """The identifier in the export belongs to a different paper."""
    services.papers = {
        number: replace(paper, title="Moisture of soils in alpine meadows") for number, paper in enumerate(PAPERS)
    }
    result = ask(ALL[:4])
    assert result.records == ALL[:4]
    assert {one.record.record_id for one in result.candidates} == {record.record_id for record in ALL[:4]}
    assert result.fetched == []


def test_a_placeholder_is_passed_over_for_the_next_service(ask: Fill, services: FakeServices) -> None:
    page = {
        "resultList": {
            "result": [
                {"id": "1", "source": "MED", "doi": PAPERS[3].doi, "title": PAPERS[3].title, "pubYear": "2003"}
                | {"abstractText": "No abstract available."}
            ]
        }
    }
    services.faults["europepmc"].append(Reply(json.dumps(page).encode()))
    result = ask(ALL[3:4])
    assert [(row.field, row.source) for row in result.fetched] == [("abstract", "crossref")]


def test_a_retraction_is_noted_once(ask: Fill) -> None:
    result = ask(ALL[2:3], Wanted(sources=("openalex",)))
    assert [row.field for row in result.fetched] == ["abstract", "retraction"]


@pytest.mark.parametrize(
    "content",
    [
        b"[]",
        b'{"resultList": null, "results": null, "message": null}',
        b'{"resultList": {"result": ["a", 1, null, {}]}, "results": [1, {}], "message": {"items": [[], {"title": 7}]}}'
        b" ",
        b'{"resultList": {"result": {"title": {"a": 1}}}, "results": {"title": [1]}, "message": {"items": "x"}}',
        b"<PubmedArticleSet><PubmedArticle><MedlineCitation></PubmedArticle></PubmedArticleSet>",
        b'<!DOCTYPE x [<!ENTITY a "b">]><PubmedArticleSet>&a;</PubmedArticleSet>',
    ],
)
def test_nothing_is_lost_whatever_the_services_answer(ask: Fill, services: FakeServices, content: bytes) -> None:
    for name in SERVICES:
        services.faults[name].extend([Reply(content)] * 100)
    nameless = PAPERS[3].record(doi=False, pmid=False)
    assert ask([*ALL[:3], nameless], Wanted(sources=tuple(SERVICES))).records == [*ALL[:3], nameless]


def test_half_a_character_in_an_answer_becomes_a_question_mark() -> None:
    assert readable_json(rb'{"a": ["\ud83d\ude00 \ud83d \\ud83d"]}') == {"a": ["\U0001f600 ? \\ud83d"]}


def test_nothing_is_lost_if_no_service_answers(ask: Fill, services: FakeServices) -> None:
    for name in SERVICES:
        services.faults[name].extend([Reply(status=500)] * 100)
    assert ask(ALL).records == ALL
    for name in SERVICES:
        services.faults[name].clear()
    # The failures are not kept, so the next run succeeds.
    assert all(record.abstract for record in ask(ALL).records)


def test_a_strange_doi_does_not_disturb_the_others(ask: Fill, services: FakeServices) -> None:
    strange = '10.1002/(sici)1097-0258(19980815)17:15<1661::aid-sim968>3.0.co;2-2,a|b#?&"c'
    services.papers[3] = replace(PAPERS[3], doi=strange)
    record = PAPERS[3].record().model_copy(update={"doi": strange})
    for keys in ({}, {"openalex": KEY}):
        result = ask([record, ALL[7]], keys=keys, refresh=True)
        assert [one.abstract for one in result.records] == [PAPERS[3].abstract, PAPERS[7].abstract]


_WORDS = st.lists(st.text("abc é…-.", min_size=1).filter(lambda word: word == "".join(word.split())), min_size=1)


@given(_WORDS)
def test_an_inverted_index_becomes_the_text_again(words: list[str]) -> None:
    text = " ".join(words)
    assert from_inverted(mark_gaps(inverted(text))) == text


@pytest.mark.parametrize(
    ("missing", "expected"), [((1,), "a … c d e f g h i j"), ((1, 2), "a … … d e f g h i j"), ((1, 2, 3), None)]
)
def test_gaps_in_an_index_are_marked_or_make_it_useless(missing: tuple[int, ...], expected: str | None) -> None:
    index = {word: [place] for place, word in enumerate("abcdefghij") if place not in missing}
    assert from_inverted(mark_gaps(index)) == expected


@pytest.mark.parametrize("index", [None, "text", [], {}, {"a": "b"}, {"a": [-1, True, 0.5]}, {"a": [0], "b": [10**9]}])
def test_a_malformed_index_yields_no_abstract(index: object) -> None:
    assert mark_gaps(index) is None
