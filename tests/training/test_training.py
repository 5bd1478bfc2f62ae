from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, logsumexp
from scipy.stats import bernoulli, beta, norm
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, roc_auc_score

from mechtag.core.codebook import Codebook
from mechtag.core.settings import TrainSettings
from mechtag.models.features import RELEVANCE_WEIGHT, Definitions, fit_words
from mechtag.models.scoring import SHARPNESS
from mechtag.models.tagger import Document, Heads, Tagger
from mechtag.pipeline.annotations.coded_records import Exemplar
from mechtag.training.calibration import (
    MIN_HARD,
    definitions_calibration,
    f1_threshold,
    fit_calibration,
    fit_curve,
    recall_threshold,
    refer_band,
    safe_no,
)
from mechtag.training.dataset import NO_DOCUMENT, CodedDocument, Corpus, build_corpus, unit_table
from mechtag.training.finetuning.trainers import FrozenTrainer
from mechtag.training.heads import aligned, assign_folds, fit, fit_heads, freedom, score_texts, score_wholes
from mechtag.training.multiple_instance import Bags, fit_units
from tests.support.toy import WordEncoder, fruit_documents, relevance_by_definitions

SETTINGS = TrainSettings(folds=4)


def test_targets_are_multi_hot_in_codebook_order(fruit: Codebook) -> None:
    document = fruit_documents(4)[3]
    exemplar = Exemplar(id="e", text="pear and apple", labels=("apple", "pear"))
    table = unit_table([document], [exemplar], fruit.keys)
    title, first, second = table["targets"][0], table["targets"][2], table["targets"][3]
    assert np.isnan(title).all()
    np.testing.assert_array_equal(first[1:], [1, 0, 0])
    np.testing.assert_array_equal(second[1:], [0, 1, 0])
    np.testing.assert_array_equal(table["targets"][-1][1:], [1, 1, 0])
    assert np.isnan([row[0] for row in table["targets"]]).all()
    assert table["document"][-1] == NO_DOCUMENT


def test_not_judged_is_never_a_negative(
    fruit: Codebook, word_encoder: WordEncoder, fruit_definitions: Definitions
) -> None:
    documents = fruit_documents(8)
    documents[1] = replace(documents[1], codes={"apple": 1, "pear": None, "plum": 0}, sentence_labels=None)
    corpus = build_corpus(documents, [], fruit.keys, word_encoder, fruit_definitions)
    np.testing.assert_array_equal(corpus.document_targets[1], [1, 1, np.nan, 0])
    np.testing.assert_array_equal(corpus.document_targets[0], [0, np.nan, np.nan, np.nan])
    assert np.isnan(corpus.unit_targets[corpus.document == 1]).all()


def test_labels_that_nobody_judged_do_not_move_the_heads(
    fruit: Codebook, word_encoder: WordEncoder, fruit_definitions: Definitions, fruit_corpus: Corpus
) -> None:
    codes = dict.fromkeys(fruit.keys)
    stone = fruit_documents(1)[0]
    extra: CodedDocument = replace(stone, record_id="text:x", relevant=True, codes=codes, sentence_labels=None)
    exemplars = [Exemplar(id="e1", text="apple cider again", labels=("apple",))]
    larger = build_corpus([*fruit_documents(), extra], exemplars, fruit.keys, word_encoder, fruit_definitions)
    before = fit_heads(fruit_corpus, np.ones(fruit_corpus.n_documents, bool), SETTINGS)
    after = fit_heads(larger, np.ones(larger.n_documents, bool), SETTINGS)
    np.testing.assert_allclose(after.weights, before.weights, atol=1e-6)
    everything = np.ones(fruit_corpus.n_documents, bool)
    one, other = (score_wholes(fruit_corpus, heads, everything) for heads in (after, before))
    assert not np.allclose(one, other, atol=1e-3)


def test_score_is_the_sum_of_two_of_scikit_learns_logistic_regressions(
    fruit_corpus: Corpus, fruit_definitions: Definitions
) -> None:
    of_papers = fruit_corpus.document_targets.copy()
    of_papers[:, 1:] = np.nan  # Only sentences are learned from.
    # With a prior of zero, weights are regularised as in scikit-learn.
    silent = replace(fruit_definitions, labels=np.zeros_like(fruit_definitions.labels))
    fruit_corpus = replace(fruit_corpus, document_targets=of_papers, definitions=silent)
    heads = fit_heads(fruit_corpus, np.ones(fruit_corpus.n_documents, bool), SETTINGS)
    rows = ~np.isnan(fruit_corpus.unit_targets[:, 1])
    targets = fruit_corpus.unit_targets[rows, 1]
    features = fruit_corpus.features[rows]
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2).fit(fruit_corpus.texts)
    counts = vectorizer.transform([text for text, use in zip(fruit_corpus.texts, rows, strict=True) if use])
    share = freedom(1)  # the exemplar
    by_vectors = LogisticRegression(C=share * SETTINGS.regularisation, max_iter=2000).fit(features, targets)
    by_words = LogisticRegression(C=share * SETTINGS.word_regularisation, max_iter=2000).fit(counts, targets)
    expected = by_vectors.decision_function(features) + by_words.decision_function(counts)
    found = score_texts(fruit_corpus, heads, rows)
    np.testing.assert_allclose(found[:, 1], expected, atol=5e-3)  # Word weights have half precision.
    words = heads.words.features([text for text, use in zip(fruit_corpus.texts, rows, strict=True) if use])
    np.testing.assert_array_equal(found[:, 0], heads.relevance.score(fruit_corpus.vectors[rows], words))


