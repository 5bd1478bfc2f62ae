"""Test the readers of JSON Lines and CSL-JSON."""

import json
from typing import Any

import pytest

from tests.support.exports import Reader, notes, only, rejected

# JSON Lines


def test_jsonl_rejects_broken_lines_only(read: Reader) -> None:
    deep = '{"title": ' + "[" * 100_000 + "]" * 100_000 + "}"
    lines = ['{"title": "One"}', "", '{"title": "Two', '["title"]', deep]
    lines += ['{"title": null}', '{"title": ["x"]}', '{"title": "Three"}']
    found = read("\n".join(lines))
    assert [(record.title, record.source_index) for record in found.records] == [("One", 1), ("Three", 7)]
    assert [(item.record, item.line) for item in found.rejected] == [(2, 3), (3, 4), (4, 5), (5, 6), (6, 7)]
    assert [item.reason.split(":")[0] for item in found.rejected] == ["the line is not a JSON object"] * 3 + [
        "no title"
    ] * 2
    assert found.rejected[0].raw == (("line", '{"title": "Two'),)


def test_jsonl_keeps_unknown_fields_and_prefers_the_abstract(read: Reader) -> None:
    item = {"title": "One", "abstract": "Real.", "synopsis": "Ours.", "year": 2001.0, "codes": {"trust": [1, None]}}
    (record,) = read(json.dumps(item)).records
    assert (record.abstract, record.year) == ("Real.", 2001)
    assert record.raw == tuple(item.items())


def test_jsonl_with_names_of_csl_or_of_a_table(read: Reader) -> None:
    csl = {
        "title": "One",
        "author": [{"family": "A", "given": "B"}],
        "issued": {"date-parts": [[2019]]},
        "DOI": "10.5555/1",
    }
    table = {"Title": "Two", "Authors": "C, D.; E, F.", "Year": 2020, "Source title": "Journal", "DOI": "10.5555/2"}
    names = {"title": "Three", "authors": [{"name": "G, H"}], "year": 2021, "id": 5, "synopsis": "Text."}
    one, two, three = read("".join(json.dumps(item) + "\n" for item in (csl, table, names))).records
    assert (one.title, one.authors, one.year, one.doi) == ("One", ("A, B",), 2019, "10.5555/1")
    assert (two.title, two.authors, two.year, two.journal) == ("Two", ("C, D.", "E, F."), 2020, "Journal")
    assert (three.authors, three.year, three.abstract) == (("G, H",), 2021, "Text.")


def test_jsonl_values_can_be_written_again(read: Reader) -> None:
    (record,) = read('{"title": "Half \\ud83d pair, whole \\ud83d\\ude00", "score": NaN, "more": ["\\udc00"]}').records
    assert record.title == "Half ? pair, whole 😀"
    assert record.raw[1:] == (("score", None), ("more", ["?"]))
    json.dumps(record.raw, ensure_ascii=False, allow_nan=False).encode()


# JSON


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ({"author": [{"family": "Berg", "given": "Jan", "non-dropping-particle": "van den"}]}, ("van den Berg, Jan",)),
        ({"author": [{"family": "Gray", "given": "Ann", "suffix": "Jr"}]}, ("Gray, Ann, Jr",)),
        ({"author": [{"literal": "The Team"}, {"name": "Other Team"}, None, 3]}, ("The Team", "Other Team", "3")),
        ({"authors": "Gray, Ann; Last, Ida"}, ("Gray, Ann", "Last, Ida")),
        ({"authors": ["Gray, Ann"]}, ("Gray, Ann",)),
        ({"author": {"family": "no list"}}, ()),
    ],
)
def test_csl_authors(read: Reader, item: dict[str, Any], expected: tuple[str, ...]) -> None:
    assert only(read(json.dumps([{"title": "One", **item}]))).authors == expected


@pytest.mark.parametrize(
    ("date", "year"),
    [
        ({"date-parts": [[2017, 9]]}, 2017),
        ({"date-parts": [["2017"]]}, 2017),
        ({"date-parts": [[]]}, None),
        ({"raw": "Spring 2017"}, 2017),
        ({"literal": "c. 2017"}, 2017),
        ("2017-09", 2017),
        (None, None),
    ],
)
def test_csl_dates(read: Reader, date: object, year: int | None) -> None:
    assert only(read(json.dumps([{"title": "One", "issued": date}]))).year == year


def test_json_that_is_cut_short_loses_its_last_item_only(read: Reader) -> None:
    found = read('[\n {"title": "One"},\n\n 5, {"title": ["Two", "more"]},\n {"title": "Thr')
    assert [record.title for record in found.records] == ["One", "Two; more"]
    assert [(item.record, item.line) for item in found.rejected] == [(2, 4), (4, 5)]
    assert found.rejected[0].reason == "the record is not a JSON object"
    assert found.rejected[1].reason.startswith(
        "the record is not readable as JSON, and neither is the rest of the file: Unterminated string"
    )


