"""Test the import of codings: matching papers to records and names to labels, and finding contradictions."""

from __future__ import annotations

import csv
import json
import string
import zipfile
from contextlib import suppress
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mechtag.core.errors import MechtagError
from mechtag.core.records import Coding
from mechtag.core.settings import DedupeSettings, SentenceSettings
from mechtag.pipeline.annotations.cited_papers import CitedPaper
from mechtag.pipeline.annotations.coding_table import coded_from, read_codings
from mechtag.pipeline.annotations.imports.importer import Imported, describe_import, write_imported
from mechtag.pipeline.annotations.imports.label_names import LabelMap, MapFile, read_map
from mechtag.pipeline.annotations.record_finder import Finder
from tests.support.coded_papers import BOOK, CODINGS, RECORDS, brief, check_counts, import_from
from tests.support.exports import anywhere

HEADER = "record_id,key,doi,pmid,title,authors,year,coder,label,value,basis"
TITLE = "Trust between care homes and general practices after a merger"


def contract(folder: Path, *lines: str, header: str = "key,coder,label,value,basis", **said: Any) -> Imported:
    path = folder / "codes.csv"
    path.write_text("\n".join((header, *lines)) + "\n", encoding="utf-8")
    imported = import_from(path, **said)
    check_counts(imported)
    return imported


def find(**paper: Any) -> str | None:
    """Return the key of the record that is found for a paper, and what it was found by; None if no record is found."""
    found = Finder(RECORDS, DedupeSettings(), {}).find(CitedPaper(**paper))
    return f"{dict(found.record.raw)['key']} by {found.by}" if found.record else None


@pytest.mark.parametrize(
    ("paper", "expected"),
    [
        ({"names": ("doi:10.5555/jic.2019.0007",)}, "brandt-2019 by record id"),
        ({"doi": "10.5555/jic.2019.0007"}, "brandt-2019 by DOI"),
        ({"pmid": "27182818"}, "okafor-2015 by PubMed id"),
        ({"names": ("lind-2020",)}, "lind-2020 by key"),
        ({"title": TITLE.upper() + ".", "authors": ("Lind, M.",), "year": 2021}, "lind-2020 by title"),
        ({"title": TITLE}, "lind-2020 by title"),
        ({"names": (TITLE,)}, "lind-2020 by title"),
        ({"text": "Care homes and practices met each month. Trust grew slowly."}, "lind-2020 by text"),
        ({"text": TITLE}, "lind-2020 by title"),
        # A typing error in the title finds nothing, even with the same authors and year.
        ({"title": TITLE.replace("merger", "mergre"), "authors": ("Lind, M.",), "year": 2020}, None),
        ({"title": "Editorial", "authors": ("Price, A.",), "year": 2018}, "price-2018 by title"),
        ({"title": "Editorial"}, None),
        ({"title": TITLE, "authors": ("Lind, M.",), "year": 2010}, None),
        ({"title": TITLE, "authors": ("Smith, J.",), "year": 2020}, None),
        # Keys, DOIs and titles that belong to different papers.
        ({"names": ("lind-2020",), "title": "A trial of vitamin D in older adults"}, None),
        ({"doi": "10.5555/jic.2019.0007", "title": TITLE}, "lind-2020 by title"),
        ({"names": ("lind-2020",), "doi": "10.5555/jic.2019.0007"}, "brandt-2019 by DOI"),
        ({}, None),
    ],
)
def test_matching(paper: dict[str, Any], expected: str | None) -> None:
    assert find(**paper) == expected


def test_a_common_title_finds_no_record_by_itself() -> None:
    (editorial,) = [record for record in RECORDS if record.doi == "10.5555/ip.2018.1"]
    finder = Finder([editorial], DedupeSettings(), {})
    assert finder.find(CitedPaper(title="Editorial")).record is None
    assert finder.find(CitedPaper(title="Editorial", authors=("Novak, I.",), year=2018)).record == editorial


