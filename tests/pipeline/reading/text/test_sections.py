"""Test notes, keyword lists and cut-off abstracts, and that exports and tables are cleaned in the same way."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mechtag.core.parquet import read_records, write_records
from mechtag.core.records import Record, Sentence
from mechtag.core.settings import SentenceSettings
from mechtag.pipeline.reading.ingest import ingest
from mechtag.pipeline.reading.text.cleaning import clean_abstract, clean_record, clean_text
from mechtag.pipeline.reading.text.headings import find_headings
from mechtag.pipeline.reading.text.sections import find_content, is_cut, is_note, note_of
from mechtag.pipeline.reading.text.sentences import split
from tests.support.command import call

TEXT = "Two wards shared a plan. Nurses and managers kept it together."


def record(abstract: str, keywords: tuple[str, ...] = (), title: str = "Shared plans") -> Record:
    return Record(record_id="text:1", title=title, abstract=abstract, keywords=keywords)


def cut(abstract: str) -> list[Sentence]:
    return list(split([record(abstract)], SentenceSettings()))


def sections(abstract: str) -> list[tuple[str, str]]:
    return [(sentence.section, sentence.text) for sentence in cut(abstract)]


TAILS = [
    ("Keywords: leadership; merger; integrated care", ("leadership", "merger", "integrated care")),
    ("Key words: trust, wards, shared plans.", ("trust", "wards", "shared plans")),
    ("KEYWORDS trust; wards", ("trust", "wards")),
    ("Keywords Trust; Wards", ("Trust", "Wards")),
    ("Key-words – trust; wards", ("trust", "wards")),
    ("Index terms—Trust, wards", ("Trust", "wards")),
    ("MeSH terms: Trust; Delivery of Care, Shared", ("Trust", "Delivery of Care, Shared")),
    ("Author keywords: trust • wards • plans", ("trust", "wards", "plans")),
    ("Keywords: trust, Wards, TRUST", ("trust", "Wards")),
    ("Keywords\ntrust\nshared wards", ("trust", "shared wards")),
    ("Keywords: trust; wards MeSH terms: Plans; Nurses", ("trust", "wards", "Plans", "Nurses")),
    ("Keywords: trust; wards © 2019 Invented Press Ltd. All rights reserved.", ("trust", "wards")),
    ("Keywords: trust", ("trust",)),
    ("Keywords:", ()),
]


@pytest.mark.parametrize("gap", [" ", "", "\n"])
@pytest.mark.parametrize(("tail", "keywords"), TAILS)
def test_a_list_at_the_end_becomes_keywords(tail: str, keywords: tuple[str, ...], gap: str) -> None:
    assert clean_record(record(TEXT + gap + tail)) == record(TEXT, keywords)
    # If the text may not be changed, the list becomes a section.
    found = cut(TEXT + gap + tail)
    assert "".join(one.text for one in found if not is_note(one.section)) == TEXT.replace(". ", ".")
    assert {one.section for one in found[2:]} <= {"keywords", "notice"}


def test_keywords_join_those_of_the_record_in_any_case() -> None:
    cleaned = clean_record(record(f"{TEXT} Keywords: Trust; wards; Plans; WARDS", ("wards", " trust ", "Care")))
    assert cleaned.keywords == ("wards", "trust", "Care", "Plans")


def test_a_list_is_found_where_the_last_full_stop_was_dropped() -> None:
    assert clean_record(record("Two wards shared a plan Keywords: trust; wards")).abstract == "Two wards shared a plan"


@pytest.mark.parametrize(
    "text",
    [
        f"{TEXT} We searched keywords: trust; wards; plans",
        f"{TEXT} We searched with the Keywords: trust; wards",
        f"{TEXT} Experts proposed Keywords: trust, wards",
        f"{TEXT} The wards were rated (keywords: trust, wards)",
        f"{TEXT} Keywords: trust; wards. We met both teams and they spoke at length of it.",
        f"{TEXT} Keywords: trust, which nurses had, and plans, which they lacked.",
        f"{TEXT} Keywords: every plan that two wards made in one long year and kept, none",
        f"{TEXT} Keywords were few, rare, odd.",
        f"{TEXT} Key words matter, nurses said, often.",
        f"{TEXT} Keywords: trust; wards. Trial registration: ISRCTN00000000.",
        f"Keywords: trust; wards. {TEXT}",
    ],
)
def test_sentences_are_never_swallowed(text: str) -> None:
    assert clean_record(record(text)) == record(text)
    evidence = " ".join(one.text for one in cut(text) if not is_note(one.section))
    assert TEXT in evidence
    for sentence in ("We met both teams and they spoke at length of it.", "which they lacked.", "We searched"):
        assert (sentence in evidence) == (sentence in text)


def test_a_list_in_the_middle_is_a_section_of_its_own() -> None:
    assert sections("Wards met. Keywords: trust; wards. Nurses led both of them. They met.") == [
        ("", "Wards met."),
        ("keywords", "trust; wards."),
        ("", "Nurses led both of them."),
        ("", "They met."),
    ]


NOTES = [
    ("This work was funded by the National Institute of Invented Research.", "funding"),
    ("This study was supported by a grant from the Ward Foundation (12/34).", "funding"),
    ("Supported by a fellowship of the Ward Council.", "funding"),
    ("The authors received no specific funding for this work.", "funding"),
    ("The funder had no role in the design of the study.", "funding"),
    ("Funding: none.", "funding"),
    ("Trial registration: ISRCTN00000000.", "registration"),
    ("PROSPERO CRD42000000000.", "registration"),
    ("ClinicalTrials.gov identifier: NCT00000000", "registration"),
    ("The review was registered with PROSPERO (CRD42000000000).", "registration"),
    ("Ethical approval was granted by the invented committee (18/XX/0000).", "ethics"),
    ("The study was approved by the ethics committee of the ward.", "ethics"),
    ("Written informed consent was obtained from all participants.", "ethics"),
    ("The authors declare no conflict of interest.", "interests"),
    ("Competing interests: none declared.", "interests"),
    ("The authors have declared that they have no competing interests.", "interests"),
    ("Data are available from the authors upon request.", "data availability"),
    ("Level of evidence: IV.", "level of evidence"),
    ("Copyright 2010 Invented Press, Inc.", "notice"),
    ("(PsycINFO Database Record (c) 2016 APA, all rights reserved)", "notice"),
    ("(ABSTRACT TRUNCATED AT 250 WORDS)", "notice"),
]


@pytest.mark.parametrize(("text", "name"), NOTES)
def test_sentences_that_are_notes_are_named(text: str, name: str) -> None:
    assert note_of(text) == name
    assert is_note(name)


@pytest.mark.parametrize(("text", "name"), [note for note in NOTES if ":" not in note[0] and note[1] != "notice"])
def test_notes_are_sections_without_a_heading(text: str, name: str) -> None:
    assert sections(f"{TEXT} {text}")[2:] == [(name, text)]
    assert sections(f"Methods: We met. Conclusions: Plans help. {text}")[-1] == (name, text)


@pytest.mark.parametrize(
    "text",
    [
        "This study was supported by leaders in both trusts.",
        "This programme was funded by pooled budgets of two councils.",
        "Funding was cut at both sites.",
        "Supported by managers, nurses led the change.",
        "Registration of nurses rose in 2012.",
        "Clinical trials involved 60 patients in a prospective study.",
        "PsycINFO and two more were searched (until July 2014), which gave 17 studies.",
        "Ethical leadership was rare.",
        "Approval was given by those who led the wards.",
        "Conflict of roles was common among managers.",
        "The authors declare that trust had led to no plan.",
        "Data were available for ten wards.",
        "Copyright reform was slow.",
        "This study was funded by the Ward Council and explored how nurses lead.",
        "Level of evidence differed among wards.",
    ],
)
def test_content_is_not_a_note(text: str) -> None:
    assert note_of(text) == ""
    assert sections(text) == [("", text)]


def test_a_heading_of_notes_covers_notes_only() -> None:
    assert sections("Plans help. Trial registration: ISRCTN00000000. Nurses kept it. Funding: The Ward Fund.") == [
        ("", "Plans help."),
        ("trial registration", "ISRCTN00000000."),
        ("", "Nurses kept it."),
        ("funding", "The Ward Fund."),
    ]


def test_what_protocols_say_of_approval_stays_under_its_heading() -> None:
    found = sections("Ethics and dissemination: Ethical approval was granted by a board. We tell all wards.")
    assert [section for section, _ in found] == ["ethics and dissemination"] * 2


@pytest.mark.parametrize(
    ("heading", "note"),
    [
        *((name, True) for name in ("Funding", "FUNDING:", "Funding sources", "Primary funding source")),
        *((name, True) for name in ("Trial registration", "PROSPERO registration number", "Study registration")),
        *((name, True) for name in ("Ethics approval", "Ethical approval", "Ethics", "Conflict of interest")),
        *((name, True) for name in ("Declaration of interests", "Competing interests", "Data availability statement")),
        *((name, True) for name in ("Level of evidence", "LEVEL OF EVIDENCE Level", "Keywords", "Copyright")),
        *((name, False) for name in ("Ethics and dissemination", "Methods and analysis", "", "Registered nurses")),
        *((name, False) for name in ("Patient or Public Contribution", "Interests of patients", "Data collection")),
        *((name, False) for name in ("Evidence synthesis", "Policy points", "Implications for practice", "Results")),
    ],
)
def test_headings_that_are_notes(heading: str, note: bool) -> None:
    assert is_note(heading) is note
    assert is_note(heading.lower()) is note


@pytest.mark.parametrize(
    "end",
    [
        *(" and", " of", " with the", ",", " (n = 12", " inter-", ":", " such as e.g.", "...", " …", " [...]", "…”"),
        *(". (ABSTRACT TRUNCATED AT 250 WORDS)", ".(ABSTRACT TRUNCATED AT 400 WORDS).", ". Conclusions:", "; (", " –"),
    ],
)
def test_abstracts_that_are_cut(end: str) -> None:
    assert is_cut(f"Nurses met. They shared a plan{end}")


@pytest.mark.parametrize(
    "end",
    [
        *("", ".", "?", ".”", " (n = 12)", " (n = 12).", " in 2010", " by 5%", ".;", " etc.", " with IT", ". [1]"),
        *(" of Dr. Adams", " on site www.example.org/a", " for us.\nThey left", " 12", " well", " “as was said”"),
    ],
)
def test_abstracts_that_are_whole(end: str) -> None:
    assert not is_cut(f"Nurses met. They shared a plan{end}")
    assert not is_cut("")


PIECES = st.sampled_from(
    [
        *"Keywords: |Key words|MeSH terms: |KEYWORDS |Index terms—|a; b|, c|. |.|;|trust|\n|\n\n|Methods\n".split("|"),
        *"© 2019 Ward Ltd.| ©|Copyright |(c) 2019 APA, all rights reserved|All rights reserved.|Published by W".split(
            "|"
        ),
        *"We met.|<p>|</p>|<b>|<|>|<i|i>|&amp;|amp;|&lt;|lt;|&|&#60;|<!--|-->|]]>|No abstract available".split("|"),
        *"Ã©|Ã|©|â€™|e\u0301|\u0301|\x00|\x1c|\r|\u2029|  ".split("|"),
    ]
)
TEXTS = st.one_of(st.text(max_size=120), st.lists(PIECES, max_size=25).map("".join), st.lists(PIECES).map(" ".join))


@pytest.mark.slow
@settings(max_examples=1500)
@given(TEXTS, TEXTS, st.lists(TEXTS, max_size=3).map(tuple))
@example("<" * 8 + "p>" * 8, "&" + "amp;" * 30 + "lt;p>", ())
@example("a", "One.\n\nTwo\nthree. Keywords: a; b\nKeywords: c", ("B",))
@example("a", "KEYWORD:A,A", ())
@example("a", "&Atilde;&copy; Ã", ())
def test_cleaning_twice_is_cleaning_once(title: str, abstract: str, keywords: tuple[str, ...]) -> None:
    once = clean_record(record(abstract, keywords, title))
    assert clean_record(once) == once
    raw, listed = clean_abstract(abstract)
    assert clean_record(record(raw, listed)) == record(raw, listed)
    assert clean_text(clean_text(title)) == clean_text(title)


@settings(max_examples=300)
@given(TEXTS)
def test_what_is_cut_off_the_ends_is_found_once(text: str) -> None:
    content = find_content(text)
    kept = text[content.start : content.end]
    assert kept == kept.strip()
    assert find_content(kept) == (0, len(kept), ())
    assert all(text[tail.start : tail.end].strip() for tail in content.tails)
    for sentence in cut(text):
        assert text[sentence.start : sentence.end] == sentence.text


# Each piece is repeated until the text is long; rules look at the end of the text first.
HOSTILE = [
    "Keywords: ",
    "Keywords: a; ",
    "Keywords\n",
    "KEY WORDS ",
    "© 2019 Ward Ltd. ",
    "Copyright of ",
    "a; ",
    "\n",
    ". ",
    "...",
    "((((",
    "Registration registration ",
    "This study was funded by ",
    "consent informed written ",
    "funding and support ",
    "Design, data and ",
    "Methods and ",
    "What are the implications for and/or ",
    "Policy points of the ",
]


def seconds(work: Callable[[str], object], text: str) -> float:
    best = float("inf")
    for _ in range(3):
        begin = time.process_time()
        work(text)
        best = min(best, time.process_time() - begin)
    return best


@pytest.mark.slow
@pytest.mark.parametrize("piece", HOSTILE)
@pytest.mark.parametrize(
    "work", [find_headings, find_content, is_cut, note_of, is_note.__wrapped__, clean_abstract, cut]
)
def test_twice_the_text_takes_twice_as_long(work: Callable[[str], object], piece: str) -> None:
    short, long = (piece * (size // len(piece)) for size in (20_000, 40_000))
    # Times below a few hundredths of a second depend on the clock and on other processes.
    assert seconds(work, long) < 3 * seconds(work, short) + 0.05
    assert seconds(work, piece * (200_000 // len(piece))) < 10


def test_exports_and_tables_are_cleaned_alike(tmp_path: Path) -> None:
    raw = f"<p>{TEXT}</p> Keywords: Trust; wards &amp; plans © 2019 Invented Press Ltd."
    export = tmp_path / "export.ris"
    export.write_text(f"TY  - JOUR\nTI  - Shared <i>plans</i>\nKW  - trust\nAB  - {raw}\nER  - \n", encoding="utf-8")
    (read,) = ingest([export]).records
    made = clean_record(record(raw, ("trust",), "Shared <i>plans</i>"))
    expected = (TEXT, ("trust", "wards & plans"), "Shared plans")
    for found in (read, made):
        assert (found.abstract, found.keywords, found.title) == expected
    write_records(tmp_path / "raw.parquet", [record(raw, ("trust",), "Shared <i>plans</i>")])
    (found,) = ingest([tmp_path / "raw.parquet"]).records
    assert (found.abstract, found.keywords, found.title) == expected


def test_paragraphs_of_our_own_tables_stay(tmp_path: Path) -> None:
    write_records(tmp_path / "own.parquet", [record("Nurses met.\nThey spoke.\nMethods\nA survey.")])
    (found,) = ingest([tmp_path / "own.parquet"]).records
    assert found.abstract == "Nurses met.\nThey spoke.\nMethods\nA survey."


def test_ingest_says_how_many_abstracts_were_cut_off(tmp_path: Path) -> None:
    export = tmp_path / "export.ris"
    ends = ("and the", "it ended. Keywords: trust; wards", "it went on...")
    export.write_text(
        "".join(f"TY  - JOUR\nTI  - Plan {n}\nAB  - Nurses met, {end}\nER  - \n\n" for n, end in enumerate(ends)),
        encoding="utf-8",
    )
    status, _, said = call("ingest", export, "-o", tmp_path / "records.parquet")
    assert status == 0
    assert "note: 2 abstracts end in mid-sentence, because they are truncated in the export" in said
    assert [is_cut(found.abstract) for found in read_records(tmp_path / "records.parquet")] == [True, False, True]
    assert '"abstracts_cut": 2' in (tmp_path / "ingest.json").read_text(encoding="utf-8")