@pytest.mark.parametrize("papers", [40, 6])
def test_papers_whose_sentences_were_coded_teach_as_a_whole_too(fruit_corpus: Corpus, papers: int) -> None:
    kept = (np.arange(fruit_corpus.n_documents) % 5 > 0) & (np.arange(fruit_corpus.n_documents) < papers)
    heads = fit_heads(fruit_corpus, kept, SETTINGS)
    features = fruit_corpus.features
    coded = [
        row
        for row, document in enumerate(fruit_corpus.document)
        if not np.isnan(fruit_corpus.unit_targets[row, 1]) and (document == NO_DOCUMENT or kept[document])
    ]
    judged = [row for row in np.flatnonzero(kept) if fruit_corpus.document_targets[row, 0] == 1]
    documents = [fruit_corpus.rows_by_document()[row] for row in judged]
    wholes = Bags(
        features[np.concatenate(documents)], fruit_corpus.lengths[judged], fruit_corpus.document_targets[judged, 1]
    )
    # Each judged paper and the exemplar let the weights move further from those of the definition.
    strength = SETTINGS.regularisation * freedom(len(judged) + 1)
    prior = fruit_corpus.definitions.label_weights()[0]
    expected, _ = fit_units(features[coded], fruit_corpus.unit_targets[coded, 1], strength, wholes, prior)
    np.testing.assert_allclose(heads.weights[0], expected, atol=1e-6)
    # Word weights have no prior.
    terms = heads.words.features(fruit_corpus.texts)
    wholes = Bags(terms[np.concatenate(documents)], wholes.lengths, wholes.targets)
    strength = SETTINGS.word_regularisation * freedom(len(judged) + 1)
    expected, _ = fit_units(terms[coded], fruit_corpus.unit_targets[coded, 1], strength, wholes)
    np.testing.assert_allclose(heads.word_weights[0], expected, atol=2e-3)


def test_freedom_rises_with_the_square_root_of_the_papers() -> None:
    assert [freedom(papers) for papers in (0, 1, 25, 64, 100, 101, 10_000)] == [0.1, 0.1, 0.5, 0.8, 1, 1, 1]


def test_weights_move_away_from_the_definitions_as_more_papers_are_coded(fruit_corpus: Corpus) -> None:
    prior = fruit_corpus.definitions.label_weights()
    far = []
    for papers in (0, 2, 4, 8, 20, 40):
        heads = fit_heads(fruit_corpus, np.arange(fruit_corpus.n_documents) < papers, SETTINGS)
        far.append(float(np.linalg.norm(heads.weights[0] - prior[0])))
    assert far[0] == 0
    assert far == sorted(far)
    assert far[-1] < np.linalg.norm(prior[0])


