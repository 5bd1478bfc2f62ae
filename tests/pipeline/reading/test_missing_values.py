"""Test values such as NA that mean that there is no value, and escapes written by R."""

import pytest

from mechtag.pipeline.reading.build_record import clean_author, clean_pages
from mechtag.pipeline.reading.formats import csl_json
from mechtag.pipeline.reading.text.cleaning import clean_abstract, clean_text, clean_value
from tests.support.exports import Reader, only, rejected

MISSING = ["NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None", "<NA>", "-", "--", ".", "#N/A", "#REF!", "#NAME?"]


@pytest.mark.parametrize("value", MISSING)
def test_a_missing_value_is_empty_in_every_reader(read: Reader, value: str) -> None:
    for text in (
        f"title,author,year,journal,abstract,doi,volume,number,pages,keywords\nOne{f',{value}' * 9}\n",
        "TY  - JOUR\nTI  - One\n"
        + "".join(f"{tag}  - {value}\n" for tag in "AU AB JF VL IS SP EP DO KW PY".split())
        + "ER  - \n",
        "@article{a, title={One}, "
        + ", ".join(f"{name}={{{value}}}" for name in "author abstract journal volume number pages".split())
        + "}",
        f'[{{"title": "One", "abstract": "{value}", "authors": ["{value}"], "keywords": ["{value}"], '
        f'"volume": "{value}", "page": "{value}"}}]',
        f"PMID- 1\nTI  - One\nAB  - {value}\nAU  - {value}\nJT  - {value}\nVI  - {value}\nPG  - {value}\n",
    ):
        record = only(read(text))
        assert (record.title, record.abstract, record.authors, record.keywords) == ("One", "", (), ())
        assert (record.journal, record.volume, record.issue, record.pages) == (None,) * 4


def test_a_missing_value_does_not_hide_another(read: Reader) -> None:
    record = only(read("TY  - JOUR\nTI  - One\nAB  - NA\nN2  - Text.\nJF  - NA\nT2  - Care\nER  - \n"))
    assert (record.abstract, record.journal) == ("Text.", "Care")
    assert ("AB", "NA") in record.raw


@pytest.mark.parametrize("nobody", ["[No author name available]", "[No authors listed]", "No authors listed"])
def test_a_note_that_there_are_no_authors_is_not_an_author(read: Reader, nobody: str) -> None:
    for text in (
        f"Authors,Title,Year,Source title,Document Type,EID\n{nobody},One,2019,J Care,Editorial,2-s2.0-1\n",
        f"TY  - JOUR\nTI  - One\nAU  - {nobody}\nER  - \n",
        f"@article{{a, title={{One}}, author={{{nobody}}}}}",
    ):
        assert only(read(text)).authors == ()


def test_a_placeholder_is_not_a_title(read: Reader) -> None:
    assert [reason for _, _, reason in rejected(read("title,year\nNA,2001\nOne,2001\n"))] == ["no title"]


@pytest.mark.parametrize(
    ("value", "pages"),
    [
        *(("NA-NA", None), ("NA--NA", None), ("nan-nan", None), ("12-NA", "12"), ("NA-12", "12"), ("-", None)),
        *(("e12-e15", "e12-e15"), ("S1-12", "S1-12"), ("12-", "12")),
    ],
)
def test_pages_that_are_missing(value: str, pages: str | None) -> None:
    assert clean_pages(value) == pages


@pytest.mark.parametrize(
    ("value", "name"), [("Na", "Na"), ("Na, Li", "Na, Li"), ("Kraan, NA", "Kraan, NA"), ("NA, NA", ""), ("NA NA", "")]
)
def test_authors_called_na_stay(value: str, name: str) -> None:
    assert clean_author(value) == name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Carers<U+2019> caf<c3><a9>", "Carers’ café"),
        ("<U+0001F600><U+D83D><U+DE00>", "😀😀"),
        ("<e2><80><9c>so<e2><80><9d>", "“so”"),
        ("caf<e9> and <92>", "café and ’"),
        ("&lt;U+00E9&gt;", "é"),
        ("p<0.05, <dd>, <U+FFFFFFFF>", "p<0.05, <dd>, <U+FFFFFFFF>"),
    ],
)
def test_escapes_of_r(text: str, expected: str) -> None:
    assert clean_text(text) == clean_abstract(text)[0] == expected
    assert clean_value(expected) == expected


def test_an_error_in_one_record_costs_that_record(read: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(value: object) -> str:
        raise IndexError("list index out of range")

    monkeypatch.setattr(csl_json, "_date", fail)
    found = read('[{"title": "One"}]')
    assert not found.records
    [(number, line, reason)] = rejected(found)
    assert (number, line) == (1, 1)
    assert reason.startswith("the entry could not be converted to a record (IndexError: list index out of range)")
