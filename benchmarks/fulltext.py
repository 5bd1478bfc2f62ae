"""Compare programs that read PDFs: count the sentences of the publisher's XML that each program extracts completely.

``python -m benchmarks.fulltext FOLDER...`` reads pairs of files ``NAME.pdf`` and ``NAME.xml`` (JATS) of the same paper.
"""

from __future__ import annotations

import argparse
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pypdfium2

from benchmarks.publish import publish, result
from mechtag.core.errors import MechtagError
from mechtag.pipeline.fulltext.document import assemble
from mechtag.pipeline.fulltext.formats import jats, pdf
from mechtag.pipeline.fulltext.sections import without_number
from mechtag.pipeline.fulltext.xml import every, local, parse, text_of

COMMAND = "python -m benchmarks.fulltext --publish FOLDER..."
# Elements that interrupt the sentences of a paragraph; their text is not compared.
_NOT_TEXT = frozenset(
    "table-wrap fig disp-formula inline-formula supplementary-material fn boxed-text table-wrap-group fig-group "
    "tex-math".split()
)
_FEWEST_WORDS, _FEWEST_SENTENCES, _SHORT_TITLE = 8, 15, 30
_SENTENCE_END = re.compile(r"(?<=[.?!])\s+(?=[A-Z])")
_TEXT = Path(__file__).with_suffix(".md").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Truth:
    """Content of a paper's XML, with which the text extracted from the PDF is compared.

    Attributes
    ----------
    cited
        Titles of the cited articles.
    headings
        Titles of the sections.
    """

    sentences: tuple[str, ...]
    cited: tuple[str, ...]
    headings: tuple[str, ...]


@dataclass(frozen=True)
class Reading:
    """Content that a reader extracted from a file.

    Attributes
    ----------
    text
        Text of the paper, without references if the reader recognises references.
    headings
        Letters of each heading or, if the reader does not recognise headings, of each line.
    """

    text: str
    headings: frozenset[str]
    pages: int


@dataclass
class Score:
    """Counts for one reader, over all papers.

    Attributes
    ----------
    sentences
        Number of sentences in the XML.
    words
        Number of these sentences that the extracted text contains word for word.
    letters
        Number of these sentences that the extracted text contains letter for letter, regardless of spaces, digits and
        punctuation.
    cited
        Number of cited articles, except those with short titles.
    left
        Number of cited articles whose titles the reader did not remove from the text.
    titles
        Number of section titles in the XML.
    headings
        Number of these titles that the reader recognised as headings.
    """

    sentences: int = 0
    words: int = 0
    letters: int = 0
    cited: int = 0
    left: int = 0
    titles: int = 0
    headings: int = 0
    pages: int = 0
    seconds: float = 0.0
    failed: list[str] = field(default_factory=list)


def read_truth(path: Path) -> Truth:
    """Read the sentences, section titles and titles of cited articles from the JATS XML of a paper.

    Very short sentences and titles of cited articles, and sentences with formulas, are left out.
    """
    root = parse(path.read_bytes(), path.name)
    sentences, headings = list[str](), list[str]()
    for body in every(root, "body"):
        for paragraph in every(body, "p"):
            if any(local(above) in _NOT_TEXT for above in paragraph.iterancestors()):
                continue
            whole = " ".join(text_of(paragraph, _NOT_TEXT).split())
            sentences += [
                each
                for each in _SENTENCE_END.split(whole)
                if len(each.split()) >= _FEWEST_WORDS and not re.search("[=±<>]", each)
            ]
        headings += [text_of(each, _NOT_TEXT) for each in every(body, "title") if local(each.getparent()) == "sec"]
    cited = [text_of(each) for reference in every(root, "ref") for each in every(reference, "article-title")]
    return Truth(
        tuple(sentences),
        tuple(each for each in cited if len(each) > _SHORT_TITLE),
        tuple(each for each in headings if each.strip()),
    )


def words(text: str) -> str:
    """Return the words of a text in lower case, with one space before and after each word."""
    return " " + " ".join(re.findall(r"[^\W_]+", text.casefold())) + " "


def letters(text: str) -> str:
    """Return the letters of a text in lower case, without spaces, digits and punctuation."""
    return "".join(char for char in text.casefold() if char.isalpha())


def _ours(read: Callable[[bytes, str], Any], path: Path) -> Reading:
    draft = read(path.read_bytes(), path.name)
    text, sections, _ = assemble(draft.blocks, draft.page_labels)
    scored = "\n".join(text[each.start : each.end] for each in sections if each.kind != "references")
    titles = {letters(without_number(each.title)) for each in sections} | {letters(each.title) for each in sections}
    return Reading(scored, frozenset(titles), len(draft.page_labels))


def _lines(text: str, pages: int) -> Reading:
    return Reading(text, frozenset(letters(line) for line in text.splitlines()), pages)


def _pdfium(path: Path) -> Reading:
    document = pypdfium2.PdfDocument(path)
    pages = [page.get_textpage().get_text_range() for page in document]
    document.close()
    return _lines("\n".join(pages), len(pages))


