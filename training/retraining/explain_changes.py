"""Explain decisions in which a new model differs from the old model.

A model computes the probability of a label in three steps. It scores the sentences, calibrates the pooled scores, and
multiplies the result by the probability of relevance. To decide, it compares the probability with the bounds.

If the bounds of the old model would lead to the old decision for the new probability, the cause of the changed decision
is the change of the bounds. Otherwise, the cause is one of the three steps. To find it, the steps of the old model
are replaced, one after another, with the steps of the new model. The cause is the step whose replacement moves the
probability most in the direction of the change.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.special import expit, softmax

from mechtag.core.arrays import Array, Index
from mechtag.core.files import write_csv, write_text
from mechtag.core.records import Record, Sentence, name_answer
from mechtag.models.scoring import SHARPNESS, Decision, decide
from mechtag.models.tagger import Tagger, Units, score_documents, units_of
from mechtag.pipeline.annotations.coded_records import CodedRecord
from mechtag.pipeline.tagging.predict import document_of, documents_of

STEPS = ("sentences", "calibration", "relevance")
BOUNDS = "bounds"
_WORDS_SHOWN = 3
# A word is shown if it accounts for at least this proportion of the change in a score.
_TELLING = 0.05
# Documents that are scored at a time, which limits the memory that is needed.
_CHUNK = 100


@dataclass(frozen=True)
class Change:
    """A decision on one label of one record that differs between the old and the new model.

    Attributes
    ----------
    probabilities
        Four probabilities of the label. The first is from the old model. Then its steps are replaced, in the order of
        `STEPS`, with the steps of the new model. The last is from the new model.
    cause
        One of `STEPS`, or `BOUNDS`; see the description of this module.
    why
        Sentence that explains the change.
    """

    record_id: str
    title: str
    label: str
    old: Decision
    new: Decision
    probabilities: tuple[float, float, float, float]
    cause: str
    why: str


@dataclass(frozen=True)
class _Dissected:
    """A model's scores of documents and parts, and how much words and definitions contribute to the scores of parts."""

    tagger: Tagger
    # Vectors of the documents, each encoded as one text.
    wholes: NDArray[np.float32]
    # Features of the words of the parts, shape (n_parts, n_terms).
    words: csr_matrix
    # Columns of the following arrays: relevance, then the labels in codebook order.
    # Pooled scores of the documents.
    scores: Array
    # Scores of the parts; minus infinity if a part is not content.
    part_scores: Array
    # Contribution of the words of each part to the part's score.
    from_words: Array
    # Contribution of the similarity between each part and the definition to the part's score.
    from_definitions: Array


def find_changes(
    old: Tagger,
    new: Tagger,
    records: Sequence[Record],
    sentences: Iterable[Sentence],
    learned: Sequence[CodedRecord],
    on_progress: Callable[[int], object] = lambda _: None,
) -> list[Change]:
    """Tag records with the old and the new model, and explain each decision that differs.

    Labels that are missing from the codebook of one of the models are ignored.

    Parameters
    ----------
    sentences
        Sentences of all records. The sentences of one record are consecutive and in order.
    learned
        Coded records that were used to train the new model, but not to train the old model.
    on_progress
        Called with the number of records compared since the last call.
    """
    documents = [document for document, _ in documents_of(records, sentences)]
    neighbours = _Neighbours(new, learned)
    changes = list[Change]()
    for start in range(0, len(documents), _CHUNK):
        part = documents[start : start + _CHUNK]
        changes += _changes_of(old, new, records[start : start + _CHUNK], units_of(part), neighbours)
        on_progress(len(part))
    return changes


