"""Attach full texts to the records of a review."""

from __future__ import annotations

import io
from collections.abc import Sequence

from mechtag.review.acts import Stamp
from mechtag.review.full_texts import PERSON, READ
from mechtag.review.jobs import full_texts
from mechtag.review.jobs.worker import do_next
from mechtag.review.workspace import Workspace
from tests.support.review_site import Browser

TEXT = "Apples grow in the orchard of farm {}. Pears were pressed. Nobody asked farm {} about plums. "


def attach_texts(review: Workspace, records: Sequence[int], owner: int = 1, again: int = 40) -> None:
    """Upload and attach a full text for each record: `TEXT` with the record's number, repeated ``again`` times."""
    browser = Browser(review, owner)
    files = [("files", (f"{one}.txt", io.BytesIO((TEXT.format(one, one) * again).encode()))) for one in records]
    browser.client.post("/full-texts", data={"csrf": browser.csrf, "client_id": "texts"}, files=files)
    while do_next(review, {READ: full_texts.read, **{kind: lambda *_: {} for kind in ("tag", "files", "rank")}}):
        pass
    for number, record in enumerate(records, start=1):
        review.acts.attach(Stamp(owner), record, number, PERSON)
