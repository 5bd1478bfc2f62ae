from dataclasses import replace

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, roc_auc_score

from models.codebook import Codebook
from models.errors import MechtagError
from models.features import Definitions
from models.tagger import Tagger
from models.words import fit_words
from pipeline.annotations import Exemplar
from pipeline.settings import TrainSettings
from tests.toy import WordEncoder, fruit_documents
from training.examples import NO_DOCUMENT, CodedDocument, Corpus, build_corpus, unit_table
from training.fit import assign_folds, fit, fit_heads, score_units
from training.pooled import Wholes, fit_units
from training.thresholds import choose_sharpness, f1_threshold, fit_calibration, fit_curve, recall_threshold
from training.trainers import Frozen

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
    extra: CodedDocument = replace(fruit_documents(2)[1], record_id="text:x", codes=codes, sentence_labels=None)
    exemplars = [Exemplar(id="e1", text="apple cider again", labels=("apple",))]
    larger = build_corpus([*fruit_documents(), extra], exemplars, fruit.keys, word_encoder, fruit_definitions)
    before = fit_heads(fruit_corpus, np.ones(fruit_corpus.n_documents, bool), SETTINGS)
    after = fit_heads(larger, np.ones(larger.n_documents, bool), SETTINGS)
    np.testing.assert_allclose(after.weights[1:], before.weights[1:], atol=1e-6)
    assert not np.allclose(after.weights[0], before.weights[0])


def test_score_is_the_sum_of_two_of_scikit_learns_logistic_regressions(fruit_corpus: Corpus) -> None:
    of_papers = fruit_corpus.document_targets.copy()
    of_papers[:, 1:] = np.nan  # Sentences alone are learnt from.
    fruit_corpus = replace(fruit_corpus, document_targets=of_papers)
    heads = fit_heads(fruit_corpus, np.ones(fruit_corpus.n_documents, bool), SETTINGS)
    rows = ~np.isnan(fruit_corpus.unit_targets[:, 1])
    targets = fruit_corpus.unit_targets[rows, 1]
    features = np.hstack([fruit_corpus.vectors[rows], fruit_corpus.likenesses[rows, 0]])
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2).fit(fruit_corpus.texts)
    counts = vectorizer.transform([text for text, use in zip(fruit_corpus.texts, rows, strict=True) if use])
    by_vectors = LogisticRegression(C=SETTINGS.regularisation, max_iter=2000).fit(features, targets)
    by_words = LogisticRegression(C=SETTINGS.word_regularisation, max_iter=2000).fit(counts, targets)
    expected = by_vectors.decision_function(features) + by_words.decision_function(counts)
    np.testing.assert_allclose(score_units(fruit_corpus, heads, rows)[:, 1], expected, atol=1e-6)


def test_papers_whose_sentences_were_coded_teach_as_a_whole_too(fruit_corpus: Corpus) -> None:
    kept = np.arange(fruit_corpus.n_documents) % 5 > 0
    heads = fit_heads(fruit_corpus, kept, SETTINGS)
    features = np.hstack([fruit_corpus.vectors, fruit_corpus.likenesses[:, 0]])
    coded = [
        row
        for row, document in enumerate(fruit_corpus.document)
        if not np.isnan(fruit_corpus.unit_targets[row, 1]) and (document == NO_DOCUMENT or kept[document])
    ]
    judged = [row for row in np.flatnonzero(kept) if fruit_corpus.document_targets[row, 0] == 1]
    papers = [fruit_corpus.rows()[row] for row in judged]
    wholes = Wholes(
        features[np.concatenate(papers)], fruit_corpus.lengths[judged], fruit_corpus.document_targets[judged, 1]
    )
    expected, _ = fit_units(features[coded], fruit_corpus.unit_targets[coded, 1], SETTINGS.regularisation, wholes)
    np.testing.assert_allclose(np.append(heads.weights[1], heads.likeness_weights[1]), expected, atol=1e-6)


def test_out_of_fold_scores_have_not_seen_their_document(fruit_corpus: Corpus, frozen: Frozen) -> None:
    fitted = fit(fruit_corpus, frozen, SETTINGS, seed=1)
    heads = fit_heads(fruit_corpus, fitted.fold != 2, SETTINGS)
    rows = np.isin(fruit_corpus.document, np.flatnonzero(fitted.fold == 2))
    np.testing.assert_allclose(fitted.unit_scores[rows], score_units(fruit_corpus, heads, rows))
    assert np.isnan(fitted.unit_scores[fruit_corpus.document == NO_DOCUMENT]).all()