def _changes_of(
    old: Tagger, new: Tagger, records: Sequence[Record], units: Units, neighbours: _Neighbours
) -> list[Change]:
    if not units.parts:
        return []
    before, after = _dissect(old, units), _dissect(new, units)
    shared = [key for key in new.codebook.all_keys if key in old.codebook.all_keys]
    chains = {key: _chain(before, after, key) for key in shared}
    relevance = [side.tagger.calibration.relevance(side.scores[:, 0]) for side in (before, after)]
    rows = np.split(np.arange(len(units.parts)), np.cumsum(units.parts_of_documents)[:-1])
    changes = []
    for number, record in enumerate(records):
        for key in shared:
            chances = [float(chance) for chance in chains[key][number]]
            relevant = [float(each[number]) for each in relevance]
            first, last = _decide(old, key, chances[0], relevant[0]), _decide(new, key, chances[-1], relevant[1])
            if first == last:
                continue
            cause = BOUNDS if _decide(old, key, chances[-1], relevant[1]) == first else _largest_step(chances)
            why = _explain(cause, before, after, key, chances, rows[number], units.parts)
            learnt_from = new.codebook.relevance.key if cause == "relevance" else key
            near = neighbours.describe(record.record_id, after.wholes[number], learnt_from, chances[-1] > chances[0])
            changes.append(
                Change(
                    record_id=record.record_id,
                    title=record.title,
                    label=key,
                    old=first,
                    new=last,
                    probabilities=(chances[0], chances[1], chances[2], chances[3]),
                    cause=cause,
                    why="; ".join(filter(None, (why, _definition(old, new, key), "" if cause == BOUNDS else near))),
                )
            )
    return changes


def _dissect(tagger: Tagger, units: Units) -> _Dissected:
    definitions, heads, texts = tagger.definitions, tagger.heads, units.whole_texts()
    vectors, wholes = tagger.encoder.encode(units.parts), tagger.encoder.encode(texts)
    words = heads.words.features(units.parts)
    features = definitions.features(vectors, units.reports)
    scored = heads.score_parts(vectors, features, words)
    scored = np.where(units.counts[:, None], scored, -np.inf)
    relevance = heads.score_wholes(wholes, texts)
    from_definitions = features @ definitions.label_weights().T
    nothing = np.zeros((len(units.parts), 1))
    return _Dissected(
        tagger=tagger,
        wholes=wholes,
        words=words,
        scores=score_documents(relevance, scored, units.parts_of_documents),
        part_scores=scored,
        from_words=np.hstack([nothing, words @ tagger.heads.word_weights.T]),
        from_definitions=np.hstack([nothing, from_definitions]),
    )


def _column(tagger: Tagger, key: str) -> int:
    return tagger.codebook.all_keys.index(key)


def _chain(before: _Dissected, after: _Dissected, key: str) -> Array:
    """Return the probabilities of a label in each document, from the old to the new model, shape (n_documents, 4).

    Column 0 is from the old model. In columns 1 to 3, the `STEPS` of the new model replace those of the old model, one
    more in each column.
    """
    sides = (before, after)
    columns = [_column(side.tagger, key) for side in sides]

    def own(scored: int, calibrated: int, key_columns: Sequence[int]) -> Array:
        # The probability before it is multiplied by that of relevance; 0 selects the old model, and 1 the new one.
        calibration, column = sides[calibrated].tagger.calibration, key_columns[calibrated]
        scores = sides[scored].scores[:, key_columns[scored]]
        chance: Array = expit(calibration.slope[column] * scores + calibration.intercept[column])
        return chance

    steps = [own(0, 0, columns), own(1, 0, columns), own(1, 1, columns)]
    if columns == [0, 0]:
        return np.stack([*steps, steps[-1]], axis=1)
    gate = [own(side, side, (0, 0)) for side in (0, 1)]
    return np.stack([*(step * gate[0] for step in steps), steps[-1] * gate[1]], axis=1)


def _decide(tagger: Tagger, key: str, chance: float, relevant: float) -> Decision:
    """Return a tagger's decision on a label, given the probability of the label and the probability of relevance."""
    column = _column(tagger, key)
    if relevant < tagger.calibration.low[0]:
        return "no"
    return decide(chance, float(tagger.calibration.low[column]), float(tagger.calibration.high[column]))


def _largest_step(chances: Sequence[float]) -> str:
    """Return which of `STEPS` contributed most to the change of a probability between the old and the new model."""
    # ``chances``: the probability by the old model, then the probability after each of the `STEPS`.
    logs = np.log(np.clip(chances, 1e-12, 1.0))
    return STEPS[int(np.argmax(np.diff(logs) * np.sign(chances[-1] - chances[0])))]


