"""Test that articles in PDFs are read as running text, in which columns and boxes do not interrupt sentences."""

from __future__ import annotations

import io
import tracemalloc

import pytest
from fpdf import FPDF
from PIL import Image

from mechtag.core.errors import MechtagError
from mechtag.pipeline.fulltext.document import Assembled, assemble
from mechtag.pipeline.fulltext.formats.pdf import read
from tests.support.journal import Journal, pages


def article() -> Journal:
    """Return an article on two pages of two columns, with a table and divided words between its sentences."""
    made = Journal(lowest=210)
    made.lines("Leaders of orchards: a study", style="B", size=16)
    made.lines("Ann Ash and Bob Birch", size=9)
    made.heading("Abstract")
    made.lines("Orchards need leaders. We asked who leads.")
    made.heading("1. Introduction")
    made.lines(
        "Leaders share their work with the har-",
        "vesters. Some leaders of well-kept or-",
        "chards share little. Orchards differ, and",
    )
    made.next_column()
    made.lines("the decision-makers know it.")
    made.heading("2. Methods")
    made.heading("2.1 Interviews", level=2)
    made.lines("We asked forty people in four orchards and wrote", "down what they said. Decision-makers were asked")
    made.lines("Table 1. People by orchard", size=8, gap=14)
    made.lines("North 10 12", "South 11 7", size=8)
    made.next_column()
    made.lines("on two days. Harvesters were asked on one.")
    made.heading("3. Results")
    made.lines("Leaders who listened kept their harvesters.", "Their orchards were harvested in time.")
    made.heading("References")
    made.lines("1. Ash A. Who leads an orchard? Fruit 2010.", "2. Birch B. Who follows? Fruit 2011.")
    return made


def assembled(data: bytes) -> Assembled:
    draft = read(data, "a.pdf")
    return assemble(draft.blocks, draft.page_labels)


def test_an_article_is_read_section_by_section() -> None:
    text, sections, page_list = assembled(article().data())
    found = [(section.kind, section.title, section.level, text[section.start : section.end]) for section in sections]
    assert found == [
        ("other", "Leaders of orchards: a study", 1, "Leaders of orchards: a study\nAnn Ash and Bob Birch\n\n"),
        ("abstract", "Abstract", 1, "Abstract\nOrchards need leaders. We asked who leads.\n\n"),
        (
            "introduction",
            "1. Introduction",
            1,
            "1. Introduction\nLeaders share their work with the harvesters. Some leaders of well-kept orchards share "
            "little. Orchards differ, and the decision-makers know it.\n\n",
        ),
        ("methods", "2. Methods", 1, "2. Methods\n\n"),
        (
            "methods",
            "2.1 Interviews",
            2,
            "2.1 Interviews\nWe asked forty people in four orchards and wrote down what they said. Decision-makers "
            "were asked on two days. Harvesters were asked on one.\n\n",
        ),
        ("caption", "", 2, "Table 1. People by orchard\n\n"),
        ("table", "", 2, "North 10 12 South 11 7\n\n"),
        (
            "results",
            "3. Results",
            1,
            "3. Results\nLeaders who listened kept their harvesters. Their orchards were harvested in time.\n\n",
        ),
        (
            "references",
            "References",
            1,
            "References\n1. Ash A. Who leads an orchard? Fruit 2010. 2. Birch B. Who follows? Fruit 2011.",
        ),
    ]
    assert [page.number for page in page_list] == [1, 2]
    assert text[page_list[1].start :].startswith("on two days.")


