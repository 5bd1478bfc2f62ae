"""Test malformed or far too large numbers in addresses and forms: only plain digits are read, and no page fails."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mechtag.review.numbers import whole_number
from mechtag.review.pages import ROUTES
from mechtag.review.workspace import Workspace
from tests.support.review_site import Browser, add_person, make_review

STRANGE = ("²", "١", "-1", "1.5", "1e3", "", " 1", "9" * 15, "9" * 40)
# Fields that hold numbers, in addresses and in forms.
FIELDS = ("record", "after", "before", "coder", "from", "sight", "based_on", "pair", "member", "copy", "sentence")


@pytest.fixture
def owner(tmp_path: Path) -> Browser:
    review: Workspace = make_review(tmp_path)
    return Browser(review, add_person(review, "Olga", "owner"))


def test_only_plain_digits_are_whole_numbers() -> None:
    assert [whole_number(text) for text in STRANGE] == [None] * 7 + [10**15 - 1, None]
    assert (whole_number("0"), whole_number("007"), whole_number("12345", digits=4)) == (0, 7, None)


@pytest.mark.slow
@pytest.mark.parametrize("value", STRANGE)
def test_no_page_fails_on_a_strange_number(owner: Browser, value: str) -> None:
    for route in ROUTES:
        for number in ("1", "9" * 40):
            address = re.sub(
                r"\{(\w+)(:\w+)?\}",
                lambda match, number=number: "screen" if match[1] == "stage" else number,
                route.path,
            )
            if route.methods and "POST" in route.methods:
                for action in ("", "save", f"up-{value}"):
                    data = {"csrf": owner.csrf, "client_id": "", "action": action} | dict.fromkeys(FIELDS, value)
                    answer = owner.client.post(address, data=data, follow_redirects=False)
                    assert answer.status_code < 500, (address, data, answer.status_code)
            else:
                answer = owner.client.get(address, params=dict.fromkeys(FIELDS, value), follow_redirects=False)
                assert answer.status_code < 500, (address, value, answer.status_code)