def _pypdf(path: Path) -> Reading:
    import pypdf

    pages = [page.extract_text() for page in pypdf.PdfReader(path).pages]
    return _lines("\n".join(pages), len(pages))


def _pdftotext(path: Path) -> Reading:
    done = subprocess.run(["pdftotext", str(path), "-"], capture_output=True, check=True)
    text = done.stdout.decode("utf-8", "replace")
    return _lines(text.replace("\f", "\n"), text.count("\f"))


def readers() -> Iterator[tuple[str, str, Callable[[Path], Reading]]]:
    """Yield the name, file suffix (such as ``.pdf``) and function of each program that is installed on this machine."""
    yield "mechtag", ".pdf", lambda path: _ours(pdf.read, path)
    yield "mechtag, from JATS", ".xml", lambda path: _ours(jats.read, path)
    yield "pypdfium2", ".pdf", _pdfium
    try:
        import pypdf  # noqa: F401

        yield "pypdf", ".pdf", _pypdf
    except ImportError:
        print("pypdf is not installed, so it is left out of the comparison", file=sys.stderr)  # noqa: T201
    if shutil.which("pdftotext"):
        yield "pdftotext", ".pdf", _pdftotext


def score(papers: Sequence[Path], suffix: str, read: Callable[[Path], Reading]) -> Score:
    """Read the files of papers with one reader, and count which content of the papers' XML the reader extracted.

    Parameters
    ----------
    suffix
        Suffix of the files that the reader reads, such as ``.pdf``.
    """
    total = Score()
    for paper in papers:
        truth = read_truth(paper.with_suffix(".xml"))
        start = time.process_time() + resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        try:
            found = read(paper.with_suffix(suffix))
        except (MechtagError, pypdfium2.PdfiumError, subprocess.CalledProcessError, ValueError) as error:
            total.failed.append(f"{paper.name}: {error}")
            found = Reading("", frozenset(), 0)
        total.seconds += time.process_time() + resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - start
        by_word, by_letter = words(found.text), letters(found.text)
        total.pages += found.pages
        total.sentences += len(truth.sentences)
        total.words += sum(words(each) in by_word for each in truth.sentences)
        total.letters += sum(letters(each) in by_letter for each in truth.sentences)
        total.cited += len(truth.cited)
        total.left += sum(letters(each) in by_letter for each in truth.cited)
        total.titles += len(truth.headings)
        total.headings += sum(letters(each) in found.headings for each in truth.headings)
    return total


def papers_in(folder: Path) -> list[Path]:
    """Return the PDFs of a folder whose XML file has enough sentences to compare."""
    found = sorted(path for path in folder.glob("*.pdf") if path.with_suffix(".xml").exists())
    return [path for path in found if len(read_truth(path.with_suffix(".xml")).sentences) >= _FEWEST_SENTENCES]


def rows_of(dataset: str, system: str, total: Score) -> list[dict[str, Any]]:
    """Return the rows of the results table for one reader of full texts."""
    rows = [
        result(dataset, system, "whole, words", total.words / max(1, total.sentences)),
        result(dataset, system, "whole, letters", total.letters / max(1, total.sentences)),
        result(dataset, system, "references left", total.left / max(1, total.cited)),
        result(dataset, system, "headings", total.headings / max(1, total.titles)),
    ]
    if total.pages:
        rows.append(result(dataset, system, "CPU ms per page", 1000 * total.seconds / total.pages))
    return rows


def main() -> None:
    """Read all pairs of each folder with all readers, and print or publish the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, help="folders of pairs; the name of a folder names its corpus")
    parser.add_argument("--publish", action="store_true", help="write the figures to docs/benchmarks")
    arguments = parser.parse_args()
    rows, sentences, pairs = list[dict[str, Any]](), 0, 0
    for folder in arguments.folders:
        papers = papers_in(folder)
        if not papers:
            sys.exit(
                f"{folder}: no PDF has an XML file of the same name with at least {_FEWEST_SENTENCES} sentences; "
                "pass a folder with such pairs"
            )
        pairs += len(papers)
        for system, suffix, read in readers():
            total = score(papers, suffix, read)
            found = rows_of(folder.name, system, total)
            rows += found
            print(system, *(f"{row['metric']} {row['value']:.3f}" for row in found), sep=", ")  # noqa: T201
            for fault in total.failed:
                print("  failed:", fault)  # noqa: T201
        sentences += total.sentences
    if arguments.publish:
        text = _TEXT.format(pairs=pairs, sentences=sentences)
        publish(
            "fulltext",
            COMMAND,
            rows,
            text,
            versions=("pypdfium2", "pypdf", "lxml", f"pdftotext {_pdftotext_version()}"),
        )


def _pdftotext_version() -> str:
    done = subprocess.run(["pdftotext", "-v"], capture_output=True, check=True)
    return done.stderr.decode().split()[2]


if __name__ == "__main__":
    main()