def test_methods_of_papers_teach_nothing_as_content(fruit_corpus: Corpus) -> None:
    """Parts that are not content do not affect what is learned from the codes of a paper."""
    counts = fruit_corpus.counts.copy()
    counts[[rows[-1] for rows in fruit_corpus.rows_by_document()]] = False
    whole = replace(fruit_corpus, counts=counts, unit_targets=np.full_like(fruit_corpus.unit_targets, np.nan))
    vectors, reports = fruit_corpus.vectors.copy(), fruit_corpus.reports.copy()
    vectors[~counts], reports[~counts] = vectors[~counts][::-1], 9.0
    everything = np.ones(fruit_corpus.n_documents, bool)
    one, other = (
        fit_heads(corpus, everything, SETTINGS) for corpus in (whole, replace(whole, vectors=vectors, reports=reports))
    )
    for name in ("weights", "word_weights", "intercept"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    counted = fit_heads(replace(whole, counts=np.ones_like(counts)), everything, SETTINGS)
    assert not np.allclose(counted.weights, one.weights, atol=1e-3)


def test_out_of_fold_scores_have_not_seen_their_document(fruit_corpus: Corpus, frozen: FrozenTrainer) -> None:
    fitted = fit(fruit_corpus, frozen, SETTINGS, seed=1)
    held_out = fitted.fold == 2
    learned = [fitted.fold != number for number in range(SETTINGS.folds)]
    unshifted = [fit_heads(fruit_corpus, documents, SETTINGS) for documents in learned]
    heads = aligned([fruit_corpus] * SETTINGS.folds, unshifted, learned)[2]
    rows = np.isin(fruit_corpus.document, np.flatnonzero(held_out))
    found = score_texts(fruit_corpus, heads, rows)
    # In these papers, each text is one unit, and all units count as content.
    assert (fruit_corpus.n_parts == 1).all()
    assert fruit_corpus.counts.all()
    np.testing.assert_allclose(fitted.held_out.units[rows], found)
    assert np.isnan(fitted.held_out.units[fruit_corpus.document == NO_DOCUMENT]).all()
    relevance = score_wholes(fruit_corpus, heads, held_out)
    np.testing.assert_allclose(fitted.held_out.documents[held_out, 0], relevance)
    labels = [
        logsumexp(SHARPNESS * own, axis=0) / SHARPNESS
        for own in np.split(found[:, 1:], np.cumsum(fruit_corpus.lengths[held_out])[:-1])
    ]
    np.testing.assert_allclose(fitted.held_out.documents[held_out, 1:], labels)
    assert not np.isnan(fitted.held_out.documents).any()


def test_parts_of_sentences_and_methods_in_a_corpus(
    fruit: Codebook, word_encoder: WordEncoder, fruit_definitions: Definitions
) -> None:
    sentences = ("apple cider; stone", "Participants were randomly assigned to two groups.", "pear perry")
    document = Document("pear; study", sentences, ("", "", "note"))
    coded = CodedDocument("text:1", document, True, dict.fromkeys(fruit.keys, 1), (("apple",), (), ("pear",)))
    exemplars = [Exemplar(id="e1", text="plum; jam", labels=("plum",))]
    corpus = build_corpus([coded], exemplars, fruit.keys, word_encoder, fruit_definitions)
    methods = "Participants were randomly assigned to two groups"
    assert corpus.texts == ("pear; study", "apple cider", "stone", methods, "pear perry", "plum", "jam")
    assert corpus.n_parts.tolist() == [1, 2, 1, 1, 2]
    assert corpus.counts.tolist() == [True, True, True, False, False, True, True]
    assert corpus.document.tolist() == [0] * 5 + [NO_DOCUMENT] * 2
    assert corpus.whole_texts == ("pear; study. apple cider. stone",)
    np.testing.assert_array_equal(corpus.wholes, word_encoder.encode(corpus.whole_texts))
    # It is unknown which part of a sentence carries its label, but no part carries another label.
    nan = np.nan
    expected = [[nan] * 3, [nan, 0, 0], [nan, 0, 0], [0, 0, 0], [0, 1, 0], [0, 0, nan], [0, 0, nan]]
    np.testing.assert_array_equal(corpus.unit_targets[:, 1:], expected)
    scores = np.arange(14.0).reshape(7, 2)
    units = corpus.score_units(scores)
    assert np.isneginf(units[[2, 3]]).all()
    for unit, rows in ((0, [0]), (1, [1, 2]), (4, [5, 6])):
        np.testing.assert_allclose(units[unit], logsumexp(SHARPNESS * scores[rows], axis=0) / SHARPNESS)
    pooled = logsumexp(SHARPNESS * scores[:3, 1]) / SHARPNESS
    np.testing.assert_allclose(corpus.score_documents(np.array([5.0]), scores), [[5.0, pooled]])


def test_words_of_held_out_documents_are_unknown(fruit_corpus: Corpus) -> None:
    """The vocabulary, too, is built without the documents that will be scored."""
    kept = np.arange(fruit_corpus.n_documents) % 2 == 0
    heads = fit_heads(fruit_corpus, kept, SETTINGS)
    seen = " ".join(
        text
        for text, row in zip(fruit_corpus.texts, fruit_corpus.document, strict=True)
        if row == NO_DOCUMENT or kept[row]
    )
    assert set(heads.words.terms) <= set(CountVectorizer(ngram_range=(1, 2)).fit([seen]).get_feature_names_out())
    assert set(heads.words.terms) < set(fit_words(fruit_corpus.texts).terms)


def test_texts_without_a_common_word_give_no_terms() -> None:
    words = fit_words(["one two", "three four"])
    assert words.terms == ()
    assert words.features(["one two"]).shape == (1, 0)


def test_labels_are_learned_from_words(
    fruit: Codebook,
    fruit_corpus: Corpus,
    word_encoder: WordEncoder,
    fruit_definitions: Definitions,
    frozen: FrozenTrainer,
) -> None:
    fitted = fit(fruit_corpus, frozen, SETTINGS, seed=1)
    tagger = Tagger(fruit, word_encoder, fruit_definitions, fitted.heads, fitted.calibration)
    documents = fruit_documents(60)[40:]
    scored = tagger.tag([coded.document for coded in documents])
    relevant = [coded.relevant for coded in documents]
    assert roc_auc_score(relevant, [result.scores[0] for result in scored]) > 0.95
    for column, key in enumerate(["apple", "pear"], start=1):
        assert roc_auc_score([coded.codes[key] for coded in documents], [r.scores[column] for r in scored]) > 0.95


def test_label_without_examples_is_scored_by_its_definition(
    fruit: Codebook,
    fruit_corpus: Corpus,
    word_encoder: WordEncoder,
    fruit_definitions: Definitions,
    frozen: FrozenTrainer,
) -> None:
    fitted = fit(fruit_corpus, frozen, SETTINGS, seed=1)
    plum = fruit.keys.index("plum")
    assert_scored_by_definition(fitted.heads, plum, fruit_definitions)
    tagger = Tagger(fruit, word_encoder, fruit_definitions, fitted.heads, fitted.calibration)
    documents = [replace(fruit_documents(1)[0].document, sentences=(text,)) for text in ("plum jam", "slate roof")]
    jam, roof = tagger.tag(documents)
    assert jam.scores[1 + plum] > roof.scores[1 + plum]


def assert_scored_by_definition(heads: Heads, label: int, definitions: Definitions) -> None:
    np.testing.assert_array_equal(heads.weights[label], definitions.label_weights()[label])
    assert not heads.word_weights[label].any()
    assert heads.intercept[label] == 0


@pytest.mark.parametrize("code", [0, 1])
def test_label_with_codes_of_one_kind_is_scored_by_its_definition(
    code: int, fruit: Codebook, word_encoder: WordEncoder, fruit_definitions: Definitions
) -> None:
    """A label is not learned from codes that are all yes or all no, however many; other labels are."""
    documents = [
        replace(document, codes={**document.codes, "pear": code}, sentence_labels=None)
        for document in fruit_documents()
    ]
    corpus = build_corpus(documents, [], fruit.keys, word_encoder, fruit_definitions)
    heads = fit_heads(corpus, np.ones(corpus.n_documents, bool), SETTINGS)
    assert_scored_by_definition(heads, fruit.keys.index("pear"), fruit_definitions)
    assert not np.allclose(heads.weights[0], fruit_definitions.label_weights()[0], atol=0.1)
    assert heads.word_weights[0].any()
    # One code of the other kind, even for a sentence or an exemplar, is enough to learn from.
    exemplar = Exemplar(id="e", text="pear perry", labels=("apple",) if code else ("pear",))
    taught = build_corpus(documents, [exemplar], fruit.keys, word_encoder, fruit_definitions)
    heads = fit_heads(taught, np.ones(corpus.n_documents, bool), SETTINGS)
    assert (heads.weights[1] != fruit_definitions.label_weights()[1]).any()
    assert heads.word_weights[1].any()


def only_kind(relevant: bool, count: int) -> list[CodedDocument]:
    return [document for document in fruit_documents() if document.relevant == relevant][:count]


FEW = {
    "nothing": [],
    "one relevant": only_kind(relevant=True, count=1),
    "one irrelevant": only_kind(relevant=False, count=1),
    "two relevant": only_kind(relevant=True, count=2),
    "two irrelevant": only_kind(relevant=False, count=2),
    "one of each": only_kind(relevant=True, count=1) + only_kind(relevant=False, count=1),
}


@pytest.mark.parametrize("exemplars", [0, 1])
@pytest.mark.parametrize("few", FEW)
def test_a_model_can_be_fitted_to_a_few_records(
    few: str,
    exemplars: int,
    fruit: Codebook,
    word_encoder: WordEncoder,
    fruit_definitions: Definitions,
    frozen: FrozenTrainer,
) -> None:
    examples = [Exemplar(id="e1", text="apple cider again", labels=("apple",))][:exemplars]
    corpus = build_corpus(FEW[few], examples, fruit.keys, word_encoder, fruit_definitions)
    assert corpus.document_targets.shape == (len(FEW[few]), 4)
    assert corpus.keep(np.ones(len(FEW[few]), bool)).document.tolist() == corpus.document.tolist()
    fitted = fit(corpus, frozen, SETTINGS, seed=1)
    assert fitted.held_out.documents.shape == corpus.document_targets.shape
    # No document is scored by a model trained on it; if it is the only one, the definitions score it.
    if len(FEW[few]) == 1 and not exemplars:
        by_definitions = (
            fruit_definitions.features(corpus.vectors, corpus.reports) @ fruit_definitions.label_weights().T
        )
        pooled = logsumexp(SHARPNESS * by_definitions, axis=0) / SHARPNESS
        relevance = relevance_by_definitions(fruit_definitions, corpus.wholes)
        np.testing.assert_allclose(fitted.held_out.documents, [[*relevance, *pooled]])
    # All decisions are left to people.
    tagger = Tagger(fruit, word_encoder, fruit_definitions, fitted.heads, fitted.calibration)
    for scored in tagger.tag([document.document for document in fruit_documents(12)]):
        assert scored.decisions == ("refer",) * 4
        assert np.isfinite(scored.probabilities).all()
    if few != "one of each":
        np.testing.assert_array_equal(fitted.heads.relevance.direction, RELEVANCE_WEIGHT * fruit_definitions.relevance)
        assert not len(fitted.heads.relevance.weights)
    if not FEW[few]:
        assert_scored_by_definition(fitted.heads, 1, fruit_definitions)
        np.testing.assert_array_equal(fitted.calibration.slope, definitions_calibration(3).slope)


def test_same_seed_same_heads_other_seed_other_folds(fruit_corpus: Corpus, frozen: FrozenTrainer) -> None:
    first, second = (fit(fruit_corpus, frozen, SETTINGS, seed=1) for _ in range(2))
    np.testing.assert_array_equal(first.held_out.units, second.held_out.units)
    np.testing.assert_array_equal(first.held_out.documents, second.held_out.documents)
    np.testing.assert_array_equal(first.calibration.threshold, second.calibration.threshold)
    assert (fit(fruit_corpus, frozen, SETTINGS, seed=2).fold != first.fold).any()


def test_folds_share_out_both_kinds() -> None:
    relevant = np.array([1.0] * 12 + [0.0] * 8)
    fold = assign_folds(relevant, 4, seed=0)
    assert [int(relevant[fold == number].sum()) for number in range(4)] == [3, 3, 3, 3]
    assert np.bincount(fold).tolist() == [5, 5, 5, 5]


@pytest.mark.parametrize(("relevant", "irrelevant"), [(0, 0), (1, 0), (0, 1), (1, 1), (3, 9), (2, 0)])
def test_records_that_do_not_fill_the_folds_are_spread_over_them(relevant: int, irrelevant: int) -> None:
    kinds = np.repeat([1.0, 0.0], [relevant, irrelevant])
    fold = assign_folds(kinds, 4, seed=0)
    assert fold.shape == kinds.shape
    for kind, count in ((1, relevant), (0, irrelevant)):
        counts = np.bincount(fold[kinds == kind], minlength=4)
        assert counts.max() - counts.min() <= 1
        assert (counts.sum(), len(counts)) == (count, 4)


def test_where_all_records_are_relevant_the_definitions_score_relevance(
    fruit: Codebook, word_encoder: WordEncoder, fruit_definitions: Definitions, frozen: FrozenTrainer
) -> None:
    documents = [document for document in fruit_documents(60) if document.relevant]
    corpus = build_corpus(documents, [], fruit.keys, word_encoder, fruit_definitions)
    fitted = fit(corpus, frozen, SETTINGS, seed=1)
    tagger = Tagger(fruit, word_encoder, fruit_definitions, fitted.heads, fitted.calibration)
    scored = tagger.tag([fruit_documents(4)[1].document, fruit_documents(4)[2].document])
    texts = word_encoder.encode([corpus.whole_texts[0], corpus.whole_texts[1]])
    np.testing.assert_allclose([each.scores[0] for each in scored], relevance_by_definitions(fruit_definitions, texts))
    # All coded records are relevant, so no text may be decided to be irrelevant.
    assert min(each.probabilities[0] for each in scored) > 0.9
    assert (fitted.calibration.threshold[0], fitted.calibration.low[0]) == (0, 0)
    assert scored[0].probabilities[1] > 0.5 > scored[1].probabilities[1]


def test_where_no_record_is_relevant_labels_are_scored_and_calibrated_by_definitions(
    fruit: Codebook, word_encoder: WordEncoder, fruit_definitions: Definitions, frozen: FrozenTrainer
) -> None:
    documents = [document for document in fruit_documents(60) if not document.relevant]
    corpus = build_corpus(documents, [], fruit.keys, word_encoder, fruit_definitions)
    fitted = fit(corpus, frozen, SETTINGS, seed=1)
    for label in range(3):
        assert_scored_by_definition(fitted.heads, label, fruit_definitions)
    # Nobody judged a label, so its curve is the one measured with other codebooks.
    expected = definitions_calibration(3)
    np.testing.assert_array_equal(fitted.calibration.slope[1:], expected.slope[1:])
    np.testing.assert_array_equal(fitted.calibration.intercept[1:], expected.intercept[1:])
    tagger = Tagger(fruit, word_encoder, fruit_definitions, fitted.heads, fitted.calibration)
    scored = tagger.tag([document.document for document in documents])
    assert max(each.probabilities[0] for each in scored) < 0.5


def test_papers_coded_only_as_a_whole_teach_their_labels(
    fruit: Codebook, word_encoder: WordEncoder, fruit_definitions: Definitions, frozen: FrozenTrainer
) -> None:
    """Sentences that carry a label get high scores although no sentence is coded."""
    documents = [replace(document, sentence_labels=None) for document in fruit_documents(80)]
    corpus = build_corpus(documents, [], fruit.keys, word_encoder, fruit_definitions)
    fitted = fit(corpus, frozen, SETTINGS, seed=1)
    targets = np.array(
        [
            [np.nan, *[float(key in own) for key in fruit.keys]]
            for document in fruit_documents(80)
            for own in ((), *(document.sentence_labels or ()))
        ]
    )
    for column in (1, 2):
        assert roc_auc_score(targets[:, column], fitted.held_out.units[:, column]) > 0.95


def test_papers_coded_as_a_whole_have_an_intercept_of_their_own(
    fruit: Codebook, word_encoder: WordEncoder, fruit_definitions: Definitions
) -> None:
    """If most papers carry a label, the scores of sentences without it must not rise."""
    documents = fruit_documents(40)
    whole = [
        replace(document, record_id=f"text:w{row}", sentence_labels=None)
        for row, document in enumerate(document for document in documents if document.codes["apple"])
    ]
    corpora = [
        build_corpus(rows, [], fruit.keys, word_encoder, fruit_definitions)
        for rows in (documents, documents + whole * 3)
    ]
    bare = [row for row, text in enumerate(corpora[0].texts) if "apple" not in text]
    means = []
    for corpus in corpora:
        heads = fit_heads(corpus, np.ones(corpus.n_documents, bool), SETTINGS)
        means.append(score_texts(corpus, heads, np.isin(np.arange(len(corpus.texts)), bare))[:, 1].mean())
    assert means[1] < means[0] + 1


def test_a_label_that_all_examples_carry_is_scored_by_its_definition(
    fruit: Codebook, word_encoder: WordEncoder, fruit_definitions: Definitions
) -> None:
    uncoded = [replace(document, codes={}, sentence_labels=None) for document in fruit_documents(8)]
    exemplars = [Exemplar(id=f"e{row}", text=f"apple cider {row}", labels=("apple",)) for row in range(9)]
    corpus = build_corpus(uncoded, exemplars, fruit.keys, word_encoder, fruit_definitions)
    heads = fit_heads(corpus, np.ones(corpus.n_documents, bool), SETTINGS)
    for label in range(3):
        assert_scored_by_definition(heads, label, fruit_definitions)


def test_without_takes_one_document_out(fruit_corpus: Corpus) -> None:
    smaller = fruit_corpus.without(3)
    assert smaller.n_documents == fruit_corpus.n_documents - 1
    for kept, row in ((2, 2), (3, 4), (smaller.n_documents - 1, fruit_corpus.n_documents - 1)):
        np.testing.assert_array_equal(
            smaller.vectors[smaller.document == kept], fruit_corpus.vectors[fruit_corpus.document == row]
        )
        np.testing.assert_array_equal(smaller.document_targets[kept], fruit_corpus.document_targets[row])
        np.testing.assert_array_equal(smaller.wholes[kept], fruit_corpus.wholes[row])
        assert smaller.whole_texts[kept] == fruit_corpus.whole_texts[row]
    assert (smaller.document == NO_DOCUMENT).sum() == 1
    assert [len(each) for each in (smaller.counts, smaller.reports, smaller.n_parts)] == [len(smaller.texts)] * 3


def test_f1_threshold_is_the_best_of_all_cuts() -> None:
    generator = np.random.default_rng(3)
    for _ in range(20):
        chances = generator.choice(np.linspace(0.05, 0.95, 10), 30)
        targets = (generator.random(30) < chances).astype(float)
        chosen = f1_threshold(chances, targets)
        best = max(f1_score(targets, chances >= cut, zero_division=0) for cut in np.unique(chances))
        assert f1_score(targets, chances >= chosen) == pytest.approx(best)
        assert chosen not in chances


def test_f1_threshold_by_hand() -> None:
    assert f1_threshold(np.array([0.9, 0.6, 0.4, 0.2]), np.array([1.0, 1, 0, 0])) == pytest.approx(0.5)
    assert f1_threshold(np.array([0.9, 0.6]), np.array([0.0, 0])) == 0.5
    assert f1_threshold(np.array([0.9, 0.6]), np.array([1.0, 1])) == pytest.approx(0.3)


@pytest.mark.parametrize(("recall", "kept"), [(1.0, 4), (0.75, 3), (0.7, 3), (0.5, 2)])
def test_recall_threshold_keeps_the_share_asked_for(recall: float, kept: int) -> None:
    chances = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3])
    targets = np.array([1.0, 0, 1, 0, 1, 0, 1])
    threshold = recall_threshold(chances, targets, recall)
    assert int(targets[chances >= threshold].sum()) == kept
    assert threshold not in chances or recall == 1.0


