"""Test what each variation of a record changes, with values worked out by hand, and that nothing else changes."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mechtag.core.codebook import Codebook
from mechtag.core.records import Record, Sentence
from mechtag.core.settings import SentenceSettings, load_settings
from mechtag.models.text import spellings, to_american, to_british
from mechtag.pipeline.annotations.coded_records import read_exemplars
from mechtag.pipeline.annotations.coding_table import read_annotations
from mechtag.pipeline.reading.text.sentences import split
from mechtag.pipeline.reading.text.variations import METHODS, NOTICES, VARIATIONS, is_methods, vary
from tests.support.paths import ROOT

PLAIN = (
    "Teams work side by side. Twelve nurses were interviewed. They share rooms, budgets and a garden. "
    "It rained a good deal in spring, but nobody in the team minded that at all; the roof was mended in the summer. "
    "More gardens are wanted."
)
STRUCTURED = (
    "AIMS: Teams were watched.\nMETHODS: Nurses kept a diary. Letters were read. RESULTS: They sang.Conclusion: None."
)


def record(abstract: str, title: str = "Singing teams") -> Record:
    return Record(record_id="text:1", title=title, abstract=abstract)


def cut(one: Record) -> list[Sentence]:
    return list(split([one], SentenceSettings()))


def varied(name: str, abstract: str, seed: int = 1, title: str = "Singing teams") -> str:
    one = record(abstract, title)
    found = vary(name, [one], cut(one), seed)
    return found[0].abstract if found else abstract


def texts(abstract: str) -> list[tuple[str, str]]:
    return [(sentence.section, sentence.text) for sentence in cut(record(abstract))]


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("methods_removed", PLAIN, PLAIN.replace("Twelve nurses were interviewed. ", "")),
        (
            "methods_removed",
            STRUCTURED,
            "AIMS: Teams were watched.\nRESULTS: They sang.Conclusion: None.",
        ),
        ("methods_removed", "METHODS: Nurses kept a diary.", "METHODS: Nurses kept a diary."),
        ("methods_removed", "They sang. Twelve nurses were interviewed.", "They sang."),
        (
            "headings_removed",
            STRUCTURED,
            "Teams were watched.\nNurses kept a diary. Letters were read. They sang. None.",
        ),
        ("headings_removed", PLAIN, PLAIN),
        (
            "headings_glued",
            STRUCTURED,
            "AimsTeams were watched.\nMethodsNurses kept a diary. Letters were read. ResultsThey sang.ConclusionNone.",
        ),
        (
            "headings_full_stop",
            "(1) Background: It rained. (2) Methods: We sang.",
            "Background. It rained. Methods. We sang.",
        ),
        (
            "headings_capitals",
            PLAIN,
            PLAIN.replace("Teams work", "BACKGROUND: Teams work")
            .replace("Twelve", "METHODS: Twelve")
            .replace("They share", "RESULTS: They share")
            .replace("More", "CONCLUSIONS: More"),
        ),
        ("headings_capitals", "It rained. We sang. We left.", "It rained. We sang. We left."),
        ("sentences_joined", "It rained. The nurses sang.", "It rained; the nurses sang."),
        ("sentences_joined", "It rained. Nurses sang.", "It rained; Nurses sang."),
        ("sentences_joined", "Did it rain? We sang.", "Did it rain? We sang."),
        ("sentences_joined", "It rained.\nMETHODS: We sang.", "It rained.\nMETHODS: We sang."),
        ("sentences_split", PLAIN, PLAIN.replace("at all; the roof", "at all. The roof")),
        (
            "sentences_split",
            f"{'We sang and sang and sang again in the rain of a long spring'}, and they {'danced ' * 9}too.",
            f"{'We sang and sang and sang again in the rain of a long spring'}. They {'danced ' * 9}too.",
        ),
        # A sentence that is too short, a list, and a bracket that would be divided.
        ("sentences_split", "We sang in the rain, and they danced too.", "We sang in the rain, and they danced too."),
        (*("sentences_split", *(2 * [f"We {'sang ' * 20}songs, hymns, and rounds of five or six voices."])),),
        (*("sentences_split", *(2 * [f"We ({'sang ' * 20}songs; the nurses danced in the rain) ate."])),),
        ("spelling_american", "Behaviour in the centre.", "Behavior in the center."),
        ("spelling_british", "Behavior in the center.", "Behaviour in the centre."),
    ],
)
def test_text_worked_by_hand(name: str, before: str, after: str) -> None:
    assert varied(name, before) == after


@pytest.mark.parametrize("abstract", [PLAIN, STRUCTURED])
def test_methods_and_notices_are_added_and_nothing_else(abstract: str) -> None:
    for seed in range(20):
        found = varied("methods_added", abstract, seed)
        added = [sentence for sentence in METHODS if sentence in found]
        assert len(added) == 3
        for sentence in added:
            found = found.replace(f" {sentence}", "", 1)
        assert found == abstract
        found = varied("notices_added", abstract, seed)
        assert found.startswith(f"{abstract} ")
        assert sum(notice in found[len(abstract) :] for notice in NOTICES) >= 2
    assert len({varied("methods_added", abstract, seed) for seed in range(20)}) > 10


def test_sentences_are_added_between_the_first_and_the_last() -> None:
    for seed in range(20):
        found = [text for _, text in texts(varied("methods_added", PLAIN, seed))]
        assert [text for text in found if text not in METHODS] == [text for _, text in texts(PLAIN)]
        assert sum(text in METHODS for text in found) == 3
        assert found[0] not in METHODS
        assert found[-1] not in METHODS
    assert varied("methods_added", "Only one sentence.") == "Only one sentence."


def test_keywords_come_from_the_title_and_say_nothing_new() -> None:
    title = "Singing gardeners: what they do after work"
    for seed in range(20):
        found = varied("keywords_added", PLAIN, seed, title)
        match = re.fullmatch(r"(?:Keywords|KEYWORDS|Key words): ([^.]+)\.?", found.removeprefix(f"{PLAIN} "))
        assert match
        words = re.split("[;,] ", match[1])
        # 'what', 'they' and 'work' are too short, and 'after' is a function word.
        assert set(words[:2]) == {"singing", "gardeners"}
        assert len(words) == 5


@pytest.mark.parametrize("name", ["headings_capitals", "headings_full_stop", "headings_glued"])
def test_headings_are_read_as_headings_and_the_sentences_stay(name: str) -> None:
    found = texts(varied(name, PLAIN))
    assert [text for _, text in found] == [text for _, text in texts(PLAIN)]
    assert [section for section, _ in found] == ["background", "methods", "results", "results", "conclusions"]
    found = texts(varied(name, STRUCTURED))
    assert [section for section, _ in found] == ["aims", "methods", "methods", "results", "conclusion"]
    assert [text for _, text in found] == [text for _, text in texts(STRUCTURED)]


@pytest.mark.parametrize("name", list(VARIATIONS))
def test_records_that_do_not_change_are_not_given_back(name: str) -> None:
    for abstract in ("", "We."):
        one = record(abstract, title="Songs")
        found = vary(name, [one], cut(one), 1)
        assert all(other.abstract != abstract for other in found)
    many = [record(PLAIN).model_copy(update={"record_id": f"text:{number}"}) for number in range(3)]
    sentences = list(split(many, SentenceSettings()))
    found = vary(name, many, sentences, 1)
    assert found == vary(name, many, sentences, 1)
    # The other records do not change the result for a record.
    alone = vary(name, many[2:], list(split(many[2:], SentenceSettings())), 1)
    assert alone == found[2:]
    assert all(one.record_id == other.record_id for one, other in zip(found, many, strict=False))


def test_no_sentence_that_people_coded_is_taken_for_methods(codebook: Codebook) -> None:
    settings = load_settings(ROOT / "params.yaml").model_copy(update={"codebook": ""})
    train = settings.train.model_copy(
        update={"records": str(ROOT / settings.train.records), "added": str(ROOT / settings.train.added)}
    )
    coded = read_annotations(settings.model_copy(update={"train": train}), codebook.keys, codebook.relevance.key)
    taken = [
        (sentence.text, labels)
        for one in coded
        for sentence, labels in zip(one.sentences, one.sentence_labels or (), strict=False)
        if is_methods(sentence.text)
    ]
    carried = [text for text, labels in taken if labels]
    assert len(taken) > 50
    assert len(carried) <= len(taken) / 50, carried
    exemplars = read_exemplars(ROOT / settings.train.exemplars, codebook.keys)
    wrong = [one.text for one in exemplars if one.labels and is_methods(one.text)]
    assert len(wrong) <= len(exemplars) / 50, wrong


def test_most_of_the_sentences_on_methods_are_recognised() -> None:
    known = [sentence for sentence in METHODS if is_methods(sentence)]
    assert len(known) >= len(METHODS) / 2
    assert is_methods("They danced.", section="methods/design")
    assert not is_methods("Twelve nurses were interviewed.", section="results")
    for told in (
        "Interviews with nurses showed that trust grew.",
        "Those interviewed said that budgets were pooled.",
        "A case study of two hospitals found conflict.",
        "Thematic analysis revealed four themes.",
        "We asked how the questionnaire was received.",
        "The garden is open.",
    ):
        assert not is_methods(told), told


@pytest.mark.parametrize(
    ("british", "american"),
    [
        (
            "Organisations analysed the behaviour of paediatric programmes.",
            "Organizations analyzed the behavior of pediatric programs.",
        ),
        ("INTERORGANISATIONAL DEFENCE", "INTERORGANIZATIONAL DEFENSE"),
        ("Multicentre modelling; ageing, labelled", "Multicenter modeling; aging, labeled"),
        ("decentralised-and-recognised", "decentralized-and-recognized"),
        ("Fulfil the enrolment of counsellors skilfully", "Fulfill the enrollment of counselors skillfully"),
        ("anaemia, oestrogen, hypoglycaemia, gynaecology", "anemia, estrogen, hypoglycemia, gynecology"),
    ],
)
def test_words_with_two_spellings(british: str, american: str) -> None:
    assert to_american(british) == american
    assert to_british(american) == british


@pytest.mark.parametrize(
    "text",
    [
        "exercise surprise advise supervise comprise promise revise disguise enterprise franchise merchandise rise",
        "analyses bases size prize seize capsize four hour our tour pour contour glamour laboratory laborious",
        "vigorous rigorous humorous honorary practice licence license meter programming programmed filled telling",
        "there where here before acre genre parliament collaborate elaborate labels modes centers on".replace(
            "centers", "enters"
        ),
        "see https://organisation.example/behaviour and colour@centre.example",
        "OrganiSation McCentre",
    ],
)
def test_words_with_one_spelling(text: str) -> None:
    assert to_american(text) == text
    assert to_british(text) == text


def test_every_word_of_the_table_goes_both_ways_and_back() -> None:
    words = spellings()
    assert len(words) > 1500
    assert len(set(words.values())) == len(words)
    assert not words.keys() & set(words.values())
    for british, american in words.items():
        for shape in (str.lower, str.upper, str.capitalize):
            assert to_american(shape(british)) == shape(american)
            assert to_british(shape(american)) == shape(british)


WORDS = st.sampled_from(
    [
        *list(spellings())[::7],
        *list(spellings().values())[::7],
        "advise",
        "The",
        "of",
        "team.",
        "Team;",
        "(1)",
        "é",
        "\n",
    ]
)
ABSTRACTS = st.lists(WORDS | st.text(max_size=12), max_size=60).map(" ".join)


@given(ABSTRACTS)
def test_spelling_changes_once_and_keeps_all_else(text: str) -> None:
    for respell in (to_american, to_british):
        found = respell(text)
        assert respell(found) == found
        assert re.split(r"[A-Za-z]+", found) == re.split(r"[A-Za-z]+", text)
    assert to_american(to_british(text)) == to_american(text)


SENTENCES = st.sampled_from(
    [
        *("It rained.", "Nurses sang, and they danced.", "Twelve nurses were interviewed.", "METHODS: We sang.", "No"),
        *(
            "Results. Teams sang.",
            "BackgroundIt is late.",
            "“Why?” they asked.",
            "Costs fell by 3.5%; the rest stayed.",
        ),
        f"We {'sang ' * 20}songs, and the {'nurses ' * 6}danced; it rained.",
    ]
)
TEXTS = st.lists(SENTENCES | st.text(max_size=20), max_size=8).flatmap(
    lambda parts: st.sampled_from([" ", "\n", ""]).map(lambda gap: gap.join(parts))
)


@given(TEXTS, st.sampled_from(list(VARIATIONS)), st.integers(0, 9))
def test_any_text_keeps_its_words(text: str, name: str, seed: int) -> None:
    one = record(text, title="Organisation of 3 teams")
    sentences = cut(one)
    generator = np.random.default_rng(seed)
    found = VARIATIONS[name](one, sentences, generator)
    # Only the title and the abstract change.
    assert found.model_copy(update={"title": one.title, "abstract": one.abstract}) == one
    left, right = re.findall(r"\w+", one.abstract.lower()), re.findall(r"\w+", found.abstract.lower())
    fewer, more = ("removed" in name, "added" in name)
    if name.startswith("spelling"):
        assert len(left) == len(right)
    elif name == "sentences_split":
        assert len(left) - len(right) in (0, 1)
    elif name.startswith("headings") and not fewer:
        bare = VARIATIONS["headings_removed"](one, sentences, generator).abstract
        assert is_subsequence(re.findall(r"\w", bare), re.findall(r"\w", found.abstract))
    elif more:
        assert is_subsequence(left, right)
    elif fewer:
        # Letters are compared, because a heading may be joined to a word that is kept.
        assert is_subsequence("".join(right), "".join(left))
    else:
        assert left == right


def is_subsequence(short: Sequence[str], long: Sequence[str]) -> bool:
    rest = iter(long)
    return all(word in rest for word in short)
