"""Test that no page or export reveals an answer given in a running calibration exercise, at any stage."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from mechtag.review.acts import Stamp
from mechtag.review.jobs import accuracy, exporting
from mechtag.review.jobs.worker import do_next
from mechtag.review.plan import STAGES
from mechtag.review.store.conflicts import DIFFERING, LISTS
from mechtag.review.store.exercises import records_to_draw
from mechtag.review.store.queue import STATES
from mechtag.review.workspace import Workspace
from tests.support.review_pages import walk, without_ids, without_times
from tests.support.review_site import Browser, add_person, make_review
from tests.support.review_texts import attach_texts

OWNER, ANN, BOB, CAY = 1, 2, 3, 4
RECORDS = 6


# Addresses that `walk` does not open.
FILTERED = (
    *("/matrix?basis=full-text", "/matrix?basis=abstract", "/records?label=apple", "/records?decision=include"),
    *(f"/records?{name}={state}" for name in ("screen", "code", "full_text") for state in STATES),
    *(f"/reconcile/{name}" for name in (*LISTS, *DIFFERING, "settled")),
)


def work(review: Workspace) -> None:
    """Run the waiting jobs; those that the tests do not need do nothing."""
    idle = {kind: lambda *_: {} for kind in ("tag", "files", "rank")}
    kinds = {exporting.KIND: exporting.run, accuracy.KIND: accuracy.run, **idle}
    while do_next(review, kinds):
        pass


def ready(folder: Path, stage: str) -> Workspace:
    """Make a review whose records can be judged at a stage, by two people each."""
    review = make_review(folder, RECORDS)
    for name in ("Ann", "Bob", "Cay"):
        add_person(review, name, "coder")
    if stage != "screen":
        for coder in (ANN, BOB):
            for record in range(1, RECORDS + 1):
                review.acts.decide(Stamp(coder), record, 1)
        attach_texts(review, range(1, RECORDS + 1))
    if stage == "full-text":
        for coder in (ANN, BOB):
            for record in range(1, RECORDS + 1):
                judge(review, coder, record, 1, "code")
    return review


def judge(review: Workspace, coder: int, record: int, value: int, stage: str) -> None:
    if stage == "screen":
        review.acts.decide(Stamp(coder), record, value)
        return
    review.acts.code(Stamp(coder), record, "apple", value, stage=stage)
    review.acts.code(Stamp(coder), record, "pear", 1 - value, stage=stage)
    review.acts.mark(Stamp(coder), record, "apple", [0] if value else [], stage=stage)
    review.acts.commit(Stamp(coder), record, stage=stage)


def exported(review: Workspace, viewer: int) -> dict[str, object]:
    """Request every export as one person, and return the content of the files that are created, by name."""
    for export in exporting.EXPORTS:
        browser = Browser(review, viewer)  # a session may send only a limited number of forms a minute
        forms = [form.name for form in export.formats] or [""]
        for form in forms:
            assert browser.post("/export", name=export.name, format=form).status_code in (200, 403, 422)
    work(review)
    # The number of the job at the end of the name differs between runs.
    return {re.sub(r"-\d+\.", ".", path.name): _content(path) for path in exporting.folder_of(review).iterdir()}


def _content(path: Path) -> object:
    if path.suffix != ".jsonl":
        return path.read_bytes()
    events = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return [{name: value for name, value in one.items() if name not in ("at", "client_id")} for one in events]


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_no_page_and_no_export_shows_how_others_judged(tmp_path: Path, stage: str) -> None:
    """Pages and exports are the same whether Bob agrees with Ann in the exercise or contradicts her.

    They are compared for Ann, who has judged all records of the exercise, and for Owen, who does not take part. Bob has
    judged all records too; Cay takes part, but has judged none.
    """
    seen: list[dict[tuple[int, str], object]] = []
    for agrees in (True, False):
        review = ready(tmp_path / str(agrees), stage)
        with review.store.read() as connection:
            drawn = records_to_draw(connection, stage)[:3]
        review.acts.start_exercise(Stamp(OWNER), stage, drawn, [ANN, BOB, CAY])
        for record in drawn:
            judge(review, ANN, record, 1, stage)
            judge(review, BOB, record, int(agrees), stage)
        Browser(review, OWNER).post("/accuracy")
        work(review)
        seen.append({})
        for viewer in (OWNER, ANN):
            browser = Browser(review, viewer)
            pages = walk(browser, stage) | {address: browser.client.get(address).text for address in FILTERED}
            seen[-1] |= {(viewer, address): without_times(without_ids(page)) for address, page in pages.items()}
            seen[-1] |= {(viewer, name): content for name, content in exported(review, viewer).items()}
    assert seen[0].keys() == seen[1].keys()
    assert {"events.jsonl", "codings.csv", "decisions.csv"} <= {name for viewer, name in seen[0] if viewer == OWNER}
    assert [place for place in seen[0] if seen[0][place] != seen[1][place]] == []
