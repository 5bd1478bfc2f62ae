from pathlib import Path

import pytest

from mechtag.core.errors import MechtagError
from mechtag.core.source import Source
from mechtag.pipeline.reading.ingest import Ingested, ingest
from mechtag.pipeline.reading.text.cleaning import MENDED

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
    "utf-16-le": "the file has no byte order mark and was read as UTF-16-LE, because every other byte is NUL",
    "utf-16-be": "the file has no byte order mark and was read as UTF-16-BE, because every other byte is NUL",
    "cp1252": "were read as Windows-1252",
    "mac_roman": "the file is not UTF-8 and was read as MacRoman, because reading it as Windows-1252 would put",
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
    """The bytes of 'É»' in Windows-1252 are also valid UTF-8; one such pair among many other bytes is chance."""
    title = "«LIBERTÉ» " + "é " * 20
    (record,) = read(tmp_path, f"TY  - JOUR\nTI  - {title}\nER  - \n".encode("cp1252")).records
    assert record.title == title.strip()


def test_a_character_on_the_border_of_two_chunks(tmp_path: Path) -> None:
    """Files are read in chunks, which must neither cut a character nor hide a damaged one."""
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


def test_nuls_are_left_out_and_reported(tmp_path: Path) -> None:
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
def test_the_place_of_the_first_odd_byte_does_not_change_the_text(tmp_path: Path, encoding: str, before: int) -> None:
    """The encoding is detected in the chunk that contains the first odd byte, wherever in the chunk this byte is."""
    plain = f"TY  - JOUR\nTI  - Plain\nAB  - {'x' * before}\nER  - \n\n"
    found = read(tmp_path, (plain + RIS * 3).encode(encoding))
    assert [record.title for record in found.records[1:]] == ["Führung – “à deux” in São Paulo’s café"] * 3
    assert TOLD[encoding] in found.notes[0].text


JOINED = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-16-be with a mark", "cp1252"]


def encoded(text: str, encoding: str) -> bytes:
    if encoding == "utf-16-be with a mark":
        return b"\xfe\xff" + text.encode("utf-16-be")
    return text.encode(encoding)


@pytest.mark.parametrize("before", [0, 65_400, 131_000])
@pytest.mark.parametrize("second", JOINED)
@pytest.mark.parametrize("first", JOINED)
def test_files_of_two_encodings_that_were_joined_are_read(tmp_path: Path, first: str, second: str, before: int) -> None:
    long = RIS.replace("ER", f"AB  - {'word ' * (before // 10)}\nER")
    found = read(tmp_path, encoded(long, first) + encoded(RIS * 2, second))
    assert {(record.title, record.authors) for record in found.records} == {
        ("Führung – “à deux” in São Paulo’s café", ("Müller, Zoë", "Sánchez, Íñigo", "Åkesson, François"))
    }
    assert len(found.records) == 3
    wide = [name.startswith("utf-16") for name in (first, second)]
    line = long.count("\n") + 1
    changed = [note.text for note in found.notes if f" at line {line}; if the file was joined from " in note.text]
    assert len(changed) == (wide[0] != wide[1] or (all(wide) and ("-be" in first) != ("-be" in second)))


_JOINED_RIS = b"1. \nTY  - JOUR\nT1  - Two\nER  -\n"