def lost(slope: float, level: float, scores: np.ndarray, targets: np.ndarray) -> float:
    """Return the loss that `fit_curve` minimises, computed with scipy's densities of the codes, slope and level."""
    chances = expit(slope * (scores - (scores.mean() if len(scores) else 0)) + level)
    codes = bernoulli.logpmf(targets.astype(int), chances).sum()
    return float(-codes - norm.logpdf(slope, 1, 1) - norm.logpdf(level, 0, 3))


@pytest.mark.parametrize(
    ("scores", "targets"),
    [
        ([], []),
        ([2.0], [1]),
        ([-4.0], [0]),
        ([2.0, 5.0], [1, 1]),
        ([2.0, 5.0, 9.0], [0, 0, 0]),
        ([2.0, 5.0], [0, 1]),
        ([2.0, 5.0], [1, 0]),
        ([3.0, 3.0, 3.0], [1, 0, 1]),
        (list(range(10)), [0, 1, 0, 0, 1, 0, 1, 1, 0, 1]),
        (list(range(0, 200, 20)), [0, 0, 0, 0, 0, 1, 1, 1, 1, 1]),
    ],
)
def test_curve_is_the_most_probable_of_all(scores: list[float], targets: list[int]) -> None:
    """No curve on a fine grid, and none that scipy finds without gradients, is more probable."""
    own, codes = np.array(scores, dtype=float), np.array(targets, dtype=float)
    slope, intercept = fit_curve(own, codes)
    level = intercept + slope * (own.mean() if len(own) else 0)
    assert slope >= 0
    best = lost(slope, level, own, codes)
    oracle = minimize(
        lambda point: lost(point[0], point[1], own, codes),
        [0.5, 0.5],
        method="Nelder-Mead",
        bounds=[(0, None), (None, None)],
        options={"xatol": 1e-7, "fatol": 1e-10, "maxiter": 2000},
    )
    assert best == pytest.approx(oracle.fun, abs=1e-6)
    assert (slope, level) == pytest.approx(tuple(oracle.x), abs=5e-3)
    grid = [lost(x, y, own, codes) for x in np.linspace(0, 3, 21) for y in np.linspace(-6, 6, 21)]
    assert best <= min(grid) + 1e-6


