"""Test that methods and notes do not count: they are not scored, pooled or shown, and not part of the whole text."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load
from scipy.special import logit, logsumexp, softmax
from sklearn.feature_extraction.text import TfidfVectorizer

from mechtag.core.codebook import Codebook
from mechtag.core.records import ROLES, Prediction, Record
from mechtag.core.settings import SentenceSettings
from mechtag.models.features import Words, fit_words
from mechtag.models.scoring import SHARPNESS
from mechtag.models.sentence_roles import FILE, RoleModel, read_roles, role_model
from mechtag.models.tagger import Document, Scored, Tagger, units_of
from mechtag.pipeline.reading.text.sections import role_of
from mechtag.pipeline.tagging.predict import CLEARLY_STRONGER, document_of, tag_records
from tests.support.batches import toy_model

METHODS = (
    "Semi-structured interviews were conducted with 12 managers.",
    "Purposive sampling was used to ensure maximum variation.",
    "Data were recorded, transcribed verbatim and analysed thematically.",
    "Two researchers coded the transcripts independently and discrepancies were resolved by discussion.",
    "We searched MEDLINE and Embase from 2000 to 2019.",
    "Participants were randomly assigned to two groups.",
)
FINDINGS = (
    "Strong leadership is essential for the successful implementation of integrated care.",
    "Shared leadership helped staff from both sites to work together.",
    "Managers who trusted one another shared budgets and staff.",
    "We found that leaders who shared power kept their staff.",
)
BACKGROUND = "Integration of services for frail older people is a key policy objective internationally."
FUNDING = "Funding for leaders of trusts."


@pytest.fixture(scope="module")
def tagger(fruit: Codebook) -> Tagger:
    return toy_model(codebook=fruit).tagger


def tag(tagger: Tagger, abstract: str, title: str = "Leading joint services", evidence: int = 99) -> list[Prediction]:
    record = Record(record_id="text:1", title=title, abstract=abstract)
    return tag_records(tagger, "toy", [record], SentenceSettings(), evidence_sentences=evidence)[1]


def assert_same(one: Scored, other: Scored) -> None:
    np.testing.assert_allclose(one.scores, other.scores, rtol=0, atol=1e-12)
    np.testing.assert_allclose(one.probabilities, other.probabilities, rtol=0, atol=1e-12)
    assert one.decisions == other.decisions


def test_log_odds_are_those_of_the_class_probabilities() -> None:
    texts = ["we asked nurses", "nurses asked more", "we found more", "care is more"]
    words = fit_words(texts)
    generator = np.random.default_rng(1)
    weights, intercept = generator.normal(size=(3, len(words.terms))), generator.normal(size=3)
    features = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2).fit_transform(texts).toarray()
    chances = softmax(features @ weights.T + intercept, axis=1)
    np.testing.assert_allclose(RoleModel(words, weights, intercept).log_odds(texts), logit(chances))
    assert RoleModel(words, weights, intercept).log_odds([]).shape == (0, len(ROLES))


def test_packed_weights_are_read_as_they_were_written() -> None:
    assert role_model().pack() == FILE.read_bytes()
    arrays = load(RoleModel(Words(("a", "b c"), np.ones(2)), np.eye(3, 2), np.arange(3.0)).pack())
    assert arrays["terms"].tobytes().decode().split("\n") == ["a", "b c"]
    np.testing.assert_array_equal(arrays["weights"], np.eye(3, 2))
    np.testing.assert_array_equal(arrays["intercept"], [0, 1, 2])


def test_clear_methods_do_not_count_and_clear_findings_do() -> None:
    reading = read_roles([*METHODS, *FINDINGS, BACKGROUND])
    assert reading.methods.tolist() == [True] * len(METHODS) + [False] * (len(FINDINGS) + 1)
    reports = reading.reports
    assert reports[len(METHODS) : -1].min() > max(reports[: len(METHODS)].max(), reports[-1])
    assert np.abs(reports).max() <= 3
    nothing = read_roles([])
    assert (nothing.methods.shape, nothing.reports.shape) == ((0,), (0,))


@pytest.mark.parametrize(
    ("section", "role"),
    [
        ("methods", "methods"),
        ("design/methodology/approach", "methods"),
        ("data sources", "methods"),
        ("background", "background"),
        ("aims", "background"),
        ("results", "results"),
        ("conclusions", "results"),
        ("originality/value", "results"),
        ("funding", "note"),
        ("trial registration", "note"),
        # Headings that name two roles, or none.
        ("methods and results", ""),
        ("leadership", ""),
        ("", ""),
    ],
)
def test_a_printed_heading_says_the_role(section: str, role: str) -> None:
    assert role_of(section) == role


def test_roles_come_from_the_headings_of_a_record() -> None:
    from mechtag.core.records import Sentence

    own = [
        Sentence(record_id="a", sentence=number, section=section, start=0, end=4, text=text)
        for number, (section, text) in enumerate([("methods", "One."), ("", "Two."), ("funding", "Six.")])
    ]
    assert document_of("Title", own) == Document("Title", ("One.", "Two.", "Six."), ("methods", "", "note"))
    assert document_of("Title", own[1:2]) == Document("Title", ("Two.",))
    assert document_of("", own) == Document("", ("One.", "Two.", "Six."), document_of("Title", own).roles)


def test_titles_and_content_count_but_methods_and_notes_do_not() -> None:
    sentences = (BACKGROUND, METHODS[0], FINDINGS[0], FUNDING)
    units = units_of([Document(METHODS[1], sentences, ("", "", "", "note")), Document("Title")])
    # Titles always count, whatever their words are, and are never reports.
    assert units.counts.tolist() == [True, True, False, True, False, True]
    assert units.reports[[0, 5]].tolist() == [0, 0]
    np.testing.assert_array_equal(units.reports[1:5], read_roles(units.parts[1:5]).reports)
    assert (units.lengths.tolist(), units.parts_of_documents.tolist()) == ([5, 1], [5, 1])


def test_a_sentence_is_read_clause_by_clause() -> None:
    mixed = "Interviews were conducted with 12 managers; leaders who shared power kept their staff."
    units = units_of([Document("One; two", (mixed, FINDINGS[0])), Document("Title", (mixed,))])
    assert units.n_parts.tolist() == [1, 2, 1, 1, 2]
    assert units.lengths.tolist() == [3, 2]
    assert units.parts_of_documents.tolist() == [4, 3]
    assert units.counts.tolist() == [True, False, True, True, True, False, True]


def test_the_whole_text_is_the_title_and_the_content() -> None:
    cut = [text.rstrip(".") for text in (BACKGROUND, FINDINGS[0])]
    documents = [
        Document("Title", (BACKGROUND, METHODS[0], FINDINGS[0], FUNDING), ("background", "methods", "results", "note")),
        # Only the title would be left, so methods are kept.
        Document("Title", ("Participants were randomly assigned to two groups.",)),
        Document("Title"),
    ]
    expected = [
        f"Title. {cut[0]}. {cut[1]}",
        "Title. Participants were randomly assigned to two groups",
        "Title",
    ]
    assert units_of(documents).whole_texts() == expected


def test_methods_and_notes_change_nothing(tagger: Tagger) -> None:
    bare = Document("Leading joint services", (BACKGROUND, FINDINGS[0], FINDINGS[1]))
    sentences = (BACKGROUND, *METHODS, FINDINGS[0], FUNDING, FINDINGS[1], METHODS[0])
    roles = tuple("note" if text == FUNDING else "" for text in sentences)
    alone, among = tagger.tag([bare, Document(bare.title, sentences, roles)])  # type: ignore[arg-type]
    assert_same(among, alone)
    left_out = np.array([False, *(text in METHODS or text == FUNDING for text in sentences)])
    assert np.isneginf(among.unit_scores[left_out]).all()
    assert np.isfinite(among.unit_scores[~left_out]).all()
    np.testing.assert_allclose(among.unit_scores[~left_out], alone.unit_scores)
    # Without its heading, the note is an ordinary sentence.
    heard = tagger.tag([Document(bare.title, sentences)])[0]
    assert abs(heard.scores - alone.scores).min() > 1e-3


def test_a_document_is_scored_by_what_is_left(tagger: Tagger) -> None:
    found = tagger.tag([Document("Leading joint services", (METHODS[0], *FINDINGS))])[0]
    units = found.unit_scores[[0, 2, 3, 4, 5], 1:]
    np.testing.assert_allclose(found.scores[1:], logsumexp(SHARPNESS * units, axis=0) / SHARPNESS)


def test_two_papers_that_differ_in_their_methods_get_the_same_decisions(tagger: Tagger) -> None:
    """Both abstracts report the same findings; the second describes more of its methods."""
    abstract = "Background: {0} Methods: {1} Results: {2} Conclusions: {3}"
    short, long = (
        tag(tagger, abstract.format(BACKGROUND, " ".join(methods), FINDINGS[1], FINDINGS[0]))
        for methods in (METHODS[:1], METHODS)
    )
    assert [row.label for row in short] == list(tagger.codebook.all_keys)
    for one, other in zip(short, long, strict=True):
        assert one.decision == other.decision
        assert other.score == pytest.approx(one.score, abs=1e-9)
        assert [each.text for each in one.evidence] == [each.text for each in other.evidence]


def test_printed_headings_make_no_difference_to_scores(tagger: Tagger) -> None:
    parts = {"Background": BACKGROUND, "Methods": METHODS[0], "Results": FINDINGS[1], "Conclusions": FINDINGS[0]}
    printed = tag(tagger, " ".join(f"{heading}: {text}" for heading, text in parts.items()))
    plain = tag(tagger, " ".join(parts.values()))
    assert [(row.score, row.decision) for row in printed] == [(row.score, row.decision) for row in plain]


def test_no_methods_sentence_and_no_note_is_ever_evidence(tagger: Tagger) -> None:
    content = (BACKGROUND, FINDINGS[0], FINDINGS[1])
    with_headings = (
        f"Background: {BACKGROUND} Methods: {' '.join(METHODS)} Results: {FINDINGS[0]} {FINDINGS[1]} Funding: {FUNDING}"
    )
    for abstract in (with_headings, " ".join((BACKGROUND, *METHODS, *FINDINGS[:2]))):
        for row in tag(tagger, abstract):
            assert {each.text for each in row.evidence} == set(content)
            assert all(np.isfinite(each.score) for each in row.evidence)
            assert all(abstract[each.start : each.end] == each.text for each in row.evidence)
    assert all(row.evidence == () for row in tag(tagger, " ".join(METHODS)))


def test_evidence_that_is_not_printed_as_a_result_must_be_clearly_stronger(tagger: Tagger) -> None:
    texts = {"Background": "apple cider orchard", "Results": "pear perry garden", "Conclusions": "people study care"}
    abstract = " ".join(f"{heading}: {text.capitalize()}." for heading, text in texts.items())
    turned = 0
    for row, plain in zip(tag(tagger, abstract), tag(tagger, abstract.replace("Background: ", "")), strict=True):
        lessened = {
            each.text: each.score - (CLEARLY_STRONGER if each.text.startswith("Apple") else 0) for each in row.evidence
        }
        assert [each.text for each in row.evidence] == sorted(lessened, key=lambda text: -lessened[text])
        # The score that is shown is not lowered.
        assert {each.text: each.score for each in row.evidence} == pytest.approx(
            {each.text: each.score for each in plain.evidence}
        )
        turned += [each.text for each in row.evidence] != [each.text for each in plain.evidence]
    assert turned
