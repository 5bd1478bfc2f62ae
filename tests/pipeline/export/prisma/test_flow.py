"""Test that PRISMA counts add up or are refused."""

from __future__ import annotations

import copy
from functools import reduce
from operator import getitem
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mechtag.core.codebook import Codebook
from mechtag.core.errors import MechtagError
from mechtag.core.files import write_json
from mechtag.core.parquet import write_records
from mechtag.core.settings import Settings
from mechtag.pipeline.dedupe.dedupe import dedupe
from mechtag.pipeline.export.prisma.counts import (
    Elsewhere,
    Identification,
    clean_name,
    read_elsewhere,
    read_identification,
)
from mechtag.pipeline.export.prisma.flow import join, plain_text, table_rows
from mechtag.pipeline.reading.ingest import ingest
from mechtag.pipeline.tagging.inputs import ingest_exports, survey
from mechtag.pipeline.tagging.storage import locate
from tests.support.flow import FOUND, WHOLE, flow_of
from tests.support.paths import ROOT

SIMS = ROOT / "docs/examples/sims-2021.yaml"


def whole_and_block(path: str) -> tuple[dict, dict, str]:
    """Return a copy of ``WHOLE``, the block in it that contains ``path``, and the last key of ``path``."""
    data = copy.deepcopy(WHOLE)
    *parents, last = path.split("/")
    return data, reduce(getitem, parents, data), last


def leaves(data: dict, prefix: str = "") -> list[str]:
    return [
        leaf
        for key, value in data.items()
        for leaf in (leaves(value, f"{prefix}{key}/") if isinstance(value, dict) else [prefix + key])
    ]


def test_second_search_of_sims_2021_adds_up() -> None:
    flow = join(None, read_elsewhere(SIMS))
    expected = {
        "screening.screened": 5673,
        "screening.kept": 420,
        "screening.excluded": 5253,
        "other_methods.identified": 42,
        "reports_together.sought": 462,
        "reports_together.not_retrieved": 16,
        "reports_together.assessed": 446,
        "reports_together.excluded": 410,
        "included.studies": 36,
        "included.reports": 36,
    }
    assert {key: flow.counts[key] for key in expected} == expected
    assert list(flow.sources("other_methods.sources").values()) == [11, 2, 14, 11, 1, 3]
    # The review does not report how many records came from databases, so the count is unknown, not 0.
    assert flow.counts.get("databases") is None
    assert flow.counts["removed_before_screening.duplicates"] is None


def test_counts_of_a_batch_are_taken_as_they_are() -> None:
    counts = flow_of(FOUND).counts
    assert counts["identified"] == counts["databases"] == 150
    assert counts["registers"] == counts["removed_before_screening.automation"] == 0
    assert counts["removed_before_screening.duplicates"] == 20
    assert counts["removed_before_screening.other_reasons"] == 5
    assert counts["screening.screened"] == 125
    assert counts["screening.excluded"] is None


def test_what_follows_from_other_counts_is_worked_out() -> None:
    counts = flow_of(FOUND, screening={"kept": 30}, reports={"not_retrieved": 2}, included={"reports": 9}).counts
    assert counts["screening.excluded"] == 95
    assert counts["reports.sought"] == 30
    assert counts["reports.assessed"] == 28
    assert counts["reports.excluded"] == 19
    # The number of studies cannot be computed from nine reports.
    assert counts["included.studies"] is None


def test_counts_from_elsewhere_are_added_to_those_of_the_batch() -> None:
    flow = flow_of(
        FOUND,
        databases={"MEDLINE": ["a.ris", "b.ris"], "Hand count": 10},
        registers={"ClinicalTrials.gov": 7},
        removed_before_screening={"duplicates": 6},
    )
    assert flow.sources("databases") == {"MEDLINE": 150, "Hand count": 10}
    assert flow.counts["registers"] == 7
    assert flow.counts["removed_before_screening.duplicates"] == 26
    assert flow.counts["screening.screened"] == 125 + 10 + 7 - 6


def test_files_are_named_and_may_be_registers() -> None:
    flow = flow_of(FOUND, registers={"ClinicalTrials.gov": "b.ris"})
    assert flow.sources("databases") == {"a.ris": 100}
    assert flow.sources("registers") == {"ClinicalTrials.gov": 50}
    assert flow.counts["screening.screened"] == 125


