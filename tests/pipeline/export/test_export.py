import csv
import re
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
import rispy
from hypothesis import given, settings
from hypothesis import strategies as st

from mechtag.core.errors import MechtagError
from mechtag.core.records import ABSTRACTS_ALONE, DEFINITIONS_ALONE, Decision, Evidence, Prediction, Record
from mechtag.core.source import Source
from mechtag.core.tables import read_table as read_sheet
from mechtag.pipeline.export import ris as ris_export
from mechtag.pipeline.export.tagged import NAMES, export
from mechtag.pipeline.reading.build_record import build
from mechtag.pipeline.reading.formats import ris
from tests.support.paths import UPDATE

LABELS = [("relevant", "Relevant"), ("trust", "Building trust"), ("power", "Sharing power")]

# Unknown tags (X9, UT), repeated tags (AU, KW, T2), an abstract on several lines, odd spacing, other scripts.
ODD = """TY  - JOUR
AU  - Ødegård, Åse
AU  - 王, 小明
TI  - Who leads?
  and who follows
T2  - First name of the journal
T2  - Second name of the journal
AB  - Teams - and others - shared the work.
Line two of it: T2-weighted, as they say.
      Line three is indented.
KW  - teams
KW  - trust; power
X9  - unknown one
X9  - unknown two
UT  - WOS:1
LK  - https://example.org/?a=1&b=2
N1  - note of the library
SP  -
DO  - 10.1234/ABC.5
ER  -
"""


def read_ris(path: Path) -> list[Record]:
    """Read a RIS file. Record ids are made from the place in the file, because some papers occur twice."""
    records = []
    for entry in ris.FORMAT.read(Source(path)):
        record = build(ris.FORMAT, entry, path.name)
        assert isinstance(record, Record)
        records.append(record.model_copy(update={"record_id": f"text:{entry.number}"}))
    return records


def odd(tmp_path: Path, text: str = ODD) -> list[Record]:
    path = tmp_path / "odd.ris"
    path.write_text(text, encoding="utf-8")
    return read_ris(path)


def predict(
    record_id: str, label: str, decision: Decision = "yes", probability: float | None = 0.714, texts: Sequence[str] = ()
) -> Prediction:
    evidence = tuple(
        Evidence(sentence=i, start=0, end=len(text), text=text, score=float(i)) for i, text in enumerate(texts)
    )
    return Prediction(
        record_id=record_id,
        label=label,
        score=0.0,
        probability=probability,
        threshold=0.5,
        decision=decision,
        evidence=evidence,
        model_id="m",
    )


def unscored(record_id: str, labels: Sequence[str] = ("trust", "power")) -> list[Prediction]:
    """Return the predictions of a clearly irrelevant record, in which only relevance has a score."""
    return [
        predict(record_id, "relevant", "no", 0.0125),
        *(
            predict(record_id, label, "no", None).model_copy(update={"score": None, "given_relevant": None})
            for label in labels
        ),
    ]


def read_table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def without_additions(entry: dict[str, object]) -> dict[str, object]:
    """Return what rispy read, without the keywords and notes that the export added."""
    left = dict(entry)
    for key in ("keywords", "notes"):
        values = [v for v in left.pop(key, []) if not v.startswith(("mechtag:", "mechtag evidence for "))]  # type: ignore[attr-defined]
        if values:
            left[key] = values
    return left


@pytest.mark.parametrize("source", [UPDATE.read_text(encoding="utf-8"), ODD, ODD.replace("\n", "\r\n") + "\n" + ODD])
def test_ris_is_unchanged_but_for_the_additions(source: str, tmp_path: Path) -> None:
    records = odd(tmp_path, source)
    source = source.replace("\r\n", "\n")
    predictions = [
        predict(record.record_id, key, decision, texts=["Staff decide together."])
        for record in records
        for (key, _), decision in zip(LABELS, ("yes", "no", "refer"), strict=True)
    ]
    export("ris", tmp_path / "tagged.ris", records, predictions, LABELS)

    before, after = rispy.loads(source), rispy.load(tmp_path / "tagged.ris", encoding="utf-8")
    assert len(before) == len(after) == len(records)
    assert [without_additions(entry) for entry in after] == before
    for old, new in zip(before, after, strict=True):
        assert new["keywords"] == [*old.get("keywords", []), "mechtag:relevant", "mechtag:power?"]
        assert new["notes"] == [
            *old.get("notes", []),
            'mechtag evidence for Relevant (probability 0.71): "Staff decide together."',
            'mechtag evidence for Sharing power (probability 0.71): "Staff decide together."',
        ]
    # rispy joins lines and drops some repeated tags, so the lines themselves are compared too.
    written = [line.rstrip() for line in (tmp_path / "tagged.ris").read_text(encoding="utf-8").splitlines()]
    kept = [line for line in written if "mechtag:" not in line and "mechtag evidence for" not in line]
    assert [line for line in kept if line] == [line.strip() for line in source.splitlines() if line.strip()]