def test_what_was_tried_and_the_nearest_candidates() -> None:
    finder = Finder(RECORDS, DedupeSettings(), {})
    near = finder.find(CitedPaper(doi="10.5555/none", title=TITLE.replace("after a", "before the")))
    assert near.tried[0] == "DOI '10.5555/none': no record"
    assert near.candidates[0].title == TITLE
    cited = finder.find(CitedPaper(names=("Brandt (2019)",), authors=("Brandt",), year=2019))
    assert [record.doi for record in cited.candidates] == ["10.5555/jic.2019.0007"]
    two = finder.find(CitedPaper(title="Editorial", year=2018))
    assert two.record is None
    assert {record.doi for record in two.candidates} == {"10.5555/ip.2018.1", "10.5555/jic.2018.9"}
    assert two.tried == ("title 'editorial': 2 records",)


def test_users_may_say_which_paper_is_meant(tmp_path: Path) -> None:
    lind = next(record.record_id for record in RECORDS if record.title == TITLE)
    said = MapFile(papers={"paper nine": lind, "paper ten": "doi:10.1/none"})
    imported = contract(tmp_path, "Paper nine,a,trust,1,abstract", "paper ten,a,trust,1,abstract", mapped=said)
    assert brief(imported) == ["lind-2020 a trust=1"]
    assert imported.unmatched[0].found.tried == ("map file: there is no record doi:10.1/none",)


@pytest.mark.parametrize("name", ["trust", "TRUST", " Building  trust", "building-trust", "Trust."])
def test_labels_are_known_by_key_name_and_normalised(name: str) -> None:
    meaning = LabelMap(BOOK).find(name)
    assert meaning is not None
    assert (meaning.key, meaning.value) == ("trust", 1)


def test_map_file(tmp_path: Path) -> None:
    path = tmp_path / "map.yaml"
    path.write_text("labels: {3: money, Vertrauen: trust, none: null, no trust: not trust}\n", encoding="utf-8")
    lines = [f"lind-2020,{coder},{label},{value},abstract" for coder, label, value in (
        *(("a", "3", 1), ("a", "vertrauen", 0), ("a", "None", 1)),
        *(("b", "no trust", 1), ("c", "no trust", 0), ("d", "excluded", 1), ("e", "Maybe", 1)),
    )]  # fmt: skip
    imported = contract(tmp_path, *lines, mapped=read_map(path))
    assert brief(imported) == [
        *("lind-2020 a trust=0", "lind-2020 a money=1", "lind-2020 b trust=0", "lind-2020 c trust=?"),
        *("lind-2020 d relevant=0", "lind-2020 e relevant=?"),
    ]
    assert imported.codes["passed over"] == 1


def test_unknown_labels_are_refused_with_the_nearest(tmp_path: Path) -> None:
    lines = ["lind-2020,a,trusting,1,abstract", "lind-2020,b,trusting,1,abstract", "lind-2020,a,Xyzzy,1,abstract"]
    with pytest.raises(
        MechtagError, match=r"has no labels with the following names \(2\):\n  'trusting' \(2 times, first in codes"
    ) as error:
        contract(tmp_path, *lines)
    assert "most similar: trust" in str(error.value)
    assert "'Xyzzy' (1 time, first in codes.csv: entry 3)\n" in str(error.value)


def test_map_files_that_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MechtagError, match="map file: 'x' is mapped to 'power', which is not a key"):
        LabelMap(BOOK, {"x": "power"})
    (tmp_path / "map.yaml").write_text("label: {x: y}", encoding="utf-8")
    with pytest.raises(MechtagError, match="label: unknown key"):
        read_map(tmp_path / "map.yaml")