def test_curve_with_few_codes_stays_near_what_is_expected_and_with_many_is_free() -> None:
    assert fit_curve(np.zeros(0), np.zeros(0)) == pytest.approx((1, 0))
    # After a single yes, the probability at its score is above one half, however low the score.
    slope, intercept = fit_curve(np.array([-20.0]), np.array([1.0]))
    assert slope == pytest.approx(1)
    assert 0.5 < expit(slope * -20 + intercept) < 0.95
    generator = np.random.default_rng(3)
    scores = generator.normal(2, 3, 4000)
    targets = (generator.random(4000) < expit(0.4 * scores - 1.5)).astype(float)
    oracle = LogisticRegression(C=1e6).fit(scores[:, None], targets)
    found = fit_curve(scores, targets)
    assert found == pytest.approx((float(oracle.coef_[0, 0]), float(oracle.intercept_[0])), abs=0.01)


def test_curve_never_reverses_the_order() -> None:
    scores = np.arange(10.0)
    slope, intercept = fit_curve(scores, (scores < 5).astype(float))
    assert slope == 0
    assert intercept == pytest.approx(0.0, abs=1e-4)
    slope, _ = fit_curve(scores, (scores > 5).astype(float))
    assert slope > 0


def test_calibration_of_no_records_leaves_every_decision_to_people() -> None:
    found = fit_calibration(np.zeros((0, 3)), np.zeros((0, 3)), SETTINGS, np.zeros(0, bool), np.zeros(0, int))
    expected = definitions_calibration(2)
    for one, other in zip(vars(found).values(), vars(expected).values(), strict=True):
        np.testing.assert_array_equal(one, other)
    # Without records, the score of relevance is taken as its log odds.
    assert found.relevance(np.array([0.0, np.log(3)])).tolist() == pytest.approx([0.5, 0.75])
    for chances in ([0.0, 0, 0], [1.0, 1, 1], [0.5, 0.1, 0.9]):
        assert found.decide(np.array(chances)) == ("refer",) * 3
    # Higher scores are more probable, and a part that is unlike the definition is improbable.
    assert (found.slope > 0).all()
    assert (expit(found.intercept[1:]) < 0.1).all()


