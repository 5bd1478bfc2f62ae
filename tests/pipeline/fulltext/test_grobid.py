"""Test that PDFs are sent to a GROBID server only if the user names one, and are read without it if it fails."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from mechtag.core.errors import MechtagError
from mechtag.core.parquet import iterate_full_texts, write_records
from mechtag.core.records import Record, Rejected
from mechtag.pipeline.fulltext.attaching import FileFound
from mechtag.pipeline.fulltext.grobid import GrobidReader, check_address
from mechtag.pipeline.fulltext.isolated import IsolatedReader
from mechtag.pipeline.fulltext.reading import ReadFile
from tests.support.command import call
from tests.support.pdfs import write_paper

TITLE = "How leaders build trust across the teams of orchards"
TEI = f"""<?xml version="1.0"?><TEI xmlns="http://www.tei-c.org/ns/1.0"><teiHeader><fileDesc><titleStmt>
<title>{TITLE}</title></titleStmt></fileDesc></teiHeader><text><body>
<div><head coords="1,1,1,1,1">Introduction</head><p coords="1,1,1,1,1">From the server, on the first page.</p></div>
<div><head coords="2,1,1,1,1">Results</head><p coords="2,1,1,1,1">Leaders listened to the pickers.</p></div>
</body></text></TEI>"""


class Server(ThreadingHTTPServer):
    """GROBID server on this machine that returns ``answers`` (status and text) in turn, and then a fixed text."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[tuple[int, str]] = []
        self.bodies: list[bytes] = []
        self.seconds = 0.0
        self.now = self.most = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self._answer(200 if self.path == "/api/isalive" else 404, "true")

    def do_POST(self) -> None:
        server = self.server
        with server.lock:
            server.now += 1
            server.most = max(server.most, server.now)
            status, text = server.answers.pop(0) if server.answers else (200, TEI)
        server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        time.sleep(server.seconds)
        with server.lock:
            server.now -= 1
        if status:
            self._answer(status if self.path == "/api/processFulltextDocument" else 404, text)

    def _answer(self, status: int, text: str) -> None:
        self.send_response(status)
        if status == 302:
            self.send_header("Location", text)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as found:
        threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield found
        found.shutdown()


@pytest.fixture(scope="module")
def isolated() -> Iterator[IsolatedReader]:
    with IsolatedReader() as reader:
        yield reader


def papers(folder: Path, count: int) -> list[FileFound]:
    paths = [write_paper(folder / f"{number}.pdf", f"{TITLE} {number}") for number in range(count)]
    return [FileFound(path, path.name) for path in paths]


def read(server: Server, isolated: IsolatedReader, files: list[FileFound], waits: list[float]) -> list[Any]:
    with GrobidReader(server.url + "/", files, isolated, waits.append) as reader:
        return [reader.read(*file) for file in files]


def test_the_text_is_that_of_the_server(tmp_path: Path, server: Server, isolated: IsolatedReader) -> None:
    files = papers(tmp_path, 1)
    [found] = read(server, isolated, files, [])
    assert isinstance(found, ReadFile)
    text = found.full_text
    assert "From the server" in text.text
    assert [section.kind for section in text.sections] == ["title", "introduction", "results"]
    assert [page.number for page in text.pages] == [1, 2]
    assert (text.format, text.source_file, text.warnings[1:]) == ("pdf", "0.pdf", ())
    assert text.sha256 == hashlib.sha256(files[0].path.read_bytes()).hexdigest()
    assert text.reader.startswith("GROBID, mechtag")
    assert found.title == TITLE
    [body] = server.bodies
    assert files[0].path.read_bytes() in body
    for field, count in ((b"consolidateHeader", 1), (b"teiCoordinates", 2), (b'name="input"', 1)):
        assert body.count(field) == count
    assert b"0.pdf" not in body


def test_a_busy_server_is_asked_again(tmp_path: Path, server: Server, isolated: IsolatedReader) -> None:
    waits: list[float] = []
    server.answers = [(503, ""), (503, "")]
    [found] = read(server, isolated, papers(tmp_path, 1), waits)
    assert "From the server" in found.full_text.text
    assert waits == [1.0, 2.0]
    server.answers = [(503, "")] * 20
    [found] = read(server, isolated, papers(tmp_path, 1), waits)
    assert len(server.answers) == 20 - 9
    assert "GROBID could not read this file (status 503)" in found.full_text.warnings[-1]


