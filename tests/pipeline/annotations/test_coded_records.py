"""Test the readers of coded records, exemplars and matrices: what they return, and what they refuse."""

import json
from pathlib import Path

import pytest

from mechtag.core.codebook import load_codebook
from mechtag.core.errors import MechtagError
from mechtag.core.records import Record
from mechtag.pipeline.annotations.coded_records import read_coded, read_codes, read_exemplars
from mechtag.pipeline.annotations.gold_table import gold_standard, load_matrix, read_gold_notes
from tests.support.paths import ROOT

DATA = ROOT / "data/annotated"
LABELS = ("trust", "money", "power")
ROW = {
    "key": "one-2001",
    "title": "A paper",
    "authors": ["One, A."],
    "year": 2001,
    "journal": "Journal",
    "doi": "10.1234/ONE",
    "type": "journal-article",
    "relevant": True,
    "mechanisms": ["power", "trust"],
    "reason": "made up",
    "sentences": [
        {"text": " First sentence. ", "mechanisms": []},
        {"text": "Second one.", "mechanisms": ["power", "trust"]},
    ],
    "coder": "c",
    "basis": "abstract",
    "codebook": "toy",
}
CODES = {
    "key": "one-2001",
    "relevant": True,
    "mechanisms": ["trust"],
    "sentences": [[], ["trust"]],
    "coder": "d",
    "basis": "abstract",
    "codebook": "toy",
}


def write(path, *rows):
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8")
    return path


def test_coded_record_has_text_offsets_and_labels_in_codebook_order(tmp_path):
    (coded,) = read_coded(write(tmp_path / "c.jsonl", "", ROW, ""), LABELS)
    assert coded.record.record_id == "doi:10.1234/one"
    assert coded.record.abstract == "First sentence. Second one."
    assert coded.record.source_index == 2
    assert [coded.record.abstract[s.start : s.end] for s in coded.sentences] == ["First sentence.", "Second one."]
    assert [s.sentence for s in coded.sentences] == [0, 1]
    assert coded.labels == ("trust", "power")
    assert coded.sentence_labels == ((), ("trust", "power"))
    codings = coded.codings(LABELS, "relevant")
    assert [(row.label, row.value) for row in codings] == [("relevant", 1), ("trust", 1), ("money", 0), ("power", 1)]
    assert {(row.record_id, row.key, row.coder, row.basis) for row in codings} == {
        ("doi:10.1234/one", "one-2001", "c", "abstract")
    }


def test_an_irrelevant_record_is_coded_no_for_every_label(tmp_path):
    row = ROW | {"relevant": False, "mechanisms": [], "sentences": [{"text": "One.", "mechanisms": []}]}
    (coded,) = read_coded(write(tmp_path / "c.jsonl", row), LABELS)
    assert [row.value for row in coded.codings(LABELS, "relevant")] == [0, 0, 0, 0]


def test_sentences_without_codes_are_of_a_paper_coded_as_a_whole(tmp_path):
    bare = [{"text": sentence["text"]} for sentence in ROW["sentences"]]
    (coded,) = read_coded(write(tmp_path / "c.jsonl", {**ROW, "sentences": bare}), LABELS)
    assert coded.sentence_labels is None
    assert [coded.code(label) for label in LABELS] == [1, 0, 1]
    assert len(coded.sentences) == 2


def test_either_all_sentences_are_coded_or_none(tmp_path):
    mixed = [ROW["sentences"][0], {"text": "Not coded."}]
    path = write(tmp_path / "c.jsonl", {**ROW, "sentences": mixed})
    with pytest.raises(MechtagError, match="line 1: sentence 2 has no codes, but other sentences of this record do"):
        read_coded(path, LABELS)


def test_labels_may_be_called_labels(tmp_path):
    sentences = [{"text": sentence["text"], "labels": sentence["mechanisms"]} for sentence in ROW["sentences"]]
    other = {**ROW, "labels": ROW["mechanisms"], "sentences": sentences}
    del other["mechanisms"]
    assert read_coded(write(tmp_path / "a.jsonl", other), LABELS)[0].sentence_labels == ((), ("trust", "power"))