def test_ris_replaces_the_tags_of_an_earlier_run(tmp_path: Path) -> None:
    path = tmp_path / "tagged.ris"
    first = odd(tmp_path, ODD.replace("KW  - teams", "KW  - mechtag:other\nKW  - teams"))
    export("ris", path, first, [predict("text:1", "trust", texts=["A."]), predict("text:1", "power", "refer")], LABELS)
    export("ris", path, read_ris(path), [predict("text:1", "power", texts=["B."])], LABELS)
    (entry,) = rispy.load(path, encoding="utf-8")
    # 'mechtag:other' is not a label of this codebook, so the keyword is the user's and stays.
    assert entry["keywords"] == ["mechtag:other", "teams", "trust; power", "mechtag:power"]
    assert entry["notes"] == [
        "note of the library",
        'mechtag evidence for Sharing power (probability 0.71): "B."',
    ]


NOT_SCORED = "mechtag: labels not scored, relevance is a clear no"


def test_ris_notes_once_that_labels_were_not_scored(tmp_path: Path) -> None:
    path = tmp_path / "tagged.ris"
    found = odd(tmp_path)
    for _ in range(3):
        export("ris", path, found, unscored("text:1"), LABELS)
        (entry,) = rispy.load(path, encoding="utf-8")
        assert entry["notes"] == ["note of the library", NOT_SCORED]
        assert entry["keywords"] == ["teams", "trust; power"]
        found = read_ris(path)
    # The note stays if one label was not scored, and goes if all were scored.
    export("ris", path, found, [predict("text:1", "trust", texts=["A."]), *unscored("text:1", ["power"])], LABELS)
    (entry,) = rispy.load(path, encoding="utf-8")
    note = 'mechtag evidence for Building trust (probability 0.71): "A."'
    assert entry["notes"] == ["note of the library", NOT_SCORED, note]
    scored = [predict("text:1", "relevant", "no", 0.0125), predict("text:1", "trust", "no", 0.01)]
    export("ris", path, read_ris(path), scored, LABELS)
    (entry,) = rispy.load(path, encoding="utf-8")
    assert entry["notes"] == ["note of the library"]


def test_ris_notes_once_that_suggestions_are_from_definitions_until_a_model_is_trained(tmp_path: Path) -> None:
    path = tmp_path / "tagged.ris"
    found = odd(tmp_path)
    rough = predict("text:1", "trust").model_copy(update={"model_id": f"{DEFINITIONS_ALONE}1"})
    for _ in range(2):
        export("ris", path, found, [rough], LABELS)
        (entry,) = rispy.load(path, encoding="utf-8")
        assert sum("definitions of the codebook alone" in note for note in entry["notes"]) == 1
        found = read_ris(path)
    export("ris", path, found, [predict("text:1", "trust")], LABELS)
    assert "definitions of the codebook alone" not in path.read_text(encoding="utf-8")


def test_ris_notes_that_a_model_leaves_full_texts_to_people(tmp_path: Path) -> None:
    path, note = tmp_path / "tagged.ris", "every label in full texts needs review"
    rough = predict("text:1", "trust").model_copy(update={"model_id": f"{ABSTRACTS_ALONE}1"})
    export("ris", path, odd(tmp_path), [rough], LABELS)
    assert note not in path.read_text(encoding="utf-8")
    by_text = rough.model_copy(update={"basis": "full-text"})
    for _ in range(2):
        export("ris", path, read_ris(path), [by_text], LABELS)
        (entry,) = rispy.load(path, encoding="utf-8")
        assert sum(note in one for one in entry["notes"]) == 1


