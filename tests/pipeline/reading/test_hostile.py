"""Test files that are damaged or malicious: each leads to a message or rejected rows, and nothing is lost silently."""

import gzip
import io
import os
import random
import socket
import time
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.exports import unaccounted
from benchmarks.mutations import PIECES, damaged
from benchmarks.sets import BENCH
from mechtag.core import source as base
from mechtag.core.errors import MechtagError
from mechtag.core.files import write_jsonl
from mechtag.core.parquet import read_records, write_records
from mechtag.pipeline.reading import archives as containers
from mechtag.pipeline.reading.ingest import Reading, ingest
from tests.support.exports import Reader, only

RIS = b"TY  - JOUR\nTI  - One\nER  - \n"


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


# Archives


def test_zip_and_gzip_are_read_without_unpacking_to_the_disk(tmp_path: Path, read: Reader) -> None:
    csv = b"title\nTwo\nThree\n"
    found = read(zipped({"b/ovid.ris": RIS, "a.csv": csv, "__MACOSX/._a.csv": b"\0\5", ".DS_Store": b"\0"}))
    assert [record.title for record in found.records] == ["Two", "Three", "One"]
    assert [source.file for source in found.sources] == ["export.txt/a.csv", "export.txt/b/ovid.ris"]
    assert found.unread == ()
    assert [path.name for path in tmp_path.iterdir()] == ["export.txt"]
    (record,) = read(gzip.compress(RIS)).records
    assert (record.title, record.source_file) == ("One", "export.txt")


def test_names_of_members_lead_nowhere(tmp_path: Path, read: Reader) -> None:
    found = read(zipped({"../../up.ris": RIS, "/etc/passwd": RIS, "a\\..\\b\x1b[2J.ris": RIS}))
    assert sorted(source.file for source in found.sources) == [
        *("export.txt/a/b[2J.ris", "export.txt/etc/passwd", "export.txt/up.ris"),
    ]
    assert not (tmp_path.parent / "up.ris").exists()


def test_a_member_without_a_name_is_read(read: Reader) -> None:
    (record,) = read(zipped({"q": RIS}, zipfile.ZIP_STORED).replace(b"q", b"\0")).records
    assert (record.title, record.source_file) == ("One", "export.txt/unnamed")


def test_one_bad_member_does_not_cost_the_others(read: Reader) -> None:
    inner = zipped({"x.ris": RIS})
    found = read(zipped({"a.pdf": b"%PDF-1.7\n", "b.ris": RIS, "c.zip": inner, "d.gz": gzip.compress(RIS), "e": b""}))
    assert [record.title for record in found.records] == ["One"]
    assert [str(note).split(";")[0] for note in found.unread] == [
        "export.txt/a.pdf: not read: this is a binary file, not text (it starts with b'%PDF-1.7')",
        "export.txt/c.zip: not read: this is an archive within an archive",
        "export.txt/d.gz: not read: this is an archive within an archive",
        "export.txt/e: not read: the file is empty",
    ]
    assert found.summary()["unread"] == list(map(str, found.unread))


def encrypted() -> bytes:
    data = bytearray(zipped({"a.ris": RIS}))
    for mark in (b"PK\x03\x04", b"PK\x01\x02"):  # the flag is in the local header and in the directory
        place = data.index(mark) + (6 if mark == b"PK\x03\x04" else 8)
        data[place] |= 1
    return bytes(data)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (encrypted(), "encrypted; unpack it with its password"),
        (zipped({}), "the archive contains no files"),
        (zipped({"a.ris": RIS})[:-30], "the archive is damaged or truncated"),
        (zipped({"a.ris": RIS * 50}, zipfile.ZIP_STORED).replace(b"One", b"Two", 1), "the archive is damaged"),
        (gzip.compress(RIS * 1000, mtime=0)[:-12], "the archive is damaged or truncated"),
        (gzip.compress(RIS * 9, mtime=0)[:-8] + b"\0" * 8, "the archive is damaged or truncated"),
        (
            zipped({f"{number}.ris": b"" for number in range(1001)}),
            "the archive contains 1001 files, but at most 1000 are allowed",
        ),
        (
            zipped({"a.csv": b"title\n" + bytes(20_000_000)}),
            "unpacks to more than 8 GB, or to more than 200 times its size",
        ),
        (
            gzip.compress(b"title\n" + b"0" * 20_000_000, mtime=0),
            "unpacks to more than 8 GB, or to more than 200 times its size",
        ),
        (
            zipped({"a.csv": b"title\n" + b"0" * 20_000_000, "b": os.urandom(200_000)}),
            "a.csv: not read: the file unpacks to more",
        ),
    ],
)
def test_archives_that_are_refused(read: Reader, content: bytes, message: str) -> None:
    with pytest.raises(MechtagError, match=message):
        read(content)


