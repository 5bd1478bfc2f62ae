"""Import search exports into a review for tests."""

from __future__ import annotations

import io

from sqlalchemy import select
from starlette.responses import Response

from mechtag.review.imports import Batch, read_batch
from mechtag.review.jobs import importing
from mechtag.review.jobs.worker import do_next
from mechtag.review.store import schema
from mechtag.review.workspace import Workspace
from tests.support.review_site import Browser, texts

OWNER = 1
JOBS = {**importing.JOBS, "rank": lambda workspace, arguments, progress: {}}


def ris(*titles: str, doi: str = "", abstract: str = "A study of apples. It was long.", extra: str = "") -> bytes:
    """Return a RIS export with one record per title; the other fields are the same in all records."""
    entries = [
        f"TY  - JOUR\nTI  - {title}\nAU  - Ash, Ann\nPY  - 2020\nJO  - Fruit\nAB  - {abstract}\n"
        f"{f'DO  - {doi}' if doi else ''}\n{extra}\nER  - \n"
        for title in titles
    ]
    return "".join(entries).encode()


TITLES = (
    "Orchards in the north and their keepers",
    "How pears are pressed in large cities",
    "Weather and wages of fruit pickers",
    "A trial of shade nets against sunburn",
)


def work(review: Workspace) -> None:
    """Run all jobs that wait for the worker."""
    while do_next(review, JOBS):
        pass


def upload(browser: Browser, *files: tuple[str, bytes]) -> Response:
    """Upload search exports on the import page, and return the response."""
    sent = [("files", (name, io.BytesIO(content))) for name, content in files]
    data = {"csrf": browser.csrf, "client_id": "x"}
    answer = browser.client.post("/import", data=data, files=sent)
    return answer


def bring(review: Workspace, browser: Browser, *files: tuple[str, bytes]) -> int:
    """Upload search exports, read them and add their records; return the number of the import."""
    answer = upload(browser, *files)
    assert answer.status_code == 200, texts(answer.text)
    number = int(answer.url.path.rsplit("/", 1)[-1])
    work(review)
    browser.post(f"/import/{number}", act="add")
    work(review)
    batch = look(review, number)
    assert batch.state == "added", batch.fault
    return number


def look(review: Workspace, number: int) -> Batch:
    """Return the import with this number."""
    with review.store.read() as connection:
        batch = read_batch(connection, number)
    assert batch is not None
    return batch


def titles(review: Workspace) -> list[str]:
    """Return the titles of all records, in the order in which they were added."""
    with review.store.read() as connection:
        return list(connection.execute(select(schema.record.c.title).order_by(schema.record.c.id)).scalars())
