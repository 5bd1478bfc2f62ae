"""Test highlighted words in titles and texts: the plan's words for everybody, personal words for that person only."""

from __future__ import annotations

from pathlib import Path

import pytest

from mechtag.core.records import Record
from mechtag.review.acts import Stamp
from mechtag.review.words import MOST, Words
from mechtag.review.workspace import Workspace
from tests.support.review_site import Browser, add_person, make_review, texts

OWEN = 1


@pytest.fixture
def review(tmp_path: Path) -> Workspace:
    text = "Apples & pears grow. The apple pie was <b>good</b>. Managers of İzmir managed."
    return make_review(tmp_path, [Record(record_id="doi:10.1/1", title="On apples", abstract=text)], coders_screen=1)


def test_own_words_are_marked_for_one_person_on_both_pages(review: Workspace) -> None:
    owen, ann = Browser(review, OWEN), Browser(review, add_person(review, "Ann", "coder"))
    assert "Highlight words" not in owen.get("/screen?record=1")
    page = owen.post("/words/own", back="/screen?record=1", own="apple*\n manag* \n\nAPPLE*").text
    assert '<h1 tabindex="-1" data-focus="screen/1">On <mark class="own">apples</mark></h1>' in page
    assert '<mark class="own">Apples</mark> &amp; pears' in page
    assert '<mark class="own">Managers</mark>' in page
    assert "My words: apple* , manag*" in texts(page)
    assert "&lt;b&gt;good&lt;/b&gt;" in page
    assert "<mark" not in ann.get("/screen?record=1")
    review.acts.decide(Stamp(OWEN), 1, 1)
    code = owen.get("/code?record=1")
    assert 'data-focus="code/1/False">On <mark class="own">apples</mark></h1>' in code
    assert '<span class="sentence"><mark class="own">Apples</mark> &amp; pears grow.</span>' in code
    code = owen.post("/words", back="/code?record=1", words="off").text
    assert ("Highlight words" in code, "Stop highlighting" in code) == (True, False)
    assert 'class="own">Apples' not in code + owen.get("/screen?record=1")
    # Saving words turns the highlighting on again.
    assert 'class="own">Apples' in owen.post("/words/own", back="/code?record=1", own="apple*").text
    assert "<mark" not in owen.post("/words/own", back="/code?record=1", own="").text


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ("a*", "at least two characters. It must begin and end with a letter or digit"),
        ("*", "cannot be highlighted"),
        ("ap*le", "You may add * at its end"),
        ("(x|y)+", "cannot be highlighted"),
        ("c++", "It must begin and end with a letter or digit"),
        ("\u0301e", "cannot be highlighted"),
        ("x" * 61, "a word of 60 characters or fewer"),
        (
            "\n".join(f"word{number}" for number in range(MOST + 1)),
            f"only {MOST} words can be highlighted, but you entered {MOST + 1}",
        ),
    ],
)
def test_words_that_cannot_be_marked_are_refused(review: Workspace, own: str, message: str) -> None:
    owen = Browser(review, OWEN)
    owen.post("/words/own", own="apple*")
    answer = owen.post("/words/own", own=own)
    assert answer.status_code == 422
    assert message.casefold() in texts(answer.text).casefold()
    assert 'class="own">Apples' in owen.get("/screen?record=1")


def test_words_of_every_script_can_be_saved(review: Workspace) -> None:
    owen = Browser(review, OWEN)
    page = texts(owen.post("/words/own", back="/screen?record=1", own="हिन्दी\ncafe\u0301*\n<b>x</b>").text)
    assert "cannot be highlighted" in page
    page = texts(owen.post("/words/own", back="/screen?record=1", own="हिन्दी\ncafe\u0301*").text)
    assert "My words: हिन्दी , cafe\u0301*" in page


def test_observers_have_no_words(review: Workspace) -> None:
    observer = Browser(review, add_person(review, "Obi", "observer"))
    assert observer.post("/words/own", own="apple").status_code == 403


def test_the_longest_word_counts_and_every_text_can_be_marked() -> None:
    words = Words(("apple",), ("apple pie",), ("i", "straße", "c++ code"), on=True)
    assert words.mark("An APPLE, an apple pie") == (
        'An <mark class="for">APPLE</mark>, an <mark class="against">apple pie</mark>'
    )
    # Some of these letters change their length, or have several forms, in the other case.
    assert words.mark("STRASSE straße İ I") == (
        'STRASSE <mark class="own">straße</mark> <mark class="own">İ</mark> <mark class="own">I</mark>'
    )
    assert words.mark("pineapple applet C++ code") == 'pineapple applet <mark class="own">C++ code</mark>'
    # Accents and vowel signs that are separate characters belong to the word.
    words = Words(own=("cafe", "हिन्दी", "caff*"), on=True)
    assert words.mark("cafe\u0301 cafe हिन्दी हिन्दीं caffe\u0300s") == (
        'cafe\u0301 <mark class="own">cafe</mark> <mark class="own">हिन्दी</mark> हिन्दीं '
        '<mark class="own">caffe\u0300s</mark>'
    )
    assert Words(("apple",), on=False).mark("<apple>") == "&lt;apple&gt;"
    assert Words(on=True).mark("<apple>") == "&lt;apple&gt;"