def test_a_further_coder_may_code_whole_papers_without_sentences(tmp_path):
    alone = {name: value for name, value in CODES.items() if name != "sentences"}
    assert read_codes(write(tmp_path / "c.jsonl", alone), LABELS)[0].sentence_labels is None


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], r"c\.jsonl: the file is empty"),
        (["{not json"], r"line 1 is not valid JSON"),
        (["[1]"], r"line 1: top level: Input should be"),
        ([ROW, ROW], r"line 2: 'doi:10.1234/one' already occurs on line 1"),
        ([ROW, ROW | {"key": "two"}], r"line 2: 'doi:10\.1234/one' already occurs on line 1"),
        (
            [ROW | {"mechanisms": ["trust", "power", "typo"]}],
            r"line 1: the codebook has no label 'typo'; .* trust, money, power",
        ),
        (
            [ROW | {"sentences": [{"text": "A.", "mechanisms": ["typo"]}]}],
            r"line 1, sentence 1: the codebook has no label 'typo'",
        ),
        (
            [ROW | {"mechanisms": ["trust"]}],
            r"line 1, sentence 2: this sentence is coded as 'power', but its record does not have this code; add it to",
        ),
        (
            [ROW | {"mechanisms": []}],
            r"sentence 2: this sentence is coded as 'trust', 'power', but its record does not have these codes; add "
            "them to the record, or remove them from the sentence",
        ),
        ([ROW | {"relevant": False}], r"line 1: this record is coded as not relevant, but also as trust, power"),
        ([ROW | {"relevant": 1}], r"line 1: relevant: Input should be a valid boolean"),
        ([ROW | {"colour": "red"}], r"line 1: colour: unknown key"),
        ([ROW | {"title": "  "}], r"line 1: title"),
        ([ROW | {"sentences": []}], r"line 1: sentences"),
        ([ROW | {"sentences": [{"text": " ", "mechanisms": []}]}], r"line 1: sentences\.0\.text"),
        ([{k: v for k, v in ROW.items() if k != "coder"}], r"line 1: coder: Field required"),
    ],
)
def test_coded_records_refused(tmp_path, rows, message):
    with pytest.raises(MechtagError, match=message):
        read_coded(write(tmp_path / "c.jsonl", *rows), LABELS)


def test_unreadable_files_refused(tmp_path):
    with pytest.raises(MechtagError, match="no such file"):
        read_coded(tmp_path / "none.jsonl", LABELS)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(MechtagError, match=r"not UTF-8 text \(expected .*save the file as UTF-8"):
        read_exemplars(tmp_path / "binary", LABELS)
    with pytest.raises(MechtagError, match=r"cannot be read .*: Is a directory; check its path and permissions"):
        read_exemplars(tmp_path, LABELS)


def test_line_separators_inside_text_do_not_cut_lines(tmp_path):
    row = ROW | {"sentences": [{"text": "One\u2028half.", "mechanisms": []}]}
    path = write(tmp_path / "c.jsonl", json.dumps(row, ensure_ascii=False))
    assert read_coded(path, LABELS)[0].sentences[0].text == "One\u2028half."


def test_second_coder(tmp_path):
    (codes,) = read_codes(write(tmp_path / "s.jsonl", CODES), LABELS)
    assert codes.sentence_labels == ((), ("trust",))
    with pytest.raises(MechtagError, match="line 2: 'one-2001' already occurs on line 1"):
        read_codes(write(tmp_path / "s.jsonl", CODES, CODES), LABELS)


def test_exemplars(tmp_path):
    row = {"id": "a", "text": "Leaders shared power in trust.", "mechanisms": ["power", "trust"]}
    (exemplar,) = read_exemplars(write(tmp_path / "e.jsonl", row), LABELS)
    assert exemplar.labels == ("trust", "power")
    with pytest.raises(MechtagError, match="line 1: the codebook has no label 'typo'"):
        read_exemplars(write(tmp_path / "e.jsonl", row | {"mechanisms": ["typo"]}), LABELS)
    with pytest.raises(MechtagError, match="line 2: 'a' already occurs on line 1"):
        read_exemplars(write(tmp_path / "e.jsonl", row, row), LABELS)