def test_doubled_and_contradicting_rows(tmp_path: Path) -> None:
    imported = contract(
        tmp_path,
        *("lind-2020,a,trust,1,abstract", "lind-2020,a,trust,1,abstract"),  # doubled
        *("lind-2020,a,money,1,abstract", "lind-2020,a,money,0,abstract", "lind-2020,a,money,,abstract"),
        *("lind-2020,a,sharing_power,,abstract", "lind-2020,a,sharing_power,0,abstract"),  # one of them is not judged
        *("lind-2020,b,money,0,abstract", "lind-2020,b,money,1,full-text"),  # different bases
        *("brandt-2019,a,relevant,0,abstract", "brandt-2019,a,trust,1,abstract", "brandt-2019,a,money,0,abstract"),
    )
    assert brief(imported) == [
        *("brandt-2019 a money=0", "lind-2020 a trust=1", "lind-2020 a sharing_power=0"),
        *("lind-2020 b money=0", "lind-2020 b money=1"),
    ]
    assert [(one.kind, len(one.rows)) for one in imported.conflicts] == [
        *(("contradicting", 3), ("not relevant, yet coded", 2)),
    ]
    assert {name: count for name, count in imported.codes.items() if count} == {
        "read": 12,
        "written": 5,
        "doubled": 2,
        "contradicting": 5,
    }


DETAILS = "record_id,key,coder,label,value,basis,sentences,sentences_complete,refer,reason"
BRANDT, LIND = (
    next(one.record_id for one in RECORDS if dict(one.raw)["key"] == key) for key in ("brandt-2019", "lind-2020")
)


def test_marked_sentences_are_joined_and_kept(tmp_path: Path) -> None:
    imported = contract(
        tmp_path,
        *(f"{BRANDT},,a,trust,1,abstract,0;2,1,,", f'{BRANDT},,a,trust,1,abstract,"2,1",,,'),
        f"{BRANDT},,a,money,,abstract,,,true,Unsure",
        header=DETAILS,
    )
    trust, money = imported.codings
    assert (trust.sentences, trust.sentences_complete, trust.refer) == ((0, 1, 2), True, False)
    assert (money.value, money.refer, money.reason, money.sentences) == (None, True, "Unsure", None)
    assert imported.notes == ()


SIGNED = "record_id,key,coder,label,value,basis,evidence,sentences,signs"


def test_signs_are_joined_with_their_sentences_or_passages(tmp_path: Path) -> None:
    imported = contract(
        tmp_path,
        *(f"{BRANDT},,a,trust,1,abstract,,0;2,absent;", f"{BRANDT},,a,trust,1,abstract,,0;1;2,;present;unclear"),
        *(f"{BRANDT},,a,money,1,abstract,One. […] Two.,,;absent", f"{BRANDT},,a,money,1,abstract,Three.,,present"),
        f"{BRANDT},,b,money,1,abstract,One.,,",
        header=SIGNED,
    )
    trust, money, other = imported.codings
    assert (trust.sentences, trust.signs) == ((0, 1, 2), ("absent", "present", "unclear"))
    assert (money.evidence, money.signs) == ("One. […] Two. […] Three.", (None, "absent", "present"))
    assert other.signs == ()


def test_signs_of_sentences_of_another_abstract_stay_with_their_passages(tmp_path: Path) -> None:
    imported = contract(
        tmp_path,
        ",lind-2020,a,trust,1,abstract,One. […] Two.,0;2,absent;",
        ",lind-2020,a,money,1,abstract,One.,0;2,absent;",
        header=SIGNED,
    )
    assert [(row.sentences, row.signs) for row in imported.codings] == [(None, ("absent", None)), (None, ())]