def test_a_password_a_scan_and_a_damaged_file_are_refused_with_what_to_do() -> None:
    made = FPDF()
    made.set_encryption(owner_password="owner", user_password="user")
    made.add_page()
    with pytest.raises(
        MechtagError, match=r"a\.pdf is protected by a password; open the file, and save it without a password"
    ):
        read(bytes(made.output()), "a.pdf")
    picture = io.BytesIO()
    Image.new("L", (60, 80), 128).save(picture, "PNG")
    made = FPDF()
    for _ in range(2):
        made.add_page()
        made.image(picture, w=100)
    with pytest.raises(MechtagError, match=r"a\.pdf is a scan without text \(2 of 2 pages have no text\); .*ocrmypdf"):
        read(bytes(made.output()), "a.pdf")
    # The command can be copied to a shell.
    with pytest.raises(MechtagError, match=r"ocrmypdf 'Ash 2010; \$HOME\.pdf' with_text\.pdf$"):
        read(bytes(made.output()), "Ash 2010; $HOME.pdf")
    data = article().data()
    for damaged in (data[: len(data) // 3], b"%PDF-1.4\n", b""):
        with pytest.raises(MechtagError, match=r"a\.pdf cannot be read as a PDF, because it is damaged or cut off"):
            read(damaged, "a.pdf")


def test_a_file_that_only_forbids_copying_is_read() -> None:
    made = FPDF()
    made.set_encryption(owner_password="owner")
    made.add_page()
    made.set_font("Times", size=10)
    made.multi_cell(0, 12, "The orchard stood open to all who wished to pick the apples that nobody else wanted.")
    assert "open to all" in assembled(bytes(made.output())).text


def test_pages_without_text_among_others_are_counted() -> None:
    draft = read(pages(["Orchards need leaders. " * 20, "", "Harvesters follow leaders. " * 20]), "a.pdf")
    assert draft.scanned_pages == 1
    assert draft.warnings == ["1 of 3 pages have no text."]
    assert [page.number for page in assemble(draft.blocks, draft.page_labels).pages] == [1, 2, 3]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_pages() -> None:
    data = pages([f"Orchard {number} was harvested in time. " * 30 for number in range(500)])
    tracemalloc.start()
    try:
        draft = read(data, "a.pdf")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(draft.page_labels) == 500
    assert peak < 100_000_000


def test_a_box_and_a_footnote_do_not_interrupt_a_sentence() -> None:
    made = Journal(columns=1)
    made.heading("Introduction")
    made.lines(*["Orchards are led by those who know the trees and the people who pick the apples there."] * 12)
    made.lines("Leaders who listen to their harvesters keep them, and those")
    made.lines("Correspondence: ann@example.org", size=7, gap=200)
    made.next_column()
    made.lines(
        "who do not listen lose them.", *["Nobody knows why this has been so in all the years that we know of."] * 9
    )
    assert "keep them, and those who do not listen lose them." in assembled(made.data()).text


def test_the_second_line_of_a_heading_belongs_to_it() -> None:
    made = Journal()
    made.heading("Results")
    made.lines(*["Leaders who listened kept their harvesters."] * 9)
    made.lines("Why harvesters and", "growers", style="B", gap=10)
    made.lines(*["Their orchards were harvested in time."] * 9, gap=4)
    _, sections, _ = assembled(made.data())
    # The running head of a single page is not recognised.
    assert [section.title for section in sections][1:] == ["Results", "Why harvesters and growers"]


def test_a_heading_on_the_line_of_its_text_is_separated() -> None:
    made = Journal(columns=1)
    made.heading("2. Methods")
    made.lines(
        "2.1. Search Strategy. We searched four databases of orchards for all that was", "written about leaders."
    )
    made.lines("2.2. Data. Nothing was left out.", gap=6)
    titles = [(section.title, section.kind) for section in assembled(made.data()).sections if section.title]
    assert titles == [("2. Methods", "methods"), ("2.1. Search Strategy", "methods"), ("2.2. Data", "methods")]


def kinds_and_texts(data: bytes) -> list[tuple[str, str]]:
    text, sections, _ = assembled(data)
    return [(section.kind, text[section.start : section.end].strip()) for section in sections]


def prose(subject: str, count: int) -> list[str]:
    """Return ``count`` lines of running text, each of which is one sentence."""
    return [
        f"The {subject} of orchard {'abcdefghijklmnopqrstuvwxyz'[number]} worked with all others."
        for number in range(count)
    ]


def test_the_line_numbers_of_a_manuscript_are_not_text() -> None:
    made = Journal(columns=1, head="", lowest=300)
    number = 0
    for title, body in (
        ("Methods", prose("people", 20)),
        ("Results", [*prose("leaders", 20), "Of these, 3 orchards", "5 of which were new, grew."]),
    ):
        number += 1
        made.lines(f"{number} {title}", style="B", size=12, gap=10)
        for line in body:
            number += 1
            made.lines(f"{number} {line}")
    found = [(kind, " ".join(text.split())) for kind, text in kinds_and_texts(made.data())]
    assert found == [
        ("methods", " ".join(["Methods", *prose("people", 20)])),
        ("results", " ".join(["Results", *prose("leaders", 20), "Of these, 3 orchards 5 of which were new, grew."])),
    ]


def test_the_numbers_of_the_rows_of_a_table_are_kept() -> None:
    made = Journal(columns=1, head="")
    made.heading("Results")
    made.lines(*prose("leaders", 24))
    made.next_column()
    made.lines("Table 1. Orchards", size=8)
    made.lines(*(f"{number} Orchard {'abcdefghijkl'[number]}" for number in range(12)), size=8)
    made.next_column()
    made.lines(*prose("people", 24))
    assert any(kind == "table" and "3 Orchard d 4 Orchard e" in text for kind, text in kinds_and_texts(made.data()))


def test_each_chapter_may_have_its_own_references() -> None:
    made = Journal(columns=1, head="")
    cited = [f"Ash A, Birch B. Who leads an orchard? Fruit 201{number};3:1-{number}." for number in range(9)]
    for number, title in enumerate(("Why orchards need leaders", "What leaders do"), start=1):
        made.heading(f"{number} {title}")
        made.lines(*prose("leaders" if number == 1 else "people", 12))
        made.heading("References", level=2)
        made.lines(*cited[:4])
        # A heading within a list of references does not end the list.
        made.heading("Websites about orchards")
        made.lines(*cited[4:])
    found = kinds_and_texts(made.data())
    assert [(kind, text.partition("\n")[0]) for kind, text in found] == [
        ("other", "1 Why orchards need leaders"),
        ("references", "References"),
        ("other", "2 What leaders do"),
        ("references", "References"),
    ]
    assert " ".join(prose("people", 12)) in found[2][1]


def test_a_drop_cap_is_the_first_letter_of_its_paragraph() -> None:
    made = Journal(columns=1, head="")
    # Some programs write drop caps before all other text of the page.
    made.pdf.set_font("Times", "", 34)
    for letter, y in (("O", 212), ("A", 312)):
        made.pdf.text(50, y, letter)
    made.heading("Introduction")
    made.lines(*prose("leaders", 8), "A new leader came. Orchards grew.")
    for y, first, second in (
        (200, "rchards need leaders who listen,", "and they need time."),
        (300, "new leader needs more time,", "and help from others."),
    ):
        made.pdf.text(78, y, first)
        made.pdf.text(78, y + 12, second)
        made._y = y + 24
        made.lines(*prose("people", 2))
    ((_, text),) = kinds_and_texts(made.data())
    assert "\nOrchards need leaders who listen, and they need time. The people" in text
    assert "\nA new leader needs more time, and help from others. The people" in text


def test_a_section_begins_after_a_table() -> None:
    made = Journal(columns=1, head="")
    made.heading("Methods")
    made.lines(*prose("people", 8))
    made.lines("Table 1. People by orchard", size=8, gap=14)
    made.lines("Results 10 12", "South 11 7", size=8)
    made.heading("Results")
    made.lines(*prose("leaders", 4))
    assert [kind for kind, _ in kinds_and_texts(made.data())] == ["methods", "caption", "table", "results"]
