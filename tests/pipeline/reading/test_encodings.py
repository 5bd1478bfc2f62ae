from pathlib import Path

import pytest

from mechtag.core.errors import MechtagError
from mechtag.pipeline.reading.ingest import Ingested, ingest
from mechtag.pipeline.text.cleaning import MENDED

RIS = (
    "TY  - JOUR\nTI  - Führung – “à deux” in São Paulo’s café\nAU  - Müller, Zoë\nAU  - Sánchez, Íñigo\n"
    "AU  - Åkesson, François\nER  - \n"
)
CSV = 'title,authors\nFührung – “à deux” in São Paulo’s café,"Müller, Zoë; Sánchez, Íñigo; Åkesson, François"\n'
JSONL = (
    '{"title": "Führung – “à deux” in São Paulo’s café", '
    '"authors": ["Müller, Zoë", "Sánchez, Íñigo", "Åkesson, François"]}\n'
)
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252", "mac_roman"]
TOLD = {
    "utf-16-le": "there is no byte order mark; read as UTF-16-LE, because every other byte is NUL",
    "utf-16-be": "there is no byte order mark; read as UTF-16-BE, because every other byte is NUL",
    "cp1252": "were read as Windows-1252",
    "mac_roman": "the file is not UTF-8 and was read as MacRoman, because in Windows-1252",
}


def read(folder: Path, data: bytes) -> Ingested:
    path = folder / "export"
    path.write_bytes(data)
    return ingest([path])


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("text", [RIS, CSV, JSONL], ids=["ris", "csv", "jsonl"])
def test_every_encoding_gives_the_same_record(tmp_path: Path, text: str, encoding: str, end: str) -> None:
    found = read(tmp_path, text.replace("\n", end).encode(encoding))
    (record,) = found.records
    assert record.title == "Führung – “à deux” in São Paulo’s café"
    assert record.authors == ("Müller, Zoë", "Sánchez, Íñigo", "Åkesson, François")
    assert [TOLD[encoding] in note.text for note in found.notes] == ([True] if encoding in TOLD else [])


@pytest.mark.parametrize(
    "text", ["Führung", "“Quoted”", "nurses’ plans", "1990–2000", "LE CAFÉ »", "Ελ".encode().decode("cp1253")]
)
def test_latin_text_is_not_taken_for_macroman(tmp_path: Path, text: str) -> None:
    found = read(tmp_path, f"TY  - JOUR\nTI  - {text} of one\nTI  - {text}\nER  - \n".encode("cp1252", "replace"))
    assert any("Windows-1252" in note.text for note in found.notes)


def test_windows_1252_is_read_as_such_even_where_it_could_be_utf8(tmp_path: Path) -> None:
    """In Windows-1252, 'É»' is a valid UTF-8 pair; one pair among many other bytes is chance."""
    title = "«LIBERTÉ» " + "é " * 20
    (record,) = read(tmp_path, f"TY  - JOUR\nTI  - {title}\nER  - \n".encode("cp1252")).records
    assert record.title == title.strip()


def test_a_character_on_the_border_of_two_chunks(tmp_path: Path) -> None:
    """Files are read in pieces; none of them may cut a character or hide a damaged one."""
    for shift in range(4):
        body = "x" * shift + "é" * 70_000
        found = read(tmp_path, f"TY  - JOUR\nTI  - One\nAB  - {body}\nER  - \n".encode())
        assert (found.records[0].abstract, found.notes) == (body, ())
    damaged = f"TY  - JOUR\nTI  - One\nAB  - {'é' * 70_000}".encode() + b"\xff\nER  - \n"
    found = read(tmp_path, damaged)
    assert found.records[0].abstract == "é" * 70_000 + "ÿ"
    assert found.notes[0].text == "the file is not UTF-8 from line 3 on; invalid bytes were read as Windows-1252"


def test_a_file_cut_within_a_character(tmp_path: Path) -> None:
    found = read(tmp_path, "TY  - JOUR\nTI  - café".encode()[:-1])
    assert found.records[0].title == "cafÃ"
    assert "not UTF-8 from line 2 on" in found.notes[1].text


def test_mojibake_is_mended_once_noted_and_kept_in_raw(tmp_path: Path) -> None:
    wrong = RIS.encode().decode("latin-1")
    found = read(tmp_path, (wrong * 3).encode())
    assert {record.title for record in found.records} == {"Führung – “à deux” in São Paulo’s café"}
    assert found.records[0].authors[0] == "Müller, Zoë"
    assert (
        dict(found.records[0].raw)["TI"]
        == "FÃ¼hrung â\x80\x93 â\x80\x9cÃ\xa0 deuxâ\x80\x9d in SÃ£o Pauloâ\x80\x99s cafÃ©"
    )
    (note,) = found.notes
    assert (note.text, note.record, note.line, note.count) == (MENDED, 1, 1, 3)
    assert str(note).endswith("original text (and in 2 more records)")


def test_nuls_are_left_out_and_told(tmp_path: Path) -> None:
    found = read(tmp_path, RIS.replace("deux", "d\0e\0ux").encode())
    assert found.records[0].title == "Führung – “à deux” in São Paulo’s café"
    assert [note.text for note in found.notes] == [
        "2 NUL bytes were ignored, because they do not occur in text; the file may be damaged"
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("text", ["", " \n\t\r\n "])
def test_files_without_text_are_empty(tmp_path: Path, text: str, encoding: str) -> None:
    with pytest.raises(MechtagError, match=r"export: (the file is empty|this file is in an unknown format)"):
        read(tmp_path, text.encode(encoding))


@pytest.mark.parametrize("encoding", ["cp1252", "mac_roman"])
@pytest.mark.parametrize("before", [0, 65_415, 65_475, 65_520, 131_000, 300_000])
def test_where_the_first_odd_byte_stands_does_not_change_what_is_read(
    tmp_path: Path, encoding: str, before: int
) -> None:
    """The encoding is judged by the piece of the file with the first odd byte, and pieces end anywhere."""
    plain = f"TY  - JOUR\nTI  - Plain\nAB  - {'x' * before}\nER  - \n\n"
    found = read(tmp_path, (plain + RIS * 3).encode(encoding))
    assert [record.title for record in found.records[1:]] == ["Führung – “à deux” in São Paulo’s café"] * 3
    assert TOLD[encoding] in found.notes[0].text
