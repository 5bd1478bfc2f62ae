"""Test the detection of encodings, and files that are not exports."""

import pytest

from mechtag.core.errors import MechtagError
from tests.support.exports import Reader


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize(
    "text", ["TY  - JOUR\nTI  - Führung – “à deux”\nER  - \n", "title,year\nFührung – “à deux”,2001\n"]
)
def test_encodings(read: Reader, encoding: str, text: str) -> None:
    found = read(text.encode(encoding))
    assert found.records[0].title == "Führung – “à deux”"
    assert [note.text for note in found.notes] == (
        ["the file is not UTF-8 from line 2 on; invalid bytes were read as Windows-1252"]
        if encoding == "cp1252"
        else []
    )


def test_a_damaged_byte_costs_no_more_than_itself(read: Reader) -> None:
    found = read(
        "TY  - JOUR\nTI  - Führung\nER  - \nTY  - JOUR\nTI  - Führung ".encode() + b"\xe9t\x81\xe2\x80\nER  - \n"
    )
    assert [record.title for record in found.records] == ["Führung", "Führung ét\ufffdâ€"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b" \r\n\t\n", "the file is empty"),
        (b"\xef\xbb\xbf", "in an unknown format"),
        (b"%PDF-1.7\n\x00\x01\x02", "this is a binary file, not text"),
        (b"PK\x03\x04" + bytes(range(256)), "the archive is damaged or truncated"),
        (b"\x1f\x8b\x08\x08" + b"\x01\x02\x03\x04abcd" * 9, "the archive is damaged or truncated"),
        (
            b'<?xml version="1.0"?>\n<records><title>One</title></records>\n',
            "an XML file of an unknown kind",
        ),
        (b"Dear colleague,\nhere are the results.\n", "in an unknown format"),
    ],
)
def test_files_that_are_not_exports_are_refused_by_name(read: Reader, content: bytes, message: str) -> None:
    with pytest.raises(MechtagError, match=rf"export\.txt: (this file is )?{message}"):
        read(content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b'<?xml version="1.0"?>\n<mods xmlns="http://www.loc.gov/mods/v3"/>',
            "a MODS file, the format of library catalogues",
        ),
        (b'<?xml version="1.0"?>\n<CitaviExchangeData Version="6"/>', "a Citavi project; in Citavi"),
        (b'<?xml version="1.0"?>\n<feed/>', "a news feed"),
        (b"cff-version: 1.2.0\ntitle: x\n", "a CITATION.cff"),
        (b"From: a\nSubject: nep.repec.org\n\nhello\n", "a RePEc newsletter"),
        (b"<!DOCTYPE html>\n<html><body>Results</body></html>", "this is a web page"),
        (b"{\\rtf1 hello}", "a Word document"),
        (b"\nScore\n  *****\nAccession Number\n  1\nTitle\n  One\n", "text from Ovid in which records do not start"),
    ],
)
def test_files_that_are_not_exports_are_named(read: Reader, content: bytes, message: str) -> None:
    with pytest.raises(MechtagError, match=rf"export\.txt: (this file is )?{message}"):
        read(content)
