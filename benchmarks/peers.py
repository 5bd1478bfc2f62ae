"""Classify documents with methods other than mechtag's: a linear SVM on words, plain fine-tuning, and SetFit.

Each method is trained on some documents, may choose thresholds on other documents, and decides on the remaining ones.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import KFold
from sklearn.svm import LinearSVC

from mechtag.core.arrays import Array
from mechtag.evaluation.metrics import Judged, as_it_is, example_f1
from mechtag.training.calibration import f1_threshold

Ticks = NDArray[np.bool_]

FOLDS = 5
STRENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0)
MAX_TOKENS = 256
EVEN = 0.5


@dataclass(frozen=True)
class Texts:
    """Documents as whole texts, and their labels, shape (n_documents, n_labels)."""

    texts: Sequence[str]
    targets: Ticks

    def take(self, rows: NDArray[np.int64]) -> Texts:
        """Return the documents in the given rows."""
        return Texts([self.texts[row] for row in rows], self.targets[rows])


@dataclass(frozen=True)
class FineTuning:
    """Settings of fine-tuning with AdamW: the learning rate rises for a tenth of the steps, then falls to 0."""

    epochs: int = 6
    min_steps: int = 200
    batch: int = 16
    rate: float = 1e-4
    head_rate: float = 1e-3


@dataclass(frozen=True)
class SetFit:
    """Settings of SetFit; all other settings are SetFit's defaults.

    Attributes
    ----------
    steps, batch
        Number of training steps, and number of pairs per step.
    every
        Number of steps between two evaluations.
    """

    steps: int = 160
    batch: int = 8
    every: int = 40


def score_decisions(decided: Ticks, targets: Ticks) -> Judged:
    """Combine decisions with human codes, so that metrics can be computed."""
    ticks = decided.astype(np.float64)
    unknown = np.full(ticks.shape, np.nan)
    return Judged(
        truth=targets.astype(np.float64),
        score=ticks,
        probability=unknown,
        threshold=unknown,
        decided=decided,
        referred=np.zeros(ticks.shape, dtype=bool),
    )


def _score(decided: Ticks, targets: Ticks) -> float:
    judged = score_decisions(decided, targets)
    return float(example_f1(judged, as_it_is(judged.truth))[0])


def choose_thresholds(chances: Array, targets: Ticks) -> tuple[Array, float]:
    """Choose decision thresholds that maximise the example-based F1.

    Three variants are compared: 0.5 for every label, one chosen threshold for all labels, and one per label.

    Returns
    -------
    thresholds : ndarray, shape (n_labels,)
    score : float
        Example-based F1 with these thresholds on the same documents.
    """
    n_labels = targets.shape[1]
    own = [f1_threshold(chances[:, label], targets[:, label].astype(np.float64)) for label in range(n_labels)]
    shared = f1_threshold(chances.ravel(), targets.ravel().astype(np.float64))
    options = [np.full(n_labels, EVEN), np.full(n_labels, shared), np.array(own)]
    scores = [_score(chances >= option, targets) for option in options]
    best = int(np.argmax(scores))
    return options[best], scores[best]


def linear_svm(learnt: Texts, held: Sequence[str], seed: int) -> Ticks:
    """Train one linear SVM per label with the texts ``learnt``, and return the labels of each of the texts ``held``.

    The features are TF-IDF weights of words and word pairs. C, the class weights and the thresholds are those with the
    best example-based F1 in cross-validation on ``learnt``.

    Returns
    -------
    ndarray of bool, shape (n_held, n_labels)
    """
    folds = list(KFold(FOLDS, shuffle=True, random_state=seed).split(learnt.texts))
    best = -1.0
    chosen: tuple[float, str | None, Array] = (1.0, None, np.full(learnt.targets.shape[1], EVEN))
    for strength in STRENGTHS:
        for weight in (None, "balanced"):
            chances = np.zeros(learnt.targets.shape)
            for rows, left in folds:
                part = learnt.take(rows)
                chances[left] = _svm_chances(part, [learnt.texts[row] for row in left], strength, weight, seed)
            thresholds, score = choose_thresholds(chances, learnt.targets)
            if score > best:
                best, chosen = score, (strength, weight, thresholds)
    strength, weight, thresholds = chosen
    decided: Ticks = _svm_chances(learnt, held, strength, weight, seed) >= thresholds
    return decided


def _svm_chances(learnt: Texts, held: Sequence[str], strength: float, weight: str | None, seed: int) -> Array:
    """Train one linear SVM per label with the texts ``learnt``, and return its scores of the texts ``held``.

    ``strength`` is C, and ``weight`` the setting ``class_weight``. Scores are from 0 to 1; the decision boundary is at
    0.5.

    Returns
    -------
    ndarray, shape (n_held, n_labels)
    """
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    words, held_words = vectorizer.fit_transform(learnt.texts), vectorizer.transform(held)
    columns = []
    for target in learnt.targets.T:
        if target.all() or not target.any():
            columns.append(np.full(len(held), float(target.all())))
            continue
        model = LinearSVC(C=strength, class_weight=weight, random_state=seed).fit(words, target)
        columns.append(expit(model.decision_function(held_words)))
    return np.stack(columns, axis=1)


class _Classifier(torch.nn.Module):
    """A classifier that consists of the encoder with mean pooling and one linear output per label."""

    def __init__(self, folder: Path, n_labels: int) -> None:
        from transformers import AutoModel, AutoTokenizer

        super().__init__()
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        self.encoder = AutoModel.from_pretrained(folder, use_safetensors=True, dtype=torch.float32)
        self.head = torch.nn.Linear(self.encoder.config.hidden_size, n_labels)

    def forward(self, texts: list[str]) -> torch.Tensor:
        batch = self._tokenizer(texts, truncation=True, max_length=MAX_TOKENS, padding=True, return_tensors="pt")
        with torch.autocast("cpu", torch.bfloat16):
            hidden = self.encoder(**batch).last_hidden_state
        mask = batch["attention_mask"].unsqueeze(-1).float()
        logits: torch.Tensor = self.head((hidden.float() * mask).sum(1) / mask.sum(1))
        return logits

    def chances(self, texts: Sequence[str], batch: int) -> Array:
        """Return the probability of each label for each text, shape (n_texts, n_labels)."""
        self.eval()
        with torch.inference_mode():
            parts = [torch.sigmoid(self(list(texts[at : at + batch]))) for at in range(0, len(texts), batch)]
        chances: Array = torch.cat(parts).numpy().astype(np.float64)
        return chances


def fine_tuning(
    learnt: Texts, valid: Texts, held: Sequence[str], folder: Path, seed: int, how: FineTuning = FineTuning()
) -> Ticks:
    """Fine-tune the encoder in ``folder`` on ``learnt``, and return which labels it assigns to each text in ``held``.

    The loss is binary cross-entropy. The best epoch and the thresholds are chosen by example-based F1 on ``valid``.

    Returns
    -------
    ndarray of bool, shape (n_held, n_labels)
    """
    torch.manual_seed(seed)
    model = _Classifier(folder, learnt.targets.shape[1])
    rates = [
        {"params": model.encoder.parameters(), "lr": how.rate},
        {"params": model.head.parameters(), "lr": how.head_rate},
    ]
    optimizer = torch.optim.AdamW(rates)
    a_round = -(-len(learnt.texts) // how.batch)
    epochs = max(how.epochs, -(-how.min_steps // a_round))
    steps = epochs * a_round
    rise = steps / 10
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / rise, (steps - step) / (steps - rise))
    )
    best, decided = -1.0, np.zeros((len(held), learnt.targets.shape[1]), dtype=bool)
    generator = np.random.default_rng(seed)
    for _ in range(epochs):
        model.train()
        for rows in _batches(generator.permutation(len(learnt.texts)), how.batch):
            part = learnt.take(rows)
            targets = torch.from_numpy(part.targets.astype(np.float32))
            loss = torch.nn.functional.binary_cross_entropy_with_logits(model(list(part.texts)), targets)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        thresholds, score = choose_thresholds(model.chances(valid.texts, how.batch), valid.targets)
        if score > best:
            best, decided = score, model.chances(held, how.batch) >= thresholds
    return decided


def _batches(order: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
    for start in range(0, len(order), size):
        yield order[start : start + size]


def setfit(learnt: Texts, valid: Texts, held: Sequence[str], folder: Path, seed: int, how: SetFit = SetFit()) -> Ticks:
    """Train SetFit (Tunstall et al. 2022) on ``learnt``, and return which labels it assigns to each text in ``held``.

    SetFit trains the encoder in ``folder`` and one logistic regression per label. The best step and the thresholds are
    chosen by example-based F1 on ``valid``. SetFit runs in float32, because bfloat16 reduced its F1 by a third in an
    early trial.

    Returns
    -------
    ndarray of bool, shape (n_held, n_labels)
    """
    from setfit import SetFitModel, Trainer, TrainingArguments
    from transformers import TrainerCallback

    torch.manual_seed(seed)
    model = SetFitModel.from_pretrained(str(folder), multi_target_strategy="one-vs-rest")
    model.model_body.max_seq_length = MAX_TOKENS
    labels = learnt.targets.astype(int).tolist()
    best, decided = -1.0, np.zeros((len(held), learnt.targets.shape[1]), dtype=bool)

    def look() -> None:
        nonlocal best, decided
        model.fit(list(learnt.texts), labels, num_epochs=1)
        thresholds, score = choose_thresholds(_setfit_chances(model, valid.texts), valid.targets)
        if score > best:
            best, decided = score, _setfit_chances(model, held) >= thresholds

    class Look(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step % how.every == 0:
                look()

    look()
    with tempfile.TemporaryDirectory() as output:
        arguments = TrainingArguments(
            output_dir=output,
            batch_size=how.batch,
            max_steps=how.steps,
            seed=seed,
            report_to="none",
            save_strategy="no",
            show_progress_bar=False,
        )
        Trainer(model, arguments, callbacks=[Look()]).train_embeddings(list(learnt.texts), labels)
    return decided


def _setfit_chances(model: Any, texts: Sequence[str]) -> Array:
    return np.asarray(model.predict_proba(list(texts), as_numpy=True), dtype=np.float64)
