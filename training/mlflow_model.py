"""Serve the model with MLflow: convert a table of records to a table of probabilities, decisions and evidence.

MLflow stores this file with each logged model, and runs it to load the model ("models from code"). Nothing is pickled;
see `mlflow_runs.log_model`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature, set_model
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel
from mlflow.types.schema import Array, ColSpec, DataType, Object, Property, Schema

from mechtag.core.errors import MechtagError
from mechtag.core.records import Prediction, Record
from mechtag.core.settings import SentenceSettings, TagSettings
from mechtag.models.model_folder import load_model
from mechtag.pipeline.tagging.predict import tag_records

MODEL = "model"
# Packages that the bundled code and the loading of a model need, in addition to the encoder's package.
PACKAGES = (
    "ftfy",
    "mlflow",
    "numpy",
    "pandas",
    "platformdirs",
    "pydantic",
    "pydantic_core",
    "PyYAML",
    "safetensors",
    "scikit-learn",
    "scipy",
    "spacy",
    "torch",
    "transformers",
)
EXAMPLE = (
    {
        "record_id": "example-1",
        "title": "Sharing the lead in joint care teams",
        "abstract": "Managers of both services agreed on one aim. They met each month and decided together.",
    },
    {"record_id": "example-2", "title": "Growth of beans in shade", "abstract": ""},
)


def signature(labels: Sequence[str]) -> ModelSignature:
    """Return the signature of a served model: the schemas of its input and its output.

    Parameters
    ----------
    labels
        Key of relevance, followed by the keys of the labels in codebook order.
    """
    text, number, count = DataType.string, DataType.double, DataType.long
    evidence = Array(
        Object(
            [
                Property("sentence", count),
                Property("start", count),
                Property("end", count),
                Property("text", text),
                Property("score", number),
            ]
        )
    )
    inputs = [ColSpec(text, "title"), ColSpec(text, "abstract", False), ColSpec(text, "record_id", False)]
    outputs = [ColSpec(text, "record_id", False), ColSpec(text, "model_id"), ColSpec(text, "abstract")]
    for label in labels:
        outputs += [ColSpec(number, f"{label}_probability"), ColSpec(text, f"{label}_decision")]
        outputs += [ColSpec(evidence, f"{label}_evidence")]
    return ModelSignature(inputs=Schema([*inputs]), outputs=Schema([*outputs]))


class ServedTagger(PythonModel):
    """Adapter through which MLflow loads a model folder and serves predictions."""

    def load_context(self, context: Any) -> None:
        """Load the model folder that was logged as an artifact of the MLflow model."""
        self._model = load_model(Path(context.artifacts[MODEL]))
        self._sentences = SentenceSettings.model_validate(context.model_config["sentences"])
        self._tag = TagSettings.model_validate(context.model_config["tag"])

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Return probabilities, decisions and evidence for a table of records.

        Texts are cleaned as in `mechtag tag`.

        Parameters
        ----------
        model_input
            Table with one row per record. The column ``title`` is required. The columns ``abstract`` and ``record_id``
            are optional. MLflow has already checked names and types.

        Returns
        -------
        pandas.DataFrame
            One row per record, in input order. The column ``record_id`` is as in the input. ``model_id`` is the id of
            the model. ``abstract`` is the cleaned abstract, to which the offsets of evidence refer. Each label has
            three columns: ``<label>_probability``, ``<label>_decision``, and ``<label>_evidence``, which contains a
            list of sentences.

        Raises
        ------
        MlflowException
            If a record has no title, or a value is not text. In both cases, a server responds with status 400.
        """
        try:
            records = list(_records(model_input))
            ids = [record_id for record_id, _ in records]
            cleaned, made = tag_records(
                self._model.tagger,
                self._model.config.model_id,
                [record for _, record in records],
                self._sentences,
                evidence_sentences=self._tag.evidence_sentences,
            )
        except MechtagError as error:
            raise MlflowException(str(error), error_code=INVALID_PARAMETER_VALUE) from None
        labels = self._model.tagger.codebook.all_keys
        width = len(labels)
        rows = [
            _row(ids[row], record.abstract, made[row * width : (row + 1) * width]) for row, record in enumerate(cleaned)
        ]
        return pd.DataFrame(rows, columns=signature(labels).outputs.input_names())


def _records(table: pd.DataFrame) -> Iterator[tuple[str | None, Record]]:
    """Convert each row of a table to a record, and yield the original id and the record.

    The original id is ``None`` if the row has none; the id of the record is the number of the row. Raises
    `MechtagError` if a row has no title or a value is not text.
    """
    columns = ("record_id", "title", "abstract")
    for number, cells in enumerate(zip(*(_cells(table, name) for name in columns), strict=True), start=1):
        record_id, title, abstract = (
            _text(cell, f"record {number}: {name}") for name, cell in zip(columns, cells, strict=True)
        )
        if not title or not title.strip():
            raise MechtagError(f"record {number} has no title; every record needs one, and the abstract is optional")
        yield record_id, Record(record_id=str(number), title=title, abstract=abstract or "")


def _cells(table: pd.DataFrame, name: str) -> Sequence[Any]:
    return list(table[name]) if name in table else [None] * len(table)


def _text(cell: Any, place: str) -> str | None:
    if cell is None or cell != cell:  # pandas writes an empty cell as NaN
        return None
    if not isinstance(cell, str):
        raise MechtagError(f"{place} is {cell!r:.40}, which is not text (its type is {type(cell).__name__}); pass text")
    try:
        cell.encode()
    except UnicodeEncodeError as error:
        raise MechtagError(
            f"{place} is not valid text: {error.reason} at character {error.start}; remove this character"
        ) from None
    return cell


def _row(record_id: str | None, abstract: str, predictions: Sequence[Prediction]) -> dict[str, Any]:
    row: dict[str, Any] = {"record_id": record_id, "model_id": predictions[0].model_id, "abstract": abstract}
    for prediction in predictions:
        row[f"{prediction.label}_probability"] = prediction.probability
        row[f"{prediction.label}_decision"] = prediction.decision
        row[f"{prediction.label}_evidence"] = [
            sentence.model_dump(exclude_defaults=True) for sentence in prediction.evidence
        ]
    return row


set_model(ServedTagger())
