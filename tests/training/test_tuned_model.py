"""Test a fine-tuned encoder in training, in the model folder, and in tagging."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from mechtag.core.codebook import Codebook
from mechtag.core.errors import MechtagError
from mechtag.core.settings import Settings
from mechtag.models.features import embed_codebook
from mechtag.models.model_folder import CONFIG, TUNED, WEIGHTS, finish_swap, load_model, read_config, with_model_id
from mechtag.models.tagger import Tagger
from mechtag.training.baselines import Bench, leave_one_out
from mechtag.training.dataset import build_corpus
from mechtag.training.finetuning.trainers import make_trainer
from mechtag.training.heads import fit
from mechtag.training.train import CARD, Trained, load_encoder, save_model, train
from tests.support.command import call
from tests.support.toy import fruit_documents
from tests.support.tuned import SMALL, settings, with_trainer

__all__ = ["settings"]  # a fixture, which pytest finds by its name here

pytestmark = pytest.mark.usefixtures("one_thread")
TEXTS = fruit_documents(48)[40:]


def scores(tagger: Tagger) -> np.ndarray:
    return np.array([scored.unit_scores.sum(axis=0) for scored in tagger.tag([coded.document for coded in TEXTS])])


@pytest.fixture(scope="module")
def trained(settings: Settings, fruit: Codebook) -> Trained:
    return train(with_trainer(settings, "contrastive"), fruit)


@pytest.fixture
def folder(trained: Trained, tmp_path: Path) -> Path:
    save_model(trained, tmp_path / "model")
    return tmp_path / "model"


def test_saving_removes_the_card_of_another_model(folder: Path, trained: Trained) -> None:
    (folder / CARD).write_text("of another model", encoding="utf-8")
    save_model(trained, folder)
    assert not (folder / CARD).exists()


def test_saved_model_gives_the_same_scores(settings: Settings, trained: Trained, folder: Path) -> None:
    loaded = load_model(folder)
    np.testing.assert_allclose(scores(loaded.tagger), scores(trained.tagger), atol=1e-5)
    assert loaded.config.settings["trainer"] == "contrastive"
    # With the encoder as it was before training, the scores differ.
    untuned = replace(trained.tagger, encoder=load_encoder(settings))
    assert not np.allclose(scores(untuned), scores(trained.tagger), atol=1e-3)


def test_frozen_model_keeps_no_weights_of_the_encoder(
    settings: Settings, fruit: Codebook, trained: Trained, tmp_path: Path
) -> None:
    made = train(with_trainer(settings, "frozen"), fruit)
    save_model(made, tmp_path)
    loaded = load_model(tmp_path, fruit)
    np.testing.assert_allclose(scores(loaded.tagger), scores(made.tagger), atol=1e-5)
    assert not made.tuned
    assert loaded.config.model_id != trained.config.model_id


def test_altered_encoder_is_refused(folder: Path, trained: Trained) -> None:
    path = folder / TUNED
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(MechtagError, match=rf"{TUNED} has SHA-256 .*, expected {trained.config.encoder.tuned_sha256}"):
        load_model(folder)
    path.unlink()
    with pytest.raises(
        MechtagError, match=rf"{TUNED}: the file is not readable: .*restore the file from the run that trained"
    ):
        load_model(folder)


def test_other_hash_in_the_configuration_is_another_model(folder: Path) -> None:
    text = (folder / CONFIG).read_text(encoding="utf-8")
    digest = read_config(folder).encoder.tuned_sha256
    (folder / CONFIG).write_text(text.replace(digest, "0" * 64), encoding="utf-8")
    with pytest.raises(MechtagError, match="do not belong together"):
        load_model(folder)


def test_encoder_that_is_not_in_safetensors_format_is_refused(folder: Path) -> None:
    """The file is refused even if its hashes in the configuration are right."""
    (folder / TUNED).write_bytes(b"pickle")
    config = read_config(folder)
    encoder = config.encoder.model_copy(update={"tuned_sha256": hashlib.sha256(b"pickle").hexdigest()})
    forged = with_model_id(config.model_copy(update={"encoder": encoder}), (folder / WEIGHTS).read_bytes())
    (folder / CONFIG).write_text(forged.model_dump_json(), encoding="utf-8")
    with pytest.raises(MechtagError, match=rf"{TUNED}: the file is not readable as fine-tuned weights of an encoder"):
        load_model(folder)


@pytest.mark.slow
def test_train_command_tunes_logs_and_keeps_checkpoints(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    chosen = with_trainer(settings, "contrastive")
    chosen = chosen.model_copy(
        update={"train": chosen.train.model_copy(update={"tuning": SMALL.model_copy(update={"epochs": 2})})}
    )
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(chosen.model_dump(mode="json")), encoding="utf-8")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.chdir(tmp_path)
    words = ["train", "-o", "model", "--out-of-fold", "oof", "--project", "."]
    status, _, message = call(*words)
    assert status == 0, message
    first = read_config(tmp_path / "model").model_id
    assert len(list((tmp_path / "data/work/checkpoints").iterdir())) == chosen.train.folds + 1
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    run = json.loads((tmp_path / "model/mlflow_run.json").read_text(encoding="utf-8"))
    assert [metric.step for metric in client.get_metric_history(run["run_id"], "tuning_loss")] == [0, 1]

    shutil.rmtree(tmp_path / "model")
    assert call(*words)[0] == 0
    assert read_config(tmp_path / "model").model_id == first


def test_leave_one_out_scores_with_the_encoder_of_each_run(settings: Settings, fruit: Codebook) -> None:
    settings = with_trainer(settings, "contrastive")
    encoder = load_encoder(settings)
    coded, gold = fruit_documents(24)[:22], fruit_documents(24)[22:]
    definitions = embed_codebook(fruit, encoder)
    corpus = build_corpus([*coded, *gold], [], fruit.keys, encoder, definitions)
    trainer = make_trainer(encoder, fruit, definitions, settings.train)
    bench = Bench(settings, fruit, encoder, trainer, [], coded, gold, corpus)
    found = leave_one_out(bench)
    fitted = fit(corpus.without(23), trainer, settings.train, settings.seed)
    tuned = fitted.encoded
    tagger = Tagger(fruit, tuned.encoder, tuned.definitions, fitted.heads, fitted.calibration)
    expected = tagger.tag([gold[1].document])[0].scores
    np.testing.assert_allclose([row.score for row in found[-4:]], expected, atol=1e-6)
    assert [row.record_id for row in found[::4]] == [document.record_id for document in gold]


def test_a_folder_with_other_files_is_not_replaced(folder: Path, trained: Trained) -> None:
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(MechtagError, match=r"would delete files that are not part of a model \(notes\.txt\)"):
        save_model(trained, folder)
    assert (folder / "notes.txt").read_text(encoding="utf-8") == "mine"


def test_a_model_is_replaced_as_a_whole(folder: Path, trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    rename = Path.rename

    def killed(self: Path, target: Path) -> Path:
        if self.name.endswith(".new"):
            raise KeyboardInterrupt
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.delattr("mechtag.training.train.write_text")
        with pytest.raises(NameError, match="write_text"):
            save_model(trained, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            save_model(trained, folder)
    with pytest.raises(MechtagError, match="run 'mechtag retrain --history' to complete"):
        load_model(folder)
    assert finish_swap(folder)
    assert not finish_swap(folder)
    assert load_model(folder).config.model_id == trained.config.model_id
    assert [path.name for path in folder.parent.iterdir()] == ["model"]
