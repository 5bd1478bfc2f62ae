"""A small project with a tiny encoder, and a model whose encoder was fine-tuned."""

from __future__ import annotations

from pathlib import Path

import pytest

from mechtag.core.codebook import Codebook
from mechtag.core.settings import Settings, TuningSettings
from mechtag.training.train import save_model, train
from tests.support.toy import fruit_project

SMALL = TuningSettings(epochs=1, learning_rate=3e-2, batch_tokens=256, rank=2)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, fruit: Codebook) -> Settings:
    """Settings of a project about fruit with a tiny encoder."""
    return fruit_project(tmp_path_factory.mktemp("fruit"), fruit, SMALL)


def with_trainer(settings: Settings, name: str) -> Settings:
    return settings.model_copy(update={"train": settings.train.model_copy(update={"trainer": name})})


@pytest.fixture(scope="module")
def model_folder(settings: Settings, fruit: Codebook, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runtimes") / "model"
    save_model(train(with_trainer(settings, "contrastive"), fruit), folder)
    return folder