def test_ris_notes_are_sorted_by_evidence_and_omit_missing_probabilities(tmp_path: Path) -> None:
    prediction = predict("text:1", "trust", probability=None, texts=["Weak.", "Strong\nand long."])
    export("ris", tmp_path / "a.ris", odd(tmp_path), [prediction], LABELS)
    (entry,) = rispy.load(tmp_path / "a.ris", encoding="utf-8")
    assert entry["notes"][1:] == [
        'mechtag evidence for Building trust: "Strong and long."',
        'mechtag evidence for Building trust: "Weak."',
    ]


@pytest.mark.parametrize("form", NAMES)
def test_predictions_may_be_in_a_different_order_than_records(form: str, tmp_path: Path) -> None:
    found = [Record(record_id=f"text:{number}", title=f"Paper {number}") for number in range(4)]
    # The third paper has no predictions.
    ordered = [predict(f"text:{number}", key, texts=[f"{key} {number}."]) for number in (0, 1, 3) for key, _ in LABELS]
    by_label = sorted(ordered, key=lambda row: (row.label, row.record_id), reverse=True)
    told: dict[str, list[tuple[str, int]]] = {"a": [], "b": []}
    for name, rows in (("a", ordered), ("b", by_label)):
        path, own = tmp_path / f"{name}.{form}", told[name]
        count = export(
            form, path, found, rows, LABELS, on_record=lambda one, of, own=own: own.append((one.title, len(of)))
        )
        assert count == 4
    assert (tmp_path / f"a.{form}").read_bytes() == (tmp_path / f"b.{form}").read_bytes()
    assert told["a"] == told["b"] == [("Paper 0", 3), ("Paper 1", 3), ("Paper 2", 0), ("Paper 3", 3)]
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"a.{form}", f"b.{form}"]


def test_ris_of_another_format_is_written_from_the_contract(tmp_path: Path) -> None:
    record = Record(
        record_id="pmid:12",
        title="Leading\ncare",
        abstract="One line.\nER  - \nTY  - BOOK",
        authors=("Berg,\nAda", "Li, Bo"),
        year=2020,
        journal="Journal of Care",
        volume="3",
        issue="4",
        pages="12–19",
        doi="10.1/x",
        pmid="12",
        keywords=("team\nwork", "trust"),
        type="Journal Article",
        language="eng",
        url="https://example.org",
        raw=(("TY", "a column, not a tag"), ("Some Column", 3)),
    )
    export("ris", tmp_path / "a.ris", [record], [], LABELS)
    (entry,) = rispy.load(tmp_path / "a.ris", encoding="utf-8")
    assert entry == {
        "type_of_reference": "JOUR",
        "title": "Leading care",
        "authors": ["Berg, Ada", "Li, Bo"],
        "year": "2020",
        "secondary_title": "Journal of Care",
        "volume": "3",
        "number": "4",
        "start_page": "12",
        "end_page": "19",
        "doi": "10.1/x",
        "accession_number": "12",
        "name_of_database": "PubMed",
        "language": "eng",
        "urls": ["https://example.org"],
        "abstract": "One line. ER - TY - BOOK",
        "keywords": ["team work", "trust"],
    }


@pytest.mark.parametrize(
    ("kind", "journal", "expected"),
    [
        ("inproceedings", None, "CPAPER"),
        ("Book chapter", None, "CHAP"),
        ("jour", None, "JOUR"),
        ("rare thing", "Care", "JOUR"),
        ("rare thing\nER  - ", None, "GEN"),
        (None, None, "GEN"),
    ],
)
def test_ris_type(kind: str | None, journal: str | None, expected: str, tmp_path: Path) -> None:
    record = Record(record_id="text:1", title="T", type=kind, journal=journal)
    export("ris", tmp_path / "a.ris", [record], [], LABELS)
    assert rispy.load(tmp_path / "a.ris", encoding="utf-8")[0]["type_of_reference"] == expected


def test_ris_without_a_type_line_keeps_its_fields_and_gets_one(tmp_path: Path) -> None:
    source = ODD.replace("UT  - WOS:1\n", "")
    (record,) = odd(tmp_path, source.removeprefix("TY  - JOUR\n"))
    export("ris", tmp_path / "a.ris", [record], [], LABELS)
    assert rispy.load(tmp_path / "a.ris", encoding="utf-8") == rispy.loads(source)