@pytest.mark.parametrize(
    ("status", "text", "reason"),
    [
        (500, "an error", "status 500"),
        (204, "", "status 204"),
        (200, "<html>no TEI</html>", "0.pdf"),
        (200, "<TEI", "0.pdf"),
        (302, "http://example.org/", "status 302"),
        (0, "", "disconnected"),
    ],
)
def test_a_file_that_the_server_cannot_read_is_read_without_it(
    tmp_path: Path, server: Server, isolated: IsolatedReader, status: int, text: str, reason: str
) -> None:
    server.answers = [(status, text)]
    [found] = read(server, isolated, papers(tmp_path, 1), [])
    assert isinstance(found, ReadFile)
    warning = found.full_text.warnings[-1]
    assert warning.startswith("GROBID could not read this file (")
    assert reason in warning
    assert "Leaders listened to the teams" in found.full_text.text
    assert not found.full_text.reader.startswith("GROBID")


def test_two_files_are_sent_at_once(tmp_path: Path, server: Server, isolated: IsolatedReader) -> None:
    server.seconds = 0.1
    found = read(server, isolated, papers(tmp_path, 5), [])
    assert all("From the server" in one.full_text.text for one in found)
    assert [one.full_text.source_file for one in found] == [f"{number}.pdf" for number in range(5)]
    assert server.most == 2
    assert len(server.bodies) == 5


def test_only_pdfs_are_sent(tmp_path: Path, server: Server, isolated: IsolatedReader) -> None:
    (tmp_path / "a.txt").write_text("A plain text about orchards.", encoding="utf-8")
    (tmp_path / "b.pdf").write_bytes(b"%PDF-1.4\n")
    files = [FileFound(tmp_path / name, name) for name in ("a.txt", "b.pdf")]
    server.answers = [(500, "")]
    plain, damaged = read(server, isolated, files, [])
    assert plain.full_text.format == "txt"
    assert isinstance(damaged, Rejected)
    assert len(server.bodies) == 1


def test_files_stay_on_this_machine_unless_the_user_allows_more() -> None:
    for url in ("http://localhost:8070", "http://127.0.0.1:8070/", "http://[::1]:8070"):
        assert check_address(url, may_send=False) == url.rstrip("/")
    for url in ("http://grobid.example.org", "https://192.168.0.7:8070", "http://localhost.example.org"):
        with pytest.raises(MechtagError, match=r"which is not this machine\. If the licences"):
            check_address(url, may_send=False)
        assert check_address(url, may_send=True) == url
    for url in ("localhost:8070", "file:///etc/passwd", "http://", "http://[::1", "http://localhost:port"):
        with pytest.raises(MechtagError, match="this is not the address of a GROBID server"):
            check_address(url, may_send=True)


def test_neither_proxies_nor_missing_servers_are_asked(
    tmp_path: Path, server: Server, isolated: IsolatedReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    [found] = read(server, isolated, papers(tmp_path, 1), [])
    assert "From the server" in found.full_text.text
    with (
        pytest.raises(MechtagError, match=r"GROBID does not answer \(.*\); start it, correct"),
        GrobidReader("http://127.0.0.1:9", [], isolated),
    ):
        pass


def test_attach_asks_the_server_that_the_user_names(tmp_path: Path, server: Server) -> None:
    write_records(tmp_path / "r.parquet", [Record(record_id="text:1", title=TITLE)])
    papers(tmp_path / "pdfs", 1)
    words = ("attach", tmp_path / "pdfs", "--records", tmp_path / "r.parquet", "-o", tmp_path / "out")
    status, _, message = call(*words, "--grobid", "http://grobid.example.org")
    assert (status, "--send-files-to-grobid" in message) == (1, True)
    status, _, message = call(*words, "--grobid", server.url)
    assert status == 0, message
    [text] = iterate_full_texts(tmp_path / "out/fulltexts.parquet")
    assert "From the server" in text.text
