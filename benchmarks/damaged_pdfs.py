"""Damage valid PDFs at random, and attach all of them as a user would.

``python -m benchmarks.damaged_pdfs --count 1000 --seed 1`` prints how many files were attached or rejected, the reasons
for rejection, and each fault. Faults are: a file that takes longer to read than the limit; a full text whose sections
or pages overlap or leave gaps; and a file that is not counted. The exit status is 1 if a fault was found.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path

import fpdf
from PIL import Image

from benchmarks import mutations
from benchmarks.mutations import Damage, damaged
from mechtag.core.full_text import FullText
from mechtag.core.parquet import iterate_full_texts
from mechtag.core.records import Record, Rejected
from mechtag.core.temporary import temporary_folder
from mechtag.pipeline.fulltext.attaching import Attached, Matcher, attach, find_files
from mechtag.pipeline.fulltext.isolated import IsolatedReader, Limits
from mechtag.pipeline.fulltext.reading import ReadFile

COMMAND = "python -m benchmarks.damaged_pdfs"
TITLE = "How leaders build trust across the teams of two services"
_BODY = (
    "Leaders listened to the teams of both services before they decided. Staff trusted managers who explained their "
    "reasons.12 Meetings without an agenda wasted their time. "
)
# Time in seconds that starting the process again and matching a file may take, in addition to the limit for reading.
_BESIDES = 30.0
_REFERENCES = re.compile(rb"\d+ 0 R\b")
_PLACES = re.compile(r"\d[\d,.]*|'[^']*'")


def _page(document: fpdf.FPDF, number: int) -> None:
    document.add_page()
    document.set_font("Helvetica", size=16)
    document.multi_cell(0, 8, TITLE if number == 0 else "Results", new_x="LMARGIN", new_y="NEXT")
    document.set_font("Helvetica", size=10)
    document.multi_cell(0, 5, _BODY * 5, new_x="LMARGIN", new_y="NEXT")


@cache
def pdfs() -> tuple[bytes, ...]:
    """Return valid PDFs: with and without compression, with pictures, links, outlines and passwords, and a scan."""
    made = []
    for compressed in (True, False):
        document = fpdf.FPDF()
        document.set_compression(compressed)
        for number in range(4):
            document.start_section(f"Section {number}") if number else None
            _page(document, number)
        document.cell(0, 5, "A link", link="https://example.org/a")
        made.append(document)
        document = fpdf.FPDF()
        document.set_compression(compressed)
        _page(document, 0)
        document.image(Image.linear_gradient("L"), w=60)
        with document.text_columns(ncols=2) as columns:
            columns.write(_BODY * 8)
        made.append(document)
    for password in (None, "b"):
        document = fpdf.FPDF()
        document.set_encryption(owner_password="a", user_password=password)
        _page(document, 0)
        made.append(document)
    scan = fpdf.FPDF()
    scan.add_page()
    scan.image(Image.linear_gradient("L"), w=180)
    return tuple(bytes(document.output()) for document in (*made, scan))


def _reference(data: bytearray, rng: random.Random) -> None:
    """Replace a reference in a PDF with a reference to a different object.

    As a result, an object may contain itself, or may be of the wrong kind.
    """
    found = list(_REFERENCES.finditer(bytes(data)))
    if len(found) > 1:
        one, other = rng.sample(found, 2)
        data[one.start() : one.end()] = other[0]


DAMAGE: tuple[Damage, ...] = (
    *(mutations._flip, mutations._flip, mutations._delete, mutations._double, mutations._truncate, mutations._behead),
    *(mutations._insert, mutations._flood, mutations._nest, mutations._number, mutations._number, mutations._lines),
    *(_reference, _reference),
)


@dataclass
class Outcome:
    """Results of attaching damaged files; ``slowest`` is the longest time for one file in seconds."""

    attached: Attached
    slowest: float = 0.0
    faults: list[str] = field(default_factory=list)

    def reasons(self) -> Counter[str]:
        """Return the number of rejected files for each reason, with ``#`` in place of numbers and quoted names."""
        return Counter(
            " ".join(_PLACES.sub("#", one.reason.removeprefix(one.file)).split()) for one in self.attached.rejected
        )


def untiled(text: FullText) -> str:
    """Return a description of the fault if sections or pages of a full text overlap or leave gaps; otherwise ``""``."""
    for tiles in (text.sections, text.pages):
        ends = [0, *(place for tile in tiles for place in (tile.start, tile.end)), len(text.text)]
        if tiles and any(before != after for before, after in list(pairwise(ends))[::2]):
            return "the sections or pages overlap or leave gaps"
    return ""


def attach_damaged(
    count: int, seed: int, limits: Limits | None = None, on_progress: Callable[[int], None] = lambda _: None
) -> Outcome:
    """Damage PDFs, attach them to a record, and return the results.

    Parameters
    ----------
    count
        Number of damaged PDFs.
    limits
        Limits of the reader, which runs in a separate process.
    on_progress
        Function that is called with the number of files read so far.
    """
    bases, limits = pdfs(), limits or Limits()
    times: list[float] = []
    faults: list[str] = []

    with temporary_folder() as folder, IsolatedReader(limits) as reader:
        for number in range(count):
            data = damaged(bases[number % len(bases)], random.Random(f"{seed} {number}"), DAMAGE)
            (folder / f"{number}.pdf").write_bytes(data)

        def read(path: Path, name: str) -> ReadFile | Rejected:
            begun = time.monotonic()
            found = reader.read(path, name)
            times.append(time.monotonic() - begun)
            pages = len(found.full_text.pages) if isinstance(found, ReadFile) else 0
            if times[-1] > limits.seconds + limits.seconds_per_page * max(pages, 10) + _BESIDES:
                faults.append(f"{name}: took {times[-1]:.0f} seconds")
            return found

        files = find_files([folder]).files
        matcher = Matcher([Record(record_id="text:1", title=TITLE)], files, {})
        attached = attach(files, matcher, read, folder / "out/fulltexts.parquet", on_progress)
        faults += [
            f"{text.source_file}: {fault}"
            for text in iterate_full_texts(folder / "out/fulltexts.parquet")
            if (fault := untiled(text))
        ]
    if attached.files != count:
        faults.append(f"{count} files were written, but {attached.files} were counted")
    return Outcome(attached, max(times), faults)


def described(outcome: Outcome) -> Sequence[str]:
    """Return lines of text that describe the results."""
    found = outcome.attached
    lines = [
        f"{found.files} files: {len(found.attached)} attached, {len(found.duplicates)} duplicates, "
        f"{len(found.unmatched)} unmatched, {len(found.rejected)} rejected; slowest {outcome.slowest:.1f} seconds",
        *(f"{count}: {reason}" for reason, count in outcome.reasons().most_common()),
        *(f"fault: {fault}" for fault in outcome.faults),
    ]
    return [*lines, f"{len(outcome.faults)} faults"]


def main() -> None:
    """Damage PDFs, attach them, and print the results."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="number of damaged files")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    outcome = attach_damaged(asked.count, asked.seed)
    sys.stdout.write("\n".join([*described(outcome), ""]))
    sys.exit(bool(outcome.faults))


if __name__ == "__main__":
    main()
