"""Test that paths of files are read in each form in which a reference manager writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mechtag.core.records import Record
from mechtag.pipeline.reading.file_paths import recorded_paths
from mechtag.pipeline.reading.ingest import ingest

ENDNOTE = """<xml><records><record><ref-type name="Journal Article">17</ref-type>
<titles><title>On trust</title></titles>
<urls><related-urls><url>http://example.org/a.pdf</url></related-urls><pdf-urls>
<url>internal-pdf://1234567890/Smith-2020.pdf</url><url>internal-pdf://0987/Smith%20b.pdf</url></pdf-urls></urls>
</record></records></xml>"""


def read(tmp_path: Path, name: str, text: str) -> Record:
    (tmp_path / name).write_text(text, encoding="utf-8")
    [record] = ingest([tmp_path / name]).records
    return record


def bib(value: str) -> str:
    return f"@article{{a, title = {{On trust}},\n file = {{{value}}}}}\n"


def ris(*lines: str) -> str:
    return "\n".join(("TY  - JOUR", "TI  - On trust", *lines, "ER  - ", ""))


SMITH = ("files", "12", "smith 2020.pdf")


@pytest.mark.parametrize(
    ("name", "text", "paths"),
    [
        ("l.xml", ENDNOTE, [("1234567890", "smith-2020.pdf"), ("0987", "smith b.pdf")]),
        ("l.ris", ris("L1  - files/12/Smith 2020.pdf", "L2  - https://example.org/x.pdf"), [SMITH]),
        ("l.ris", ris("L1  - internal-pdf://12/Smith%202020.pdf"), [SMITH[1:]]),
        ("l.ris", ris("L4  - C:\\files\\12\\Smith 2020.PDF; /files/12/b.html"), [SMITH, ("files", "12", "b.html")]),
        ("l.ris", ris("UR  - file:///files/12/Smith%202020.pdf"), [SMITH]),
        ("l.ris", ris("UR  - file://localhost/files/12/Smith%202020.pdf", "L3  - 10.1000/x"), [SMITH]),
        ("l.ris", ris("UR  - https://example.org/Smith.pdf", "L1  - figure.png"), []),
        ("l.ris", ris("UR  - example.org/Smith.pdf"), []),
        ("l.bib", bib("Full Text:files/12/Smith 2020.pdf:application/pdf;Page:files/1/a.html:text/html"),
         [SMITH, ("files", "1", "a.html")]),
        ("l.bib", bib(":C\\:\\\\files\\\\12\\\\Smith 2020.pdf:PDF"), [SMITH]),
        ("l.bib", bib(":C$\\backslash$:/files/12/Smith{\\_}2020.pdf:pdf"), [("files", "12", "smith_2020.pdf")]),
        ("l.bib", bib("files/12/Smith 2020.pdf"), [SMITH]),
        ("l.bib", bib(":Smith 2020\\; b.pdf:PDF"), [("smith 2020; b.pdf",)]),
        ("l.bib", bib(":/home/u/Smith \\& Jones.pdf:PDF"), [("home", "u", "smith & jones.pdf")]),
        ("l.csv", "Title,Author,File Attachments\nOn trust,Smith,/files/12/Smith 2020.pdf; /a/b.html\n",
         [SMITH, ("a", "b.html")]),
    ],
)  # fmt: skip
def test_paths_of_each_program_are_read(tmp_path: Path, name: str, text: str, paths: list[tuple[str, ...]]) -> None:
    assert recorded_paths(read(tmp_path, name, text)) == paths