def _explain(
    cause: str,
    before: _Dissected,
    after: _Dissected,
    key: str,
    chances: Sequence[float],
    rows: Index,
    parts: Sequence[str],
) -> str:
    if cause == BOUNDS:
        bounds = []
        for side in (before, after):
            calibration, column = side.tagger.calibration, _column(side.tagger, key)
            bounds.append(_bounds(calibration.low[column], calibration.high[column]))
        return f"the decision bounds changed: before, {bounds[0]}; now, {bounds[1]}"
    step = STEPS.index(cause)
    moved = f"{chances[step]:.2f} to {chances[step + 1]:.2f}"
    if cause == "relevance":
        return f"the probability of relevance changed, which changes the probability of the label from {moved}"
    if cause == "calibration":
        return f"the same scores now yield a probability of {chances[step + 1]:.2f} instead of {chances[step]:.2f}"
    if _column(before.tagger, key) == 0:
        return f"the text as a whole is scored differently, which changes the probability from {moved}"
    sentence = _describe_part(before, after, key, rows, parts, up=chances[-1] > chances[0])
    return f"the sentences are scored differently, which changes the probability from {moved}: {sentence}"


def _bounds(low: float, high: float) -> str:
    """Describe the bounds between decisions. A bound of 0 or infinity means that the decision is never made."""
    lower = f"no below {low:.2f}" if low > 0 else "never no"
    upper = f"yes from {high:.2f}" if np.isfinite(high) else "never yes"
    return f"{lower}, {upper}" if np.isfinite(low) else "always no"


def _describe_part(before: _Dissected, after: _Dissected, key: str, rows: Index, parts: Sequence[str], up: bool) -> str:
    """Name the part that contributed most to the change of a document's score, and explain how its own score changed.

    ``up`` states whether the probability of the label increased.
    """
    columns = _column(before.tagger, key), _column(after.tagger, key)
    rows = rows[np.isfinite(before.part_scores[rows, columns[0]])]
    scores = [side.part_scores[rows, column] for side, column in zip((before, after), columns, strict=True)]
    # Weight of each part in the pooled score, averaged over both models.
    shares = np.mean([softmax(SHARPNESS * each) for each in scores], axis=0)
    row = int(rows[np.argmax((1 if up else -1) * (scores[1] - scores[0]) * shares)])
    words = after.from_words[row, columns[1]] - before.from_words[row, columns[0]]
    definitions = after.from_definitions[row, columns[1]] - before.from_definitions[row, columns[0]]
    meaning = after.part_scores[row, columns[1]] - before.part_scores[row, columns[0]] - words - definitions
    terms = _terms(after, row, columns[1])
    for term, share in _terms(before, row, columns[0]).items():
        terms[term] = terms.get(term, 0.0) - share
    strongest = sorted(
        (term for term in terms if words * terms[term] > _TELLING * abs(words)), key=lambda term: -abs(terms[term])
    )
    named = f" ({', '.join(strongest[:_WORDS_SHOWN])})" if strongest else ""
    return (
        f'mainly "{parts[row]}", whose score changed by {words:+.2f} because of its words{named}, by {meaning:+.2f} '
        f"because of its meaning, and by {definitions:+.2f} because of its similarity to the definition"
    )


def _terms(side: _Dissected, row: int, column: int) -> dict[str, float]:
    """Return how much each word or word pair contributes to a part's score for a label, keyed by word or pair."""
    own = side.words[row]
    weights = side.tagger.heads.word_weights[column - 1]
    return {
        side.tagger.heads.words.terms[term]: float(value * weights[term])
        for term, value in zip(own.indices, own.data, strict=True)
    }


def _definition(old: Tagger, new: Tagger, key: str) -> str:
    changed = old.codebook.definitions[key] != new.codebook.definitions[key]
    return "the definition of the label changed" if changed else ""