def test_words_of_held_out_documents_are_unknown(fruit_corpus: Corpus) -> None:
    """The vocabulary too is collected without the documents that are to be scored."""
    kept = np.arange(fruit_corpus.n_documents) % 2 == 0
    heads = fit_heads(fruit_corpus, kept, SETTINGS)
    seen = " ".join(
        text
        for text, row in zip(fruit_corpus.texts, fruit_corpus.document, strict=True)
        if row == NO_DOCUMENT or kept[row]
    )
    assert set(heads.words.terms) <= set(CountVectorizer(ngram_range=(1, 2)).fit([seen]).get_feature_names_out())
    assert set(heads.words.terms) < set(fit_words(fruit_corpus.texts).terms)


def test_document_features_are_means_of_units(fruit_corpus: Corpus) -> None:
    counts = fit_words(fruit_corpus.texts).features(fruit_corpus.texts)
    expected = [counts[rows].mean(axis=0) for rows in fruit_corpus.rows()]
    np.testing.assert_allclose(fruit_corpus.mean_rows(counts).toarray(), np.vstack(expected))


def test_texts_without_a_common_word_give_no_terms() -> None:
    words = fit_words(["one two", "three four"])
    assert words.terms == ()
    assert words.features(["one two"]).shape == (1, 0)


def test_what_the_words_say_is_learnt(
    fruit: Codebook, fruit_corpus: Corpus, word_encoder: WordEncoder, fruit_definitions: Definitions, frozen: Frozen
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
    fruit: Codebook, fruit_corpus: Corpus, word_encoder: WordEncoder, fruit_definitions: Definitions, frozen: Frozen
) -> None:
    fitted = fit(fruit_corpus, frozen, SETTINGS, seed=1)
    plum = fruit.all_keys.index("plum")
    assert not fitted.heads.weights[plum].any()
    assert not fitted.heads.word_weights[plum].any()
    assert fitted.heads.likeness_weights[plum].any()
    tagger = Tagger(fruit, word_encoder, fruit_definitions, fitted.heads, fitted.calibration)
    documents = [replace(fruit_documents(1)[0].document, sentences=(text,)) for text in ("plum jam", "slate roof")]
    jam, roof = tagger.tag(documents)
    assert jam.scores[plum] > roof.scores[plum]


def test_same_seed_same_heads_other_seed_other_folds(fruit_corpus: Corpus, frozen: Frozen) -> None:
    first, second = (fit(fruit_corpus, frozen, SETTINGS, seed=1) for _ in range(2))
    np.testing.assert_array_equal(first.unit_scores, second.unit_scores)
    np.testing.assert_array_equal(first.calibration.threshold, second.calibration.threshold)
    assert (fit(fruit_corpus, frozen, SETTINGS, seed=2).fold != first.fold).any()


def test_folds_share_out_both_kinds() -> None:
    relevant = np.array([1.0] * 12 + [0.0] * 8)
    fold = assign_folds(relevant, 4, seed=0)
    assert [int(relevant[fold == number].sum()) for number in range(4)] == [3, 3, 3, 3]
    assert np.bincount(fold).tolist() == [5, 5, 5, 5]


def test_too_few_records_for_the_folds_are_told() -> None:
    with pytest.raises(MechtagError, match="the rarer kind has 3"):
        assign_folds(np.array([1.0] * 3 + [0.0] * 9), 4, seed=0)


def test_records_of_which_none_is_relevant_are_refused(
    fruit: Codebook, word_encoder: WordEncoder, fruit_definitions: Definitions
) -> None:
    documents = [document for document in fruit_documents(8) if not document.relevant]
    with pytest.raises(MechtagError, match="2 coded records, none of them relevant"):
        build_corpus(documents, [], fruit.keys, word_encoder, fruit_definitions)


def test_where_all_records_are_relevant_relevance_is_left_out(
    fruit: Codebook, word_encoder: WordEncoder, fruit_definitions: Definitions, frozen: Frozen
) -> None:
    documents = [document for document in fruit_documents(60) if document.relevant]
    corpus = build_corpus(documents, [], fruit.keys, word_encoder, fruit_definitions)
    fitted = fit(corpus, frozen, SETTINGS, seed=1)
    assert not fitted.heads.weights[0].any()
    tagger = Tagger(fruit, word_encoder, fruit_definitions, fitted.heads, fitted.calibration)
    scored = tagger.tag([fruit_documents(4)[1].document, fruit_documents(4)[2].document])
    assert [result.probabilities[0] for result in scored] == pytest.approx([46 / 47, 46 / 47])
    assert scored[0].probabilities[1] > 0.5 > scored[1].probabilities[1]