def test_numbers_of_sentences_of_another_abstract_are_left_out(tmp_path: Path) -> None:
    """The same paper may have a different abstract in another database."""
    imported = contract(
        tmp_path,
        *(",lind-2020,a,trust,1,abstract,0;2,1,,Said so", "doi:10.9/x,lind-2020,a,money,1,abstract,1,,,"),
        header=DETAILS,
    )
    assert [(row.label, row.sentences, row.sentences_complete, row.reason) for row in imported.codings] == [
        ("trust", None, False, "Said so"),
        ("money", None, False, None),
    ]
    assert imported.notes == (
        "codes.csv: the numbers of marked sentences were left out of 2 codes, because these rows do not have the "
        "record_id of the record, so its abstract may be a different one",
    )


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ("1,abstract,x,,,", "column 'sentences': Input should be a valid integer"),
        ("1,abstract,-1,,,", "column 'sentences': Input should be greater than or equal to 0"),
        ("1,abstract,,perhaps,,", "column 'sentences_complete': Input should be a valid boolean"),
        ("1,abstract,,,1,", "'refer' is set, but 'value' is not empty; leave one of the two empty"),
    ],
)
def test_details_that_cannot_be_read_reject_the_row(tmp_path: Path, cells: str, reason: str) -> None:
    (rejected,) = contract(tmp_path, f"{LIND},,a,trust,{cells}", header=DETAILS).rejected
    assert rejected.reason.startswith(reason)


def test_codes_without_a_coder_are_not_given_to_a_person_in_silence(tmp_path: Path) -> None:
    head = "key,coder,label,value\n"
    for name, coder in (("first", ""), ("second", ""), ("third", "Ann")):
        (tmp_path / f"{name}.csv").write_text(f"{head}lind-2020,{coder},trust,1\n", encoding="utf-8")
    paths = [tmp_path / f"{name}.csv" for name in ("first", "second", "third")]
    both = (
        "the codes of 2 files or sheets without a coder are recorded as codes of one coder, 'us': first.csv (1), "
        "second.csv (1)"
    )
    assert both in "\n".join(import_from(*paths, coder="us").notes)
    assert import_from(paths[0], paths[2], coder="us").notes == ()
    [note] = import_from(paths[2], coder="us").notes
    assert note == "the specified coder, 'us', is not used, because the files name the coders: Ann"

    rayyan = "\n".join(import_from(CODINGS / "rayyan.csv", coder="team").notes)
    assert (
        "Rayyan does not record who set labels, so all labels are recorded as codes of 'team'. The decisions remain"
        in rayyan
    )
    (tmp_path / "bob.jsonl").write_text('{"text": "x", "label": ["trust"], "key": "lind-2020"}\n', encoding="utf-8")
    assert "coder is 'bob', but the codes are" in "\n".join(import_from(tmp_path / "bob.jsonl", coder="us").notes)


def test_labels_that_are_never_coded_no_are_noted(tmp_path: Path) -> None:
    ticks = contract(tmp_path, "lind-2020,a,trust,1,abstract", "lind-2020,a,money,0,abstract")
    assert ticks.never_no == ("trust",)
    assert any(line.startswith("Labels coded yes, but never no: trust. 'mechtag") for line in describe_import(ticks))
    judged = contract(tmp_path, "lind-2020,a,trust,1,abstract", "brandt-2019,a,trust,0,abstract")
    assert judged.never_no == ()


def test_conflicts_are_listed_if_coders_read_the_same_basis(tmp_path: Path) -> None:
    imported = contract(
        tmp_path,
        *("lind-2020,a,trust,1,abstract", "lind-2020,b,trust,0,abstract", "lind-2020,c,trust,,abstract"),
        *("lind-2020,a,money,1,abstract", "lind-2020,b,money,0,full-text"),
    )
    assert len(imported.codings) == 5
    assert [(one.label, one.yes, one.no) for one in imported.disagreements] == [("trust", ("a",), ("b",))]
    assert imported.conflicts == ()


def test_coders_with_several_names_are_given_one(tmp_path: Path) -> None:
    said = MapFile(coders={"a@x.org": "Ann", "7": "Ann", "Zoe": "Z"})
    imported = contract(tmp_path, "lind-2020,a@x.org,trust,1,abstract", "lind-2020,7,money,1,abstract", mapped=said)
    assert brief(imported) == ["lind-2020 Ann trust=1", "lind-2020 Ann money=1"]
    assert imported.notes == ("map file: found no codes by coder 'Zoe'; check how the files spell this name",)


