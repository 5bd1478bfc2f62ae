"""A review for tests: a project with a few records, and a browser for each person."""

from __future__ import annotations

import atexit
import re
import shutil
import tempfile
import uuid
from collections.abc import Sequence
from functools import cache
from html import unescape
from pathlib import Path

import yaml
from starlette.responses import Response
from starlette.testclient import TestClient

from mechtag.core.records import Record
from mechtag.core.settings import SentenceSettings
from mechtag.pipeline.reading.text.sentences import split
from mechtag.project import create_project, open_project
from mechtag.review import access, order
from mechtag.review.acts import Stamp
from mechtag.review.app import create_app
from mechtag.review.sight import show
from mechtag.review.store.accounts import add_account
from mechtag.review.store.records import add_records, read_entry
from mechtag.review.workspace import Workspace, read_fact

HOST = "127.0.0.1:8765"
NOW = "2026-11-29T12:00:00.000+00:00"
CODEBOOK = {
    "name": "fruit",
    "relevance": {"key": "edible", "name": "About fruit", "definition": "The text is about fruit."},
    "labels": [
        {"key": "apple", "name": "Apple", "definition": "The text speaks of apples."},
        {"key": "pear", "name": "Pear", "definition": "The text speaks of pears."},
    ],
}


def papers(number: int) -> list[Record]:
    """Return invented records whose abstracts have three sentences each."""
    return [
        Record(
            record_id=f"doi:10.1/{row}",
            title=f"Paper {row}",
            abstract=f"Apples grow in orchard {row}. Pears were pressed. The weather was {row} degrees.",
            authors=("Ash, Ann", "Birch, Bo"),
            year=2020,
            doi=f"10.1/{row}",
        )
        for row in range(1, number + 1)
    ]


def make_review(folder: Path, records: Sequence[Record] | int = 4, **plan: object) -> Workspace:
    """Create a review with an owner, whose records are numbered from 1 and shown in this order."""
    rows = papers(records) if isinstance(records, int) else records
    shutil.copytree(_made(tuple(row.model_dump_json() for row in rows)), folder, dirs_exist_ok=True)
    workspace = Workspace.open(open_project(folder / "review"))
    # Not in the copied project, because mechtag recognises copies of a review by their first event.
    owner = add_person(workspace, "Owen", "owner")
    for key, value in plan.items():
        workspace.acts.change_plan(Stamp(owner), key, value)
    return workspace


@cache
def _made(records: tuple[str, ...]) -> Path:
    """Create a review without accounts, which `make_review` copies because creating takes several times longer."""
    kept = tempfile.TemporaryDirectory()
    # Kept until the tests end.
    atexit.register(kept.cleanup)
    folder = Path(kept.name)
    book = folder / "fruit.yaml"
    book.write_text(yaml.safe_dump(CODEBOOK, sort_keys=False), encoding="utf-8")
    workspace = Workspace.open(create_project(folder / "review", book))
    rows = [Record.model_validate_json(row) for row in records]
    with workspace.store.write() as connection:
        count = add_records(connection, rows, split(rows, SentenceSettings()), 1, {})
        for stage in ("screen", "code"):
            numbers = range(1, count + 1)
            order.add_ranking(connection, stage, numbers, strategy="random", at=NOW, learned_from=0, seed=0)
    workspace.store.close()
    return folder


def copy_review(workspace: Workspace, folder: Path) -> Workspace:
    """Copy a review to a new folder, so that a test can change a review that several tests share."""
    workspace.store.close()
    shutil.copytree(workspace.project.root, folder / "review")
    return Workspace.open(open_project(folder / "review"))


def add_person(workspace: Workspace, name: str, role: str) -> int:
    """Add an account without a password, and return its number."""
    with workspace.store.write() as connection:
        return add_account(connection, name, role)


def look(workspace: Workspace, coder: int, record: int, stage: str = "code") -> Stamp:
    """Store what a person sees of a record, and return the stamp for this person's answers."""
    with workspace.store.write() as connection:
        entry = read_entry(connection, record)
        assert entry is not None
        labels = workspace.codebook.keys if stage == "code" else ()
        model_id = read_fact(connection, "model_id")
        sight = show(connection, entry, coder, stage, labels=labels, at=NOW, model_id=model_id, seed=workspace.seed)
    return Stamp(coder, sight=sight.id)


class Browser:
    """A browser without scripts, in which one person is signed in."""

    def __init__(self, workspace: Workspace, account: int) -> None:
        app = create_app(workspace, hosts=frozenset((HOST,)), start_key="key", port=8765)
        self.client = TestClient(app, base_url=f"http://{HOST}")
        with workspace.store.write() as connection:
            token = access.open_session(connection, account)
        self.client.cookies.set(app.state.cookie, token)
        person = access.person_of(workspace.store, token)
        assert person is not None
        self.csrf = person.csrf

    def get(self, address: str) -> str:
        """Return the HTML of a page, which must open without an error."""
        response = self.client.get(address)
        assert response.status_code == 200, (address, response.status_code, response.text)
        return response.text

    def post(self, address: str, **fields: object) -> Response:
        """Send a form with the fields that every form has, and return the page to which the server redirects."""
        data = {"csrf": self.csrf, "client_id": str(uuid.uuid4())}
        data |= {name: value for name, value in fields.items() if value is not None}
        return self.client.post(address, data=data)


def texts(page: str) -> str:
    """Return the text of an HTML page, without tags, in one line."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page)).split())