def test_papers_coded_only_as_a_whole_teach_their_labels(
    fruit: Codebook, word_encoder: WordEncoder, fruit_definitions: Definitions, frozen: Frozen
) -> None:
    """No sentence is coded, and still the sentence that carries a label gets the highest score."""
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
        assert roc_auc_score(targets[:, column], fitted.unit_scores[:, column]) > 0.95


def test_papers_coded_as_a_whole_have_an_intercept_of_their_own(
    fruit: Codebook, word_encoder: WordEncoder, fruit_definitions: Definitions
) -> None:
    """That most papers carry a label must not raise the score of every sentence."""
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
        means.append(score_units(corpus, heads, np.isin(np.arange(len(corpus.texts)), bare))[:, 1].mean())
    assert means[1] < means[0] + 1


def test_no_examples_at_all_are_refused(fruit_corpus: Corpus) -> None:
    settings = TrainSettings(folds=4, min_positives=500)
    with pytest.raises(MechtagError, match="no label has 500 coded example sentences or papers"):
        fit_heads(fruit_corpus, np.ones(fruit_corpus.n_documents, bool), settings)


def test_a_label_that_all_examples_carry_is_not_learnt(
    fruit: Codebook, word_encoder: WordEncoder, fruit_definitions: Definitions
) -> None:
    uncoded = [replace(document, codes={}, sentence_labels=None) for document in fruit_documents(8)]
    exemplars = [Exemplar(id=f"e{row}", text=f"apple cider {row}", labels=("apple",)) for row in range(9)]
    corpus = build_corpus(uncoded, exemplars, fruit.keys, word_encoder, fruit_definitions)
    with pytest.raises(MechtagError, match="and others that do not carry it"):
        fit_heads(corpus, np.ones(corpus.n_documents, bool), SETTINGS)


def test_without_takes_one_document_out(fruit_corpus: Corpus) -> None:
    smaller = fruit_corpus.without(3)
    assert smaller.n_documents == fruit_corpus.n_documents - 1
    for kept, row in ((2, 2), (3, 4), (smaller.n_documents - 1, fruit_corpus.n_documents - 1)):
        np.testing.assert_array_equal(
            smaller.vectors[smaller.document == kept], fruit_corpus.vectors[fruit_corpus.document == row]
        )
        np.testing.assert_array_equal(smaller.document_targets[kept], fruit_corpus.document_targets[row])
    assert (smaller.document == NO_DOCUMENT).sum() == 1


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


def test_curve_never_turns_the_order_round() -> None:
    scores = np.arange(10.0)
    slope, intercept = fit_curve(scores, (scores < 5).astype(float))
    assert slope == 0
    assert intercept == pytest.approx(0.0)
    slope, _ = fit_curve(scores, (scores > 5).astype(float))
    assert slope > 0


def test_sharpness_finds_where_the_evidence_lies() -> None:
    """One label speaks through a single strong sentence, the other through all of them."""
    generator = np.random.default_rng(5)
    count = 2000
    targets = np.column_stack([np.ones(count), generator.integers(0, 2, (count, 2))]).astype(float)
    units = generator.normal(size=(count, 8, 3))
    units[:, 0, 1] += 6 * targets[:, 1]
    units[:, :, 2] += targets[:, 2, None]

    def pooled(sharpness: np.ndarray) -> np.ndarray:
        from models.pooling import pool

        return pool(units.reshape(-1, 3), [8] * count, sharpness)

    chosen = choose_sharpness(pooled, targets, min_positives=3)
    assert chosen[0] == 0
    assert chosen[1] > chosen[2]
    targets[30:] = np.nan  # With few papers the two lean on one another.
    few = choose_sharpness(pooled, targets, min_positives=3)
    assert few[1] == few[2]


def test_label_with_too_few_positives_shares_the_curve_of_all() -> None:
    generator = np.random.default_rng(0)
    targets = np.column_stack([np.tile([1.0, 0.0], 50), generator.integers(0, 2, (100, 2))]).astype(float)
    targets[targets[:, 0] == 0, 1:] = np.nan
    targets[:, 2] = np.where(np.isnan(targets[:, 2]), np.nan, 0.0)
    scores = np.nan_to_num(targets) + generator.normal(size=(100, 3))
    calibration = fit_calibration(scores, targets, min_positives=3, relevance_recall=0.95, decided_precision=0.8)
    judged = ~np.isnan(targets[:, 1:])
    shared = fit_curve(scores[:, 1:][judged], targets[:, 1:][judged])
    assert (calibration.slope[2], calibration.intercept[2]) == pytest.approx(shared)
    assert calibration.slope[1] != pytest.approx(shared[0])
