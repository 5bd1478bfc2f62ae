"""Test examples of labels, chosen by coders among marked sentences: who sees them, and which of them train models."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from mechtag.pipeline.annotations.coded_records import all_exemplars
from mechtag.review.acts import Refused, Stamp
from mechtag.review.codings import final_codings
from mechtag.review.examples import teaching_examples, visible_examples
from mechtag.review.store.events import read_plan
from mechtag.review.workspace import Workspace
from mechtag.workflows.learn import write_examples
from tests.support.review_site import Browser, add_person, make_review, texts

OWEN, ANN, BEN = 1, 2, 3
APPLES = "Apples grow in orchard 1."


@pytest.fixture
def review(tmp_path: Path) -> Workspace:
    """Make a review in which record 1 is included and waits for two coders."""
    workspace = make_review(tmp_path, 3)
    assert (add_person(workspace, "Ann", "coder"), add_person(workspace, "Ben", "coder")) == (ANN, BEN)
    for coder in (OWEN, BEN):
        workspace.acts.decide(Stamp(coder), 1, 1)
    return workspace


def code(review: Workspace, coder: int, record: int = 1) -> None:
    review.acts.mark(Stamp(coder), record, "apple", [0])
    review.acts.code(Stamp(coder), record, "pear", 0)
    review.acts.commit(Stamp(coder), record)


def chosen(review: Workspace) -> list[dict[str, object]]:
    with review.store.read() as connection:
        found = teaching_examples(connection, final_codings(connection), review.codebook)
    return [one.model_dump() for one in found]


def test_only_a_sentence_that_the_person_marked_can_be_an_example(review: Workspace) -> None:
    code(review, BEN)
    for coder, label, sentence in ((ANN, "apple", 0), (BEN, "pear", 0), (BEN, "apple", 1)):
        with pytest.raises(Refused, match="only a sentence that you marked"):
            review.acts.exemplify(Stamp(coder), 1, label, sentence)
    with pytest.raises(Refused, match="no label 'plum'"):
        review.acts.exemplify(Stamp(BEN), 1, "plum", 0)


def test_an_example_is_chosen_and_taken_back_on_the_page(review: Workspace) -> None:
    code(review, BEN)
    ben = Browser(review, BEN)
    page = ben.get("/code?record=1")
    assert "Use as example" in page
    fields = {"record": 1, "label": "apple", "sentence": 0}
    ben.post("/code/example", **fields, on=1)
    page = ben.get("/code?record=1")
    assert "No longer an example" in page
    assert "Use as example" not in page
    assert f"<q>{APPLES}</q>" in ben.get("/codebook")
    assert "chose sentence 1 as an example of Apple" in texts(ben.get("/records/1"))
    # The page of a record does not repeat the record's own sentences as examples.
    assert "<q>" not in ben.get("/code?record=1")
    ben.post("/code/example", **fields, on=0)
    assert "<q>" not in ben.get("/codebook")
    assert "no longer uses sentence 1 as an example of Apple" in texts(ben.get("/activity"))
    ben.post("/undo")
    assert f"<q>{APPLES}</q>" in ben.get("/codebook")
    assert ben.post("/code/example", record=1, label="apple", on=1).status_code == 422


def test_an_example_ends_with_the_mark_and_with_the_withdrawal_of_its_coder(review: Workspace) -> None:
    code(review, BEN)
    review.acts.exemplify(Stamp(BEN), 1, "apple", 0)

    def own() -> int:
        with review.store.read() as connection:
            return len(visible_examples(connection, BEN, blinded=True))

    assert own() == 1
    review.acts.mark(Stamp(BEN), 1, "apple", [1])
    assert own() == 0
    review.acts.undo(Stamp(BEN))
    assert own() == 1
    review.acts.code(Stamp(BEN), 1, "apple", 0)
    assert own() == 0
    review.acts.undo(Stamp(BEN))
    review.acts.change_account(Stamp(OWEN), BEN, state="withdrawn")
    assert own() == 0


def test_examples_of_others_are_hidden_like_their_codes(review: Workspace) -> None:
    code(review, BEN)
    review.acts.exemplify(Stamp(BEN), 1, "apple", 0)
    for person in (ANN, OWEN):  # Both can still code record 1.
        assert APPLES not in Browser(review, person).get("/codebook")
    code(review, ANN)
    assert f"<q>{APPLES}</q>" in Browser(review, OWEN).get("/codebook")
    # The example would reveal Ben's code to a blinded coder.
    assert "<q>" not in Browser(review, ANN).get("/codebook")
    review.acts.unblind(Stamp(OWEN), 1, "code")
    assert f"<q>{APPLES}</q>" in Browser(review, ANN).get("/codebook")


def test_examples_are_shown_with_the_rules_of_their_label(review: Workspace) -> None:
    code(review, BEN)
    review.acts.exemplify(Stamp(BEN), 1, "apple", 0)
    for coder in (OWEN, BEN):
        review.acts.decide(Stamp(coder), 2, 1)
    page = Browser(review, BEN).get("/code?record=2")
    rules = re.findall(r"<details><summary[^>]*>Definition and rules.*?</details>", page, re.DOTALL)
    assert [APPLES in each for each in rules] == [True, False]
    assert "<q>" not in Browser(review, ANN).get("/code?record=2")


def test_models_learn_only_examples_whose_final_code_is_yes(review: Workspace) -> None:
    code(review, BEN)
    review.acts.exemplify(Stamp(BEN), 1, "apple", 0)
    assert chosen(review) == []
    code(review, ANN)
    (one,) = chosen(review)
    assert (one["record_id"], one["labels"], one["text"]) == ("doi:10.1/1", ("apple",), APPLES)
    review.acts.settle(Stamp(OWEN), 1, "code", "apple", 0, why="no")
    assert chosen(review) == []


def test_an_example_of_a_joined_record_has_the_id_of_its_paper(review: Workspace) -> None:
    """A fold that leaves out a paper must also leave out an example that was chosen in its duplicate."""
    review.acts.join(Stamp(OWEN), 1, 2)
    review.acts.join(Stamp(OWEN), 3, 2)
    code(review, BEN)
    review.acts.exemplify(Stamp(BEN), 1, "apple", 0)
    for coder in (BEN, ANN):
        code(review, coder, 2)
    (one,) = chosen(review)
    assert one["record_id"] == "doi:10.1/2"


def test_examples_are_written_for_training_and_never_over_a_file_of_somebody_else(review: Workspace) -> None:
    for coder in (BEN, ANN):
        code(review, coder)
    review.acts.exemplify(Stamp(BEN), 1, "apple", 0)
    with review.store.read() as connection:
        found = teaching_examples(connection, final_codings(connection), review.codebook)
        assert not read_plan(connection).unblinded
    project = review.project
    sha256 = write_examples(project, found, None)
    assert all_exemplars(project.settings.train, review.codebook.keys) == found
    assert write_examples(project, found, sha256) == sha256
    path = Path(project.settings.train.examples)
    path.write_text(json.dumps({"id": "x", "text": "a", "labels": []}), encoding="utf-8")
    with pytest.raises(Exception, match="not written by the review page"):
        write_examples(project, found, sha256)
    path.unlink()
    assert write_examples(project, [], sha256) == ""
    assert not path.exists()
