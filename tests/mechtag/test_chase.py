"""Test the command ``chase``, which finds papers that the included papers cite, and papers that cite them."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mechtag.core.parquet import write_records
from mechtag.core.settings import DedupeSettings
from mechtag.pipeline.export.prisma.flow import plain_text, read_flow
from mechtag.pipeline.fetch import citations, europepmc
from mechtag.pipeline.reading.ingest import ingest
from mechtag.workflows.chase import chase
from mechtag.workflows.web_access import Access
from tests.support.command import call
from tests.support.services import EMAIL, KEY, PAPERS, FakeClock, FakeServices

SEEDS, KNOWN = (4, 5, 8), (3, 6)
# Each paper cites the three papers with the numbers before its own.
BACKWARD, FORWARD = {1, 2, 7}, {7, 9, 10, 11}


@pytest.fixture
def services() -> Iterator[FakeServices]:
    with FakeServices(FakeClock()).serving() as serving:
        yield serving


def run(services: FakeServices, folder: Path, **options: Any) -> list[str]:
    write_records(folder / "included.parquet", [PAPERS[number].record() for number in SEEDS])
    write_records(folder / "known.parquet", [PAPERS[number].record() for number in KNOWN])
    given: dict[str, Any] = {
        "known": [folder / "known.parquet"],
        "directions": ("backward", "forward"),
        "sources": ("openalex", "europepmc"),
        "settings": DedupeSettings(),
    }
    access = Access(EMAIL, addresses=services.addresses, clock=FakeClock())
    return list(chase(folder / "included.parquet", folder / "out/chased.ris", access, **(given | options)))


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def numbers(rows: Sequence[dict[str, str]]) -> list[int]:
    titles = {paper.title: paper.number for paper in PAPERS}
    return [titles[row["title"].rstrip(".")] for row in rows]


@pytest.mark.parametrize("sources", [("openalex",), ("europepmc",), ("openalex", "europepmc")])
@pytest.mark.parametrize(
    ("directions", "expected"),
    [(("backward",), BACKWARD), (("forward",), FORWARD), (("backward", "forward"), BACKWARD | FORWARD)],
)
def test_new_papers_are_found(
    services: FakeServices,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sources: Sequence[str],
    directions: Sequence[str],
    expected: set[int],
) -> None:
    monkeypatch.setenv("OPENALEX_API_KEY", KEY)
    # Europe PMC lists the citations only of papers with a PubMed id.
    services.papers |= {
        number: replace(paper, pmid=str(3_000_000 + number)) for number, paper in services.papers.items()
    }
    run(services, tmp_path, sources=sources, directions=directions)
    found = numbers(table(tmp_path / "out/chased.csv"))
    assert len(found) == len(set(found))
    assert set(found) == expected
    exported = ingest([tmp_path / "out/chased.ris"]).records
    assert sorted(found) == sorted(numbers([{"title": record.title} for record in exported]))


def test_papers_with_most_seeds_come_first_and_say_how_they_were_found(services: FakeServices, tmp_path: Path) -> None:
    run(services, tmp_path, sources=("europepmc",))
    rows = table(tmp_path / "out/chased.csv")
    assert [(numbers([row])[0], row["seeds"]) for row in rows] == [
        (7, "3"),
        (2, "2"),
        (11, "1"),
        (10, "1"),
        (9, "1"),
        (1, "1"),
    ]
    seeds = [PAPERS[number].record().record_id for number in SEEDS]
    assert rows[0]["found_via"].split("; ") == [
        f"cites {seeds[0]} (europepmc)",
        f"cites {seeds[1]} (europepmc)",
        f"cited by {seeds[2]} (europepmc)",
    ]
    text = (tmp_path / "out/chased.ris").read_text(encoding="utf-8")
    assert f"N1  - mechtag citation searching: cites {seeds[0]} (europepmc)" in text.split("ER  -")[0]


def test_openalex_lists_citing_papers_only_with_a_key(services: FakeServices, tmp_path: Path) -> None:
    said = run(services, tmp_path, sources=("openalex",))
    assert set(numbers(table(tmp_path / "out/chased.csv"))) == BACKWARD
    assert [(row["backward"], row["forward"]) for row in table(tmp_path / "out/chased_seeds.csv")] == [("3", "")] * 3
    assert any("OPENALEX_API_KEY" in line for line in said)
    assert all(asked.path.startswith("/works/") for asked in services.asked)


def test_counts_go_into_the_diagram(services: FakeServices, tmp_path: Path) -> None:
    said = run(services, tmp_path)
    # Eleven papers are linked to the seeds: three are seeds and two known.
    assert said[0].endswith("6 new papers; citation searching found 11, of which 5 were known")
    lines = "\n".join(plain_text(read_flow(None, tmp_path / "out/chased_counts.yaml")))
    assert "Citation searching: 11" in lines
    assert "Reports sought for retrieval: 6" in lines


def test_a_second_round_starts_from_the_papers_of_the_first(services: FakeServices, tmp_path: Path) -> None:
    run(services, tmp_path, sources=("openalex",), directions=("backward",), rounds=2)
    rows = table(tmp_path / "out/chased.csv")
    assert set(numbers(rows)) == BACKWARD | {0}
    via = {number: row["found_via"] for number, row in zip(numbers(rows), rows, strict=True)}
    assert via[0] == "cited by doi:10.5555/lead.1 (openalex); cited by doi:10.5555/lead.2 (openalex)"


def test_seeds_that_no_service_knows_are_listed(services: FakeServices, tmp_path: Path) -> None:
    del services.papers[5]
    services.papers[8] = replace(PAPERS[8], title="Moisture of soils in alpine meadows")
    said = run(services, tmp_path)
    assert any(
        line.endswith(f"no service knows 2 included papers: {PAPERS[5].title}; {PAPERS[8].title}") for line in said
    )
    rows = {row["record_id"]: row for row in table(tmp_path / "out/chased_seeds.csv") if row["source"] == "europepmc"}
    assert rows["doi:10.5555/lead.5"]["backward"] == rows["doi:10.5555/lead.8"]["backward"] == ""
    assert rows["doi:10.5555/lead.4"]["backward"] == "3"


def test_counts_that_lack_answers_say_that_they_may_be_too_low(tmp_path: Path) -> None:
    write_records(tmp_path / "included.parquet", [PAPERS[number].record() for number in SEEDS])
    status, output, message = call("chase", tmp_path / "included.parquet", "-o", tmp_path / "out/c.ris", "--offline")
    assert status == 0
    said = " ".join((output + message).split())
    assert "no answer describes 3 included papers: " in said
    assert "no service knows" not in said
    warning = "the counts may be too low, because requests were not answered"
    assert f"counts for 'mechtag prisma --elsewhere'; {warning}" in said
    assert f"# T{warning[1:]}" in (tmp_path / "out/c_counts.yaml").read_text(encoding="utf-8")


def test_complete_counts_carry_no_warning(services: FakeServices, tmp_path: Path) -> None:
    assert not any("too low" in line for line in run(services, tmp_path))
    assert "too low" not in (tmp_path / "out/chased_counts.yaml").read_text(encoding="utf-8")


def test_a_search_that_finds_too_much_stops(
    services: FakeServices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert citations.MOST == 20_000
    monkeypatch.setattr(citations, "MOST", 4)
    said = run(services, tmp_path, rounds=2)
    assert any(line.startswith("the search ended after ") for line in said)
    assert len(table(tmp_path / "out/chased.csv")) <= 4


def test_long_lists_are_read_page_by_page(
    services: FakeServices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(europepmc, "_PAGE", 2)
    run(services, tmp_path, sources=("europepmc",), directions=("backward",))
    assert set(numbers(table(tmp_path / "out/chased.csv"))) == BACKWARD
    assert sum(asked.query.get("page") == "2" for asked in services.asked) == 3


def test_a_dry_run_lists_the_first_requests(tmp_path: Path) -> None:
    write_records(tmp_path / "included.parquet", [PAPERS[number].record() for number in SEEDS])
    status, output, _ = call("chase", tmp_path / "included.parquet", "-o", tmp_path / "out/c.ris", "--dry-run")
    assert status == 0
    assert "www.ebi.ac.uk: 1 request, estimated cost 0.0000 USD" in output
    assert "api.openalex.org: 3 requests" in output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--direction", "sideways"), "'sideways' is not known; choose from backward, forward"),
        (("--sources", "crossref"), "'crossref' is not known; choose from openalex, europepmc"),
        (("--rounds", "3"), "less than or equal to 2"),
    ],
)
def test_unknown_words_are_refused(tmp_path: Path, words: Sequence[str], message: str) -> None:
    write_records(tmp_path / "included.parquet", [PAPERS[4].record()])
    status, _, error = call("chase", tmp_path / "included.parquet", "-o", tmp_path / "c.ris", "--email", EMAIL, *words)
    assert status == 2
    assert message in " ".join(error.replace("│", " ").split())