def test_label_with_too_few_positives_shares_the_curve_of_all() -> None:
    generator = np.random.default_rng(0)
    targets = np.column_stack([np.tile([1.0, 0.0], 50), generator.integers(0, 2, (100, 2))]).astype(float)
    targets[targets[:, 0] == 0, 1:] = np.nan
    targets[:, 2] = np.where(np.isnan(targets[:, 2]), np.nan, 0.0)
    scores = np.nan_to_num(targets) + generator.normal(size=(100, 3))
    calibration = fit_calibration(scores, targets, SETTINGS)
    judged = ~np.isnan(targets[:, 1:])
    shared = fit_curve(scores[:, 1:][judged], targets[:, 1:][judged])
    assert (calibration.slope[2], calibration.intercept[2]) == pytest.approx(shared)
    assert calibration.slope[1] != pytest.approx(shared[0])


@pytest.mark.parametrize(("positives", "lost"), [(100, 1), (220, 6), (44, None), (45, 0)])
def test_a_safe_no_loses_as_many_as_the_published_bound_allows(positives: int, lost: int | None) -> None:
    """The expected number comes from the one-sided Clopper-Pearson bound, a quantile of a beta distribution."""
    share, certainty = 0.05, 0.9
    chances = np.random.default_rng(positives).permutation(np.linspace(0.01, 0.99, positives))
    cut = safe_no(chances, share)
    bounds = [beta.ppf(certainty, below + 1, positives - below) for below in range(positives)]
    if lost is None:
        assert min(bounds) > share
        lost = 0
        assert (chances < cut).sum() == lost
        return
    assert (chances < cut).sum() == lost
    assert bounds[lost] <= share < bounds[lost + 1]


