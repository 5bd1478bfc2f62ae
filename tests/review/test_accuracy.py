"""Test that the agreement on the page equals what independent programs compute from the exported codes."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import krippendorff
import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score
from sqlalchemy import update

from mechtag.core.errors import MechtagError
from mechtag.core.records import FINAL, Coding, Prediction
from mechtag.evaluation.evaluate import agreement_of_files
from mechtag.pipeline.annotations.coding_table import write_codings
from mechtag.review.acts import Stamp
from mechtag.review.codings import coders_codings, final_codings
from mechtag.review.jobs import accuracy
from mechtag.review.jobs.accuracy import RESULTS
from mechtag.review.jobs.worker import do_next, jobs
from mechtag.review.store import schema
from mechtag.review.workspace import Workspace
from tests.support.review_site import Browser, add_person, copy_review, look, make_review, papers, texts

PEOPLE = ("Ann", "Bob", "Cay")
LABELS = ("apple", "pear")


@pytest.fixture(scope="module")
def review(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Return a review in which three people coded different records and often disagree."""
    review = make_review(tmp_path_factory.mktemp("accuracy"), papers(60))
    generator = np.random.default_rng(4)
    for name in PEOPLE:
        coder = add_person(review, name, "coder")
        for record in range(1, 61):
            if generator.random() < 0.25:
                continue
            review.acts.decide(look(review, coder, record, "screen"), record, int(generator.random() < 0.6))
            sight = look(review, coder, record).sight
            for label in LABELS:
                value = int((record + len(label)) % 3 == 0) ^ int(generator.random() < 0.2)
                open_label = label == "pear" and generator.random() < 0.1
                review.acts.code(Stamp(coder, sight=sight), record, label, None if open_label else value)
            review.acts.commit(Stamp(coder, sight=sight), record, open_labels=True)
    # Codes without a record of what their coder saw do not count in the main figures.
    stranger = add_person(review, "Dan", "coder")
    for record in range(1, 61):
        review.acts.decide(Stamp(stranger), record, record % 2)
    return review


def compute(review: Workspace, browser: Browser) -> dict[str, object]:
    """Ask for the figures on the page, compute them, and return them."""
    assert browser.post("/accuracy").status_code == 200
    known = jobs()
    while do_next(review, known):
        pass
    found: dict[str, object] = json.loads(browser.get("/accuracy.json"))
    return found


def exported(review: Workspace, browser: Browser) -> Mapping[tuple[str, str, str], float]:
    """Return the exported values by coder, record id and label; NaN if a label was not judged."""
    browser.post("/export", name="codings", everything="1")
    known = jobs()
    while do_next(review, known):
        pass
    page = browser.get("/export")
    address = page.split('value="codings"')[1].split('href="')[1].split('"')[0]
    rows = csv.DictReader(io.StringIO(browser.client.get(address).text.removeprefix("\ufeff")))
    return {
        (row["coder"], row["record_id"], row["label"]): float(row["value"]) if row["value"] else math.nan
        for row in rows
        if row["coder"] in PEOPLE
    }


@pytest.mark.slow
def test_coefficients_equal_those_of_other_programs(review: Workspace) -> None:
    browser = Browser(review, 1)
    found = compute(review, browser)
    codes = exported(review, browser)
    records = sorted({record for _, record, _ in codes})
    people = found["people"]
    assert isinstance(people, dict)
    page = texts(browser.get("/accuracy"))
    for label in LABELS:
        table = np.array([[codes.get((name, record, label), math.nan) for record in records] for name in PEOPLE])
        alpha = krippendorff.alpha(table, level_of_measurement="nominal")
        value = people["all"]["humans"]["labels"][label]["krippendorff_alpha"]["value"]
        assert value == pytest.approx(alpha, abs=1e-4)
        assert f"{alpha:.2f}" in page
        for pair in people["pairs"]:
            one, two = (table[PEOPLE.index(pair[side])] for side in ("a", "b"))
            both = ~np.isnan(one) & ~np.isnan(two)
            kappa = cohen_kappa_score(one[both], two[both])
            assert pair["labels"][label]["cohen_kappa"]["value"] == pytest.approx(kappa, abs=1e-4)
            assert pair["labels"][label]["both_yes"] == int(((one == 1) & (two == 1)).sum())


def test_codes_of_unknown_origin_are_counted_separately(review: Workspace) -> None:
    found = compute(review, Browser(review, 1))
    main, every = found["people"], found["people_any"]
    assert isinstance(main, dict)
    assert isinstance(every, dict)
    assert {coder["name"] for coder in main["coders"]} == set(PEOPLE)
    assert {coder["name"] for coder in every["coders"]} == {*PEOPLE, "Dan"}
    assert found["codes"] == {"independent": found["codes"]["independent"], "assisted": 0, "unknown": 60}  # type: ignore[index]


