"""A project with a trained model, and a challenger that was trained on more papers."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mechtag.core.codebook import Codebook
from mechtag.core.parquet import write_predictions
from mechtag.core.records import Coding, Record
from mechtag.core.settings import Settings
from mechtag.pipeline.annotations.coded_records import CodedRecord
from mechtag.pipeline.annotations.coding_table import read_annotations
from mechtag.pipeline.annotations.versions import Additions, write_additions
from mechtag.training.retraining.challenger import Challenger, train_challenger
from mechtag.training.retraining.model_store import ModelPaths
from mechtag.training.train import save_model, train
from tests.support.toy import fruit_documents, fruit_project


def new_records() -> list[Record]:
    return [
        Record(
            record_id=f"text:new{number}",
            title=f"{coded.document.title} {number}",
            abstract=" ".join(f"{text.capitalize()}." for text in coded.document.sentences),
            source_index=number,
        )
        for number, coded in enumerate(fruit_documents(48)[40:], start=40)
    ]


class Project:
    """A trained model, and a challenger that was trained on eight more papers."""

    def __init__(self, folder: Path, fruit: Codebook) -> None:
        self.fruit = fruit
        self.settings = fruit_project(folder, fruit)
        self.places = ModelPaths(
            folder / "models/trained", folder / "oof", folder / "models/kept", str(folder / "added")
        )
        trained = train(self.settings, fruit)
        save_model(trained, self.places.model)
        write_predictions(self.places.out_of_fold / "documents.parquet", trained.documents)
        write_predictions(self.places.out_of_fold / "sentences.parquet", trained.sentences)
        codings = [
            Coding(
                record_id=record.record_id,
                coder="ann",
                label=key,
                value=int(key in record.abstract.lower()),
                basis="abstract",
            )
            for record in new_records()
            for key in fruit.keys
        ]
        self.version = write_additions(self.places.added, Additions(tuple(codings), tuple(new_records())))
        self.challenger = self.train(folder / "challenger")

    def train(self, folder: Path, settings: Settings | None = None) -> Challenger:
        return train_challenger(settings or self.settings, self.fruit, self.version, folder)

    @property
    def coded(self) -> list[CodedRecord]:
        return read_annotations(self.settings, self.fruit.keys, self.fruit.relevance.key, self.version)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, fruit: Codebook) -> Project:
    return Project(tmp_path_factory.mktemp("fruit"), fruit)


@pytest.fixture
def project(made: Project, tmp_path: Path) -> Project:
    """A copy of the project ``made``, whose model and annotations a test may change."""
    own = object.__new__(Project)
    own.__dict__.update(made.__dict__)
    for part in ("model", "out_of_fold", "added"):
        shutil.copytree(getattr(made.places, part), tmp_path / part)
    own.places = ModelPaths(tmp_path / "model", tmp_path / "out_of_fold", tmp_path / "kept", str(tmp_path / "added"))
    return own
