import subprocess
import sys
import time
from itertools import pairwise

import pytest
import spacy
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mechtag.core.errors import MechtagError
from mechtag.core.records import Record, Sentence
from mechtag.core.settings import SentenceSettings
from mechtag.pipeline.reading.ingest import ingest
from mechtag.pipeline.reading.text.headings import find_headings
from mechtag.pipeline.reading.text.sentences import sentence_before, split


def record(abstract: str, record_id: str = "text:1") -> Record:
    return Record(record_id=record_id, title="A title", abstract=abstract)


def cut(abstract: str, model: str = "") -> list[Sentence]:
    return list(split([record(abstract)], SentenceSettings(spacy_model=model)))


def texts(abstract: str) -> list[str]:
    return [sentence.text for sentence in cut(abstract)]


def sections(abstract: str) -> list[tuple[str, str]]:
    return [(sentence.section, sentence.text) for sentence in cut(abstract)]


# Each is one string with "|" where a sentence must end; the "|" is not part of the text.
BOUNDARIES = [
    "Nurses led the change. |Doctors followed.",
    "Tools (e.g., huddles, i.e. short meetings) helped. |They cost little.",
    "Use of e.g. Scrum boards grew.",
    "As Moss et al. (2011) showed, trust matters. |Others disagree.",
    "It follows Moss et al. |The sites differed.",
    "Teams were compared with Moss et al. Sites in Kent took part.",
    "Nurses vs. Doctors was the contest.",
    "Dr. Adams and Prof. Berg met Mrs. Cole at St. Mary. |They agreed.",
    "See Fig. 2 and Figs. 3 to 5. |No. 5 stands out.",
    "Room No. 5 was used, cf. Berg. |Approx. 20 staff came.",
    "Was it safe? |No. |Staff left.",
    "Care in the U.S. differs from that in the U.K. |We compared both.",
    "Trusts of the U.S. National network joined.",
    "She holds a Ph.D. from Oslo. |He has none.",
    "Made by Acme Inc. |The firm paid.",
    "Made by Acme Inc. Boston for us.",
    "J. Smith and A. B. Jones wrote it. |M. Berg did not.",
    "They had hepatitis B. |Patients recovered.",
    "We interviewed group A. |Staff of groups B. |Patients came last.",
    "In the sample, n. 5 and p. 12 were lost. |Vol. 3 was kept.",
    "It ran from Sept. 2010 to Jan. 2012. |It then ended.",
    "The effect was clear (p = .05). |It was 3.4% (95% CI 1.2-3.4). |We saw 0.001 once.",
    "The value was p < .05. |Thus it holds.",
    "The rate was p < 0. 02 in all.",
    "The stay was 24 h. |Staff then rested.",
    "Costs fell by 10 mg/d. |Managers were pleased.",
    "Doses at 9 a.m. and 5 p.m. were equal. |Nobody noticed.",
    "Trust was low.|Managers left.",
    "Half stayed (n = 5).|Others left in 2010.|Nobody returned.|DBT was tried.",
    "Data are at www.Example.Com and me@site.Org today.",
    "We used Node.js and x.Y in the work.",
    "The tool failed... |Why?",
    "They waited ... and waited… |Then it came.",
    "What works? |For whom! |Nobody knows.",
    "'Does it work?' asked one nurse. |'It does.' |Others laughed.",
    "They said “we lead.” |Then they left. |(It was late.) |All slept.",
    "The aims were (1) to lead; (2) to learn; and (3) to rest. |They were met.",
    "1. Lead by example. |2. Share the work.",
    "Lead by example.|2. Share the work.|3. Rest.",
    "(a) Lead. |(b) Follow.",
    "Leaders listen; followers talk; nobody writes.",
    "Trust grew at every site.1,2 |Managers said so.[3] |We agree.",
    "The first part ended.; |The second began.",
    "Care was shared. |mHealth helped. |25 nurses used it.",
    "We asked managers. |• They agreed. |• They signed.",
    "All was done. |© 2019 The Authors.",
    "One line\nwraps here. |Another does not.",
    "No full stop here\n\n|Next paragraph",
    "no full stop here\n\n|next paragraph",
    "A paragraph without a full stop\n|Another. |Three sites took part\n|12 nurses answered",
    "The aims were:\r\n|• To lead\r\n|• To learn\r\n|Both were\r\n  met.",
    "We asked Prof.\n|Dr. Adams did not answer.",
    "They met at 5 p.m. |Nurses came.",
    "Sites 1, 2, ... 10 took part. |See vol. III of it.",
    "It began in the USA.|Others followed.",
    "They said “Dr. Adams leads.”",
    "Trust grew. 25.",
    "很好。|2 人。|nurse 也来。",
    "工作很重要。|领导很少见！|谁知道？",
]


