"""Test the command ``fetch``: what it sends, what it writes, and how it continues after it was killed."""

from __future__ import annotations

import csv
import json
import os
import signal
import sqlite3
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from mechtag.core.codebook import load_codebook
from mechtag.core.errors import MechtagError
from mechtag.core.parquet import iterate_full_texts, read_records, write_predictions, write_records
from mechtag.core.records import Basis, Evidence, Prediction
from mechtag.pipeline.fetch.full_texts import file_names
from mechtag.pipeline.fetch.gaps import SERVICES, Wanted
from mechtag.workflows.fetch import fetch
from mechtag.workflows.web_access import Access
from tests.support.command import call
from tests.support.network import no_sockets
from tests.support.paths import ROOT
from tests.support.pdfs import write_paper
from tests.support.services import EMAIL, KEY, LICENCE, PAPERS, Asked, FakeClock, FakeServices, FrozenClock, Reply

__all__ = ["no_sockets"]  # a fixture, which pytest finds by its name here

RECORDS = [paper.record(doi=paper.number != 9, pmid=paper.number != 9) for paper in PAPERS]
TEXTS = Wanted(what=("abstract", "identifiers", "full-text"))


@pytest.fixture
def services() -> Iterator[FakeServices]:
    with FakeServices(FakeClock()).serving() as serving:
        yield serving


@pytest.fixture
def records(tmp_path: Path) -> Path:
    write_records(tmp_path / "records.parquet", RECORDS)
    return tmp_path / "records.parquet"


@pytest.fixture
def access(services: FakeServices) -> Access:
    return Access(EMAIL, addresses=services.addresses, clock=FakeClock())


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def files(folder: Path) -> dict[str, bytes]:
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: content for name, content in found.items() if not name.startswith("fetch.sqlite")}


def answers(folder: Path) -> list[tuple[object, ...]]:
    with sqlite3.connect(folder / "fetch.sqlite") as database:
        rows = database.execute("SELECT key, source, url, status, body, time FROM answer ORDER BY key").fetchall()
    database.close()
    return [(*row[:4], zlib.decompress(row[4]), row[5]) for row in rows]


def test_abstracts_and_identifiers_are_written_with_their_origin(records: Path, access: Access, tmp_path: Path) -> None:
    said = list(fetch(records, tmp_path / "out", Wanted(), access))
    assert said == [
        f"{tmp_path / 'out/records.parquet'}: 12 records written; services were asked about 12",
        "12 records lacked an abstract: 12 found (PubMed 3, Europe PMC 3, OpenAlex 3, Crossref 3), 0 still missing",
        "1 record lacked a DOI: 1 found (Europe PMC 1), 0 still missing",
        f"{tmp_path / 'out/fetched.csv'}: according to a service, 1 paper was retracted; see the rows 'retraction'",
    ]
    found = read_records(tmp_path / "out/records.parquet")
    assert [record.record_id for record in found] == [record.record_id for record in RECORDS]
    assert all(record.abstract for record in found)
    rows = table(tmp_path / "out/fetched.csv")
    assert Counter(row["field"] for row in rows) == {"abstract": 12, "doi": 1, "pmid": 1, "retraction": 1}
    first = rows[0]
    assert (first["record_id"], first["source"]) == (RECORDS[0].record_id, "pubmed")
    assert first["url"] == f"https://pubmed.ncbi.nlm.nih.gov/{PAPERS[0].pmid}/"
    assert (first["time"], first["licence"]) == ("2025-11-24T16:00:00Z", "unknown")
    assert {row["licence"] for row in rows if row["source"] == "europepmc"} == {LICENCE}
    assert table(tmp_path / "out/candidates.csv") == []


def test_git_ignores_all_written_files(records: Path, access: Access, services: FakeServices, tmp_path: Path) -> None:
    out = tmp_path / "repository/out"
    list(fetch(records, out, TEXTS, access))
    subprocess.run(["git", "init", "-q", out.parent], check=True)
    words = ["git", "-C", out.parent, "status", "--porcelain", "--untracked-files=all"]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["?? out/.gitignore"]
    # A file that the user wrote is not changed.
    (out / ".gitignore").write_text("/mine\n", encoding="utf-8")
    list(fetch(records, out, Wanted(), access))
    assert (out / ".gitignore").read_text(encoding="utf-8") == "/mine\n"