def test_ris_does_not_write_tags_of_web_of_science_as_its_own(tmp_path: Path) -> None:
    record = Record(record_id="text:1", title="T", raw=(("PT", "J"), ("TI", "T"), ("SO", "CARE"), ("PD", "MAY")))
    export("ris", tmp_path / "a.ris", [record], [], LABELS)
    assert rispy.load(tmp_path / "a.ris") == [{"type_of_reference": "GEN", "title": "T"}]


def test_ris_has_one_line_end_and_one_end_a_record(tmp_path: Path) -> None:
    raw = (("TY", "JOUR"), ("TI", "T"), ("AB", "One\r\nTwo\rThree\n"), ("M1", None), ("C1", 7), ("ER", ""))
    export("ris", tmp_path / "a.ris", [Record(record_id="text:1", title="T", raw=raw)], [], LABELS)
    expected = b"TY  - JOUR\nTI  - T\nAB  - One\nTwo\nThree\nM1  - \nC1  - 7\nER  - \n"
    assert (tmp_path / "a.ris").read_bytes() == expected


@pytest.mark.parametrize("to", sorted(NAMES))
def test_half_a_character_does_not_stop_the_export(to: str, tmp_path: Path) -> None:
    title = "a\ud800b" + "x" * 33_000
    export(to, tmp_path / "out", [Record(record_id="text:1", title=title)], [], LABELS)
    found = (tmp_path / "out").read_bytes()
    if to == "xlsx":
        found = zipfile.ZipFile(tmp_path / "out").read("xl/worksheets/sheet1.xml")
    assert b"a?bxxx" in found


HOSTILE = st.lists(
    st.sampled_from(
        ["\n", "\r", "\r\n", "\u2028", "\x85", "\x0b", " ", "ER  - ", "\ufeff", "TY  - JOUR", "KW  - x", "TI  -", "a"]
    )
).map("".join)


@settings(max_examples=200)
@given(HOSTILE, HOSTILE, HOSTILE)
def test_ris_fields_cannot_be_forged(tmp_path_factory: pytest.TempPathFactory, a: str, b: str, c: str) -> None:
    path = tmp_path_factory.mktemp("forged") / "a.ris"
    records = [
        Record(record_id="text:1", title="T", raw=(("TY", "JOUR"), ("TI", "T"), ("AB", a), ("X9", b))),
        Record(record_id="text:2", title=f"T{b}", abstract=c, keywords=(f"k{a}",), authors=(f"n{c}",)),
    ]
    export("ris", path, records, [predict("text:1", "trust", texts=[c])], [*LABELS[:1], ("trust", f"Trust{a}")])
    lines = path.read_bytes().decode("utf-8").splitlines()  # at every line end that Python knows
    tags = [match[1] for line in lines if (match := re.match(r"[\s\ufeff]*([A-Z][A-Z0-9])\s+-", line))]
    second = ["TY", "TI", "AU", *(["AB"] if c else []), "KW", "ER"]
    assert tags == ["TY", "TI", "AB", "X9", "KW", "N1", "ER", *second]


def test_table_is_sorted_and_complete(tmp_path: Path) -> None:
    records = [
        Record(
            record_id="text:b", title="Low", authors=("Berg, Ada", "Li, Bo"), year=2020, journal="Care", doi="10.1/x"
        ),
        Record(record_id="text:a", title="Tie", abstract="Nurses met. They shared the"),
        Record(record_id="text:d", title="Unscored", pmid="7"),
        Record(record_id="text:c", title="Top", abstract="Nurses met. They shared the lead"),
    ]
    predictions = [
        predict("text:b", "relevant", "refer", 0.25, ["Weak.", "Strong\nand long."]),
        predict("text:a", "relevant", "no", 0.25),
        predict("text:c", "relevant", "yes", 0.98765),
        predict("text:c", "power", "yes", None),
    ]
    export("csv", tmp_path / "tagged.csv", records, predictions, LABELS)
    assert (tmp_path / "tagged.csv").read_bytes().startswith(b"\xef\xbb\xbfrank,decision,")
    rows = read_table(tmp_path / "tagged.csv")
    assert [row["title"] for row in rows] == ["Top", "Tie", "Low", "Unscored"]
    assert [row["abstract_note"] for row in rows] == ["", "cut off", "none", "none"]
    assert list(rows[0]) == [
        *("rank", "decision", "authors", "year", "title", "abstract", "abstract_note", "notes", "journal"),
        "source file",
        *("Relevant: probability", "Relevant: decision", "Relevant: evidence"),
        *(f"Building trust: {part}" for part in ("probability", "decision", "evidence", "sign", "your code")),
        *(f"Sharing power: {part}" for part in ("probability", "decision", "evidence", "sign", "your code")),
        *("doi", "pmid", "model", "record_id"),
    ]
    assert list(rows[2].values())[:13] == [
        *("3", "", "Berg, Ada; Li, Bo", "2020", "Low", "", "none", "", "Care", ""),
        *("0.25", "refer", "“Strong and long.” “Weak.”"),
    ]
    assert rows[0]["Relevant: probability"] == "0.9877"
    assert rows[0]["abstract"] == "Nurses met. They shared the lead"
    assert (rows[0]["Sharing power: probability"], rows[0]["Sharing power: decision"]) == ("", "yes")
    assert rows[3]["pmid"] == "7"
    assert set(list(rows[3].values())[10:-4]) == {""}