@pytest.mark.parametrize("marked", BOUNDARIES)
def test_boundaries(marked: str) -> None:
    expected = [part.strip() for part in marked.split("|")]
    assert texts(marked.replace("|", "")) == expected


HEADINGS = [
    ("Purpose - The paper asks why. Findings - Nobody knows.", ["purpose", "findings"]),
    ("Purpose – to ask why. Design/methodology/approach – A survey.", ["purpose", "design/methodology/approach"]),
    ("METHODS: We asked. RESULTS: They said. CONCLUSION: So what?", ["methods", "results", "conclusion"]),
    ("Background: a gap. Results and  discussion: of the 20, ten left.", ["background", "results and discussion"]),
    ("We met. OBJECTIVE: To meet again.", ["objective"]),
    ("We met.METHODS: We asked.", ["methods"]),
    ("We met staff RESULTS: They spoke.", ["results"]),
    ("Background\nCare is shared.\n\nMethods\nWe asked.", ["background", "methods"]),
    ("Background Care is shared. Methods Nurses were asked.", ["background", "methods"]),
    ("Objective To find out. Results 20 staff spoke.", ["objective", "results"]),
    ("BackgroundCare is shared.ResultsWe saw it.", ["background", "results"]),
    ("METHODSDesign: a trial. MAIN RESULTSStaff stayed.", ["methods", "design", "main results"]),
    ("Study Design. A survey. Conclusions. It works.", ["study design", "conclusions"]),
    ("[Purpose] To see. [Methods] We looked.", ["purpose", "methods"]),
    ("(1) Background: x is y; (2) Methods: we looked.", ["background", "methods"]),
    ("It is so.; BackgroundCare is shared; Methods: none.", ["background"]),
    ("THE CARE MODEL: it has parts. We tried it.", ["the care model"]),
    ("Abstract Background and Aims The aim was clear.", ["background and aims"]),
    ("Conclusions— It works. Authors' conclusions: it does.", ["conclusions", "authors' conclusions"]),
    ("Implications for practice: train staff.", ["implications for practice"]),
    (
        "PurposeThis paper asks why.Design/methodology/approachThe authors met two teams.FindingsThey met."
        "Research limitations/implicationsOne ward was seen.Originality/valueIt is new.",
        [
            "purpose",
            "design/methodology/approach",
            "findings",
            "research limitations/implications",
            "originality/value",
        ],
    ),
    ("Practical implications Managers should meet. It helps.", ["practical implications"]),
    ("Policy Points Leaders must share. They meet. Context Care is split.", ["policy points", "context"]),
    ("Wards met. PRACTITIONER POINTS Nurses lead.", ["practitioner points"]),
    (
        "METHODS AND ANALYSIS We ask. ETHICS AND DISSEMINATION A board agreed.",
        ["methods and analysis", "ethics and dissemination"],
    ),
    (
        "DESIGN/METHODOLOGY/APPROACH A survey. ORIGINALITY/VALUE This is new.",
        ["design/methodology/approach", "originality/value"],
    ),
    (
        "What is known about the topic? Little. What does this paper add? Much.",
        ["what is known about the topic", "what does this paper add"],
    ),
    ("Wards differ. What this study adds • Trust is slow.", ["what this study adds"]),
    (
        "IntroductionTeams are new. Theory/MethodsNurses met. Discussion and conclusionIt works.",
        ["introduction", "theory/methods", "discussion and conclusion"],
    ),
    ("Highlights (new ways, and effects): They met.", ["highlights"]),
    ("The test was run in version 26. Results: Half left.", ["results"]),
    ("We met. LEVEL OF EVIDENCE Expert view. It ends.", ["level of evidence"]),
    ("It ends. PROSPERO REGISTRATION NUMBER CRD42000000000.", ["prospero registration number"]),
    (
        "Aims and objectives. To see. Relevance to clinical practice. Nurses lead.",
        ["aims and objectives", "relevance to clinical practice"],
    ),
    ("Objectives (1) To see. Results mHealth was rare.", ["objectives", "results"]),
    # running prose
    ("Data from New York were used. Recommendations for future ACT work follow.", []),
    ("Results Patients with needs gave were mixed. Policy points were few.", []),
    ("The value was 0.05. Results: none.", ["results"]),
    ("What is known about the topic we asked? Practical implications were few.", []),
    ("The results: three themes. Methods were compared.", []),
    ("Results of the survey were clear. Participants said: yes.", []),
    ("Design Thinking was used. Purpose-built tools helped.", []),
    ("Methods – such as surveys – differ. Our findings: none.", []),
    ("We describe methods: a survey and a trial (Results: none).", []),
    ("They used two things: Methods and tools. HIV: a word.", []),
    ("ALL IS IN CAPITALS. THE AIMS WERE THREE: TO LEAD, TO LEARN. METHODS WERE FEW.", []),
    ("We asked for\nResults of the work.", []),
    ("We asked about Methods\nand tools. Current practice: nobody leads.", []),
]