def test_a_second_run_sends_nothing_and_writes_the_same(
    records: Path, access: Access, services: FakeServices, tmp_path: Path
) -> None:
    list(fetch(records, tmp_path / "out", TEXTS, access))
    before, sent = files(tmp_path / "out"), len(services.asked)
    list(fetch(records, tmp_path / "out", TEXTS, access))
    list(fetch(records, tmp_path / "out", TEXTS, Access(offline=True, addresses=services.addresses, clock=FakeClock())))
    assert len(services.asked) == sent
    assert files(tmp_path / "out") == before


@pytest.mark.usefixtures("no_sockets")
def test_without_an_address_nothing_is_sent_or_written(records: Path, tmp_path: Path) -> None:
    for words in (("fetch", records, "-o", tmp_path / "out"), ("chase", records, "-o", tmp_path / "out/chased.ris")):
        status, _, message = call(*words)
        assert status == 1
        assert "no request was sent" in message
        assert "--email" in message
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("no_sockets")
def test_a_dry_run_lists_the_requests_and_sends_none(
    records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENALEX_API_KEY", KEY)
    words = ("fetch", records, "-o", tmp_path / "out", "--dry-run", "--email", EMAIL)
    status, output, _ = call(*words, "--what", "abstract,full-text")
    assert status == 0
    assert "at most 18 requests would be sent" in output
    assert "api.openalex.org: 2 requests, estimated cost 0.0011 USD" in output  # one list and one search
    assert "api.unpaywall.org: 11 requests, estimated cost 0.0000 USD" in output
    assert "https://eutils.ncbi.nlm.nih.gov/entrez/eutils/efetch.fcgi?db=pubmed&id=3000000" in output
    assert sum(line.startswith("  https://") for line in output.splitlines()) == 5
    assert EMAIL not in output
    assert KEY not in output
    assert not (tmp_path / "out").exists()


def test_a_dry_run_changes_no_file(records: Path, access: Access, services: FakeServices, tmp_path: Path) -> None:
    list(fetch(records, tmp_path / "out", TEXTS, access))
    sent = len(services.asked)
    (tmp_path / "out/fulltexts/doi_10.5555_lead.1.xml").unlink()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    said = list(fetch(records, tmp_path / "out", TEXTS, access, dry_run=True))
    assert said == ["nothing would be sent: the records lack nothing, or all requests have been answered before"]
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert len(services.asked) == sent


@pytest.mark.usefixtures("no_sockets")
def test_offline_says_what_is_missing(records: Path, tmp_path: Path) -> None:
    status, output, _ = call("fetch", records, "-o", tmp_path / "out", "--offline")
    assert status == 0
    assert "12 records lacked an abstract: 0 found, 12 still missing" in output
    assert "requests could not be answered from earlier runs, so the results lack their answers" in output
    assert not (tmp_path / "out/fetch.sqlite").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--sources", "pubmed,scopus"), "'scopus' is not known; choose from pubmed, europepmc, openalex, crossref"),
        (("--what", "pdf"), "'pdf' is not known; choose from abstract, identifiers, full-text"),
        (("--what", ","), "the list is empty"),
        (("--offline", "--refresh"), "exclude each other"),
    ],
)
def test_unknown_words_are_refused(records: Path, tmp_path: Path, words: Sequence[str], message: str) -> None:
    status, _, error = call("fetch", records, "-o", tmp_path / "out", "--email", EMAIL, *words)
    assert status == 2
    assert message in " ".join(error.replace("│", " ").split())


