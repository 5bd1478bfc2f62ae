"""Test the matrix of papers by labels: final codes and missing ones, for those who may see them."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest

from mechtag.review.acts import Stamp
from mechtag.review.charts import draw_matrix
from mechtag.review.matrix import MatrixRow, read_matrix
from mechtag.review.workspace import Workspace
from tests.support.review_site import Browser, add_person, look, make_review, texts


def code(review: Workspace, coder: int, record: int, apple: int | None, pear: int | None, refer: bool = False) -> None:
    sight = look(review, coder, record).sight
    review.acts.code(Stamp(coder, sight=sight), record, "apple", apple, refer=refer)
    if pear is not None:
        review.acts.code(Stamp(coder, sight=sight), record, "pear", pear)
    review.acts.commit(Stamp(coder, sight=sight), record, open_labels=True)


@pytest.fixture
def review(tmp_path: Path) -> Workspace:
    review = make_review(tmp_path, 5)
    ann, bob = add_person(review, "Ann", "coder"), add_person(review, "Bob", "coder")
    for coder in (ann, bob):
        code(review, coder, 3, 1, 0)
        code(review, coder, 1, 1, 1)
        code(review, coder, 2, 0, coder % 2)
    code(review, ann, 4, 1, 1)
    code(review, ann, 5, None, 1, refer=True)
    code(review, bob, 5, 1, 1)
    return review


def test_each_label_has_its_state(review: Workspace) -> None:
    with review.store.read() as connection:
        rows = read_matrix(connection, ["apple", "pear"], "code")
    assert [(row.record, row.states) for row in rows] == [
        (1, ("yes", "yes")),
        (3, ("yes", "no")),
        (2, ("no", "conflict")),
        (5, ("referred", "yes")),
        (4, ("open", "open")),
    ]
    assert rows[0].title == "Paper 1"


def test_the_page_counts_what_the_picture_shows(review: Workspace) -> None:
    page = Browser(review, 1).get("/matrix")
    text = texts(page)
    assert "5 papers have been coded by at least one person" in text
    assert "Apple 2 1 0 1 1" in text
    assert "Pear 2 1 1 0 1" in text
    assert 'href="/records/3"' in page
    svg = ElementTree.fromstring(re.findall(r'<svg[^>]*class="chart".*?</svg>', page, re.DOTALL)[0])
    cells = Counter[str]()
    for path in svg.iter("{http://www.w3.org/2000/svg}path"):
        cells[path.get("class", "")] += path.get("d", "").count("M")
    # Two labels of five papers: four yes, one conflict, one needs review; no and pending are dashes and dots.
    assert cells == {"series-0 filled": 4, "series-1": 1, "series-4": 1, "reference": 4}
    assert "Apple: 2 of 5 papers" in text


def test_a_blinded_coder_does_not_see_the_matrix(review: Workspace) -> None:
    assert Browser(review, 2).client.get("/matrix").status_code == 403


def test_long_matrices_are_shown_in_parts(review: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mechtag.review.pages.matrix._PAGE", 2)
    browser = Browser(review, 1)
    first, last = browser.get("/matrix"), browser.get("/matrix?after=4")
    assert "Papers 1 to 2 of 5" in texts(first)
    assert 'href="/matrix?basis=abstract&amp;after=2"' in first
    assert "Papers 5 to 5 of 5" in texts(last)
    assert "More papers" not in last


def test_an_empty_review_says_what_to_do(tmp_path: Path) -> None:
    assert "No paper has been coded yet" in texts(Browser(make_review(tmp_path), 1).get("/matrix"))


def test_names_of_labels_are_escaped_and_fit() -> None:
    picture = draw_matrix([MatrixRow(1, "", ("yes",))], ["<b>" + "W" * 60])
    svg = ElementTree.fromstring(picture.panels[0][1])
    assert float(svg.get("width", "0")) > 60 * 12
    assert not list(svg.iter("b"))