def test_a_safe_no_does_not_separate_equal_probabilities() -> None:
    assert safe_no(np.full(100, 0.3), 0.05) == 0.3
    assert safe_no(np.repeat([0.1, 0.5], [2, 98]), 0.05) == 0.1


def test_the_chance_of_losing_more_than_promised_is_small() -> None:
    """The share of lost papers exceeds the promised share in about one case of ten."""
    generator = np.random.default_rng(8)
    cuts = np.array([safe_no(generator.random(220), 0.05) for _ in range(2000)])
    # The positives have uniform probabilities, so the cut equals the share that it loses.
    assert 0.05 < (cuts > 0.05).mean() < 0.12


def records_of_sets(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return scores, targets, whether each record is hard, and its set.

    Two sets have many hard records, one has too few, and one has none.
    """
    generator = np.random.default_rng(seed)
    kinds = {0: (120, 60, 40), 1: (80, 30, 60), 2: (30, MIN_HARD - 1, 30), 3: (40, 0, 400)}
    source, relevant, hard, level = (
        np.concatenate(parts)
        for parts in zip(
            *(
                (
                    np.full(sum(counts), number),
                    np.repeat([True, False, False], counts),
                    np.repeat([False, True, False], counts),
                    np.repeat([2.0, 0.5 if number else 0.0, -4.0], counts),
                )
                for number, counts in kinds.items()
            ),
            strict=True,
        )
    )
    targets = np.full((len(source), 3), np.nan)
    targets[:, 0] = relevant
    targets[relevant, 1:] = generator.random((relevant.sum(), 2)) < [0.75, 0.6]
    scores = np.nan_to_num(targets, nan=0.3) * 2.5 + generator.normal(size=targets.shape)
    scores[:, 0] = level + generator.normal(size=len(source))
    return scores, targets, hard.astype(bool), source


def test_relevance_keeps_its_promise_on_the_hard_records_of_each_set() -> None:
    scores, targets, hard, source = records_of_sets()
    calibration = fit_calibration(scores, targets, SETTINGS, hard, source)
    chances = expit(calibration.slope[0] * scores[:, 0] + calibration.intercept[0])
    relevant = targets[:, 0] == 1
    bands = [
        refer_band(chances[own & (relevant | hard)], targets[own & (relevant | hard), 0], SETTINGS.relevance_precision)
        for own in (source == 0, source == 1)
    ]
    assert calibration.high[0] == max(high for _, high in bands)
    assert bands[0][1] != bands[1][1]
    for own in (source == 0, source == 1):
        said = own & (relevant | hard) & (chances >= calibration.high[0])
        right = int(targets[said, 0].sum())
        assert beta.ppf(0.1, right, said.sum() - right + 1) >= SETTINGS.relevance_precision - 1e-9
    assert calibration.low[0] == min(safe_no(chances[relevant], 0.02), calibration.threshold[0], *(x for x, _ in bands))
    assert (chances[relevant] < calibration.low[0]).mean() <= 0.05
    # Easy records, and sets with too few hard ones, would make a yes look more reliable than it is.
    assert fit_calibration(scores, targets, SETTINGS).high[0] < calibration.high[0]
    few = hard & np.isin(source, (2, 3))
    for nothing in (few, np.zeros_like(hard)):
        again = fit_calibration(scores, targets, SETTINGS, nothing, source)
        np.testing.assert_array_equal(again.high, fit_calibration(scores, targets, SETTINGS).high)
    # If all records are in one set, their hard records count together.
    one = fit_calibration(scores, targets, SETTINGS, hard)
    rows = relevant | hard
    assert one.high[0] == max(refer_band(chances[rows], targets[rows, 0], 0.8)[1], one.threshold[0])


def test_bounds_of_no_use_relevant_papers_and_bounds_of_yes_hard_ones_too() -> None:
    scores, targets, hard, source = records_of_sets()
    calibration = fit_calibration(scores, targets, SETTINGS, hard, source)
    curves = expit(calibration.slope * scores + calibration.intercept)
    chances = curves[:, :1] * curves[:, 1:]
    relevant = targets[:, 0] == 1
    low, _ = refer_band(chances[relevant].ravel(), targets[relevant, 1:].ravel(), SETTINGS.decided_precision)
    np.testing.assert_array_equal(calibration.low[1:], low)
    said = chances[relevant] < low
    wrong = int(targets[relevant, 1:][said].sum())
    assert beta.ppf(0.1, said.sum() - wrong, wrong + 1) >= SETTINGS.decided_precision - 1e-9
    telling = (relevant | hard) & np.isin(source, (0, 1))
    _, high = refer_band(
        chances[telling].ravel(),
        np.where(relevant[:, None], targets[:, 1:], 0.0)[telling].ravel(),
        SETTINGS.decided_precision,
    )
    np.testing.assert_array_equal(calibration.high[1:], high)
    assert (0 < calibration.low).all()
    assert (calibration.low < calibration.threshold).all()
    assert (calibration.threshold < calibration.high).all()
    assert (calibration.high < 1).all()
    # A no is always right for irrelevant records, so counting them would raise the bound of no.
    easier = np.where(relevant[:, None], targets[:, 1:], 0.0)
    assert refer_band(chances.ravel(), easier.ravel(), SETTINGS.decided_precision)[0] > low


def test_where_relevance_is_a_no_no_label_is_suggested() -> None:
    scores, targets, hard, source = records_of_sets()
    calibration = fit_calibration(scores, targets, SETTINGS, hard, source)
    strong = np.full(3, 1.0)
    assert calibration.decide(strong) == ("yes", "yes", "yes")
    strong[0] = calibration.low[0] - 1e-9
    assert calibration.low[0] > 0
    assert calibration.decide(strong) == ("no", "no", "no")