def test_full_texts_are_saved_and_attached(
    records: Path, access: Access, services: FakeServices, tmp_path: Path
) -> None:
    for number in (3, 7, 2):
        paper = PAPERS[number]
        path = write_paper(tmp_path / "pdf" / f"{number}.pdf", paper.title, f"https://doi.org/{paper.doi}")
        services.files[f"/{number}.pdf"] = Reply(path.read_bytes(), headers={"Content-Type": "application/pdf"})
    # A login page is returned instead of the PDF.
    services.files["/11.pdf"] = Reply(b"<html>Please log in</html>")
    out = tmp_path / "out"
    said = list(fetch(records, out, TEXTS, access))
    # The PDFs of papers with even numbers are not saved, because they have no Creative Commons licence.
    names = {path.name for path in (out / "fulltexts").iterdir()}
    assert names == {
        "doi_10.5555_lead.1.xml",
        "doi_10.5555_lead.5.xml",
        f"{RECORDS[9].record_id.replace(':', '_')}.xml",
    } | {
        "doi_10.5555_lead.3.pdf",
        "doi_10.5555_lead.7.pdf",
    }
    attached = {text.record_id: text for text in iterate_full_texts(out / "fulltexts.parquet")}
    assert attached.keys() == {RECORDS[number].record_id for number in (1, 3, 5, 7, 9)}
    rows = {row["record_id"]: row for row in table(out / "fetched.csv") if row["field"] == "full-text"}
    assert {name: row["sha256"] for name, row in rows.items()} == {name: text.sha256 for name, text in attached.items()}
    assert rows[RECORDS[3].record_id]["url"] == services.address("files/3.pdf")
    assert (rows[RECORDS[3].record_id]["source"], rows[RECORDS[3].record_id]["licence"]) == ("unpaywall", "cc-by")
    assert any("the downloaded file is not a PDF" in line for line in said)
    assert services.count("files") == 3
    list(fetch(records, out, TEXTS, access, any_licence=True))
    assert {path.name for path in (out / "fulltexts").iterdir()} - names == {"doi_10.5555_lead.2.pdf"}


def test_file_names_are_different() -> None:
    ids = ["doi:10.1/a b", "doi:10.1/a_b", "doi:10.1/A_B", "text:0", f"doi:10.1/{'x' * 200}1", f"doi:10.1/{'x' * 200}2"]
    records = [PAPERS[0].record().model_copy(update={"record_id": name}) for name in ids]
    names = file_names(records)
    assert len({name.casefold() for name in names}) == len(names)
    assert names[3] == "text_0"
    assert all(len(name) < 120 and "/" not in name for name in names)
    assert file_names(records[:1]) == ["doi_10.1_a_b"]