@pytest.mark.parametrize(
    ("databases", "message"),
    [
        ({"MEDLINE": "c.ris"}, r"databases.MEDLINE: the file 'c.ris' is not listed in summary.json.*a.ris, b.ris"),
        ({"MEDLINE": "5,673"}, r"'5,673' is not listed.*without quotes or commas"),
        (
            {"MEDLINE": "a.ris", "Embase": "a.ris"},
            r"databases.Embase: the file 'a.ris' is not listed.*already uses this file.*b.ris",
        ),
        ({"MEDLINE": ["a.ris", "a.ris"]}, r"'a.ris' is not listed.*already uses this file"),
        ({"a.ris": 100}, r"databases.a.ris: summary.json already counts this file"),
    ],
)
def test_wrong_names_of_files_are_refused(databases: dict, message: str) -> None:
    with pytest.raises(MechtagError, match=message):
        flow_of(FOUND, databases=databases)


def test_whole_review_adds_up() -> None:
    counts = flow_of(**WHOLE).counts
    assert counts["identified"] == 1000
    assert counts["reports.excluded"] == 70
    assert counts["reports.included"] == 20
    assert counts["other_methods.reports.included"] == 10
    assert (counts["total.studies"], counts["total.reports"]) == (33, 36)


@pytest.mark.parametrize("path", [leaf for leaf in leaves(WHOLE) if "studies" not in leaf and "previous" not in leaf])
def test_any_count_that_is_off_by_one_is_refused(path: str) -> None:
    data, block, last = whole_and_block(path)
    block[last] += 1
    with pytest.raises(MechtagError, match="the counts do not add up: "):
        flow_of(**data)


@given(st.sets(st.sampled_from([leaf for leaf in leaves(WHOLE) if leaf.split("/")[0] in ("screening", "reports")])))
def test_a_missing_count_is_computed_correctly_or_not_at_all(gone: set[str]) -> None:
    data = copy.deepcopy(WHOLE)
    for path in gone:
        block, key = path.split("/")[:2]
        data[block].pop(key, None)
    whole, part = flow_of(**WHOLE).counts, flow_of(**data).counts
    assert {key: n for key, n in part.items() if n is not None}.items() <= whole.items()


def test_message_says_what_does_not_add_up() -> None:
    with pytest.raises(MechtagError, match="do not add up") as caught:
        flow_of(FOUND, screening={"excluded": 100}, reports={"sought": 40})
    assert str(caught.value) == (
        "the counts do not add up: screening.kept (25, derived from screening.screened and screening.excluded) "
        "should be reports.sought (40); correct one of these counts"
    )