def test_a_table_joined_to_another_format_in_another_encoding(tmp_path: Path) -> None:
    """The lines of the second export are rejected one by one, and are counted."""
    found = read(tmp_path, "AU\tTI\tAB\nLee\tA title\tIts text.\n".encode("utf-16") + _JOINED_RIS)
    assert [(record.title, record.abstract) for record in found.records] == [("A title", "Its text.")]
    assert [row.raw[0][1] for row in found.rejected] == ["1. ", "TY  - JOUR", "T1  - Two", "ER  -"]
    assert found.summary()["read"] == 5
    notes = [note.text for note in found.notes]
    assert sum(note.startswith("the encoding changes from UTF-16-LE to UTF-8 at line 3; ") for note in notes) == 1
    assert sum(note.startswith("line 4 starts a record in a different format, RIS;") for note in notes) == 1


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize(
    "text",
    [
        "このような上での、ことについて《のは》しているところの上のものであるということになっていたからである。",
        "関於上述研究的領導不同方法與結果的系統性回顧與分析，以及其在護理上的應用與不足之處的探討。",
        "Систематический обзор руководства в больницах: что известно и что нет?",
        "의료기관의리더십에관한체계적문헌고찰과메타분석을통해서본간호사의이직의도",
        # As 8-bit text, each of the following would pass all tests but one: it has no line end, control characters,
        # few letters, or many bytes that are not UTF-8.
        "教数整体来条海",
        "教数不整体万来条海",
        "あいうえおかき上くけこ",
        "病症痛不热病",
    ],
)
def test_text_in_other_scripts_is_not_taken_for_another_encoding(tmp_path: Path, text: str, encoding: str) -> None:
    long = text * 30
    found = read(tmp_path, f"\ufeffTY  - JOUR\nTI  - {long}\nAB  - {text}\nER  - \n".encode(encoding))
    assert [(record.title, record.abstract) for record in found.records] == [(long, text)]
    assert (found.rejected, found.notes) == ((), ())


SCRIPTS = {
    "Latin": "Führung in Teams für Ärzte",
    "Cyrillic": "Обзор руководства в больницах",
    "Han": "关于护理领导的系统性回顾与分析",
    "Kana": "看護師のリーダーシップについて",
    "Arabic": "القيادة في فرق التمريض",
}


def exported(form: str, title: str) -> list[str]:
    if form == "csv":
        return ["title,abstract,year\n", *(f'{title} {n},"{title}. {title}.",2001\n' for n in "123")]
    record = "TY  - JOUR\nTI  - {0} {1}\nAB  - {0}.\nPY  - 2001\nER  - \n"
    return "".join(record.format(title, n) for n in "123").splitlines(keepends=True)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("form", ["csv", "ris"])
@pytest.mark.parametrize("script", SCRIPTS)
def test_lines_of_8_and_of_16_bits_in_any_order_are_read(tmp_path: Path, script: str, form: str, encoding: str) -> None:
    """Without a byte order mark, UTF-16-LE of Latin letters looks like UTF-16-BE if it is read from its second byte."""
    title = SCRIPTS[script]
    lines = exported(form, title)
    wide = [line.encode(encoding) for line in lines]
    narrow = [line.encode() for line in lines]
    for count in range(1, len(lines)):
        for parts in (narrow[:count] + wide[count:], wide[:count] + narrow[count:]):
            found = read(tmp_path, b"".join(parts))
            assert [record.title for record in found.records] == [f"{title} {n}" for n in "123"]
            assert any("the encoding changes from" in note.text for note in found.notes)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("before", [b"\n", b"sep=,\n", b"sep=,\r\n", b"\xef\xbb\xbf"])
def test_a_few_bytes_before_text_of_16_bits(tmp_path: Path, script: str, encoding: str, before: bytes) -> None:
    found = read(tmp_path, before + "".join(exported("csv", SCRIPTS[script])).encode(encoding))
    assert [record.title for record in found.records] == [f"{SCRIPTS[script]} {n}" for n in "123"]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("script", ["Cyrillic", "Han", "Kana", "Arabic"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_superfluous_byte_damages_one_line_and_is_noted(
    tmp_path: Path, script: str, encoding: str, mark: str
) -> None:
    title = SCRIPTS[script]
    data = (mark + "".join(exported("csv", title))).encode(encoding)
    place = data.index(f"{title} 2".encode(encoding)) + 8
    found = read(tmp_path, data[:place] + b"x" + data[place:])
    assert [record.title for record in found.records if not record.title.startswith(title[:4])] == []
    assert {f"{title} 1", f"{title} 3"} < {record.title for record in found.records}
    (note,) = (note.text for note in found.notes if "superfluous" in note.text)
    name = encoding.upper()
    assert note == (f"in or before line 3, a byte of the {name} text is missing or superfluous; check the record there")


def test_text_in_utf16_after_a_part_of_a_character_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.ris"
    path.write_bytes(b"\xd9" + "\xa3. \nTY  - JOUR\n".encode("utf-16-le"))  # valid UTF-8 with NULs
    assert Source(path).text.endswith("JOUR\n")