@pytest.mark.parametrize(("abstract", "names"), HEADINGS)
def test_headings(abstract: str, names: list[str]) -> None:
    assert [heading.name for heading in find_headings(abstract)] == names


# Labels as journals print them, with what may come between a label and its text.
LABELS = (
    "Background|Purpose|Aims and objectives|Methods|Design/methodology/approach|Setting and participants|Data sources|"
    "Methods and analysis|Main outcome measures|Findings|Principal findings|Research limitations/implications|"
    "Practical implications|Originality/value|Ethics and dissemination|Implications for nursing management|"
    "Conclusions|Policy Points|Patient or Public Contribution|Trial registration number|Funding|Future work"
).split("|")


@pytest.mark.parametrize("join", [": ", " ", "", ":", "\n", " – ", " - ", ". "])
@pytest.mark.parametrize("before", [" ", "", "\n"])
def test_labels_in_any_joining(before: str, join: str) -> None:
    parts = [f"{label}{join}Twelve wards took part in {number} ways." for number, label in enumerate(LABELS)]
    found = cut(before.join(parts))
    assert [sentence.section for sentence in found] == [label.lower() for label in LABELS]
    assert {sentence.text[:17] for sentence in found} == {"Twelve wards took"}


def test_headings_become_sections_and_are_no_text() -> None:
    assert sections("We begin. Purpose - To see.\n\nMETHODS: Design: A survey. It ran.") == [
        ("", "We begin."),
        ("purpose", "To see."),
        ("design", "A survey."),
        ("design", "It ran."),
    ]


def test_a_number_that_ends_a_sentence_is_no_part_of_a_heading() -> None:
    assert sections("It was 0.05. Results: None left. We used version 26. Conclusions: It works.") == [
        ("", "It was 0.05."),
        ("results", "None left."),
        ("results", "We used version 26."),
        ("conclusions", "It works."),
    ]


def test_heading_offsets_cover_mark_and_punctuation() -> None:
    text = "It is so. (2)  Methods : We asked."
    (heading,) = find_headings("It is so. (2) Methods : We asked.")
    assert "It is so. (2) Methods : We asked."[heading.start : heading.end] == "(2) Methods :"
    assert [heading.name for heading in find_headings(text)] == ["methods"]


PIECES = st.sampled_from(
    "Methods |RESULTS:|Purpose – |Background\n|e.g.|et al.|J.|1.|(a)|.|?|...|\n\n|\r\n| |\u00a0|\u2028|The|care.The"
    "|trust|©|“|)|。|0.05|p < .05.|;|[Aim] |(2) Methods:|Keywords: |© 2019 Ward Ltd.".split("|")
)


@settings(max_examples=300)
@example("©RESULT:")
@example("© 2019 Ward Ltd. METHODS: We met. Keywords: a; b\nResults\nc")
@given(st.one_of(st.text(max_size=200), st.lists(PIECES, max_size=40).map("".join), st.lists(PIECES).map(" ".join)))
def test_sentences_and_headings_tile_the_abstract(abstract: str) -> None:
    headings = find_headings(abstract)
    sentences = cut(abstract)
    last = 0
    for number, sentence in enumerate(sentences):
        assert sentence.sentence == number
        assert abstract[sentence.start : sentence.end] == sentence.text == sentence.text.strip() != ""
        assert sentence.start >= last
        last = sentence.end
    covered = sorted([(s.start, s.end) for s in sentences] + [(h.start, h.end) for h in headings])
    assert all(end <= start for (_, end), (start, _) in pairwise(covered))
    rest = list(abstract)
    for start, end in covered:
        rest[start:end] = " " * (end - start)
    assert "".join(rest).strip() == ""