class _Neighbours:
    """Describes newly coded records that may explain changed predictions."""

    def __init__(self, tagger: Tagger, learned: Sequence[CodedRecord]) -> None:
        self._learnt = learned
        self._relevance = tagger.codebook.relevance.key
        documents = [document_of(row.record.title, row.sentences) for row in learned]
        self._wholes = tagger.encoder.encode(units_of(documents).whole_texts())

    def _code(self, record: CodedRecord, key: str) -> int | None:
        return int(record.relevant) if key == self._relevance else record.code(key)

    def describe(self, record_id: str, whole: NDArray[np.float32], key: str, up: bool) -> str:
        """Describe a newly coded record that may explain a changed prediction.

        If the record with the changed prediction was itself newly coded, its new code is described. Otherwise, the most
        similar newly coded record is described: among those coded ``yes`` if the probability increased, or among those
        coded ``no`` if it decreased.

        Parameters
        ----------
        whole
            Vector of the record with the changed prediction.
        key
            Key of the label whose code is described.
        up
            Whether the probability increased.

        Returns
        -------
        str
            Description; empty if there is no such newly coded record.
        """
        for row in self._learnt:
            if row.record.record_id == record_id:
                return f"the record itself was newly coded for {key}: {name_answer(self._code(row, key))}"
        agreeing = [number for number, row in enumerate(self._learnt) if self._code(row, key) == int(up)]
        if not agreeing:
            return ""
        cosines = self._wholes[agreeing] @ whole
        best = int(cosines.argmax())
        title = self._learnt[agreeing[best]].record.title
        return (
            f"among the new records coded {name_answer(int(up))} for {key}, the most similar is: {title} "
            f"(cosine {cosines[best]:.2f})"
        )


_HEADER = (
    "record_id",
    "title",
    "label",
    "before",
    "probability_before",
    "after",
    "probability_after",
    "cause",
    "why",
    *(f"probability_with_new_{step}" for step in STEPS),
)
_CAUSES = {
    "sentences": "sentences are scored differently (because of the new annotations or a new definition)",
    "calibration": "the same sentence scores yield a different probability",
    "relevance": "the probability of relevance changed",
    BOUNDS: "the bounds between yes, review and no changed",
}
# Maximum number of decisions listed in the summary; the table lists all.
_SHOWN = 100


def write_change_log(folder: Path, changes: Sequence[Change], records: int, champion: str, challenger: str) -> None:
    """Write all changed decisions to ``changes.csv``, and a readable summary to ``changes.md``.

    Parameters
    ----------
    records
        Number of records that both models tagged.
    champion, challenger
        Ids of the two models.
    """
    write_csv(folder / "changes.csv", _HEADER, [_cells(change) for change in changes], bom=True)
    touched = len({change.record_id for change in changes})
    lines = [
        "# Change log",
        "",
        f"Model {champion} (before) and model {challenger} (after) tagged the same {records} records. "
        f"{len(changes)} decisions on {touched} of these records differ.",
        "",
    ]
    turns = Counter((change.label, change.old, change.new) for change in changes)
    if turns:
        lines += ["| label | before | after | decisions |", "|---|---|---|---|"]
        lines += [f"| {label} | {old} | {new} | {count} |" for (label, old, new), count in sorted(turns.items())]
        causes = Counter(change.cause for change in changes)
        lines += ["", "Causes, by the step that contributed most to the change:", ""]
        lines += [f"- {count}: {_CAUSES[cause]}" for cause, count in causes.most_common()]
        lines.append("")
    for change in changes[:_SHOWN]:
        lines.append(
            f"- **{_escape(change.title)}** ({_escape(change.record_id)}), {change.label}: {change.old} "
            f"({change.probabilities[0]:.2f}) to {change.new} ({change.probabilities[-1]:.2f}): {_escape(change.why)}"
        )
    if len(changes) > _SHOWN:
        lines += ["", f"The other {len(changes) - _SHOWN} decisions are in changes.csv."]
    write_text(folder / "changes.md", "\n".join(lines).rstrip() + "\n")


def _cells(change: Change) -> list[object]:
    first, *between, last = (round(chance, 4) for chance in change.probabilities)
    before = [change.record_id, change.title, change.label, change.old, first]
    return [*before, change.new, last, change.cause, change.why, *between, last]


def _escape(text: str) -> str:
    """Return a text on one line, with a backslash before each character that is special in Markdown, such as ``*``."""
    kept = " ".join(text.split())
    return "".join(f"\\{char}" if char in "\\`*_[]<>|" else char for char in kept)
