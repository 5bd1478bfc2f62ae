"""Test that generated records are read back as they were written, and that each entry of a broken file is counted."""

import csv
import io
import json
import unicodedata
from pathlib import Path
from typing import Literal

from hypothesis import example, given
from hypothesis import strategies as st

from mechtag.core.errors import MechtagError
from mechtag.pipeline.reading.text.cleaning import is_missing
from tests.support.exports import EXPORTS, RIS_EXPORTS, Reader, anywhere, line, one_line

tag = st.from_regex(r"[A-Z][A-Z0-9]", fullmatch=True).filter(lambda tag: tag not in ("TY", "ER", "TI"))
title = line.filter(lambda text: not is_missing(text))
ris_record = st.tuples(title, st.lists(st.tuples(tag, st.one_of(st.just(""), line)), max_size=8))


@anywhere
@given(records=st.lists(ris_record, min_size=1, max_size=5), end=st.sampled_from(["\n", "\r\n"]))
@example(records=[("\U0002f800", [])], end="\n")  # composed Unicode writes this letter as another
def test_ris_round_trip(read: Reader, records: list[tuple[str, list[tuple[str, str]]]], end: str) -> None:
    pairs = [(("TY", "JOUR"), ("TI", title), *more) for title, more in records]
    text = end.join("".join(f"{tag}  - {value}{end}" for tag, value in [*fields, ("ER", "")]) for fields in pairs)
    found = read(text)
    assert [record.raw for record in found.records] == pairs
    titles = [" ".join(unicodedata.normalize("NFC", fields[1][1]).split()) for fields in pairs]
    assert [record.title for record in found.records] == titles


cell = st.text(one_line | st.sampled_from("\n\t"), max_size=40)


@anywhere
@given(
    rows=st.lists(st.tuples(title, cell, cell), min_size=1, max_size=5),
    delimiter=st.sampled_from(",;\t|"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_table_round_trip(
    read: Reader, rows: list[tuple[str, str, str]], delimiter: str, quoting: Literal[0, 1]
) -> None:
    header = ("Title", "Abstract", "Remark; or, more")
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, quoting=quoting).writerows([header, *rows])
    found = read(text.getvalue())
    assert not found.rejected
    assert [record.raw for record in found.records] == [
        tuple((name, value) for name, value in zip(header, row, strict=True) if value.strip()) for row in rows
    ]


json_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | line,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(line, inner, max_size=3),
    max_leaves=6,
)


@anywhere
@given(items=st.lists(st.dictionaries(line, json_value, max_size=5), min_size=1, max_size=5))
def test_jsonl_round_trip(read: Reader, items: list[dict[str, object]]) -> None:
    items = [{**item, "title": "One", "authors": item} for item in items]
    found = read("\n".join(json.dumps(item, ensure_ascii=False) for item in items))
    assert [record.raw for record in found.records] == [tuple(item.items()) for item in items]


parts = ["TY  - JOUR", "TI  - One", "ER  - ", "x", '"', ",", "title,year", '{"title": "a"}', "", "\t"]
junk = st.one_of(
    st.binary(max_size=200),
    st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.lists(st.sampled_from(parts)).map(lambda lines: "\n".join(lines).encode()),
)


@anywhere
@given(content=junk, cut=st.integers(0, 2000), path=st.sampled_from(sorted(EXPORTS.iterdir())))
@example(content=b'title\n"a ""', cut=0, path=RIS_EXPORTS[0])
def test_no_file_ends_in_a_traceback_and_nothing_vanishes(read: Reader, content: bytes, cut: int, path: Path) -> None:
    real = path.read_bytes()
    for broken in (content, real[:cut] + content + real[cut:], real[:cut]):
        try:
            found = read(broken)
        except MechtagError:
            continue
        numbers = [record.source_index for record in found.records] + [item.record for item in found.rejected]
        assert sorted(number or 0 for number in numbers) == list(range(1, len(numbers) + 1))
        assert found.sources[0].read == len(numbers)
