"""Test RIS records that do not start with TY, that have long tags, or that name several places of publication."""

import pytest

from tests.support.exports import Reader, notes, only


def test_records_may_start_before_ty(read: Reader) -> None:
    found = read(
        "DB  - One\nTI  - First\nAB  - Text\nof it\nTY  - JOUR\nAU  - Oak, Ann\nER  - \n\n"
        "ID  - 2\nTY  - BOOK\nTI  - Second\nER  - \n\nTI  - Third\nTY  - JOUR\nPY  - 2003\nER  - \n"
    )
    assert [(record.title, record.type, record.source_index) for record in found.records] == [
        *(("First", "JOUR", 1), ("Second", "BOOK", 2), ("Third", "JOUR", 3))
    ]
    assert (found.records[0].authors, found.records[0].abstract) == (("Oak, Ann",), "Text of it")
    assert ("ID", "2") in found.records[1].raw
    assert notes(found) == []


def test_records_without_a_start_line_are_not_joined(read: Reader) -> None:
    found = read("TI  - One\nPY  - 2001\nTY  - JOUR\nTI  - Two\nER  - \nTI  - Three\nTY  - JOUR\nTI  - Four\nER  - \n")
    assert [record.title for record in found.records] == ["One", "Two", "Three", "Four"]
    assert notes(found) == [
        "the record has no TY line at its start",
        "the record has no ER line at its end; it may be truncated",
    ]
    assert [note.count for note in found.notes] == [2, 2]


def test_tags_of_more_than_two_letters(read: Reader) -> None:
    record = only(
        read(
            "TY  - JOUR\nTITLE  - One\nAB  - Some text\nRESULTS  - None were seen.\nDOI  - 10.5555/a\nPMID- 31415926\n"
            "XREF  - y\nISSN - 1234-5678\nURL  - https://x.example/y\nSCANDIUM  - z\nABSTRACT  - More\nER  - \n"
        )
    )
    assert (record.title, record.doi, record.pmid, record.url) == (
        "One",
        "10.5555/a",
        "31415926",
        "https://x.example/y",
    )
    assert record.abstract == "Some text\nRESULTS - None were seen.\nMore"
    assert [value for tag, value in record.raw if tag in ("XREF", "SCANDIUM", "ISSN")] == ["y", "1234-5678", "z"]


@pytest.mark.parametrize(
    ("fields", "title", "journal"),
    [
        *(("TY  - CHAP\nTI  - One\nBT  - Book", "One", "Book"), ("TY  - BOOK\nBT  - Book", "Book", None)),
        *(
            ("TY  - CHAP\nTI  - One\nT2  - Book\nT3  - Series", "One", "Book"),
            ("TY  - RPRT\nTI  - One\nT3  - S", "One", "S"),
        ),
        *(
            ("TY  - CONF\nTI  - One\nC3  - Proceedings", "One", "Proceedings"),
            ("TY  - JOUR\nTI  - One\nC3  - 12", "One", None),
        ),
        *(
            ("TY  - JOUR\nTI  - One\nJ2  - J Care", "One", "J Care"),
            ("TY  - JOUR\nTI  - One\nSO  - Care", "One", "Care"),
        ),
        ("TY  - CONF\nTI  - One\nT2  - NA\nC3  - Proceedings", "One", "Proceedings"),
    ],
)
def test_places_of_publication(read: Reader, fields: str, title: str, journal: str | None) -> None:
    record = only(read(f"{fields}\nER  - \n"))
    assert (record.title, record.journal) == (title, journal)


@pytest.mark.parametrize("between", ["\u00a0\u00a0- ", "  – ", "\u00a0 –\u00a0"])
def test_tags_that_a_word_processor_changed(read: Reader, between: str) -> None:
    record = only(read("TY  - JOUR\nTI  - One\nPY  - 2001\nAB  - So -- so.\nER  - \n".replace("  - ", between)))
    assert (record.title, record.year, record.abstract) == ("One", 2001, "So -- so.")


@pytest.mark.parametrize(("note", "doi"), [("doi: 10.5555/one", "10.5555/one"), ("Comment on doi: 10.5555/x", None)])
def test_a_doi_in_the_notes(read: Reader, note: str, doi: str | None) -> None:
    assert only(read(f"TY  - JOUR\nTI  - One\nN1  - {note}\nER  - \n")).doi == doi
