"""Test the server for a folder without a project: it serves one form, which creates the project."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import select
from starlette.responses import Response
from starlette.testclient import TestClient

from mechtag.core.codebook import load_codebook
from mechtag.project import Project, open_project, shipped_codebook
from mechtag.review.app import create_app
from mechtag.review.setup import Switch, create_setup
from mechtag.review.store import schema
from mechtag.review.store.events import read_plan
from mechtag.review.workspace import Workspace
from tests.support.review_site import CODEBOOK, HOST, texts

KEY = "start-key"
FORM = {"name": "Fruit review", "codebook": "shipped", "coders": "2", "person": "Ann"}


class Site:
    """A server for a folder that may not contain a project yet, and a browser connected to it."""

    def __init__(self, root: Path) -> None:
        self.opened: list[Workspace] = []
        hosts = frozenset((HOST,))

        def start(project: Project) -> Workspace:
            self.opened.append(Workspace.open(project))
            switch.pages = create_app(self.opened[-1], hosts=hosts, start_key=KEY, port=8765)
            return self.opened[-1]

        switch = Switch(create_setup(root, hosts=hosts, start_key=KEY, port=8765, open_project=start))
        self.client = TestClient(switch, base_url=f"http://{HOST}")

    def enter(self) -> str:
        """Open the start address and return the HTML of the page."""
        return self.client.get("/start", params={"key": KEY}).text

    def create(self, file: tuple[str, bytes] | None = None, **given: str) -> Response:
        """Send the form that creates the project; ``given`` replaces its usual answers."""
        page = self.enter()
        csrf = page.split('name="csrf" value="')[1].split('"')[0]
        files = {"file": file} if file else {"file": ("", b"")}
        return self.client.post("/new", data={"csrf": csrf, **FORM, **given}, files=files)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "my review"


@pytest.fixture
def site(root: Path) -> Site:
    return Site(root)


def test_nothing_but_the_form_is_served_and_nothing_is_written(site: Site, root: Path) -> None:
    assert "New review" in texts(site.enter())
    for address in ("/", "/import", "/screen", "/team", "/sign-in", "/settings"):
        assert site.client.get(address).status_code == 404, address
    assert not root.exists()


@pytest.mark.slow
def test_a_server_that_is_stopped_before_anything_is_created_leaves_nothing(tmp_path: Path) -> None:
    root = tmp_path / "a/b"
    command = [sys.executable, "-m", "mechtag", "review", str(root), "--no-browser", "--port", "18801"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        line = server.stderr.readline()
        assert line.startswith("review page: http://127.0.0.1:"), line
        assert root.exists()
        server.send_signal(signal.SIGINT)
        assert server.wait(timeout=60) in (0, 130)
    assert list(tmp_path.iterdir()) == []


def test_the_form_is_only_for_the_person_at_this_computer(site: Site, root: Path) -> None:
    assert site.client.get("/new").status_code == 403
    assert site.client.post("/new", data=FORM).status_code == 403
    assert site.client.get("/start", params={"key": "guess"}).status_code == 403
    site.enter()
    assert site.client.post("/new", data=FORM).status_code == 403
    assert site.client.get("/new", headers={"host": "evil.example"}).status_code == 403
    assert not root.exists()


def test_one_click_and_a_name_make_a_review(site: Site, root: Path) -> None:
    answer = site.create(name="  Fruit \n review ", person="Ann")
    assert (answer.status_code, answer.url.path) == (200, "/import")
    assert "Fruit review" in texts(answer.text)
    project = open_project(root)
    assert project.codebook.sha256 == shipped_codebook().sha256
    with site.opened[0].store.read() as connection:
        people = connection.execute(select(schema.account.c.name, schema.account.c.role)).all()
        plan = read_plan(connection)
    assert [tuple(person) for person in people] == [("Ann", "owner")]
    assert (plan.coders_screen, plan.coders_code) == (2, 2)


def test_a_form_that_is_sent_twice_makes_one_review(site: Site) -> None:
    site.create()
    site.client.cookies.delete("mechtag-8765")
    answer = site.client.post("/new", data=FORM)
    assert (answer.status_code, answer.url.path) == (200, "/import")
    assert len(site.opened) == 1


def test_a_review_can_start_with_one_label(site: Site, root: Path) -> None:
    answer = site.create(
        codebook="empty", coders="1", definition="About fruit: yes\nor no", label="Äpfel & Birnen", label_definition="x"
    )
    assert answer.url.path == "/import", texts(answer.text)
    codebook = load_codebook(root / "codebook.yaml")
    assert codebook.relevance.definition == "About fruit: yes\nor no"
    assert [(label.key, label.name) for label in codebook.labels] == [("pfel_birnen", "Äpfel & Birnen")]
    with site.opened[0].store.read() as connection:
        assert read_plan(connection).coders_screen == 1


@pytest.mark.parametrize("name", ["果物", "12", "Key", "Relevant", "record id", "<b>&"])
def test_any_name_of_a_label_makes_a_codebook_or_is_refused(site: Site, root: Path, name: str) -> None:
    answer = site.create(codebook="empty", definition="d", label=name, label_definition="m")
    if answer.url.path == "/import":
        assert load_codebook(root / "codebook.yaml").labels[0].name == name
    else:
        assert answer.status_code == 422
        assert "choose a different key" in texts(answer.text) or "appears more than once" in texts(answer.text)
        assert not root.exists()


def test_a_codebook_from_a_file_is_read(site: Site, root: Path) -> None:
    answer = site.create(("mine.yaml", json.dumps(CODEBOOK).encode()), codebook="file")
    assert answer.url.path == "/import", texts(answer.text)
    assert load_codebook(root / "codebook.yaml").name == "fruit"


@pytest.mark.parametrize(
    ("file", "given", "said"),
    [
        (("mine.yaml", b"labels: ["), {"codebook": "file"}, "not readable as YAML"),
        (("mine.yaml", b"\xff\xfe\x00\x01"), {"codebook": "file"}, "not readable as YAML"),
        (("mine.yaml", b"name: x\n"), {"codebook": "file"}, "labels: Field required"),
        (None, {"codebook": "file"}, "Choose the file of the codebook (YAML)."),
        (None, {"codebook": "empty"}, "Enter what makes a record relevant."),
        (None, {"codebook": "none"}, "Choose a codebook."),
        (None, {"coders": "9"}, "Choose how many people judge each record."),
        (None, {"person": " \u202e "}, "Enter your name."),
        (None, {"name": " "}, "Enter a name for the review"),
        (None, {"name": "x" * 300}, "Enter a name for the review"),
    ],
)
def test_a_form_that_is_incomplete_comes_back_with_what_was_typed(
    site: Site, root: Path, file: tuple[str, bytes] | None, given: dict[str, str], said: str
) -> None:
    answer = site.create(file, **{"label": "<i>typed</i>", **given})
    assert answer.status_code == 422
    assert said in texts(answer.text)
    assert 'value="&lt;i&gt;typed&lt;/i&gt;"' in answer.text
    assert "/tmp/" not in texts(answer.text).replace(str(root.resolve()), "")
    assert not (root / "params.yaml").exists()
    assert site.opened == []
    assert site.create().url.path == "/import"


def test_a_codebook_in_the_folder_is_offered(site: Site, root: Path) -> None:
    root.mkdir()
    (root / "codebook.yaml").write_text(json.dumps(CODEBOOK), encoding="utf-8")
    assert "which is in the folder" in texts(site.enter())
    answer = site.create(codebook="shipped")
    assert answer.status_code == 422
    assert "already exists, and the new project would replace it" in texts(answer.text)
    assert site.create(codebook="folder").url.path == "/import"
    assert open_project(root).codebook.name == "fruit"


def test_a_folder_that_cannot_be_written_is_reported(site: Site, root: Path) -> None:
    root.write_text("a file")
    answer = site.create()
    assert answer.status_code == 422
    assert "mechtag cannot write to" in texts(answer.text)