def test_records_that_a_person_assigned_to_files_are_not_overwritten(
    records: Path, access: Access, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/unmatched.csv").write_text("file,record_id\na.pdf,doi:10.5555/lead.1\n", encoding="utf-8")
    with pytest.raises(MechtagError, match="would be overwritten, but you entered records"):
        list(fetch(records, tmp_path / "out", TEXTS, access))


def test_candidates_are_left_to_a_person(records: Path, access: Access, services: FakeServices, tmp_path: Path) -> None:
    wrong = {"resultList": {"result": [{"id": "1", "source": "MED", "doi": PAPERS[3].doi, "title": "Wet meadows"}]}}
    services.faults["europepmc"].append(Reply(json.dumps(wrong).encode()))
    said = list(fetch(records, tmp_path / "out", Wanted(), access))
    (row,) = table(tmp_path / "out/candidates.csv")
    assert (row["record_id"], row["candidate_title"]) == (RECORDS[3].record_id, "Wet meadows")
    assert row["reason"] == "The identifier of the record belongs to a paper with a different title."
    assert any("possible matches were found for 1 record, but none is certain" in line for line in said)


def test_a_service_that_wants_a_long_pause_ends_the_run_after_the_others(
    records: Path, access: Access, services: FakeServices, tmp_path: Path
) -> None:
    services.faults["openalex"].append(Reply(status=429, headers={"Retry-After": "86400"}))
    said: list[str] = []
    with pytest.raises(MechtagError, match=r"OpenAlex: .* asked to wait until 2025-11-25 16:00 UTC\. .*run the same"):
        said.extend(fetch(records, tmp_path / "out", Wanted(), access))
    assert "12 records lacked an abstract: 9 found (PubMed 3, Europe PMC 3, Crossref 3), 3 still missing" in said
    again = list(fetch(records, tmp_path / "out", Wanted(), access))
    assert again[1].endswith("0 still missing")
    assert max(Counter(asked.line for asked in services.answered).values()) == 1


def test_a_service_that_fails_is_named_and_the_others_go_on(
    records: Path, access: Access, services: FakeServices, tmp_path: Path
) -> None:
    services.faults["openalex"].extend([Reply(status=403)] * 50)
    said = list(fetch(records, tmp_path / "out", Wanted(), access))
    assert said[1].endswith("(PubMed 3, Europe PMC 3, Crossref 3), 3 still missing")
    assert (
        sum(line.startswith("no usable answer from OpenAlex: the service answered with status 403") for line in said)
        == 5
    )
    assert "no more requests were sent to OpenAlex: 5 requests in a row failed" in said[-1]


def test_key_and_address_are_in_no_file_and_no_message(
    records: Path, access: Access, services: FakeServices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENALEX_API_KEY", "NCBI_API_KEY", "S2_API_KEY"):
        monkeypatch.setenv(name, f"{KEY}-{name}")
    services.faults["crossref"].append(Reply(status=403))
    services.faults["openalex"].append(Reply(f'{{"error": "wrong key {KEY}-OPENALEX_API_KEY"}}'.encode()))
    said = list(fetch(records, tmp_path / "out", TEXTS._replace(sources=tuple(SERVICES)), access))
    sent = " ".join(f"{asked.query} {asked.headers}" for asked in services.asked)
    for secret in (EMAIL, *(f"{KEY}-{name}" for name in ("OPENALEX_API_KEY", "NCBI_API_KEY", "S2_API_KEY"))):
        assert secret in sent
    written = "\n".join(said).encode() + b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    written += b"".join(repr(row).encode() for row in answers(tmp_path / "out"))
    for secret in (EMAIL, EMAIL.replace("@", "%40"), KEY):
        assert secret.encode() not in written


def test_synopses_are_discarded_if_the_user_asks(access: Access, services: FakeServices, tmp_path: Path) -> None:
    """docs/fetching.md recommends this option for the papers of Table 2."""
    gold = ROOT / "data/raw/gold_records.jsonl"
    synopses = [
        json.loads(line)["synopsis"] for line in gold.read_text(encoding="utf-8").splitlines() if "synopsis" in line
    ]
    said = list(fetch(gold, tmp_path / "out", Wanted(), access, discard_abstracts=True))
    assert "34 records lacked an abstract: 0 found, 34 still missing" in said
    assert not any(record.abstract for record in read_records(tmp_path / "out/records.parquet"))
    assert synopses
    queries = " ".join(asked.query.get("query", "") for asked in services.asked)
    assert 'DOI:"10.1108/lhs-08-2012-0028"' in queries


def test_an_export_can_leave_out_what_may_not_be_published(tmp_path: Path) -> None:
    rows = [
        (0, "abstract", "unknown"),
        (1, "abstract", "cc by"),
        (2, "full-text", "publisher-specific"),
        (0, "doi", "unknown"),
    ]
    with (tmp_path / "fetched.csv").open("w", encoding="utf-8-sig", newline="") as file:
        names = [(RECORDS[number].record_id, field, licence) for number, field, licence in rows]
        csv.writer(file).writerows([("record_id", "field", "licence"), *names])
    write_records(tmp_path / "records.parquet", [paper.record(bare=False) for paper in PAPERS[:4]])
    label = load_codebook(ROOT / "data/annotated/codebook.yaml").relevance.key
    bases: list[Basis] = ["abstract", "abstract", "full-text", "abstract"]
    predictions = [
        Prediction(
            **{"record_id": record.record_id, "label": label, "score": 1, "decision": "yes", "model_id": "m"},
            basis=basis,
            evidence=(Evidence(sentence=0, start=0, end=9, text=f"Quoted {number}", score=1, basis=basis),),
        )
        for number, (record, basis) in enumerate(zip(RECORDS, bases, strict=False))
    ]
    write_predictions(tmp_path / "predictions.parquet", predictions)
    words = ("export", tmp_path / "predictions.parquet", "--to", "ris", "-o")
    assert call(*words, tmp_path / "all.ris")[0] == 0
    assert call(*words, tmp_path / "some.ris", "--without-fetched", tmp_path / "fetched.csv")[0] == 0
    complete, reduced = ((tmp_path / name).read_text(encoding="utf-8") for name in ("all.ris", "some.ris"))
    for number, paper in enumerate(PAPERS[:4]):
        assert paper.abstract in complete
        assert f"Quoted {number}" in complete
        assert (paper.abstract in reduced) == (number != 0)
        assert (f"Quoted {number}" in reduced) == (number not in (0, 2))


# Killed runs: the server kills the script before it answers the n-th request, or the script dies before its n-th file
# is in place.

_SCRIPT = """
import json, os, signal, sys
from pathlib import Path
from mechtag.pipeline.fetch.gaps import Wanted
from mechtag.workflows.fetch import fetch
from mechtag.workflows.web_access import Access
from tests.support.services import FrozenClock

given = json.loads(sys.argv[1])
replace, writes = Path.replace, 0

def dying(path, target):
    global writes
    writes += 1
    if writes == given["write"]:
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(path, target)

Path.replace = dying
access = Access(given["email"], addresses=given["addresses"], clock=FrozenClock())
for line in fetch(Path(given["records"]), Path(given["out"]), Wanted(what=tuple(given["what"])), access):
    print(line)
print("writes:", writes)
"""


class Killing:
    """Run ``fetch`` in another process, and kill this process at a given request or before a given file is written."""

    def __init__(self, services: FakeServices, records: Path, what: Sequence[str]) -> None:
        self._services, self._records, self._what = services, records, what

    def whole(self, out: Path) -> None:
        """Run ``fetch`` to the end, in this process."""
        access = Access(EMAIL, addresses=self._services.addresses, clock=FrozenClock())
        self._services.before = lambda asked: None
        list(fetch(self._records, out, Wanted(what=tuple(self._what)), access))

    def run(self, out: Path, *, request: int = 0, write: int = 0) -> str:
        """Run ``fetch`` until a given request or written file, or to the end if both are 0, and return its output."""
        first = len(self._services.asked)
        given = {"email": EMAIL, "addresses": self._services.addresses, "records": str(self._records), "out": str(out)}
        words = [sys.executable, "-c", _SCRIPT, json.dumps(given | {"what": list(self._what), "write": write})]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

        def kill(asked: Asked) -> None:
            if request and len(self._services.asked) - first == request:
                process.kill()
                process.wait()

        self._services.before = kill
        output, error = process.communicate()
        expected = -signal.SIGKILL if request or write else 0
        assert process.returncode == expected, error
        return output


def check_resumed(services: FakeServices, before: int, out: Path, expected: Path) -> None:
    """Check that the files equal those of an uninterrupted run, and that at most one request was sent twice."""
    assert files(out) == files(expected)
    assert answers(out) == answers(expected)
    counts = Counter(asked.line for asked in services.asked[before:])
    killed = [line for line, count in counts.items() if count > 1]
    assert len(killed) <= 1  # the request during which it was killed
    assert not [path for path in out.iterdir() if path.name.startswith(".mechtag-")]


def test_a_run_that_is_killed_goes_on_where_it_stopped(services: FakeServices, records: Path, tmp_path: Path) -> None:
    killing = Killing(services, records, ("abstract", "identifiers"))
    killing.whole(tmp_path / "whole")
    before = len(services.asked)
    killing.run(tmp_path / "out", request=5)
    assert len(answers(tmp_path / "out")) == 4
    killing.run(tmp_path / "out", write=2)
    killing.whole(tmp_path / "out")
    check_resumed(services, before, tmp_path / "out", tmp_path / "whole")


@pytest.mark.slow
def test_runs_that_are_killed_at_many_moments(services: FakeServices, records: Path, tmp_path: Path) -> None:
    for number in (3, 7):
        path = write_paper(tmp_path / "pdf" / f"{number}.pdf", PAPERS[number].title, PAPERS[number].doi)
        services.files[f"/{number}.pdf"] = Reply(path.read_bytes())
    killing = Killing(services, records, TEXTS.what)
    output = killing.run(tmp_path / "whole")
    requests, writes = len(services.asked), int(output.rpartition("writes: ")[2])
    # Set KILLS=20 in the environment for a longer test of two minutes.
    count = int(os.environ.get("KILLS", "4"))
    moments = [("request", place) for place in range(1, requests + 1)] + [
        ("write", 1 + place) for place in range(writes)
    ]
    moments = [moments[number * (len(moments) - 1) // (count - 1)] for number in range(count)]
    assert len(set(moments)) == count
    for number, (what, place) in enumerate(moments):
        before, out = len(services.asked), tmp_path / f"out{number}"
        killing.run(out, **{what: place})
        killing.whole(out)
        check_resumed(services, before, out, tmp_path / "whole")