def test_matrix_gives_label_columns_in_codebook_order_and_empty_is_not_judged(tmp_path):
    path = write(tmp_path / "m.csv", '\ufeffkey,power,note,trust,money\r\na,1,"x, y",0,\r\n\r\nb,0,,1,1\r\n')
    rows = load_matrix(path).codings(LABELS, "z", "full-text")
    assert [(row.key, row.label, row.value) for row in rows] == [
        ("a", "trust", 0),
        ("a", "money", None),
        ("a", "power", 1),
        ("b", "trust", 1),
        ("b", "money", 1),
        ("b", "power", 0),
    ]
    assert {(row.coder, row.basis, row.record_id) for row in rows} == {("z", "full-text", None)}
    assert load_matrix(path).papers == ("a", "b")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        (
            "cited as;trust\na;1",
            "no column identifies the papers; add one of the columns record_id, .* found: cited as, trust",
        ),
        ("key,trust,money,power\n", "a header but no paper"),
        ("key,trust,money\na,1,1", "column 'power' is missing .columns of codes found: trust, money.; add this column"),
        ("key,trust,money,power\na,1,2,0", "line 2, column money: '2' is not allowed here; write yes"),
        ("key,trust,money,power\na,1,0", "line 2: the row has 3 cells, but the header has 4"),
        ("key,trust,trust,power\na,1,0,0", "two columns are named 'trust'"),
        ("key,trust,money,power\na,1,0,0\na,1,0,0", "line 3: 'a' already occurs on line 2"),
        ("key,trust,money,power\n,1,0,0", "line 2: the paper is not identified; fill in the cell in column 'key'"),
        ('key,trust,money,power\n"a,1,0,0', "line 2: a quotation mark is opened but never closed"),
    ],
)
def test_matrix_refused(tmp_path, text, message):
    with pytest.raises(MechtagError, match=message):
        load_matrix(write(tmp_path / "m.csv", text)).codings(LABELS, "reviewers", "full-text")


def test_notes_are_next_to_the_table(tmp_path):
    table = tmp_path / "m.csv"
    assert read_gold_notes(table) is None
    write(tmp_path / "m.yaml", "source: here\nprinted_counts: {trust: 3}\n")
    notes = read_gold_notes(table)
    assert notes is not None
    assert notes.printed_counts == {"trust": 3}
    for text, message in [
        ("source: here\nnoets: []", r"m\.yaml: noets: unknown key"),
        ("- a", r"m\.yaml: the file contains a value of type list, but notes on a gold standard must be a mapping"),
        ("a: [", r"m\.yaml: the file is not readable as YAML"),
    ]:
        write(tmp_path / "m.yaml", text)
        with pytest.raises(MechtagError, match=message):
            read_gold_notes(table)


def test_shipped_files_are_read():
    labels = load_codebook(DATA / "codebook.yaml").keys
    coded = read_coded(DATA / "coded", labels)
    assert [sum(one.set_name == name for one in coded) for name in dict.fromkeys(one.set_name for one in coded)] == [
        168,
        141,
        144,
    ]
    assert all(set(one.labels) == {name for names in one.sentence_labels for name in names} for one in coded)
    second = read_codes(DATA / "second_coder", labels)
    assert len(second) == 70 + 141 + 44
    keys = {(one.key, len(one.sentences)) for one in coded}
    assert all((one.key, len(one.sentence_labels)) in keys for one in second)
    assert len(read_exemplars(DATA / "exemplars.jsonl", labels)) == 460
    assert len(load_matrix(DATA / "table2.csv").codings(labels, "reviewers", "full-text")) == 36 * 7
    notes = read_gold_notes(DATA / "table2.csv")
    assert notes is not None
    assert set(notes.printed_counts) == set(labels)


def test_gold_papers_are_found_by_keys_that_are_numbers_and_by_record_id_without_key(tmp_path: Path) -> None:
    table = write(tmp_path / "gold.csv", "key,b", "12,1", "doi:10.1/x,0")
    rows = (("doi:10.1/12", 12), ("doi:10.1/x", None), ("doi:10.1/y", 13))
    records = [Record(record_id=name, title="T", raw=(("key", key),)) for name, key in rows]
    found = gold_standard(load_matrix(table), records)
    assert {key: record.record_id for key, record in found.records.items()} == {
        "12": "doi:10.1/12",
        "doi:10.1/x": "doi:10.1/x",
    }