def test_table_says_which_labels_were_not_scored(tmp_path: Path) -> None:
    records = [Record(record_id=f"text:{name}", title=name) for name in "ab"]
    scored = [predict("text:b", key, "no", 0.0001) for key, _ in LABELS]
    export("csv", tmp_path / "tagged.csv", records, [*scored, *unscored("text:a")], LABELS)
    first, second = (list(row.values())[10:-4] for row in read_table(tmp_path / "tagged.csv"))
    # A scored no stays a no, and rows are sorted by relevance, which is always scored.
    assert first == ["0.0125", "no", "", *2 * ("", "not scored", "", "", "")]
    assert second == ["0.0001", "no", "", *2 * ("0.0001", "no", "", "", "")]


def test_table_marks_evidence_of_absence(tmp_path: Path) -> None:
    record = Record(record_id="text:1", title="One")
    predictions = [
        predict("text:1", "relevant", "yes", texts=["Nobody led."]),
        predict("text:1", "trust", "yes", texts=["Trust grew.", "Managers never earned trust."]),
        predict("text:1", "power", "refer", texts=["Power was not shared."]),
    ]
    export("csv", tmp_path / "a.csv", [record], predictions, LABELS)
    (row,) = read_table(tmp_path / "a.csv")
    assert {name: cell for name, cell in row.items() if name.endswith(": sign")} == {
        "Building trust: sign": "partly absent",
        "Sharing power: sign": "absent",
    }
    export("csv", tmp_path / "c.csv", [record], predictions, LABELS, read_signs=lambda texts: ["absent" for _ in texts])
    assert read_table(tmp_path / "c.csv")[0]["Building trust: sign"] == "absent"
    no = [predict("text:1", "trust", "no", texts=["Managers never earned trust."])]
    export("csv", tmp_path / "b.csv", [record], no, LABELS)
    assert read_table(tmp_path / "b.csv")[0]["Building trust: sign"] == ""


def test_table_neutralises_formulas(tmp_path: Path) -> None:
    record = Record(record_id="text:1", title="\n=HYPERLINK(1)", authors=("+Berg",), journal="@care")
    export("csv", tmp_path / "a.csv", [record], [predict("text:1", "trust", texts=["=1+1"])], LABELS)
    (row,) = read_table(tmp_path / "a.csv")
    assert (row["title"], row["authors"], row["journal"]) == ("'=HYPERLINK(1)", "'+Berg", "'@care")
    assert row["Building trust: evidence"] == "“=1+1”"


@pytest.mark.parametrize("text", ["x" * 40_000, "=" * 40_000, "𝔘" * 20_000, "a" + "𝔘" * 20_000])
def test_table_marks_the_cut_where_excel_would_cut_silently(text: str, tmp_path: Path) -> None:
    export("csv", tmp_path / "a.csv", [Record(record_id="text:1", title=text)], [], LABELS)
    title = read_table(tmp_path / "a.csv")[0]["title"]
    assert title.endswith(" [cut: a cell holds 32,767 characters]")
    assert 32_764 <= len(title.encode("utf-16-le")) // 2 <= 32_767
    assert set(title.split(" [cut")[0]) <= {*text, "'"}


def test_table_does_not_cut_what_fits(tmp_path: Path) -> None:
    export("csv", tmp_path / "a.csv", [Record(record_id="text:1", title="x" * 32_766)], [], LABELS)
    assert read_table(tmp_path / "a.csv")[0]["title"] == "x" * 32_766


