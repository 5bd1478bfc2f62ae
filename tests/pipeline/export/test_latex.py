"""Test the escaping of text for LaTeX and BibTeX."""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from mechtag.pipeline.export.latex import escape
from mechtag.pipeline.reading.ingest import read_sources


@given(st.text(st.sampled_from("{}\\a $%-'")))
def test_all_braces_are_balanced(text: str) -> None:
    depths = list(accumulate({"{": 1, "}": -1}.get(char, 0) for char in escape(text)))
    assert min(depths, default=0) >= 0
    assert not depths or depths[-1] == 0


def test_lone_braces_are_read_back(tmp_path: Path) -> None:
    titles = ["Sets such as {a and b", "A smile :-} at work", "Both {of them}"]
    entries = (f"@article{{k{number},\n  title = {{{escape(title)}}},\n}}\n" for number, title in enumerate(titles))
    path = tmp_path / "a.bib"
    path.write_text("\n".join(entries), encoding="utf-8")
    assert [record.title for record in read_sources([path], print)] == titles