def test_the_command_finds_the_agreement_of_the_page_in_the_exported_codes(review: Workspace, tmp_path: Path) -> None:
    """Final codes do not count as the codes of one more person, who would agree with everybody."""
    page = compute(review, Browser(review, 1))["people_any"]
    table, only_final = tmp_path / "codings.csv", tmp_path / "final.csv"
    with review.store.read() as connection:
        final = final_codings(connection)
        write_codings(table, coders_codings(connection) + final)
    write_codings(only_final, final)
    settings = review.project.settings
    command = agreement_of_files([table], review.codebook.all_keys, settings).content()
    assert {coder["name"] for coder in command["coders"]} == {*PEOPLE, "Dan"}

    def kappas(found: Any) -> dict[tuple[str, str, str], float | None]:
        return {
            (pair["a"], pair["b"], label): figures["cohen_kappa"]["value"]
            for pair in found["pairs"]
            for label, figures in pair["labels"].items()
        }

    assert kappas(command) == kappas(page)
    with pytest.raises(MechtagError, match="the only coder is final"):
        agreement_of_files([only_final], review.codebook.all_keys, settings)


def test_codes_of_withdrawn_people_are_not_counted(review: Workspace, tmp_path: Path) -> None:
    own = copy_review(review, tmp_path)
    own.acts.change_account(Stamp(1), 5, state="withdrawn")
    codes = compute(own, Browser(own, 1))["codes"]
    assert isinstance(codes, dict)
    assert (codes["independent"] > 0, codes["unknown"]) == (True, 0)


def test_a_blinded_coder_does_not_see_the_figures(review: Workspace) -> None:
    coder = Browser(review, 2)
    assert coder.client.get("/accuracy").status_code == 403
    assert coder.client.get("/accuracy.json").status_code == 403
    assert coder.post("/accuracy").status_code == 403


def test_a_review_without_codes_says_what_is_missing(tmp_path: Path) -> None:
    review = make_review(tmp_path)
    browser = Browser(review, 1)
    assert browser.client.get("/accuracy.json").status_code == 404
    compute(review, browser)
    page = texts(browser.get("/accuracy"))
    assert set(json.loads(browser.get("/accuracy.json"))) == RESULTS
    assert "No record has been judged by two people before they saw a suggestion" in page
    assert (
        "The model in use has not been trained yet on papers whose codes were given before a suggestion was seen"
        in page
    )


def test_the_page_compares_marked_sentences(tmp_path: Path) -> None:
    review = make_review(tmp_path, 8)
    for name in ("Ann", "Bob"):
        coder = add_person(review, name, "coder")
        for record in range(1, 9):
            sight = look(review, coder, record).sight
            review.acts.code(Stamp(coder, sight=sight), record, "apple", int(record < 8 or name == "Ann"))
            marked = [0] if name == "Ann" or record < 5 else [2]
            review.acts.mark(Stamp(coder, sight=sight), record, "apple", marked)
            review.acts.code(Stamp(coder, sight=sight), record, "pear", 1)
            review.acts.mark(Stamp(coder, sight=sight), record, "pear", [], complete=True)
            review.acts.commit(Stamp(coder, sight=sight), record)
    browser = Browser(review, 1)
    found = compute(review, browser)["evidence"]
    assert isinstance(found, dict)
    # Seven times both say yes; four times both mark the first sentence. Nobody marks a sentence for pears.
    assert found["labels"]["apple"]["n"] == 7
    assert found["labels"]["apple"]["shared"]["value"] == pytest.approx(4 / 7, abs=1e-6)
    assert list(found["labels"]) == ["apple"]
    page = texts(browser.get("/accuracy"))
    assert "Do people mark the same sentences?" in page
    assert "Apple 7 0.57 (" in page


def test_results_of_an_earlier_version_are_not_shown(tmp_path: Path) -> None:
    review = make_review(tmp_path)
    browser = Browser(review, 1)
    compute(review, browser)
    with review.store.write() as connection:
        connection.execute(update(schema.job).where(schema.job.c.kind == "accuracy").values(result='{"people": null}'))
    page = texts(browser.get("/accuracy"))
    assert "Between people" not in page
    assert "Compute" in page


def test_papers_that_were_only_screened_are_counted_apart(review: Workspace) -> None:
    keys = review.codebook.all_keys
    codes = {(f"doi:10.1/{n}", key): n % 2 for n in range(1, 9) for key in (keys if n < 5 else keys[:1])}
    final = [
        Coding(record_id=record, coder=FINAL, label=label, value=value, basis="abstract")
        for (record, label), value in codes.items()
    ]
    predictions = [
        Prediction(
            record_id=f"doi:10.1/{n}",
            label=key,
            score=n / 10,
            probability=n / 10,
            threshold=0.5,
            decision="yes" if n > 4 else "no",
            model_id="m",
        )
        for n in range(1, 9)
        for key in keys
    ]
    found = accuracy._model(review, final, predictions)
    assert found is not None
    assert (found["screened"], found["papers"]) == (8, 4)
    assert found["pair"]["labels"][keys[0]]["n"] == 8
    assert found["pair"]["labels"][keys[1]]["n"] == 4
