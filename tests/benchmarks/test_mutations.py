"""Test the benchmark that damages files of all formats, with a few files."""

import gzip
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import mutations
from benchmarks.mutations import (
    DAMAGE,
    Base,
    damaged,
    exports,
    file_of,
    lost,
    main,
    others,
    parquet,
    run,
    workbook,
    zipped,
)
from mechtag.core.errors import MechtagError
from mechtag.core.records import Record, Rejected
from mechtag.pipeline.reading.formats import FORMATS
from mechtag.pipeline.reading.ingest import Ingested, Note, SourceCounts, ingest


def test_all_formats_are_damaged() -> None:
    forms = {form for base in exports() for form in base.form.split(" and ")}
    assert forms == {form.name for form in FORMATS}
    assert sum(len(base.titles) > 1 for base in exports()) > 20


@pytest.mark.parametrize("base", others(), ids=lambda base: base.name)
def test_files_are_valid_before_they_are_damaged(tmp_path: Path, base: Base) -> None:
    path = tmp_path / base.name
    path.write_bytes(base.data)
    assert base.check(path, base) == ""


@pytest.mark.parametrize(("bases", "count"), [(exports, 140), (others, 70)], ids=["exports", "others"])
def test_damaged_files(bases: Callable[[], tuple[Base, ...]], count: int) -> None:
    assert list(run(bases(), 5, range(count))) == []


def test_draw_depends_on_the_seed_only() -> None:
    bases = exports()
    assert [file_of(bases, 1, number)[1] for number in range(70)] == [
        file_of(bases, 1, number)[1] for number in range(70)
    ]
    assert file_of(bases, 1, 3)[1] != file_of(bases, 2, 3)[1]


@pytest.mark.parametrize("damage", DAMAGE)
def test_each_kind_of_damage_changes_the_file(damage: mutations.Damage) -> None:
    rng = random.Random(1)
    data = 'TY  - JOUR\nTI  - "Óne", two\nPY  - 2001\nER  - \n'.encode()
    assert any(damaged(data, rng, [damage]) != data for _ in range(5))


def _found(kept: list[str], counts: int, notes: tuple[str, ...] = ()) -> Ingested:
    records = tuple(
        Record(record_id=f"text:{n}", title=title, source_file="a", source_index=n, raw=(("TI", title),))
        for n, title in enumerate(kept, start=1)
    )
    texts = tuple(Note("a", text) for text in notes)
    return Ingested(records, tuple[Rejected, ...](), texts, (SourceCounts("a", "RIS", counts, 0, 0),))


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (_found(["The first title", "The second title"], 2), ""),
        (_found(["The first title"], 1), "2 records start in the file, but 1 were read"),
        (_found(["The first title"], 1, ("the second record was not read",)), ""),
        (_found(["The first title"], 1, ("columns that were not read: x",)), "2 records start in the file"),
        (_found(["The first title", "Another title"], 2), "lost ['The second title']"),
        (_found(["The first title"], 2), "the numbers of its records are not 1 to 2"),
    ],
)
def test_loss_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: Ingested, message: str) -> None:
    path = tmp_path / "a.ris"
    path.write_text("TY  - JOUR\nTI  - The first title\nER  - \nTY  - JOUR\nTI  - The second title\nER  - \n")
    monkeypatch.setattr(mutations, "ingest", lambda sources: found)
    base = Base("a.ris", path.read_bytes(), mutations.reading, "RIS", ("The first title", "The second title"))
    fault = mutations.reading(path, base)
    assert message in fault if message else not fault


@pytest.mark.parametrize(
    "data",
    [
        workbook([["The first title", 2001]]),
        zipped({"a.ris": b"TY  - JOUR\nTI  - The first title\nER  - \n"}),
        gzip.compress(b"TY  - JOUR\nTI  - The first title\nER  - \n"),
        parquet({"title": ["The first title"]}),
    ],
    ids=["xlsx", "zip", "gzip", "parquet"],
)
def test_loss_in_a_packed_file_is_noticed(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a"
    path.write_bytes(data)
    base = Base("a", data, mutations.reading, "", ("The first title",))
    assert lost(path, base, _found(["The first title"], 1)) == ""
    assert lost(path, base, _found(["Another title"], 1)) == "lost ['The first title']"


def test_loss_of_other_texts_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("title,abstract\nOne,Teams lead, and share.\n")
    (base,) = (base for base in exports() if base.name == "german.csv")
    assert "Marchetti, Lucia; O'Neill, Peter J." in base.texts
    base = Base("a.csv", b"", mutations.reading, "", (), ("Teams lead, and share.",))
    found = ingest([path])
    assert (len(found.rejected), lost(path, base, found)) == (1, "")
    assert lost(path, base, _found(["Teams lead"], 1)) == "lost ['Teams lead, and share.']"


def _check(path: Path, base: Base) -> str:
    data = path.read_bytes()
    if data == b"refuse":
        raise MechtagError("refused")
    if data == b"crash":
        raise ValueError("broken")
    if data == b"hang":
        while True:
            time.sleep(1)
    return ""


def test_faults_of_a_reader(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(mutations, "_PATIENCE", 0.5)
    monkeypatch.setattr(mutations, "damaged", lambda data, rng: data)
    bases = tuple(Base(name, name.encode(), _check) for name in ("read", "refuse", "crash", "hang"))
    faults = list(run(bases, 1, range(5)))
    assert [(fault.number, fault.name) for fault in faults] == [(2, "crash"), (3, "hang")]
    assert faults[0].text.strip().endswith("ValueError: broken")
    assert faults[1].text == "no answer after 0 seconds"
    monkeypatch.setattr(mutations, "exports", lambda: bases[:3])
    for count, status in ((2, 0), (3, 1)):
        monkeypatch.setattr(sys, "argv", ["mutations", "--count", str(count)])
        with pytest.raises(SystemExit, match=str(bool(status))):
            main()
        assert f"{count} damaged files of 3, {status} faults" in capsys.readouterr().out