@pytest.mark.parametrize(
    "text",
    [
        '{\n "title": "One"\n}',
        '{"items": [{"title": "One"}]}',
        '{"items": [{"title": "One"}], "more": []}',
        '[{"title": "One"}]',
        '{\n "title": "One"\n}\n',
        '{"meta": {"count": 1}, "results": [{"title": "One"}]}',
        '{\n "status": "ok",\n "message": {"total-results": 5, "items": [\n{"title": ["One"]}]}}',
    ],
)
def test_json_in_other_wrappings(read: Reader, text: str) -> None:
    assert only(read(text)).title == "One"


@pytest.mark.parametrize("indent", [None, 1])
def test_a_broken_json_item_costs_no_more_than_itself(read: Reader, indent: int | None) -> None:
    items = [{"id": name, "author": [{"family": "A"}, {"family": "B"}], "title": name} for name in "abcd"]
    text = json.dumps(items, indent=indent).replace('"title": "b"', '"title": "b "quoted""')
    found = read(text.replace('"title": "c"', '"title": "c\n\twrapped"'))
    assert [record.title for record in found.records] == ["a", "c wrapped", "d"]
    ((number, _, reason),) = rejected(found)
    assert (number, reason[:43]) == (2, "the record is not readable as JSON: Expecti")


def test_json_lists_that_were_put_together(read: Reader) -> None:
    assert [record.title for record in read('[{"title": "One"}]\n[{"title": "Two"}]\n').records] == ["One", "Two"]
    pages = [f'{{"meta": {{"page": {page}}}, "results": [{{"title": "{page}"}}], "groups": []}}\n' for page in "abc"]
    found = read("".join(pages))
    assert [(record.title, record.source_index) for record in found.records] == [("a", 1), ("b", 2), ("c", 3)]
    assert not any("not read" in note for note in notes(found) if "column" not in note and "field" not in note)
    for lost in ('{"lost": {"title": "b"}}', '"TITLE","b"\n', "A title"):
        found = read(pages[0] + lost)
        assert only(found).title == "a"
        assert "the content after the list of records was not read" in notes(found)
    found = read('{\n "message": {"items": [{"title": "a"}], "facets": {"b": {"c": 1}}},\n "status": "ok"\n}\n')
    assert only(found).title == "a"
    assert "the content after the list of records was not read" not in notes(found)


def test_json_that_starts_within_a_record_is_not_lost_in_silence(read: Reader) -> None:
    found = read('{\n"type": "doi",\n"value": "10.1/2"\n}\n]\n},\n{"lens_id": "000", "title": "A lost one"}\n]}')
    assert [item.reason for item in found.rejected] == ["no title"]
    assert "the content after the list of records was not read" in notes(found)


@pytest.mark.parametrize("depth", [195, 450, 700, 950, 2000])
def test_json_as_deep_as_python_reads_it_is_rejected(read: Reader, depth: int) -> None:
    deep = "[" * depth + "]" * depth
    found = read(f'[{{"title": {deep}}}, {{"title": "Two", "author": {deep}}}, {{"title": "Three"}}]')
    assert [record.title for record in found.records] == ["Three"]
    assert [(number, reason) for number, _, reason in rejected(found)] == [
        (1, "the record is not readable as JSON: it is nested too deeply"),
        (2, "the record is not readable as JSON: it is nested too deeply"),
    ]


def test_deep_json_is_rejected(read: Reader) -> None:
    found = read('[{"title": "One"}, {"title": ' + "[" * 100_000)
    assert only(found).title == "One"
    assert found.rejected[0].reason.startswith("the record is not readable as JSON")


@pytest.mark.parametrize("text", ["[{}]", "{}\n", '{{"total": 1, "data": [{}]}}'])
def test_two_records_in_one_object_are_noted(read: Reader, text: str) -> None:
    item = '{"doi": "10.5555/1", "title": "One", "journal": {"title": "A"}, "doi": "10.5555/2", "title": "Two"}'
    found = read(text.format(item))
    assert (only(found).title, only(found).doi) == ("Two", "10.5555/2")
    assert [value for name, value in only(found).raw if name == "title"] == ["One", "Two"]
    assert [note for note in notes(found) if "two records" in note] == [
        "these fields occur more than once with different values, and the last value was used: doi, title; check "
        "whether the entry consists of two records"
    ]
    found = read(text.format(item.replace("Two", "One").replace("5555/2", "5555/1")))
    assert not any("two records" in note for note in notes(found))


@pytest.mark.parametrize("text", ["[{}]", "{}\n"])
def test_a_title_that_was_moved_into_another_object_is_kept(read: Reader, text: str) -> None:
    found = read(
        text.format('{"doi": "10.5555/1", "journal": {"title": "A lost title", "title": "Care"}, "title": "One"}')
    )
    assert (only(found).title, only(found).raw[0]) == ("One", ("", "A lost title"))
    assert [note for note in notes(found) if "two records" in note] == [
        "these fields occur more than once with different values, and the last value was used: title; check whether "
        "the entry consists of two records"
    ]


def test_jsonl_with_commas_between_the_objects(read: Reader) -> None:
    found = read('{"title": "One"},\n{"title": "Two"},\n{"title": "Three"}\n')
    assert [record.title for record in found.records] == ["One", "Two", "Three"]