def test_files_of_folders_and_archives(tmp_path: Path) -> None:
    folder = tmp_path / "codes"
    folder.mkdir()
    (folder / "one.csv").write_text("key,coder,label,value\nlind-2020,a,trust,1\n", encoding="utf-8")
    (folder / ".hidden").write_text("x", encoding="utf-8")
    (folder / "sub").mkdir()
    with zipfile.ZipFile(folder / "two.zip", "w") as archive:
        text = json.dumps({"text": "x", "label": ["trust"], "key": "brandt-2019"})
        archive.writestr("zoe.jsonl", text)
        archive.writestr("customizations_log.csv", "created_at,user_id,article_id,key,value\n1,2,3,included,1\n")
        archive.writestr("readme.txt", "Exported today, from here")
    imported = import_from(folder)
    assert brief(imported) == ["brandt-2019 zoe trust=1", "lind-2020 a trust=1"]
    assert imported.files == (("one.csv", "coding contract"), ("two.zip/zoe.jsonl", "doccano"))
    assert imported.notes[0] == "sub: this was not read, because it is not a regular file"
    assert "the coder is 'zoe'" in imported.notes[-1]
    assert [note.split(": ", 2)[2][:30] for note in imported.notes[1:-1]] == [
        "this is the log of a Rayyan ex",
        "found a header but no codings;",
    ]
    (folder / "bare.csv").write_text("key,trust\nlind-2020,1\n", encoding="utf-8")
    with pytest.raises(MechtagError, match=r"bare\.csv: entry 1: the file does not record the coder"):
        import_from(folder)
    with pytest.raises(MechtagError, match="no such file or folder"):
        import_from(tmp_path / "none")


def test_what_is_written(tmp_path: Path) -> None:
    imported = contract(
        tmp_path,
        "lind-2020,=cmd|' /C calc'!A0,trust,1,abstract",
        "lind-2020,b,trust,0,abstract",
        "lind-2020,b,money,0,abstract",
        "lind-2020,b,money,1,abstract",
        "@SUM(1),b,money,1,abstract",
        "lind-2020,b,money,5,abstract",
    )
    write_imported(tmp_path / "out/codings.csv", imported)
    tables = {
        path.name: list(csv.DictReader(StringIO(path.read_text(encoding="utf-8-sig"))))
        for path in (tmp_path / "out").glob("*.csv")
    }
    assert {name: len(rows) for name, rows in tables.items()} == {
        "codings.csv": 2,
        "unmatched.csv": 1,
        "conflicts.csv": 1,
        "disagreements.csv": 1,
        "notes.csv": 0,
    }
    assert tables["codings.csv"][0]["coder"] == "'=cmd|' /C calc'!A0"
    assert tables["unmatched.csv"][0] | {"entry": ""} == {
        **dict.fromkeys(("entry", "title", "authors", "year", "doi", "pmid"), ""),
        **{"name": "'@SUM(1)", "codes": "money: 1", "candidate_1": "", "candidate_2": "", "candidate_3": ""},
        "tried": "record id '@SUM(1)': no record; key '@SUM(1)': no record",
    }
    conflict = tables["conflicts.csv"][0]
    assert (conflict["kind"], conflict["values"], conflict["kept"]) == ("contradicting", "0; 1", "none")
    assert conflict["entries"] == "codes.csv: entry 3; codes.csv: entry 4"
    summary = json.loads((tmp_path / "out/codings.json").read_text(encoding="utf-8"))
    assert summary["entries"] == {"read": 6, "matched": 4, "without codes": 0, "unmatched": 1, "rejected": 1}
    assert len((tmp_path / "out/rejected.jsonl").read_text(encoding="utf-8").splitlines()) == 1
    assert list(describe_import(imported))[1:4] == [
        "Entries: 6 read = 4 matched (4 by key) + 0 without codes + 1 unmatched + 1 rejected",
        "Codes: 5 read = 2 written + 0 repeated or joined + 2 contradicting + 1 in unmatched entries + 0 ignored",
        "Written: 1 yes + 1 no + 0 not judged",
    ]