@pytest.mark.parametrize(
    ("elsewhere", "message"),
    [
        (
            {"screening": {"screened": 5673}},
            "screening.screened: this count is 5673, but it is 125 according to summary.json",
        ),
        ({"reports": {"sought": 126}}, r"screening.screened \(125\)"),
        ({"included": {"studies": 3, "reports": 0}}, r"included.studies is 3, but included.reports is 0"),
        ({"previous": {"studies": 0, "reports": 2}}, r"previous.studies is 0, but previous.reports is 2"),
        (
            {"other_methods": {"sources": {"Websites": 4}, "reports": {"sought": 3}}},
            r"identified \(4, derived from other_methods.sources.Websites\) should be other_methods.records_exc",
        ),
    ],
)
def test_contradictions_are_refused(elsewhere: dict, message: str) -> None:
    with pytest.raises(MechtagError, match=message):
        flow_of(FOUND, **elsewhere)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must be a mapping"),
        ("- 1\n", "must be a mapping"),
        ("a: [", "not readable as YAML"),
        ("a: 2021-13-45\n", "not readable as YAML"),
        ("[" * 5000, "not readable as YAML"),
        ("screening: {screened: 1}\nscreening: {screened: 2}\n", "'screening' appears twice"),
        ("databases: {MEDLINE: 1, MEDLINE: 2}\n", "'MEDLINE' appears twice"),
        ("databases: {MEDLINE: 1, ' MEDLINE': 2}\n", "databases: ' MEDLINE' appears twice"),
        (
            "databases: {Embase: 1,204}\n",
            "databases: 204 is a number, but a name is expected here; write counts without commas",
        ),
        ("databses:\n", "databses: unknown key"),
        ('databases: {"\\u202e": 1}\n', "is not a printable name"),
        ("databases: {}\n", "databases: expected one or more lines"),
        ("databases: MEDLINE\n", "databases: expected one or more lines"),
        ("databases: {MEDLINE: 1.5}\n", "databases.MEDLINE: 1.5 is not a count"),
        ("screned: 5\n", "screned: unknown key"),
        ("screening: {screend: 5}\n", "screening.screend: unknown key"),
        ("screening: {screened: -5}\n", "screening.screened: -5 is out of range"),
        ("screening: {screened: 5000000000}\n", "out of range"),
        ("screening: {screened: '5,673'}\n", "screening.screened: '5,673' is not a count.*without commas"),
        ("screening: {screened: true}\n", "screening.screened: True is not a count"),
        ("reports: {excluded: {design: -1}}\n", "reports.excluded: -1 is out of range"),
        (
            "other_methods: {sources: {Websites: site.ris}}\n",
            "other_methods.sources.Websites: 'site.ris' is not a count",
        ),
        ("other_methods: {}\n", "other_methods.sources: Field required"),
        ("reports_together: {sought: 4}\n", "needs the key 'other_methods', which is missing; use the key 'reports'"),
        ("other_methods: {sources: {W: 1}}\nreports: {}\nreports_together: {}\n", "cannot be combined with 'reports'"),
        ("other_methods: {sources: {W: 1}, reports: {}}\nreports_together: {}\n", "cannot be combined with 'reports'"),
    ],
)
def test_faults_of_the_file_are_reported(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "counts.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(MechtagError, match=rf"counts\.yaml: .*{message}"):
        read_elsewhere(path)


def test_blocks_that_are_not_filled_in_count_as_left_out(tmp_path: Path) -> None:
    path = tmp_path / "counts.yaml"
    path.write_text("".join(f"{key}:\n" for key in Elsewhere.model_fields if key != "screening"))
    with path.open("a") as file:
        file.write("screening: {screened: 3}\n")
    assert read_elsewhere(path) == Elsewhere.model_validate({"screening": {"screened": 3}})


def test_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(MechtagError, match="no such file"):
        read_elsewhere(tmp_path / "none.yaml")


def test_summary_is_read_back_and_checked(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    write_json(path, {"prisma": FOUND.model_dump(mode="json")})
    assert read_identification(path) == FOUND
    write_json(path, {"read": 3})
    with pytest.raises(MechtagError, match="the file has no counts under 'prisma'"):
        read_identification(path)
    write_json(path, {"prisma": FOUND.model_dump(mode="json") | {"duplicates_removed": -1}})
    with pytest.raises(MechtagError, match=r"prisma: duplicates_removed: -1 is out of range"):
        read_identification(path)
    write_json(path, {"prisma": FOUND.model_dump(mode="json") | {"duplicates_removed": None}})
    with pytest.raises(MechtagError, match="only some of the counts"):
        read_identification(path)
    write_json(path, {"prisma": FOUND.model_dump(mode="json") | {"without_abstract": 126}})
    with pytest.raises(MechtagError, match="'without_abstract' is 126, but 'screened' is only 125"):
        read_identification(path)
    with pytest.raises(
        MechtagError, match=r"identified \(150, derived from databases and registers\) should be .*which is 151"
    ):
        flow_of(FOUND.model_copy(update={"duplicates_removed": 21}))


def test_names_are_cleaned() -> None:
    assert clean_name("  a\u202egnp\n.ris\x00 \x1b[31m") == "agnp .ris [31m"
    assert clean_name("می\u200cخواهم") == "می\u200cخواهم"
    assert clean_name("\ud800\ufffe\uffff") == ""


def test_rows_hold_every_count_with_its_panel() -> None:
    table = table_rows(flow_of(**WHOLE))
    databases = "Identification of new studies via databases and registers"
    other = "Identification of new studies via other methods"
    assert (databases, "Identification", "Records identified from: Databases: MEDLINE", 700) in table
    retrieval = {(panel, item): n for panel, stage, item, n in table if stage == "Screening" and "eports" in item}
    assert retrieval == {
        (databases, "Reports sought for retrieval"): 100,
        (databases, "Reports not retrieved"): 10,
        (databases, "Reports assessed for eligibility"): 90,
        (databases, "Reports excluded"): 70,
        (databases, "Reports excluded: setting"): 50,
        (databases, "Reports excluded: design"): 20,
        (other, "Reports sought for retrieval"): 40,
        (other, "Reports not retrieved"): 3,
        (other, "Reports assessed for eligibility"): 37,
        (other, "Reports excluded"): 27,
    }
    assert ("Previous studies", "Identification", "Studies included in previous version of review", 5) in table
    assert ("", "Included", "Reports of total included studies", 36) in table
    assert "  Records screened: 800" in list(plain_text(flow_of(**WHOLE)))


RIS = "TY  - JOUR\nTI  - {title}\nAU  - Roe, R.\nPY  - 2020\nDO  - 10.1000/{doi}\n{abstract}ER  - \n"


@pytest.fixture
def exports(tmp_path: Path) -> Path:
    """Write two exports: three records in the first; one of these and a record without a title in the second."""
    one, two = tmp_path / "one.ris", tmp_path / "two.ris"
    texts = [RIS.format(title=f"On team {doi}", doi=doi, abstract="AB  - Teams led.\n" * (doi != "c")) for doi in "abc"]
    one.write_text("".join(texts), encoding="utf-8")
    two.write_text(texts[0] + "TY  - JOUR\nAU  - Doe, D.\nER  - \n", encoding="utf-8")
    return tmp_path


def summarise(sources: list[Path], codebook: Codebook) -> tuple[dict, list[str]]:
    if sources[0].suffix == ".parquet":
        intake = survey(locate(sources[0]))
    else:
        intake = ingest_exports(list(map(str, sources)), Settings(), sources[0].parent / "out")
    return intake.summary("model", codebook, {}, 0), list(intake.identification.lines())


EXPECTED = {
    "identified_by_source": {"one.ris": 3, "two.ris": 2},
    "duplicates_removed": 1,
    "removed_by_automation": 0,
    "removed_for_other_reasons": 1,
    "screened": 3,
    "without_abstract": 1,
}


def test_summary_of_exports_counts_what_prisma_asks_for(exports: Path, fruit: Codebook) -> None:
    summary, lines = summarise([exports / "one.ris", exports / "two.ris"], fruit)
    assert summary["prisma"] == EXPECTED
    assert (summary["read"], summary["kept"], summary["rejected"], summary["duplicates"]) == (5, 4, 1, 1)
    assert lines == [
        "5 records identified (one.ris 3; two.ris 2)",
        "Removed before screening: 1 duplicate, 0 by automation, 1 that could not be read",
        "3 records to screen, 1 of them without an abstract",
    ]


def as_table(exports: Path) -> tuple[Path, dict]:
    """Write the table that 'ingest' and 'dedupe' would write; return its path and the content of ``ingest.json``."""
    found = ingest([exports / "one.ris", exports / "two.ris"])
    table = exports / "unique.parquet"
    write_records(table, dedupe(found.records, Settings().dedupe).unique)
    return table, found.summary()


def test_table_takes_its_counts_from_ingest_json(exports: Path, fruit: Codebook) -> None:
    table, ingested = as_table(exports)
    write_json(exports / "ingest.json", ingested)
    summary, _ = summarise([table], fruit)
    assert summary["prisma"] == EXPECTED
    assert (summary["read"], summary["kept"], summary["rejected"], summary["duplicates"]) == (5, 4, 1, 1)
    assert [source["read"] for source in summary["sources"]] == [3, 2]


def test_table_alone_does_not_know_what_was_identified(exports: Path, fruit: Codebook) -> None:
    table, _ = as_table(exports)
    summary, lines = summarise([table], fruit)
    unknown = dict.fromkeys(("identified_by_source", "duplicates_removed", "removed_for_other_reasons"))
    assert summary["prisma"] == EXPECTED | unknown
    assert all(summary[key] is None for key in ("read", "kept", "rejected", "duplicates", "sources"))
    assert lines[0] == "Records identified and duplicates removed: not known"
    flow = flow_of(Identification.model_validate(summary["prisma"]), databases={"MEDLINE": 9})
    assert (flow.counts["identified"], flow.counts["screening.screened"]) == (9, 3)
    assert flow.counts["removed_before_screening.duplicates"] is None


@pytest.mark.parametrize("change", [{"file": "another.ris"}, {"kept": 1}])
def test_ingest_json_of_other_records_is_not_believed(exports: Path, fruit: Codebook, change: dict) -> None:
    table, ingested = as_table(exports)
    ingested["sources"][0] |= change
    write_json(exports / "ingest.json", ingested)
    summary, _ = summarise([table], fruit)
    assert summary["prisma"]["identified_by_source"] is None
    assert "does not describe the records in unique.parquet" in summary["notes"][0]


def test_damaged_ingest_json_is_reported(exports: Path) -> None:
    table, ingested = as_table(exports)
    write_json(exports / "ingest.json", {**ingested, "sources": [{"file": "one.ris"}]})
    with pytest.raises(MechtagError, match=r"ingest\.json: sources: 0\.format: Field required"):
        survey(locate(table))
