"""Test the flow diagram: it adds up, shows who entered which number, and never shows an unknown count as 0."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest
import yaml

from mechtag.pipeline.export.prisma.counts import Elsewhere
from mechtag.review.acts import Stamp
from mechtag.review.jobs import importing
from mechtag.review.jobs.worker import do_next
from mechtag.review.workspace import Workspace
from tests.support.review_site import Browser, add_person, make_review, texts

TITLES = ("Apples of the north", "Pears in cities", "Wages of pickers")
EXPORT = "".join(
    f"TY  - JOUR\nTI  - {title}\nAU  - Ash, Ann\nPY  - 2020\nJO  - Fruit\nDO  - 10.1/{doi}\nAB  - Apples.\nER  - \n\n"
    for title, doi in (
        ("Apples of the north", 1),
        ("Pears in cities", 2),
        ("Wages of pickers", 3),
        ("Apples of the north", 1),
    )
)


@pytest.fixture
def review(tmp_path: Path) -> Workspace:
    """Make a review of three papers by importing four records, one of which is a duplicate."""
    review = make_review(tmp_path, [], coders_screen=1, exclusion_reasons=["Wrong <b> topic"])
    owner = Browser(review, 1)
    jobs = {**importing.JOBS, "rank": lambda workspace, arguments, progress: {}, "tag": lambda *_: {}}
    files = [("files", ("medline.ris", io.BytesIO(EXPORT.encode())))]
    answer = owner.client.post("/import", data={"csrf": owner.csrf, "client_id": "x"}, files=files)
    while do_next(review, jobs):
        pass
    owner.post(answer.url.path, act="add")
    while do_next(review, jobs):
        pass
    return review


def table(owner: Browser) -> dict[str, str]:
    """Return the counts of the flow diagram as text, by name."""
    text = owner.client.get("/flow/csv").text.removeprefix("\ufeff")
    return {row["count"]: row["records"] for row in csv.DictReader(io.StringIO(text))}


def adds_up(owner: Browser) -> dict[str, int]:
    """Check that the boxes of the diagram add up to the records found, and return the counts of screening."""
    found = {key: int(number) for key, number in table(owner).items() if number != "not known"}
    removed = sum(number for key, number in found.items() if key.startswith("removed_before_screening."))
    names = ("screened", "excluded", "kept", "not_yet_screened")
    counts = {name: found[f"screening.{name}"] for name in names}
    assert found["identified"] == removed + counts["screened"] + counts["not_yet_screened"]
    assert counts["screened"] == counts["excluded"] + counts["kept"]
    return counts


def test_counts_before_screening_and_final_decisions(review: Workspace) -> None:
    owner = Browser(review, 1)
    found = table(owner)
    assert (found["identified"], found["removed_before_screening.duplicates"]) == ("4", "1")
    assert "0 of 3 records have a final decision" in texts(owner.get("/flow"))
    assert adds_up(owner) == {"screened": 0, "excluded": 0, "kept": 0, "not_yet_screened": 3}
    review.acts.decide(Stamp(1), 1, 1)
    review.acts.decide(Stamp(1), 2, 0, reason="Wrong <b> topic")
    page = owner.get("/flow")
    assert "2 of 3 records have a final decision" in texts(page)
    assert "Wrong &lt;b&gt; topic" in page
    assert "style=" not in page
    assert "The other 1 are counted as not yet screened: 1 not begun, 0 waiting" in texts(page)
    assert adds_up(owner) == {"screened": 2, "excluded": 1, "kept": 1, "not_yet_screened": 1}
    assert "Records not yet screened" in page
    review.acts.decide(Stamp(1), 3, 0)
    assert adds_up(owner) == {"screened": 3, "excluded": 2, "kept": 1, "not_yet_screened": 0}
    assert "Screening is not finished" not in owner.get("/flow")


def test_what_is_unread_when_screening_stops_was_excluded_by_automation(review: Workspace) -> None:
    owner = Browser(review, 1)
    review.acts.decide(Stamp(1), 1, 1)
    owner.post("/stop", why="No time")
    found = table(owner)
    assert (found["screening.excluded"], found["screening.excluded_by_automation"]) == ("2", "2")
    assert "2 records without a final decision count as excluded by automation" in texts(owner.get("/flow"))


def test_what_people_enter_is_shown_with_their_names_and_drawn(review: Workspace) -> None:
    owner = Browser(review, 1)
    for record, value in ((1, 1), (2, 1), (3, 0)):
        review.acts.decide(Stamp(1), record, value)
    fields = {"reports.sought": "2", "reports.not_retrieved": "0", "reports.excluded": "Wrong setting: 1"}
    answer = owner.post("/flow", **fields)
    assert "entered by Owen" in texts(answer.text)
    assert "Wrong setting" in owner.get("/flow/svg")
    assert table(owner)["reports.assessed"] == "2"
    content = yaml.safe_load(owner.get("/flow/yaml"))
    assert Elsewhere.model_validate(content).reports is not None
    assert content["reports"]["excluded"] == {"Wrong setting": 1}
    owner.post("/flow", **{**fields, "reports.sought": ""})
    assert "Owen entered reports: sought in the flow diagram" in texts(owner.get("/activity"))


def test_two_owners_who_enter_different_counts_do_not_delete_each_others(review: Workspace) -> None:
    owner, petra = Browser(review, 1), Browser(review, add_person(review, "Petra", "owner"))

    def fields(page: str) -> dict[str, str]:
        """Return what the form sends, if nothing is typed."""
        inputs = re.findall(r'<input id="[^"]+" name="([^"]+)" [^>]*value="([^"]*)"', page)
        return dict(inputs) | dict(re.findall(r'<textarea[^>]* name="([^"]+)"[^>]*>([^<]*)</textarea>', page))

    first, second = fields(owner.get("/flow")), fields(petra.get("/flow"))
    owner.post("/flow", **first | {"reports.sought": "2", "reports.excluded": "Wrong setting: 1"})
    # A form that is shown again because of a fault was still loaded before.
    answer = petra.post("/flow", **second | {"included.studies": "many"})
    assert (answer.status_code, 'value="many"' in answer.text) == (422, True)
    petra.post("/flow", **fields(answer.text) | {"included.studies": "1"})
    now = fields(owner.get("/flow"))
    assert [now[name] for name in ("reports.sought", "included.studies")] == ["2", "1"]
    assert now["reports.excluded"] == "Wrong setting: 1"
    third = fields(petra.get("/flow"))
    answer = petra.post("/flow", **third | {"reports.sought": "", "included.studies": "many"})
    assert fields(answer.text)["reports.sought"] == ""
    petra.post("/flow", **fields(answer.text) | {"included.studies": "1"})
    assert fields(owner.get("/flow"))["reports.sought"] == ""


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"reports.sought": "many"}, "Reports sought: 'many' is not a whole number"),
        ({"reports.excluded": "Wrong setting 1"}, "write each line as a name, a colon and a number"),
        ({"reports.excluded": "A: 1\nA: 2"}, "'A' appears twice"),
    ],
)
def test_faults_are_named_and_what_was_typed_stays(review: Workspace, fields: dict[str, str], fault: str) -> None:
    owner = Browser(review, 1)
    answer = owner.post("/flow", **{"included.studies": "7", **fields})
    assert (answer.status_code, fault in texts(answer.text), 'value="7"' in answer.text) == (422, True, True)
    assert "entered by" not in owner.get("/flow")


def test_contradictions_are_shown_in_words(review: Workspace) -> None:
    owner = Browser(review, 1)
    for record, value in ((1, 1), (2, 0), (3, 0)):
        review.acts.decide(Stamp(1), record, value)
    page = texts(owner.post("/flow", **{"reports.sought": "5", "reports.not_retrieved": "9"}).text)
    assert "do not add up" in page
    assert owner.client.get("/flow/svg").status_code == 422


def test_blinded_coders_do_not_see_decisions_of_others(review: Workspace) -> None:
    coder = Browser(review, add_person(review, "Ann", "coder"))
    assert coder.client.get("/flow").status_code == 403
    assert coder.client.get("/flow/csv").status_code == 403