def test_sizes_in_an_archive_are_not_believed(read: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "_UNSUSPECTED", 1000)
    data = zipped({"a.csv": b"title\n" + b"0" * 500_000})
    for mark, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        place = data.index(mark) + offset
        data = data[:place] + (10).to_bytes(4, "little") + data[place + 4 :]
    with pytest.raises(MechtagError, match=r"the archive is damaged or truncated|unpacks to more"):
        read(data)


# Paths that are not files, and folders with unusual contents


def test_paths_that_are_not_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / "socket"))
    listening.close()
    for name, message in (
        ("pipe", "this is a pipe, socket or device"),
        ("socket", "this is a pipe, socket or device"),
        ("link", "this is a link to .*nowhere, which does not exist"),
        ("loop", "this path cannot be read: Too many levels of symbolic links"),
    ):
        with pytest.raises(MechtagError, match=f"{name}: {message}"):
            ingest([tmp_path / name])
    with pytest.raises(MechtagError, match="/dev/zero: this is a pipe, socket or device"):
        ingest(["/dev/zero"])
    with pytest.raises(
        MechtagError, match=r"none of its files could be read; the first fault is: .*/link: not read: this is a link to"
    ):
        ingest([tmp_path])
    (tmp_path / "good.ris").write_bytes(RIS)
    (tmp_path / "sub").mkdir()
    found = ingest([tmp_path])
    assert len(found.records) == 1
    assert [note.file.split("/")[1] for note in found.unread] == ["link", "loop", "pipe", "socket", "sub"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_files_without_permission(tmp_path: Path) -> None:
    (tmp_path / "a.ris").write_bytes(RIS)
    (tmp_path / "a.ris").chmod(0)
    with pytest.raises(MechtagError, match=r"a\.ris: the file cannot be read: Permission denied"):
        ingest([tmp_path / "a.ris"])


def test_a_bad_file_stops_the_run_unless_it_came_with_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.7\n")
    with pytest.raises(
        MechtagError,
        match=r"none of its files could be read; the first fault is: a\.pdf: not read: this is a binary file",
    ):
        ingest([tmp_path])
    (tmp_path / "b.ris").write_bytes(RIS)
    found = ingest([tmp_path])
    assert [source.file for source in found.sources] == ["b.ris"]
    assert [note.file for note in found.unread] == ["a.pdf"]
    with pytest.raises(MechtagError, match=r"a\.pdf: this is a binary file"):
        ingest([tmp_path / "a.pdf", tmp_path / "b.ris"])


def test_a_web_page_is_named(read: Reader) -> None:
    for page in (b"<!DOCTYPE html><pre>" + RIS, b"\n <HTML lang=en>" + RIS, b'<?xml version="1.0"?><!-- x --><html/>'):
        with pytest.raises(MechtagError, match="a web page"):
            read(page)


# Sizes


def test_an_endless_line_costs_only_its_record(read: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    reading = ("formats.ris", "tagged", "formats.delimited", "formats.jsonl", "build_record")
    for module in ("core.delimited", *(f"pipeline.reading.{name}" for name in reading)):
        monkeypatch.setattr(f"mechtag.{module}.LONGEST_ENTRY", 100_000, raising=False)
    long = b"x" * 300_000
    contents = (
        b"TY  - JOUR\nTI  - " + long + b"\nER  - \n" + RIS,
        b"TY  - JOUR\nTI  - a\nAB  - b\n" + b"more of it\n" * 20_000 + b"ER  - \n" + RIS,
        b"title,abstract\n" + long + b",a\nOne,b\n",
        b'title,abstract\n"' + long + b'",a\nOne,b\n',
        b'{"title": "' + long + b'"}\n{"title": "One"}\n',
        b"@article{a,\n title = {" + long + b"}\n}\n@article{b,\n title = {One}\n}\n",
    )
    for content in contents:
        found = read(content)
        assert [record.title for record in found.records] == ["One"]
        (rejected,) = found.rejected
        assert rejected.reason.startswith(("the entry has more than ", "title and abstract have 300,000 characters"))
        assert rejected.record == 1
        assert len(str(rejected.raw)) < 2000


@pytest.mark.parametrize(
    "text",
    [
        "TY  - JOUR\nTI  - One\nAB  - " + "x<b>" * 400_000,
        "TY  - JOUR\nTI  - One\nAN  - PMID" + " " * 200_000 + "x",
        "PMID- 1\nTI  - One\nLID - " + "10.1000/" * 100_000 + " x",
        "Title,Citation\nOne," + "1" * 200_000,
        "<1>\nTitle\n  One" + ". [a] " * 60_000 + "x",
        "@string{a0={x}}"
        + "".join(f"@string{{a{n + 1}=a{n} # a{n}}}\n" for n in range(60))
        + "@misc{b, title={One}, note=a60}",
        "@misc{b, title={One}, abstract={" + "\\'e " * 1_000_000 + "}}",
        "@misc{b, title={One}, pages={1" + " " * 200_000 + "2}}",
        "Title,Authors\nOne,and" + " " * 200_000 + "x",
        '"TITLE","One"\n"AUTHOR NAMES","x"\n' + '"x","y"\n' * 200_000,
        '[{"id": 1, "title": "One"}' + ', {"id": 2, "title": x}' * 200_000,
    ],
    ids="tags pubmed-id doi citation kinds strings latex pages authors embase json".split(),
)
def test_a_value_that_is_made_to_be_slow_takes_a_moment(read: Reader, text: str) -> None:
    """A regular expression that starts at every character would take hours; doubling strings would fill the memory."""
    started = time.process_time()
    assert only(read(text)).title.startswith("One")
    assert time.process_time() - started < 10


def test_a_quote_that_is_never_closed_costs_its_line_only(read: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mechtag.core.delimited.LONGEST_ENTRY", 100_000)
    for count in (5, 40_000):  # fewer and more lines than one record may have
        found = read(b'title,year\nOne,1\n"Two,2\n' + b"Three,3\n" * count + b"Four,4,x\n")
        assert len(found.records) == count + 1
        assert [(item.record, item.line) for item in found.rejected] == [(2, 3), (count + 3, count + 4)]
        assert (
            found.rejected[0].reason
            == "a quotation mark is opened but never closed; close it, or write it twice if it is part of the text"
        )


def test_files_larger_than_memory_allows(read: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "LARGEST_WHOLE", 200_000)
    with pytest.raises(MechtagError, match="larger than 0 MB, the limit for a format"):
        read(b"@article{a,\n title = {" + b"One two\n" * 30_000 + b"},\n year = 2001\n}\n")
    with pytest.raises(MechtagError, match="a line of more than"):
        read(b"title\n" + b"x" * 300_000)
    assert len(read(b"title,abstract\n" + b"One,two three four five six seven eight\n" * 6_000).records) == 6_000


def test_reading_needs_no_more_memory_for_longer_files(tmp_path: Path) -> None:
    path = tmp_path / "a.ris"
    peaks = []
    for count in (200, 4000):
        path.write_bytes(b"".join(RIS.replace(b"One", b"%d %s" % (i, b"x" * 1000)) for i in range(count)))
        tracemalloc.start()
        assert sum(1 for _ in Reading([path]).records()) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 1_000_000


@pytest.mark.slow
def test_progress_reaches_the_size_of_the_files(tmp_path: Path) -> None:
    (tmp_path / "a.ris").write_bytes(RIS * 20_000)
    (tmp_path / "b.zip").write_bytes(zipped({"a.ris": RIS * 9000, "b.csv": b"title\nOne\n"}))
    (tmp_path / "c.gz").write_bytes(gzip.compress(RIS * 9000))
    (tmp_path / "d.pdf").write_bytes(b"%PDF-1.7\n" * 100)
    reading = Reading([tmp_path])
    steps: list[int] = []
    assert sum(1 for _ in reading.records(steps.append)) == 38_001
    assert sum(steps) == reading.size == sum(path.stat().st_size for path in tmp_path.iterdir())
    assert min(steps) >= 0
    assert len([step for step in steps if step]) > 5
    (tmp_path / "c.gz").write_bytes(
        gzip.compress(b"".join(RIS.replace(b"One", os.urandom(9).hex().encode()) for _ in range(20_000)))
    )
    reading, steps = Reading([tmp_path / "c.gz"]), []
    assert sum(1 for _ in reading.records(steps.append)) == 20_000
    assert sum(steps) == reading.size
    assert max(steps) < reading.size / 5  # progress counts the compressed bytes, not the unpacked ones


# JSON


def test_deep_xml_is_rejected(tmp_path: Path, read: Reader) -> None:
    record = "<record><ref-type/><titles><title>{0}</title></titles><x>{1}</x></record>"
    deep = "".join(record.format(depth, "<x>" * depth + "." + "</x>" * depth) for depth in (40, 60, 600))
    found = read(f"<records>{deep}</records>")
    assert only(found).title == "40"
    assert [item.reason for item in found.rejected] == [
        "the record is not readable as XML: elements are nested more than 50 levels deep"
    ] * 2
    write_records(tmp_path / "records.parquet", found.records)
    assert read_records(tmp_path / "records.parquet") == list(found.records)


def test_json_that_cannot_be_written_again_is_rejected(tmp_path: Path, read: Reader) -> None:
    lines = [
        b'{"title": "deep", "x": ' + b"[" * 400 + b"]" * 400 + b"}",
        b'{"title": "number", "x": ' + b"9" * 5000 + b"}",
        b'{"title": "deep", "y": NaN, "x": ' + b"[" * 400 + b"]" * 400 + b"}",
        b'{"title": "less deep", "x": ' + b"[" * 150 + b"]" * 150 + b"}",
        b'{"title": "long", "x": ' + b"9" * 4000 + b', "year": ' + b"9" * 4000 + b"}",
        b'{"title": "half \\ud83d pair", "x": "\\udc00", "y": [NaN, Infinity]}',
        b'{"title": "huge", "year": 1e999}',
    ]
    found = read(b"\n".join(lines))
    assert [record.title for record in found.records] == ["less deep", "long", "half ? pair", "huge"]
    assert [(item.record, item.line) for item in found.rejected] == [(1, 1), (2, 2), (3, 3)]
    write_records(tmp_path / "records.parquet", found.records)
    write_jsonl(tmp_path / "rejected.jsonl", found.rejected)
    assert [record.title for record in read_records(tmp_path / "records.parquet")] == [
        record.title for record in found.records
    ]


# Damage


def adds_up(path: Path) -> None:
    """Assert that a file is refused with a message, or that each of its entries is kept or rejected."""
    try:
        found = ingest([path])
    except MechtagError:
        return
    assert not unaccounted(found)
    write_records(path.with_suffix(".out"), found.records)
    write_jsonl(path.with_suffix(".rej"), found.rejected)


@pytest.mark.slow
def test_damaged_reference_files_add_up(tmp_path: Path) -> None:
    folder = BENCH / "references"
    if not folder.is_dir():
        pytest.skip(f"needs {folder}; MECHTAG_BENCH names the folder of benchmark data")
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        rng = random.Random(len(path.name))
        for _ in range(20):
            (tmp_path / "damaged").write_bytes(damaged(path.read_bytes(), rng))
            adds_up(tmp_path / "damaged")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=20)), max_size=40))
def test_any_bytes_add_up(tmp_path: Path, parts: list[bytes]) -> None:
    (tmp_path / "any").write_bytes(b"".join(parts))
    adds_up(tmp_path / "any")
