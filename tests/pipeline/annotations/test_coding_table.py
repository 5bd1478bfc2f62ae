"""Test reading a table of codings, and finding the records that its rows are about."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mechtag.core.errors import MechtagError
from mechtag.core.parquet import write_records
from mechtag.core.records import Coding, Record
from mechtag.core.settings import Settings
from mechtag.pipeline.annotations.coded_records import CodedRecord
from mechtag.pipeline.annotations.coding_table import read_annotations, read_codings, write_codings
from mechtag.pipeline.annotations.versions import Additions

LABELS = ("trust", "money")
HEADER = "record_id,key,coder,label,value,basis,evidence,date,codebook_version"


def record(number: int) -> Record:
    return Record(
        record_id=f"doi:10.1234/{number}",
        title=f"Paper {number}",
        abstract="Trust grew. Money was short.",
        source_file="records.jsonl",
        source_index=number,
        raw=(("key", f"p{number}"),),
    )


def read(folder: Path, *lines: str, header: str = HEADER) -> list[CodedRecord]:
    table, texts = folder / "codings.csv", folder / "records.parquet"
    table.write_text("\n".join([header, *lines]), encoding="utf-8")
    write_records(texts, [record(number) for number in range(4)])
    train = {"records": str(table), "texts": str(texts)}
    return read_annotations(Settings.model_validate({"train": train}), LABELS, "relevant")


def test_records_are_found_by_id_and_by_key(tmp_path: Path) -> None:
    first, second = read(
        tmp_path,
        "doi:10.1234/2,,ann,trust,1,abstract,Trust grew.,2026-01-02,v1",
        ",p0,ann,money,0,full-text,,,",
    )
    assert (first.record.record_id, first.labels, first.not_judged) == ("doi:10.1234/0", (), ("trust",))
    assert (first.code("trust"), first.code("money"), first.basis) == (None, 0, "full-text")
    assert (second.key, second.labels, second.codebook) == ("doi:10.1234/2", ("trust",), "v1")
    assert [sentence.text for sentence in second.sentences] == ["Trust grew.", "Money was short."]
    assert second.sentence_labels is None


def test_coders_who_differ_leave_a_label_open(tmp_path: Path) -> None:
    (coded,) = read(
        tmp_path,
        ",p1,ann,trust,1,abstract,,,",
        ",p1,bob,trust,0,abstract,,,",
        ",p1,ann,money,1,abstract,,,",
        ",p1,bob,money,,abstract,,,",
    )
    assert (coded.code("trust"), coded.code("money"), coded.coder) == (None, 1, "ann, bob")


def test_final_codes_settle_what_coders_differ_on(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        ",p1,ann,trust,1,abstract,,,",
        ",p1,bob,trust,0,abstract,,,",
        ",p1,final,trust,0,abstract,,,",
        ",p1,ann,money,1,abstract,,,",
        ",p1,bob,money,0,abstract,,,",
        ",p2,ann,relevant,1,abstract,,,",
        ",p2,ann,trust,1,abstract,,,",
        ",p2,bob,relevant,0,abstract,,,",
        ",p2,final,relevant,0,abstract,,,",
    )
    assert [(coded.relevant, coded.code("trust"), coded.code("money")) for coded in found] == [
        (True, 0, None),
        (False, None, None),
    ]
    assert found[0].coder == "ann, bob, final"


def test_a_record_is_relevant_unless_it_is_coded_otherwise(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        ",p0,ann,relevant,0,abstract,,,",
        ",p1,ann,relevant,1,abstract,,,",
        ",p2,ann,trust,0,abstract,,,",
    )
    assert [coded.relevant for coded in found] == [False, True, True]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "contains no codings"),
        ([",p0,ann,trust,2,abstract,,,"], "line 2, column value: '2' is not allowed here; write yes"),
        (
            [",p0,ann,power,1,abstract,,,"],
            "line 2: the codebook has no label 'power'; use one of its label keys: relevant, trust",
        ),
        (
            [",,ann,trust,1,abstract,,,"],
            "line 2: nothing identifies the record; fill in one of the columns record_id, key",
        ),
        ([",p9,ann,trust,1,abstract,,,"], "the identifier 'p9' belongs to none of the 4 records"),
        ([",p0,ann,trust,1,hearsay,,,"], "line 2: basis: Input should be 'abstract' or 'full-text'"),
        ([",p0,,trust,1,abstract,,,"], "line 2: coder: Input should be a valid string"),
        ([",p0,ann,trust,1"], "line 2: the row has 5 cells, but the header has 9"),
        ([",p0,ann,trust,1,abstract,,,,more"], "line 2: the row has 10 cells, but the header has 9"),
        (
            [",p0,ann,trust,1,abstract,,,", ",p0,ann,trust,0,abstract,,,"],
            "line 3: coder ann coded label 'trust' of this record differently at .*line 2; correct or",
        ),
        (
            [",p0,ann,relevant,0,abstract,,,", ",p0,ann,trust,1,abstract,,,"],
            "record doi:10.1234/0 is coded as not relevant, but also as trust",
        ),
    ],
)
def test_what_is_refused(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(MechtagError, match=message):
        read(tmp_path, *lines)


def test_unknown_columns_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MechtagError, match="line 2: colour: unknown key"):
        read(tmp_path, "p0,ann,trust,1,abstract,red", header="key,coder,label,value,basis,colour")


def test_a_table_of_codings_needs_texts(tmp_path: Path) -> None:
    settings = Settings.model_validate({"train": {"records": str(tmp_path / "codings.csv")}})
    with pytest.raises(MechtagError, match=r"train\.texts in params\.yaml"):
        read_annotations(settings, LABELS, "relevant")


MARKED = "key,coder,label,value,basis,sentences,sentences_complete,refer,assisted"


def test_marked_sentences_are_codes_where_the_coder_went_through_all(tmp_path: Path) -> None:
    (coded,) = read(tmp_path, "p1,ann,trust,1,abstract,0,1,,0", "p1,ann,money,1,abstract,1,0,,0", header=MARKED)
    assert coded.sentence_labels == (("trust",), ())
    assert coded.sentences_not_judged == ("money",)
    assert np.array_equal(coded.sentence_codes(LABELS), [[1, np.nan], [0, np.nan]], equal_nan=True)


def test_marks_of_a_disputed_label_do_not_count(tmp_path: Path) -> None:
    (coded,) = read(
        tmp_path,
        "p1,ann,trust,1,abstract,0,1,,",
        "p1,bob,trust,0,abstract,,1,,",
        "p1,ann,money,1,abstract,0;1,1,,",
        "p1,bob,money,1,abstract,1,1,,",
        header=MARKED,
    )
    assert coded.sentence_labels == (("money",), ("money",))
    assert coded.sentences_not_judged == ("trust",)


def test_marks_in_a_full_text_are_not_marks_in_the_abstract(tmp_path: Path) -> None:
    (coded,) = read(tmp_path, "p1,ann,trust,1,full-text,40,1,,", header=MARKED)
    assert coded.sentence_labels is None


def test_a_mark_on_a_sentence_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MechtagError, match=r"ann marked sentence 2 of record .*the abstract has 2 sentences"):
        read(tmp_path, "p1,ann,trust,1,abstract,0;2,1,,", header=MARKED)


def test_a_code_that_needs_review_has_no_value(tmp_path: Path) -> None:
    (coded,) = read(tmp_path, "p1,ann,trust,,abstract,,,1,", "p1,ann,money,0,abstract,,,,", header=MARKED)
    assert (coded.code("trust"), coded.code("money")) == (None, 0)
    with pytest.raises(MechtagError, match="'refer' is set, but 'value' is not empty"):
        read(tmp_path, "p1,ann,trust,1,abstract,,,1,", header=MARKED)


def test_a_written_table_is_read_again(tmp_path: Path) -> None:
    codings = [
        Coding(record_id="doi:10.1234/1", coder="ann", label="trust", value=1, basis="abstract", sentences=(0, 1)),
        Coding(record_id="doi:10.1234/1", coder="ann", label="money", value=None, basis="abstract", refer=True),
        Coding(record_id="doi:10.1234/2", coder="=bob", label="money", value=0, basis="abstract", assisted=False),
    ]
    write_codings(tmp_path / "written.csv", codings)
    assert read_codings(tmp_path / "written.csv", ("relevant", *LABELS)) == codings
    write_codings(tmp_path / "plain.csv", [codings[0].model_copy(update={"sentences": None})])
    assert (tmp_path / "plain.csv").read_text(encoding="utf-8-sig").splitlines()[0] == HEADER


CONFIRMED = "key,coder,label,value,basis,confirmed_by"


@pytest.mark.parametrize(
    "line",
    [
        "p1,llm:toy,trust,1,abstract,",
        "p1,LLM:toy,trust,0,abstract, ",
        "p1,llm:toy,trust,1,abstract,\u200b\u00a0",
        "p1,llm:toy,trust,1,abstract,-",
        "p1,llm:toy,trust,1,abstract,llm:other",
        "p1,llm:toy,trust,1,abstract,\uff2c\uff2c\uff2d\uff1aother",
        "p1,l\u200blm :toy,trust,1,abstract,",
        "p1,\uff4c\uff4c\uff4d\uff1atoy,trust,1,abstract,",
    ],
    ids=[
        *("nobody", "blank", "invisible", "no letter", "a language model", "a language model in wide letters"),
        *("with invisible letters", "in wide letters"),
    ],
)
def test_no_model_learns_from_a_language_model(tmp_path: Path, line: str) -> None:
    with pytest.raises(
        MechtagError, match=r"line 2: this is a coding by a language model \(.*that no person confirmed"
    ):
        read(tmp_path, line, header=CONFIRMED)


def test_a_confirmed_coding_is_that_of_the_person(tmp_path: Path) -> None:
    lines = ["p1,llm:toy,trust,1,abstract,Ann", "p1,llm:toy,money,,abstract,", "p2,Bo,money,0,abstract,"]
    first, second = read(tmp_path, *lines, header=CONFIRMED)
    assert (first.labels, first.not_judged, first.coder) == (("trust",), ("money",), "Ann")
    assert second.coder == "Bo"
    (coding, _) = read_codings(tmp_path / "codings.csv", ("relevant", *LABELS), to_train=True)
    assert (coding.coder, coding.assisted, coding.confirmed_by) == ("Ann", True, None)
    # Unless they are read for training, the rows keep the language model as their coder.
    rows = read_codings(tmp_path / "codings.csv", ("relevant", *LABELS))
    assert [row.coder for row in rows] == ["llm:toy", "llm:toy", "Bo"]


def test_a_person_cannot_confirm_the_contrary_of_what_they_coded(tmp_path: Path) -> None:
    with pytest.raises(MechtagError, match="line 3: coder Ann coded label 'trust' of this record differently"):
        read(tmp_path, "p1,Ann,trust,0,abstract,", "p1,llm:toy,trust,1,abstract,Ann", header=CONFIRMED)


def test_coded_records_of_a_language_model_are_refused(tmp_path: Path) -> None:
    row = {"key": "c1", "title": "T", "relevant": True, "labels": [], "sentences": [{"text": "Trust grew."}]}
    row |= {"coder": "llm:toy", "basis": "abstract", "codebook": "toy"}
    (tmp_path / "coded.jsonl").write_text(json.dumps(row), encoding="utf-8")
    settings = Settings.model_validate({"train": {"records": str(tmp_path / "coded.jsonl")}})
    with pytest.raises(MechtagError, match=r"record c1 was coded by a language model \(llm:toy\)"):
        read_annotations(settings, LABELS, "relevant")


SIGNED = "key,coder,label,value,basis,evidence,sentences,signs"


@pytest.mark.parametrize(
    ("evidence", "sentences", "cell", "signs"),
    [
        ("One. […] Two. […] Three.", "", "absent; ;unclear", ("absent", None, "unclear")),
        ("", "0;1", "; present", (None, "present")),
        ("One.", "0;1", "absent;absent", ("absent", "absent")),
        ("One.", "", " ", ()),
        ("One. […] Two.", "", ";", ()),
    ],
)
def test_signs_belong_to_the_sentences_or_else_to_the_passages(
    tmp_path: Path, evidence: str, sentences: str, cell: str, signs: tuple[str | None, ...]
) -> None:
    path = tmp_path / "codings.csv"
    path.write_text(f"{SIGNED}\np1,ann,trust,1,abstract,{evidence},{sentences},{cell}\n", encoding="utf-8")
    (coding,) = read_codings(path, LABELS)
    assert coding.signs == signs
    write_codings(path, [coding])
    assert read_codings(path, LABELS) == [coding]
    assert ("signs" in path.read_text(encoding="utf-8-sig")) == bool(signs)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ("One. […] Two.,,absent", r"'signs' has 1 entries, but there are 2 passages in 'evidence'"),
        ("One.,0;1,absent", r"'signs' has 1 entries, but there are 2 sentences in 'sentences'"),
        ("One.,,good", r"signs.*'present', 'absent' or 'unclear'"),
    ],
)
def test_signs_that_do_not_fit_are_refused(tmp_path: Path, cells: str, message: str) -> None:
    path = tmp_path / "codings.csv"
    path.write_text(f"{SIGNED}\np1,ann,trust,1,abstract,{cells}\n", encoding="utf-8")
    with pytest.raises(MechtagError, match=message):
        read_codings(path, LABELS)


def test_versions_without_signs_keep_their_hash() -> None:
    coding = Coding(record_id="r", coder="ann", label="trust", value=1, basis="abstract", evidence="One.")
    assert Additions((coding,)).digest == "09058d66bf56"
    assert Additions((coding.model_copy(update={"signs": ("absent",)}),)).digest != "09058d66bf56"