@example(" ".join(BOUNDARIES).replace("|", ""))
@example("See www.a.org/B.The and x@y.org.At.It。 。It was so.Then")
@given(st.one_of(st.text(max_size=200), st.lists(PIECES, max_size=40).map("".join), st.lists(PIECES).map(" ".join)))
def test_the_sentence_before_is_that_of_the_split_by_spacy(abstract: str) -> None:
    sentences = cut(abstract)
    for earlier, sentence in pairwise([None, *sentences]):
        assert sentence_before(abstract, sentence.start) == (earlier.text if earlier else "")  # type: ignore[union-attr]


def test_paragraphs_of_an_export_end_sentences_and_wrapped_lines_do_not(tmp_path) -> None:  # type: ignore[no-untyped-def]
    export = tmp_path / "export.ris"
    export.write_text(
        "TY  - JOUR\nTI  - One\nAB  - Leading moved between\n  People and sites\n\n  Trust did not\n\n"
        "  Results\n  Two sites\n  Left.\nER  - \n"
    )
    (found,) = ingest([export]).records
    assert found.abstract == "Leading moved between People and sites\nTrust did not\nResults\nTwo sites Left."
    rows = list(split([found], SentenceSettings()))
    assert [(row.section, row.text) for row in rows] == [
        ("", "Leading moved between People and sites"),
        ("", "Trust did not"),
        ("results", "Two sites Left."),
    ]
    assert all(found.abstract[row.start : row.end] == row.text for row in rows)


def test_records_are_kept_apart_and_in_order() -> None:
    records = [record("One. Two.", "a"), record("", "b"), record(" \n ", "c"), record("Three. Four.", "d")]
    rows = [(s.record_id, s.sentence, s.text) for s in split(iter(records), SentenceSettings())]
    assert rows == [("a", 0, "One."), ("a", 1, "Two."), ("d", 0, "Three."), ("d", 1, "Four.")]


def test_a_record_given_twice_is_numbered_twice() -> None:
    twice = [record("One. Two.")] * 2
    assert [s.sentence for s in split(twice, SentenceSettings())] == [0, 1, 0, 1]


def test_records_stream() -> None:
    drawn = 0

    def endless():  # type: ignore[no-untyped-def]
        nonlocal drawn
        while True:
            drawn += 1
            yield record("One. Two.")

    assert next(split(endless(), SentenceSettings())).text == "One."
    assert drawn < 2000


@pytest.mark.slow
@pytest.mark.parametrize(
    "text", [")" * 20_000, "word " * 250_000, "x" * 1_100_000, "aa.Bb" * 20_000, "Methods, " * 20_000]
)
def test_a_long_text_without_a_full_stop_takes_no_age(text: str) -> None:
    begin = time.perf_counter()
    sentences = cut(text)
    assert time.perf_counter() - begin < 10
    assert "".join("".join(sentence.text for sentence in sentences).split()) == "".join(text.split())


def test_an_installed_model_gives_the_boundaries_and_we_the_headings(tmp_path) -> None:  # type: ignore[no-untyped-def]
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer", config={"punct_chars": [";"]})
    nlp.to_disk(tmp_path / "semicolons")
    rows = cut("METHODS: First. part; Second part.", model=str(tmp_path / "semicolons"))
    assert [(s.section, s.text) for s in rows] == [("methods", "First. part;"), ("methods", "Second part.")]


def test_a_missing_model_is_told_with_the_command() -> None:
    with pytest.raises(MechtagError, match=r"'xx_none' cannot be loaded.*python -m spacy download xx_none"):
        cut("One.", model="xx_none")


def test_a_model_without_sentences_is_refused(tmp_path) -> None:  # type: ignore[no-untyped-def]
    spacy.blank("en").to_disk(tmp_path / "blank")
    with pytest.raises(MechtagError, match="no component that finds sentences"):
        cut("One.", model=str(tmp_path / "blank"))


def test_spacy_is_imported_only_when_needed() -> None:
    code = (
        "import sys; from mechtag.pipeline.reading.text.sentences import sentence_before;"
        "assert sentence_before('Teams met. They talked.', 11) == 'Teams met.';"
        "sys.exit('spacy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