@pytest.mark.parametrize("to", sorted(NAMES))
def test_no_records_give_a_file_without_rows(to: str, tmp_path: Path) -> None:
    path = tmp_path / "empty"
    export(to, path, [], [], LABELS)
    if to == "xlsx":
        assert not read_sheet(Source(path), "a table").rows
    else:
        assert rispy.load(path) == [] if to == "ris" else read_table(path) == []


@pytest.mark.parametrize(
    ("to", "records", "predictions", "message"),
    [
        ("docx", ["a"], [], "unknown export format 'docx'; choose one of: csv, ris, xlsx"),
        ("csv", ["a", "b", "a"], [], "record a appears more than once"),
        (
            "csv",
            ["a"],
            [("a", "joy")],
            r"'joy' for record a: the codebook has no such label .its labels are relevant, trust",
        ),
        ("ris", ["a"], [("z", "trust")], "'trust' for record z: the records to export do not include"),
        (
            "ris",
            ["a"],
            [("a", "trust"), ("a", "trust")],
            "'trust' for record a: this prediction appears more than once",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused(
    to: str, records: list[str], predictions: list[tuple[str, str]], message: str, tmp_path: Path
) -> None:
    rows = [Record(record_id=record_id, title="T") for record_id in records]
    with pytest.raises(MechtagError, match=message):
        export(to, tmp_path / "out", rows, [predict(*pair) for pair in predictions], LABELS)
    assert list(tmp_path.iterdir()) == []


def test_two_authors_of_one_name_are_both_written(tmp_path: Path) -> None:
    record = Record(record_id="text:1", title="One", authors=("Li, J.", "Ito, K.", "Li, J."))
    export("ris", tmp_path / "tagged.ris", [record], [], LABELS)
    assert read_ris(tmp_path / "tagged.ris")[0].authors == record.authors
    export("csv", tmp_path / "tagged.csv", [record], [], LABELS)
    assert read_table(tmp_path / "tagged.csv")[0]["authors"] == "Li, J.; Ito, K.; Li, J."


def test_blank_lines_take_time_in_proportion_to_their_number() -> None:
    text = "Start." + "\n \n" * 100_000 + "End."
    began = time.process_time()
    assert ris_export._field("AB", text) == "AB  - " + text
    assert time.process_time() - began < 2


@pytest.mark.parametrize("gap", ["\n", "\n\n \n", " \r\n\ufeff", "\u2028 ", "\n" * 5000])
def test_a_line_that_looks_like_a_field_joins_the_line_before(gap: str) -> None:
    assert ris_export._field("AB", f"One.{gap}TY  - JOUR") == f"AB  - One.{' ' * gap.startswith(' ')} TY  - JOUR"
    assert ris_export._field("AB", "One. TY  - two") == "AB  - One. TY  - two"


def test_records_with_late_starts_and_long_tags_are_read_alike_by_rispy(tmp_path: Path) -> None:
    records = odd(
        tmp_path,
        "DB  - One\nTI  - First\nSO  - Care\nTY  - JOUR\nDOI  - 10.5555/a\nPMID  - 31415926\nXREF  - y\nER  - \n\n"
        "TI  - Second\nAB  - NA\nTY  - BOOK\nABST  - A text\nAUTHORS  - Oak, J., Elm, K., and Ash, L.\n"
        "ISSN - 1234-5678\nER  - \n",
    )
    path = tmp_path / "tagged.ris"
    with ris_export.writing([], path) as add:
        for record in records:
            add(record, {})
    written = path.read_text(encoding="utf-8")
    kept = ("title", "abstract", "authors", "journal", "doi", "pmid", "type")
    again = read_ris(path)
    assert [[getattr(record, name) for name in kept] for record in again] == [
        [getattr(record, name) for name in kept] for record in records
    ]
    assert all(re.match(r"[A-Z][A-Z0-9]  - ", line) for line in written.splitlines() if line)
    entries = rispy.loads(written)
    assert [(entry["type_of_reference"], entry["title"]) for entry in entries] == [
        ("JOUR", "First"),
        ("BOOK", "Second"),
    ]
    assert (entries[0]["doi"], entries[0]["notes"]) == ("10.5555/a", ["XREF: y"])
    assert (entries[1]["abstract"], entries[1]["issn"]) == ("A text", "1234-5678")
    assert [dict(entry.get("unknown_tag", {})) for entry in entries] == [{"SO": ["Care"]}, {}]
