import csv
import gzip
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.sets import BENCH
from mechtag.pipeline.reading.text.cleaning import MENDED, clean_abstract, clean_text, mend_mojibake
from mechtag.pipeline.reading.text.headings import find_headings
from mechtag.pipeline.reading.text.sections import find_content

TEXT = "Nurses shared the lead. Wards kept their plans."


def cut_notices(text: str) -> str:
    """Return a text without the notices at its start and end."""
    content = find_content(text)
    return text[content.start : content.end]


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("<i>Escherichia coli</i> in <b>two</b> wards", "Escherichia coli in two wards"),
        ("CO<sub>2</sub>, 10<sup>6</sup> and 10<jats:sup>-3</jats:sup> m<SUP>2</SUP>", "CO2, 10⁶ and 10⁻³ m²"),
        ("1<sup>st</sup> <span class='a b' id=x>of</span> two<br/>lines", "1st of two lines"),
        ('<mml:math xmlns:mml="http://x"><mml:mi>p</mml:mi></mml:math> here', "p here"),
        ("p < 0.05 and n > 30; a<b and c>d; <5 to >90", "p < 0.05 and n > 30; a<b and c>d; <5 to >90"),
        ("the <Rotarod> and <open field> tests, <i> of n, x <p and q> r", None),
        ("p &lt; 0.05 &amp; q &gt; 1", "p < 0.05 & q > 1"),
        ("Health &amp;amp; Care, M&uuml;ller&#39;s &#x2013; plan&nbsp;B", "Health & Care, Müller's – plan B"),
        ("&lt;i&gt;In vitro&lt;/i&gt; study", "In vitro study"),
        ("R&D at AT&T; see ?a=1&copy=2 &unknown; &#xD800; Q&A", "R&D at AT&T; see ?a=1&copy=2 &unknown; \ufffd Q&A"),
        ("before<!-- hidden --> after <![CDATA[cut]]>", "before after cut"),
        ("an open <!-- comment", None),
        ("two  spaces,\ta tab and\u00a0one more", "two spaces, a tab and one more"),
        ("Fu\u0308hrung", "Führung"),
        ("\u1112\u1161\u11ab", "한"),
        ("odd\x07 bells\ufeff\x85", "odd bells"),
        ("", ""),
    ],
)
def test_texts(raw: str, clean: str | None) -> None:
    assert clean_text(raw) == (raw if clean is None else clean)


@pytest.mark.parametrize("value", [None, True, [], {}, float("nan"), float("inf")])
def test_text_without_content(value: object) -> None:
    assert clean_text(value) == ""


def test_numbers() -> None:
    assert [clean_text(value) for value in (12, 12.0, 1.5, 10**400)] == ["12", "12", "1.5", "1" + "0" * 400]


@given(st.text())
def test_cleaned_text_is_one_composed_line(text: str) -> None:
    cleaned = clean_text(text)
    assert "\n" not in cleaned
    assert "  " not in cleaned
    assert cleaned == cleaned.strip()
    assert unicodedata.is_normalized("NFC", cleaned)


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters="<&")))
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert clean_text(text) == " ".join(text.split())


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "mac_roman"])
@pytest.mark.parametrize(
    "text", ["café", "the ward’s plan", "“shared lead” – a review", "Orléans", "15 °C ± 2", "Müller’s"]
)
def test_wrongly_decoded_text_is_repaired_and_reported(encoding: str, text: str) -> None:
    # Windows-1252 leaves five bytes undefined, which programs take as Latin-1 does.
    wrong = "".join(
        bytes([byte]).decode("latin-1" if byte in (0x81, 0x8D, 0x8F, 0x90, 0x9D) and encoding == "cp1252" else encoding)
        for byte in text.encode()
    )
    told: list[str] = []
    assert clean_text(wrong, told) == text
    assert told == [MENDED]


def test_doubly_wrong_decoding_is_undone() -> None:
    text = "naïve – it’s"
    assert mend_mojibake(text.encode().decode("cp1252").encode().decode("cp1252")) == text


@pytest.mark.parametrize(
    "text",
    [
        *("“IRMÃ” disse", "LE CAFÉ”", "À la carte…", "Ça va – très bien", "ÉTÉ… été", "MANHÃ’ e NOITE", "ß-Blocker"),
        *("Ñandú", "NAÏVE’", "Ðê", "Đà Nẵng", "√2 and ¬p", "a‚b", "Âge moyen", "Î’m not", "Ελλάδα", "Привет", "日本語"),
    ],
)
def test_real_letters_are_not_mended(text: str) -> None:
    told: list[str] = []
    assert clean_text(text, told) == text
    assert told == []


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("One line\nwraps here.\r\nAnd here.", "One line wraps here. And here."),
        ("One.\n\nTwo\nwrapped.\n \n\nThree.", "One.\nTwo wrapped.\nThree."),
        ("<p>One.</p><p>Two.</p>", "One.\nTwo."),
        ("Background\nWe asked.\nMETHODS:\nWe counted\nbeds.", "Background\nWe asked.\nMETHODS:\nWe counted beds."),
        ("Aim: to ask\nMethods: We counted\nbeds.", "Aim: to ask\nMethods: We counted beds."),
        (
            "<jats:sec><jats:title>Methods</jats:title><jats:p>We <jats:italic>asked</jats:italic>.</jats:p></jats:sec>"
            "<jats:sec><jats:title>Results</jats:title><jats:p>All said yes.</jats:p></jats:sec>",
            "Methods\nWe asked.\nResults\nAll said yes.",
        ),
        ("<h3>Objective</h3>To ask.<ul><li>One</li><li>Two</li></ul>", "Objective\nTo ask.\nOne\nTwo"),
        ("One.\u2029Two\u2028wrapped.", "One.\nTwo wrapped."),
        ("  \n\n ", ""),
    ],
)
def test_paragraphs_and_headings_of_abstracts(raw: str, clean: str) -> None:
    assert clean_abstract(raw) == (clean, ())


