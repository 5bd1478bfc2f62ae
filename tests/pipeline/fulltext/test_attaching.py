"""Test that every file is attached, a duplicate, unmatched or rejected, and that the best file of a record is used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from mechtag.core.errors import MechtagError
from mechtag.core.full_text import Format
from mechtag.core.parquet import iterate_full_texts
from mechtag.core.records import Record, Rejected
from mechtag.pipeline.fulltext.attached_tables import output_paths, refuse_filled
from mechtag.pipeline.fulltext.attaching import Assigned, Attached, FileFound, Matcher, attach, find_files, read_map
from mechtag.pipeline.fulltext.document import Block, Draft
from mechtag.pipeline.fulltext.reading import ReadFile, assemble_file

TITLE = "How leaders build trust across the teams of primary care"
TRUST = Record(record_id="trust", title=TITLE, doi="10.5555/lead.1", raw=(("L1", "storage/AB/paper.pdf"),))
BUDGETS = Record(record_id="budgets", title="What managers do when partners disagree", doi="10.5555/lead.2")
NONE: Mapping[str, Assigned] = {}


class Reader:
    """Reader that returns the content given for each file name; ``files`` lists the files in the given order."""

    def __init__(self, files: Mapping[str, tuple[Format, str] | str]) -> None:
        self._files = files
        self.files = [FileFound(Path("/data") / name, Path(name).name) for name in files]

    def __call__(self, path: Path, name: str) -> ReadFile | Rejected:
        content = self._files[str(path.relative_to("/data"))]
        if isinstance(content, str):
            return Rejected(file=name, reason=content)
        form, text = content
        return assemble_file(Draft([Block(text)]), form, name, "")


def attached(folder: Path, reader: Reader, assigned: Mapping[str, Assigned] = NONE) -> Attached:
    matcher = Matcher([TRUST, BUDGETS], reader.files, assigned)
    return attach(reader.files, matcher, reader, folder / "fulltexts.parquet")


def names(rows: Sequence[object]) -> list[str]:
    return [row.file for row in rows]  # type: ignore[attr-defined]


def test_every_file_is_in_one_list(tmp_path: Path) -> None:
    reader = Reader(
        {
            "a.pdf": ("pdf", f"{TITLE} 10.5555/lead.1"),
            "b.pdf": "b.pdf is empty",
            "c.txt": ("txt", f"{TITLE} at length"),
            "d.pdf": ("pdf", "Sediment transport in rivers"),
            "e.pdf": ("pdf", "Sediment transport, see 10.5555/lead.2"),
        }
    )
    done: list[int] = []
    matcher = Matcher([TRUST, BUDGETS], reader.files, NONE)
    result = attach(reader.files, matcher, reader, tmp_path / "fulltexts.parquet", done.append)
    assert (names(result.attached), names(result.duplicates)) == (["a.pdf"], ["c.txt"])
    assert (names(result.unmatched), names(result.uncertain), names(result.rejected)) == (
        ["d.pdf", "e.pdf"],
        ["e.pdf"],
        ["b.pdf"],
    )
    assert result.duplicates[0].used == "a.pdf"
    assert sum(done) == 5
    [text] = iterate_full_texts(tmp_path / "fulltexts.parquet")
    assert (text.record_id, text.source_file) == ("trust", "a.pdf")
    assert [path.name for path in tmp_path.iterdir()] == ["fulltexts.parquet"]


def test_a_lost_file_stops_the_run(tmp_path: Path) -> None:
    result = attached(tmp_path, Reader({"a.pdf": ("pdf", TITLE)}))
    with pytest.raises(RuntimeError, match="2 files were read, but the results account for 1"):
        Attached(2, result.attached, (), (), ())


@pytest.mark.parametrize(
    ("files", "best"),
    [
        ({"a.pdf": ("pdf", TITLE * 3), "b.xml": ("jats", TITLE)}, "b.xml"),
        ({"a.xml": ("tei", TITLE), "b.pdf": ("pdf", TITLE * 3)}, "a.xml"),
        ({"a.xml": ("tei", TITLE), "b.xml": ("jats", TITLE)}, "b.xml"),
        ({"a.html": ("html", TITLE * 3), "b.pdf": ("pdf", TITLE)}, "b.pdf"),
        ({"a.pdf": ("pdf", TITLE), "b.pdf": ("pdf", f"{TITLE} longer")}, "b.pdf"),
        # The record names both files, but the title is only in one.
        ({"storage/AB/paper.pdf": ("pdf", "Supplement " * 30), "b.pdf": ("pdf", TITLE)}, "b.pdf"),
        # Equal in everything: the first.
        ({"a.pdf": ("pdf", TITLE), "b.pdf": ("pdf", TITLE)}, "a.pdf"),
    ],
)
def test_the_best_file_of_a_record_is_used(
    tmp_path: Path, files: dict[str, tuple[Format, str] | str], best: str
) -> None:
    result = attached(tmp_path, Reader(files))
    assert names(result.attached) == [best]
    assert [text.source_file for text in iterate_full_texts(tmp_path / "fulltexts.parquet")] == [best]
    assert [row.used for row in result.duplicates] == [best]


def test_a_supplement_that_a_record_names_needs_a_person(tmp_path: Path) -> None:
    # A reference manager stores the paper and its supplement in the same record.
    reader = Reader({"storage/AB/paper.pdf": ("pdf", f"Supplementary material {TITLE} " * 9), "b.pdf": ("pdf", TITLE)})
    result = attached(tmp_path, reader)
    assert (names(result.attached), names(result.uncertain)) == (["b.pdf"], ["paper.pdf"])


def test_a_recorded_path_counts_more_than_a_title_but_not_more_than_a_person(tmp_path: Path) -> None:
    reader = Reader({"storage/AB/paper.pdf": ("pdf", "Scanned cover sheet of a library")})
    [row] = attached(tmp_path, reader).attached
    assert (row.match.record, row.match.by) == (TRUST, "path")
    [row] = attached(tmp_path, reader, {"paper.pdf": Assigned(BUDGETS)}).attached
    assert (row.match.record, row.match.by) == (BUDGETS, "map")


def test_a_recorded_path_that_the_content_contradicts_needs_a_person(tmp_path: Path) -> None:
    reader = Reader({"storage/AB/paper.pdf": ("pdf", f"{BUDGETS.title} 10.5555/lead.2")})
    [row] = attached(tmp_path, reader).unmatched
    assert row.match.doubt == (
        "The record names this file, but the file contains the DOI and the title of a different record, budgets."
    )


def test_an_interrupted_run_leaves_no_table(tmp_path: Path) -> None:
    reader = Reader({"a.pdf": ("pdf", TITLE), "b.pdf": ("pdf", TITLE)})

    def interrupted(path: Path, name: str) -> ReadFile | Rejected:
        if name == "b.pdf":
            raise KeyboardInterrupt
        return reader(path, name)

    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        attach(reader.files, Matcher([TRUST], reader.files, NONE), interrupted, tmp_path / "out/fulltexts.parquet")
    assert not list((tmp_path / "out").iterdir())


def test_files_in_folders_are_found_once(tmp_path: Path) -> None:
    for name in ("b/x.pdf", "b/deep/y.XML", "b/.hidden/z.pdf", "b/.z.pdf", "b/data.csv", "a/x.pdf"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"text")
    (tmp_path / "b/download").write_bytes(b"%PDF-1.4")
    (tmp_path / "a/odd.csv").write_bytes(b"text")
    (tmp_path / "a/loop").symlink_to(tmp_path, target_is_directory=True)
    found = find_files([tmp_path / "b", tmp_path / "a", tmp_path / "a/x.pdf", tmp_path / "a/odd.csv"])
    assert [file.name for file in found.files] == ["download", "b/x.pdf", "y.XML", "a/x.pdf", "odd.csv"]
    assert found.ignored == {".csv": 1}
    with pytest.raises(MechtagError, match=r"a: no full texts were found; expected files in PDF"):
        find_files([tmp_path / "a"], [tmp_path / "a/x.pdf", tmp_path / "no"])


def test_a_map_names_files_by_path_or_name(tmp_path: Path) -> None:
    files = [FileFound(Path("pdfs/x/a.pdf"), "x/a.pdf"), FileFound(Path("pdfs/b\n.pdf"), "b\\n.pdf")]
    for name, record_id, expected in (
        ("pdfs/x/a.pdf", "trust", {"x/a.pdf": Assigned(TRUST)}),
        ("x/a.pdf", "10.5555/lead.1", {"x/a.pdf": Assigned(TRUST)}),
        ("a.pdf", "trust", {"x/a.pdf": Assigned(TRUST)}),
        ("b\\n.pdf", "budgets", {"b\\n.pdf": Assigned(BUDGETS)}),
        ("gone.pdf", "budgets", {}),
        ("a.pdf", "", {}),
    ):
        (tmp_path / "map.csv").write_text(f"file;record_id;note\n{name};{record_id};x\n", encoding="utf-8")
        assert read_map(tmp_path / "map.csv", [TRUST, BUDGETS], files) == expected


def test_results_are_written_next_to_the_table() -> None:
    assert output_paths(Path("out")).full_texts == Path("out/fulltexts.parquet")
    assert output_paths(Path("out/t.parquet")).unmatched == Path("out/unmatched.csv")


def test_entries_of_a_person_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "unmatched.csv"
    refuse_filled(path)
    for text in ("", "file,record_id\na.pdf,\n", "file\na.pdf\n"):
        path.write_text(text, encoding="utf-8")
        refuse_filled(path)
    path.write_text("file,record_id\na.pdf,trust\nb.pdf,\n", encoding="utf-8")
    with pytest.raises(MechtagError, match=r"would be overwritten, but you entered records in 1 of its rows"):
        refuse_filled(path)