def test_training_reads_what_was_imported(tmp_path: Path) -> None:
    """Import all files of a review at once: several programs, several coders, abstracts and full texts."""
    names = ["rayyan.csv", "eppi.json", "prodigy.jsonl", "contract.csv", "covidence_extraction.csv", "asreview.csv"]
    imported = import_from(*(CODINGS / name for name in names), coder="team", unticked="no")
    check_counts(imported)
    write_imported(tmp_path / "codings.csv", imported)
    codings = read_codings(tmp_path / "codings.csv", BOOK.all_keys)
    assert codings == list(imported.codings)
    coded = coded_from(codings, RECORDS, BOOK.keys, BOOK.relevance.key, SentenceSettings(), "codings.csv")
    by_key = {one.key: one for one in coded}
    marchetti = by_key["marchetti-2017"]
    # All ticked trust; they differ on money and on sharing power, and not all consider the paper irrelevant.
    assert (marchetti.relevant, marchetti.labels) == (True, ("trust",))
    assert set(marchetti.not_judged) == {"money", "sharing_power"}
    assert by_key["okafor-2015"].code("trust") == 0
    assert {key for key, one in by_key.items() if one.relevant} == {*by_key}


def test_a_label_of_one_coder_and_the_exclusion_of_another_do_not_stop_training(tmp_path: Path) -> None:
    def code(coder: str, label: str, value: int, record_id: str = RECORDS[0].record_id) -> Coding:
        return Coding(record_id=record_id, coder=coder, label=label, value=value, basis="abstract")  # type: ignore[arg-type]

    codings = [code("a", "relevant", 0), code("b", "trust", 1), code("a", "relevant", 0, RECORDS[1].record_id)]
    first, second = coded_from(codings, RECORDS, BOOK.keys, "relevant", SentenceSettings(), "x")
    assert (first.relevant, first.labels, second.relevant) == (True, ("trust",), False)
    with pytest.raises(MechtagError, match="coded as not relevant, but also as trust"):
        coded_from(
            [code("a", "relevant", 0), code("a", "trust", 1)], RECORDS, BOOK.keys, "relevant", SentenceSettings(), "x"
        )


coders = st.text(string.ascii_letters + "äß ,;'\"=-@", min_size=1, max_size=8).map(str.strip).filter(bool)
said = st.tuples(
    st.sampled_from([record.record_id for record in RECORDS]),
    st.sampled_from(["ann", "bob", "Zoë, =1"]),
    st.sampled_from(BOOK.all_keys),
    st.sampled_from([None, 0, 1]),
    st.sampled_from(["abstract", "full-text"]),
)


@anywhere
@given(st.lists(said, max_size=25), coders)
def test_counts_add_up_and_what_is_written_is_read_again(tmp_path_factory: Any, codes: list[Any], coder: str) -> None:
    folder = tmp_path_factory.mktemp("codes")
    with (folder / "codes.jsonl").open("w", encoding="utf-8") as file:
        for record_id, who, label, value, basis in [(RECORDS[0].record_id, coder, "trust", 1, "abstract"), *codes]:
            row = {"record_id": record_id, "coder": who, "label": label, "value": value, "basis": basis}
            file.write(json.dumps(row) + "\n")
    imported = import_from(folder / "codes.jsonl")
    check_counts(imported)
    write_imported(folder / "codings.csv", imported)
    again = import_from(folder / "codings.csv")
    check_counts(again)
    # Nothing is lost, added or changed, except for the apostrophe before names that look like formulas.
    plain = [row.model_copy(update={"coder": row.coder.lstrip("'")}) for row in again.codings]
    assert sorted(map(str, plain)) == sorted(
        str(row.model_copy(update={"coder": row.coder.lstrip("'")})) for row in imported.codings
    )
    assert (again.codes["doubled"], again.conflicts, again.unmatched) == (0, (), ())
    coded_from(
        read_codings(folder / "codings.csv", BOOK.all_keys), RECORDS, BOOK.keys, "relevant", SentenceSettings(), "x"
    )