def test_titles_of_sections_are_found_as_headings() -> None:
    cleaned, _ = clean_abstract(
        "<sec><title>Methods</title><p>We asked.</p></sec><sec><title>Results</title>Yes.</sec>"
    )
    assert [heading.name for heading in find_headings(cleaned)] == ["methods", "results"]


@pytest.mark.parametrize(
    "notice",
    [
        "© 2019 Elsevier Ltd. All rights reserved.",
        "©2014 The Author(s).",
        "Copyright © 2013 S. Karger AG, Basel.",
        "Copyright 2010 Wiley-Liss, Inc.",
        "(c) 2015 APA, all rights reserved.",
        "Crown Copyright © 2009. Published by Elsevier B.V. All rights reserved.",
        "Published by Elsevier Ltd.",
        "© 2020 The Authors. Journal of Care published by Wiley Periodicals, Inc. on behalf of the Society of Care.",
        "(PsycINFO Database Record (c) 2016 APA, all rights reserved)",
        "(PsycInfo Database Record (c) 2020 APA, all rights reserved) (Source: journal abstract)",
        "This article is protected by copyright. All rights reserved.",
        "[ABSTRACT FROM AUTHOR]",
        "[ABSTRACT FROM AUTHOR] Copyright of Journal of applied invented care is the property of A & B Ltd. and its "
        "content may not be copied or emailed to multiple sites without the copyright holder's express written "
        "permission. However, users may print, download, or email articles for individual use. (Copyright applies to "
        "all Abstracts.)",
        "© 2012 Doe et al. This is an open access article distributed under the terms of the Creative Commons "
        "Attribution License (http://creativecommons.org/licenses/by/3.0), which permits unrestricted use, "
        "distribution, and reproduction in any medium, provided the original work is properly cited.",
    ],
)
@pytest.mark.parametrize("gap", [" ", "", "\n"])
def test_notices_at_the_end_are_cut(notice: str, gap: str) -> None:
    assert cut_notices(f"{TEXT}{gap}{notice}") == TEXT
    assert cut_notices(notice) == ""


@pytest.mark.parametrize("notice", ["© 2016 Elsevier Ltd. All rights reserved. ", "Copyright © 2012 The Authors. "])
def test_notices_at_the_start_are_cut(notice: str) -> None:
    assert cut_notices(notice + TEXT) == TEXT


@pytest.mark.parametrize(
    "text",
    [
        f"{TEXT} The NAMIC© procedure was used.",
        f"{TEXT} © RISK software served to simulate beds.",
        f"{TEXT} © 2019 Elsevier Ltd. Trial Registration: NCT01234567.",
        f"{TEXT} Copyright © 2015 Wiley. Key Practitioner Message: Nurses First.",
        f"{TEXT} Every page of the plan bore the words All rights reserved.",
        f"{TEXT} (c) the design must inform them; (d) costs.",
        f"{TEXT} Copyright law of 1976 changed how music was shared.",
        f"{TEXT} Published by the ministry, the plan was read by few.",
        f"{TEXT} All rights reserved for patients were listed.",
        f"{TEXT} This is an open access article about beds and how wards count them.",
        "Copyright and the nurse: who owns a care plan that many wrote?",
        "© 2019 was the year that nurses asked for a rise.",
    ],
)
def test_content_is_never_cut(text: str) -> None:
    assert cut_notices(text) == text


def test_no_abstract_available() -> None:
    assert [cut_notices(text) for text in ("[No abstract available]", "No abstract is available.")] == ["", ""]
    assert cut_notices("No abstract ideas were discussed.") == "No abstract ideas were discussed."


def test_notices_in_published_abstracts() -> None:
    """Text cut from the ends of real abstracts contains words of a notice, and few copyright signs remain there."""
    folder = BENCH / "screening"
    if not folder.is_dir():
        pytest.skip(f"needs {folder}; MECHTAG_BENCH names the folder of benchmark data")
    sign = re.compile(r"©|copyright|rights reserved|\(c\) ?\d{4}|abstract|published by|psycinfo|key ?words", re.I)
    cut = left = 0
    for name in ("wilson", "ace", "oud_2018"):
        with gzip.open(folder / f"{name}.csv.gz", "rt", encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                abstract = " ".join((row["abstract"] or "").split())
                kept = cut_notices(abstract)
                if kept != abstract:
                    cut += 1
                    gone = abstract.removeprefix(kept) if kept else abstract
                    assert sign.search(gone), gone
                    assert len(gone) < 700, gone
                left += bool(re.search(r"© ?\d{4}[^.]*\.?[^.]*$", kept[-200:]))
    assert cut > 500
    assert left < 0.03 * cut
