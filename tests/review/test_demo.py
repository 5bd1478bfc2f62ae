"""Test that the example review can be screened like any other review."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select

from mechtag.core.errors import MechtagError
from mechtag.project import open_project
from mechtag.review.demo import create_demo
from mechtag.review.store import schema
from mechtag.review.workspace import Workspace
from tests.support.review_site import Browser, texts


def test_the_example_can_be_screened_at_once(tmp_path: Path) -> None:
    create_demo(tmp_path / "demo")
    review = Workspace.open(open_project(tmp_path / "demo"))
    browser = Browser(review, 1)
    assert "26 records to screen" in texts(browser.get("/"))
    assert "30 read = 26 unique + 4 duplicates + 0 not readable" in texts(browser.get("/duplicates"))
    browser.post("/screen/decide", record=1, answer="include")
    with review.store.read() as connection:
        states = connection.execute(select(schema.need.c.state).where(schema.need.c.record == 1)).scalars().all()
    assert "settled" in states
    with pytest.raises(MechtagError, match="this folder is already a project"):
        create_demo(tmp_path / "demo")