_KEYS = (
    "text label labels entities answer options accept spans meta data annotations id annotation_id lead_time value "
    "key config _task_hash completed_by annotator CodeSets References"
).split()
_INNER = "label id start end result value labels key user choices taxonomy choice_style Codes AttributeId".split()
_leaves = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["trust", "lind-2020", "accept", "x"])
)
_values = st.recursive(
    _leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_INNER), inner, max_size=4),
    max_leaves=8,
)


@anywhere
@given(st.dictionaries(st.sampled_from(_KEYS), _values))
def test_objects_of_any_shape_are_read_or_refused(tmp_path_factory: Any, row: dict[str, Any]) -> None:
    path = tmp_path_factory.mktemp("codes") / "codes.jsonl"
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    with suppress(MechtagError):
        check_counts(import_from(path, coder="us", unticked="no"))


def test_unconfirmed_codes_of_a_language_model_are_never_imported(tmp_path: Path) -> None:
    """Neither renaming the coder nor a file without coders turns these codes into those of a person."""
    tasks = json.loads((CODINGS / "label_studio_min.json").read_text(encoding="utf-8"))
    (tmp_path / "tasks.json").write_text(json.dumps([task | {"annotator": "llm:toy"} for task in tasks]))
    (tmp_path / "codes.csv").write_text("key,label,value\nlind-2020,trust,1\n", encoding="utf-8")
    for imported in (
        import_from(tmp_path / "tasks.json", mapped=MapFile(coders={"llm:toy": "Ann"})),
        import_from(tmp_path / "codes.csv", coder="llm:toy"),
    ):
        check_counts(imported)
        assert imported.codings == ()
        assert {row.reason for row in imported.rejected} == {
            "this is a coding by a language model (llm:toy), which no person confirmed"
        }


def test_codes_of_people_are_imported_without_those_of_a_language_model_in_the_same_entry(tmp_path: Path) -> None:
    notes = "\n".join(
        f"N1  - mechtag code: Trust [{label}] = {answer}; coder: {coder}; basis: abstract"
        for coder, label, answer in (("Ann", "trust", "yes"), ("llm:toy", "trust", "no"), ("llm:toy", "money", "yes"))
    )
    title = "Trust between care homes and general practices after a merger"
    (tmp_path / "coded.ris").write_text(f"TY  - JOUR\nTI  - {title}\n{notes}\nER  - \n", encoding="utf-8")
    imported = import_from(tmp_path / "coded.ris")
    check_counts(imported)
    assert (brief(imported), imported.rejected) == (["lind-2020 Ann trust=1"], ())
    assert imported.notes == ("coded.ris: left out 2 codes by a language model (llm:toy), which no person confirmed",)
    renamed = import_from(tmp_path / "coded.ris", mapped=MapFile(coders={"Ann": "llm:ann"}))
    assert (renamed.codings, len(renamed.rejected)) == ((), 1)


def test_codes_of_a_language_model_are_imported_as_those_of_the_person_who_confirmed_them(tmp_path: Path) -> None:
    header = "key,coder,label,value,basis,model_id,reason,confirmed_by"
    lines = ("lind-2020,llm:toy,trust,1,abstract,toy,,", "lind-2020,llm:toy,money,1,abstract,toy,It says so.,Ann")
    imported = contract(tmp_path, *lines, header=header)
    assert brief(imported) == ["lind-2020 Ann money=1"]
    (own,) = imported.codings
    assert (own.assisted, own.model_id, own.confirmed_by) == (True, "toy", None)
    assert own.reason is None, "this is the reason of the language model"
    (rejected,) = imported.rejected
    (invisible,) = contract(tmp_path, lines[0] + "\u200b", header=header).rejected
    assert (
        invisible.reason
        == rejected.reason
        == "this is a coding by a language model (llm:toy) that no person confirmed in 'confirmed_by'"
    )
