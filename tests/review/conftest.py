"""A small review, and two people who code in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mechtag.review.workspace import Workspace
from tests.support.review_site import add_person, make_review


@pytest.fixture
def review(tmp_path: Path) -> Workspace:
    return make_review(tmp_path)


@pytest.fixture
def ann(review: Workspace) -> int:
    return add_person(review, "Ann", "coder")


@pytest.fixture
def bob(review: Workspace) -> int:
    return add_person(review, "Bob", "coder")
