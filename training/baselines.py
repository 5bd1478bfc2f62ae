"""Predict the codes of the gold papers with simple baselines, and with the leave-one-paper-out protocol.

The package `evaluation` compares these predictions with the predictions of the tagger, and evaluates all predictions
with the same code.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from mechtag.core.arrays import Array
from mechtag.core.codebook import Codebook
from mechtag.core.errors import MechtagError
from mechtag.core.records import Prediction, Record, Sentence
from mechtag.core.settings import Settings
from mechtag.models.encoder import Encoder
from mechtag.models.features import embed_codebook
from mechtag.models.scoring import mean
from mechtag.models.tagger import Tagger
from mechtag.pipeline.annotations.coded_records import Exemplar, all_exemplars
from mechtag.pipeline.annotations.coding_table import read_annotations
from mechtag.pipeline.annotations.gold_table import GoldStandard, gold_standard, load_matrix
from mechtag.pipeline.tagging.predict import documents_of
from mechtag.training.calibration import f1_threshold, fit_curve
from mechtag.training.dataset import NO_DOCUMENT, CodedDocument, Corpus, build_corpus, coded_documents
from mechtag.training.finetuning.trainers import Trainer, make_trainer
from mechtag.training.heads import assign_folds, calibrate, fit_heads, held_out_scores
from mechtag.training.train import load_encoder, predictions_of

Progress = Callable[[int], None]

HALF = 0.5


@dataclass(frozen=True)
class Bench:
    """The data that all baselines use: coded documents to train on, and gold papers to predict.

    The corpus contains the coded documents, followed by the gold papers.
    """

    settings: Settings
    codebook: Codebook
    encoder: Encoder
    trainer: Trainer
    exemplars: Sequence[Exemplar]
    coded: Sequence[CodedDocument]
    gold: Sequence[CodedDocument]
    corpus: Corpus

    @property
    def documents(self) -> list[CodedDocument]:
        """Return all documents in the order of the corpus: the coded documents, followed by the gold papers."""
        return [*self.coded, *self.gold]

    @property
    def n_coded(self) -> int:
        """Return the number of coded documents."""
        return len(self.coded)

    @property
    def fold(self) -> NDArray[np.int64]:
        """Return the fold of each coded document; the folds are the same as in training."""
        corpus, coded = self.corpus, slice(self.n_coded)
        added = sum(document.added for document in self.coded)
        folds, seed = self.settings.train.folds, self.settings.seed
        return assign_folds(
            corpus.document_targets[coded, 0], folds, seed, added, corpus.source[coded], corpus.hard[coded]
        )


def prepare(
    settings: Settings,
    codebook: Codebook,
    records: Sequence[Record],
    sentences: Sequence[Sentence],
    work: Path | None = None,
) -> Bench:
    """Read and encode the coded records and the gold papers; `run_all` needs the result.

    Parameters
    ----------
    records, sentences
        Records of the gold papers, and the sentences of these records. Records without a row in the gold table are
        ignored.
    work
        Folder for checkpoints, from which interrupted fine-tuning resumes.

    Raises
    ------
    MechtagError
        If a file is not valid, if a gold paper is among the coded records, or if no gold paper has a record.
    """
    coded = coded_documents(read_annotations(settings, codebook.keys, codebook.relevance.key), codebook.keys)
    exemplars = all_exemplars(settings.train, codebook.keys)
    gold = gold_documents(gold_standard(load_matrix(settings.evaluate.gold), records), codebook.keys, sentences)
    known = {document.record_id for document in coded}
    leaked = [document.record_id for document in gold if document.record_id in known]
    if leaked:
        raise MechtagError(
            f"{settings.train.records}: these papers are also in the gold standard "
            f"{settings.evaluate.gold}: {', '.join(leaked)}. A model must not be trained on the papers that measure "
            "its accuracy; remove the papers from one of the two files"
        )
    encoder = load_encoder(settings)
    definitions = embed_codebook(codebook, encoder)
    corpus = build_corpus([*coded, *gold], exemplars, codebook.keys, encoder, definitions)
    trainer = make_trainer(encoder, codebook, definitions, settings.train, work=work)
    return Bench(settings, codebook, encoder, trainer, exemplars, coded, gold, corpus)


def gold_documents(gold: GoldStandard, label_keys: Sequence[str], sentences: Sequence[Sentence]) -> list[CodedDocument]:
    """Return the gold papers as documents; the documents have codes for the whole paper, but not for its sentences."""
    truth = gold.truth(label_keys)
    found = []
    for row, (record, (document, _)) in enumerate(
        zip(gold.evaluated, documents_of(gold.evaluated, sentences), strict=True)
    ):
        codes = {
            label: None if np.isnan(code) else int(code) for label, code in zip(label_keys, truth[row], strict=True)
        }
        found.append(CodedDocument(record.record_id, document, relevant=True, codes=codes, source="gold"))
    return found


def leave_one_out(bench: Bench, on_progress: Progress = lambda _: None) -> list[Prediction]:
    """Predict each gold paper with a model that was trained on the coded records and on all other gold papers.

    The curves that turn scores into probabilities, and the thresholds, are fitted on the coded records only. No gold
    paper influences them.
    """
    corpus, settings = bench.corpus, bench.settings
    coded = np.arange(corpus.n_documents) < bench.n_coded
    held_out = held_out_scores(
        corpus.keep(coded), bench.trainer, bench.fold, np.ones(bench.n_coded, dtype=bool), settings.train, settings.seed
    )
    everything = np.ones(bench.n_coded, dtype=bool)
    calibration = calibrate(corpus.keep(coded), held_out.documents, everything, settings.train)
    predictions = []
    for row in range(bench.n_coded, corpus.n_documents):
        learned = np.arange(corpus.n_documents) != row
        encoded = bench.trainer.encode(corpus, learned, settings.seed)
        heads = fit_heads(encoded.corpus, learned, settings.train)
        tagger = Tagger(bench.codebook, encoded.encoder, encoded.definitions, heads, calibration)
        scores = tagger.tag([bench.documents[row].document])[0].scores[None]
        record_id = bench.documents[row].record_id
        predictions += predictions_of([record_id], bench.codebook, scores, calibration, "leave-one-out")
        on_progress(1)
    return predictions


def all_positive(bench: Bench) -> list[Prediction]:
    """Return predictions in which every gold paper has every label."""
    ones = np.ones((len(bench.gold), len(bench.codebook.keys)))
    return _rows(bench, ones, ones, np.full(ones.shape[1], HALF), "all_positive")


def prevalence(bench: Bench) -> list[Prediction]:
    """Return predictions in which the probability of a label is its prevalence among the relevant coded papers."""
    targets, relevant = _relevant_targets(bench)
    shares = np.nanmean(targets[relevant], axis=0)
    table = np.tile(shares, (len(bench.gold), 1))
    return _rows(bench, table, table, np.full(table.shape[1], HALF), "prevalence")


def text_length(bench: Bench) -> list[Prediction]:
    """Return predictions that score every label of a gold paper by the number of words in the paper."""
    words = [sum(len(unit.split()) for unit in coded.document.units) for coded in bench.documents]
    return _calibrated(bench, np.tile(np.array(words, dtype=float)[:, None], len(bench.codebook.keys)), "text_length")


def query_cosine(bench: Bench, query: str, name: str) -> list[Prediction]:
    """Return predictions that score every label of a gold paper by the similarity of the paper to a query.

    The score is the mean cosine similarity between the query and the parts of the paper: its title, and its sentences
    split at semicolons.
    """
    cosines = bench.corpus.vectors.astype(np.float64) @ bench.encoder.encode([query])[0].astype(np.float64)
    return _calibrated(bench, np.tile(_means(bench, cosines[:, None]), len(bench.codebook.keys)), name)


def definition_cosine(bench: Bench) -> list[Prediction]:
    """Return predictions that score a label of a gold paper by the similarity of the paper to the label's definition.

    The score is the mean cosine similarity between the definition and the parts of the paper: its title, and its
    sentences split at semicolons.
    """
    definitions = bench.encoder.encode([label.definition for label in bench.codebook.labels])
    cosines = bench.corpus.vectors.astype(np.float64) @ definitions.T.astype(np.float64)
    return _calibrated(bench, _means(bench, cosines), "definition_cosine")


def tfidf(bench: Bench) -> list[Prediction]:
    """Return predictions for the gold papers from classifiers that use words (TF-IDF) instead of vectors.

    The classifiers are trained on the coded sentences and the exemplars.
    """
    corpus, units = bench.corpus, bench.corpus.texts
    folds = bench.settings.train.folds
    # The gold papers are an additional fold, which is never trained on.
    document_fold = np.append(bench.fold, np.full(len(bench.gold), folds))
    own = corpus.document != NO_DOCUMENT
    # An exemplar that was taken from a paper is never used to score this paper.
    paper = np.where(own, corpus.document, corpus.taken_from)
    unit_fold = np.where(paper == NO_DOCUMENT, -1, document_fold[paper])
    scores = np.zeros((len(units), len(bench.codebook.keys)))
    for held_out in range(folds + 1):
        vectorizer = _vectorizer()
        learned = np.flatnonzero((unit_fold != held_out) & (unit_fold != folds))
        rows = np.flatnonzero(own & (unit_fold == held_out))
        words = vectorizer.fit_transform([units[row] for row in learned])
        held_words = vectorizer.transform([units[row] for row in rows])
        for column in range(scores.shape[1]):
            targets = corpus.unit_targets[learned, 1 + column]
            judged = ~np.isnan(targets)
            if len(np.unique(targets[judged])) == 2:
                model = LogisticRegression(C=10.0, max_iter=1000).fit(words[judged], targets[judged])
                scores[rows, column] = model.decision_function(held_words)
    return _calibrated(bench, _means(bench, scores), "tfidf")


def tfidf_leave_one_out(bench: Bench) -> list[Prediction]:
    """Return predictions for each gold paper from TF-IDF classifiers trained only on the other gold papers."""
    texts = [" ".join(coded.document.units) for coded in bench.gold]
    targets = bench.corpus.document_targets[bench.n_coded :, 1:]
    chances = np.full(targets.shape, HALF)
    for row in range(len(texts)):
        others = [place for place in range(len(texts)) if place != row]
        vectorizer = _vectorizer()
        words = vectorizer.fit_transform([texts[place] for place in others])
        held = vectorizer.transform([texts[row]])
        for column in range(targets.shape[1]):
            known = ~np.isnan(targets[others, column])
            codes = targets[others, column][known]
            if len(np.unique(codes)) == 2:
                model = LogisticRegression(C=10.0, max_iter=1000).fit(words[known], codes)
                chances[row, column] = model.predict_proba(held)[0, 1]
    return _rows(bench, chances, chances, np.full(targets.shape[1], HALF), "tfidf_leave_one_out")


def relevance_svm(bench: Bench) -> list[Prediction]:
    """Return predictions of the relevance of coded records, from a linear SVM on TF-IDF features.

    The predictions are out of fold.
    """
    texts = [" ".join(coded.document.units) for coded in bench.coded]
    relevant = bench.corpus.document_targets[: bench.n_coded, 0]
    fold = bench.fold
    scores = np.zeros(bench.n_coded)
    for held_out in range(bench.settings.train.folds):
        vectorizer = _vectorizer()
        learned, rows = np.flatnonzero(fold != held_out), np.flatnonzero(fold == held_out)
        model = LinearSVC(random_state=bench.settings.seed).fit(
            vectorizer.fit_transform([texts[row] for row in learned]), relevant[learned]
        )
        scores[rows] = model.decision_function(vectorizer.transform([texts[row] for row in rows]))
    return [
        Prediction(
            record_id=coded.record_id,
            label=bench.codebook.relevance.key,
            score=float(score),
            decision="yes" if score >= 0 else "no",
            model_id="tfidf_svm",
        )
        for coded, score in zip(bench.coded, scores, strict=True)
    ]


def _vectorizer() -> TfidfVectorizer:
    return TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)


def _means(bench: Bench, unit_scores: Array) -> Array:
    """Return, for each document, the mean score of its title and its parts (pieces of sentences between semicolons)."""
    return mean(unit_scores[bench.corpus.document != NO_DOCUMENT], bench.corpus.lengths)


def _relevant_targets(bench: Bench) -> tuple[Array, NDArray[np.bool_]]:
    targets = bench.corpus.document_targets[: bench.n_coded]
    return targets[:, 1:], targets[:, 0] == 1


def _calibrated(bench: Bench, scores: Array, name: str) -> list[Prediction]:
    """Convert scores to predictions for the gold papers; each label is calibrated on the relevant coded papers.

    ``scores`` has one row for each coded document, followed by one row for each gold paper.
    """
    targets, relevant = _relevant_targets(bench)
    chances = np.zeros((len(bench.gold), scores.shape[1]))
    thresholds = np.zeros(scores.shape[1])
    for column in range(scores.shape[1]):
        judged = relevant & ~np.isnan(targets[:, column])
        known = scores[: bench.n_coded][judged, column]
        codes = targets[judged, column]
        centre, spread = known.mean(), known.std() or 1.0
        standard = (scores[:, column] - centre) / spread
        if len(np.unique(codes)) < 2:
            slope, intercept = 0.0, 0.0
        else:
            slope, intercept = fit_curve(standard[: bench.n_coded][judged], codes)
        curve = expit(slope * standard + intercept)
        thresholds[column] = f1_threshold(curve[: bench.n_coded][judged], codes)
        chances[:, column] = curve[bench.n_coded :]
    return _rows(bench, scores[bench.n_coded :], chances, thresholds, name)


def _rows(bench: Bench, scores: Array, chances: Array, thresholds: Array, name: str) -> list[Prediction]:
    return [
        Prediction(
            record_id=coded.record_id,
            label=label,
            score=float(scores[row, column]),
            probability=float(chances[row, column]),
            threshold=float(thresholds[column]),
            decision="yes" if chances[row, column] >= thresholds[column] else "no",
            model_id=name,
        )
        for row, coded in enumerate(bench.gold)
        for column, label in enumerate(bench.codebook.keys)
    ]


def run_all(bench: Bench, on_progress: Progress = lambda _: None) -> dict[str, list[Prediction]]:
    """Return the predictions of all baselines and of `leave_one_out`.

    Returns
    -------
    dict
        Lists of predictions, keyed by ``leave_one_out`` and by the names of the baselines in the metrics file. The
        baseline that compares papers with a query is omitted if the settings contain no query. The SVM for relevance is
        omitted if all coded records are relevant.
    """
    query = bench.settings.evaluate.baseline_query
    made = {
        "leave_one_out": leave_one_out(bench, on_progress),
        "all_positive": all_positive(bench),
        "prevalence": prevalence(bench),
        "text_length": text_length(bench),
        "definition_cosine": definition_cosine(bench),
        "tfidf": tfidf(bench),
        "tfidf_leave_one_out": tfidf_leave_one_out(bench),
    }
    if query:
        name = "_".join([*re.findall(r"\w+", query.lower()), "cosine"])
        made[name] = query_cosine(bench, query, name)
    if not all(coded.relevant for coded in bench.coded):
        made["relevance_tfidf_svm"] = relevance_svm(bench)
    return made
