"""Test that the table of keys, the key sets and the templates agree."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from mechtag.core.errors import MechtagError
from mechtag.review.acts import Stamp
from mechtag.review.keys import SET_NAMES, SETS, TABLE, Choice, PageKeys, key_set_of, spoken
from mechtag.review.workspace import write_fact
from tests.support.paths import ROOT
from tests.support.review_site import Browser, add_person, make_review, texts

OWEN = 1
TEMPLATES = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "review/templates").glob("*.html")}
# Templates whose pages have an address that does not begin with the name of the template.
SCREEN_OF = {"conflict": "reconcile", "groups": "duplicates"}
SCREENS = sorted({screen for key in TABLE for screen in key.screens} | {""})


def actions(template: str) -> set[str]:
    return set(re.findall(r'keys\.(?:on|hint)\("(\w+)"\)', template))


def test_templates_take_every_key_from_the_table() -> None:
    raw = {name for name, text in TEMPLATES.items() if re.search(r'data-key="|<kbd>', text)}
    assert not raw, 'add the action to review/keys.py, and write keys.on("action") and keys.hint("action")'


def test_every_key_of_the_table_is_on_a_page_of_its_screens_and_on_no_other() -> None:
    by_action = {key.action: key for key in TABLE}
    shared = {"base", "macros"}
    used = {name: actions(text) for name, text in TEMPLATES.items()}
    # On the page Code, these actions are arguments of a macro or values of a loop.
    used["code"] |= {"yes", "no", "needs_review", "accept", "reject", "doubt"}
    used["conflict"] |= {"take_a", "take_b"}
    # The pages Screen and Code call the macro with this action.
    used["macros"] -= {"words"}
    used["screen"] |= {"words"}
    used["code"] |= {"words"}
    used["reasons"] |= {key.action for key in TABLE if key.action.startswith("reason_")}
    used["base"] |= {key.action for key in TABLE if key.action.startswith("go_")}
    for name, found in used.items():
        assert found <= by_action.keys(), name
        for action in found:
            screens = by_action[action].screens
            screen = SCREEN_OF.get(name, name.split("_")[0])
            assert not screens or screen in screens, f"{name} uses the key {action} of {screens}"
    for key in TABLE:
        for screen in key.screens:
            pages = [name for name in used if SCREEN_OF.get(name, name.split("_")[0]) == screen]
            assert any(key.action in used[name] for name in pages), f"{screen} has no {key.action}"
        if not key.screens:
            assert any(key.action in found for found in used.values()), key.action
    assert not any(by_action[action].screens for name in shared for action in used[name])


@pytest.mark.parametrize("chosen", SETS)
@pytest.mark.parametrize("screen", SCREENS)
def test_no_screen_has_two_actions_on_one_key(screen: str, chosen: str) -> None:
    on_screen = [key for key in TABLE if not key.screens or screen in key.screens]
    count = Counter(name for key in on_screen for name in Choice(chosen).names(key.action))
    assert not [name for name, number in count.items() if number > 1]


def test_nothing_is_bound_to_keys_of_browsers_and_screen_readers() -> None:
    for chosen in SETS:
        for key in TABLE:
            for name in Choice(chosen).names(key.action):
                assert "alt+" not in name
                assert "ctrl+" not in name or name in ("ctrl+enter", "ctrl+z", "ctrl+shift+z")


def test_with_keys_off_no_single_letter_works() -> None:
    keys = PageKeys(Choice("off"))
    for key in TABLE:
        assert all("ctrl+" in name for name in re.findall(r'"([^"]+)"', keys.on(key.action)))
    assert PageKeys(Choice("off")).on("include") == ""
    assert PageKeys(Choice("off")).hint("include") == ""


def test_every_set_has_a_name_and_changes_known_actions_only() -> None:
    assert SETS.keys() == SET_NAMES.keys()
    known = {key.action for key in TABLE}
    assert all(changed.keys() <= known for changed in SETS.values())


def test_the_dialog_lists_the_keys_that_are_on_the_page(tmp_path: Path) -> None:
    review = make_review(tmp_path, coders_screen=1)
    review.acts.decide(Stamp(OWEN), 1, 1)
    browser = Browser(review, OWEN)
    for address in ("/screen", "/code", "/duplicates", "/records", "/"):
        page = browser.get(address)
        dialog = page[page.index("<dialog") : page.index("</dialog>")]
        listed = set(re.findall(r'<th scope="row">([^<]+)</th>', dialog))
        shown = {name.split()[0] for name in re.findall(r'data-key="([^"]+)"', page)}
        assert {spoken(name) for name in shown} == listed, address


def test_a_person_chooses_a_key_set_and_others_keep_theirs(tmp_path: Path) -> None:
    review = make_review(tmp_path)
    owen, ann = Browser(review, OWEN), Browser(review, add_person(review, "Ann", "coder"))
    assert 'data-key="1">Include<kbd>1</kbd>' in owen.get("/screen")
    page = texts(owen.post("/keys/choose", set="rayyan").text)
    assert "I Include the record Screen" in page
    assert 'data-key="i">Include<kbd>I</kbd>' in owen.get("/screen")
    assert 'data-key="z ctrl+z">Undo<kbd>Z</kbd>' in owen.get("/screen")
    assert 'data-key="1">Include<kbd>1</kbd>' in ann.get("/screen")
    owen.post("/keys/choose", set="off")
    assert 'data-key="1"' not in owen.get("/screen")
    assert "<kbd>1" not in owen.get("/screen")
    assert owen.post("/keys/choose", set="nothing").status_code == 422


def test_one_key_can_be_changed_and_turned_off(tmp_path: Path) -> None:
    review = make_review(tmp_path)
    owen, ann = Browser(review, OWEN), Browser(review, add_person(review, "Ann", "coder"))
    for action, typed in (("include", "X"), ("undo", "shift X"), ("refer", ""), ("go_code", "Q"), ("criteria", "<")):
        assert owen.post("/keys/change", action=action, key=typed).status_code == 200, action
    page = owen.get("/screen")
    for shown in (
        'data-key="x">Include<kbd>X</kbd>',
        'data-key="shift+x ctrl+z">Undo<kbd>Shift X</kbd>',
        'value="refer" >Unsure, refer</button>',
        'data-key="g+q">Code',
        'data-key="&lt;"',
    ):
        assert shown in page, shown
    dialog = page[page.index("<dialog") :]
    assert '<th scope="row">X</th><td>Include the record</td>' in dialog
    assert "Unsure" not in dialog
    keys = texts(owen.get("/keys"))
    assert "X (changed) Include the record Screen" in keys
    assert "Shift X or Ctrl Z (changed) Undo all pages" in keys
    assert "off (changed) Unsure: refer" in keys
    assert "You have changed 5 keys of this set" in keys
    assert 'data-key="1">Include<kbd>1</kbd>' in ann.get("/screen")
    owen.post("/keys/choose", set="rayyan")
    assert 'data-key="i">Include<kbd>I</kbd>' in owen.get("/screen")
    assert "(changed)" not in owen.get("/keys")


@pytest.mark.parametrize(
    ("action", "typed", "message"),
    [
        ("include", "2", "the keyboard shortcut 2 is already used on the same page, for “Exclude the record”"),
        (
            "include",
            "l",
            "shortcut L is already used on the same page, for “Put the record or the pair of records aside for later”",
        ),
        ("doi", "w", "shortcut W is already used on the same page, for “Highlight words"),
        ("yes", "u", "shortcut U is already used on the same page, for “Undo”"),
        ("go_code", "s", "shortcut G then S is already used on the same page, for “Go to Screen”"),
        ("include", "g", "the key G is reserved for the shortcuts to other pages"),
        ("include", "ctrl+x", "cannot be used as a key"),
        ("include", "Enter", "cannot be used as a key"),
        ("include", "F1", "cannot be used as a key"),
        ("include", "shift+1", "cannot be used as a key"),
        ("include", "g+x", "cannot be used as a key"),
        ("include", "+", "cannot be used as a key; type one letter, digit or sign (not +)"),
        ("include", " ", "or Space"),
        ("include", "\u202e", "cannot be used as a key"),
        ("go_code", "shift+x", "cannot be used as a key"),
        ("nothing", "x", "choose one of the shortcuts on the Keys page"),
    ],
)
def test_a_key_that_cannot_be_used_is_refused_with_the_reason(
    tmp_path: Path, action: str, typed: str, message: str
) -> None:
    review = make_review(tmp_path)
    owen = Browser(review, OWEN)
    before = owen.get("/screen").count("data-key")
    answer = owen.post("/keys/change", action=action, key=typed)
    assert answer.status_code == 422
    assert message.casefold() in texts(answer.text).casefold()
    assert owen.get("/screen").count("data-key") == before
    assert "(changed)" not in owen.get("/keys")
    with pytest.raises(MechtagError, match=re.escape(message)):
        Choice().change(action, typed)


def test_keys_of_different_screens_may_be_the_same() -> None:
    chosen = Choice("asreview").change("role", "h").change("yes", "r").change("same", "r").change("take_a", "b")
    assert [chosen.names(action) for action in ("include", "yes", "same", "take_a")] == [("r",), ("r",), ("r",), ("b",)]
    # A key is free once its action has a different key.
    assert chosen.change("exclude", "q").change("include", "i").names("include") == ("i",)


def test_a_key_set_chosen_before_single_keys_could_be_changed_still_works(tmp_path: Path) -> None:
    review = make_review(tmp_path)
    with review.store.write() as connection:
        write_fact(connection, key_set_of(OWEN), "rayyan")
    assert 'data-key="i">Include<kbd>I</kbd>' in Browser(review, OWEN).get("/screen")
    stored = {"set": "default", "own": {"include": "x", "of a newer version": "y"}}
    assert Choice.load(stored).own == {"include": "x"}
    assert Choice.load(Choice.load(stored).dump()) == Choice.load(stored)
