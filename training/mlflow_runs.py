"""Log training runs and evaluations to MLflow, and register models in its registry."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import Any

import mechtag
from mechtag.core.errors import MechtagError
from mechtag.core.files import read_json, write_json
from mechtag.core.settings import Settings
from mechtag.core.temporary import temporary_folder
from mechtag.models.encoder import PACKAGE_PREFIX
from mechtag.models.model_folder import CONFIG, RUN_FILE, TUNED, WEIGHTS, ModelConfig, read_config

EXPERIMENT = "mechtag"
# File in the folder of the project.
_STORE, _ARTIFACTS = "mlflow.db", "mlartifacts"
# Tables and columns of MLflow's database that contain absolute paths of artifacts.
_STORED_PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
# Packages of this project whose code is bundled with a logged model.
_CARRIED = ("core", "models", "pipeline")
# Exports and language models, which read templates and schemas, are not served.
_NOT_CODE = ("trained", "kept", ".*", "__pycache__", "templates", "schemas")


def log_run(
    config: ModelConfig,
    folder: str | Path,
    settings: Settings,
    metrics: Mapping[str, float],
    losses: Sequence[float] = (),
) -> str:
    """Log a finished training run to MLflow, and write the run id into the model folder.

    The run is logged to the store of the project; see `tracking_store`.

    Parameters
    ----------
    settings
        Settings to log. Each setting is logged as ``block.key``.
    metrics
        Out-of-fold metrics, keyed by name.
    losses
        Mean training loss of each epoch of fine-tuning; empty if the encoder was not fine-tuned.

    Returns
    -------
    str
        The run id.

    Raises
    ------
    MechtagError
        If the store does not respond, or refuses the request.
    """
    import mlflow

    name = f"train {_slug(config.codebook.name)} {date.today().isoformat()}"
    with tracking_store(settings), mlflow.start_run(run_name=name, description=_describe(config)) as run:
        mlflow.log_params(_flat(settings.model_dump(mode="json")))
        mlflow.log_metrics(dict(metrics))
        for epoch, loss in enumerate(losses):
            mlflow.log_metric("tuning_loss", loss, step=epoch)
        mlflow.set_tags(
            {
                "model_id": config.model_id,
                "codebook": config.codebook.name,
                "codebook_sha256": config.codebook_sha256,
                "encoder_sha256": config.encoder.sha256,
                **{f"data_sha256.{name}": digest for name, digest in config.data.items()},
            }
        )
        run_id: str = run.info.run_id
        uri = log_model(folder, settings)
        # In a file of its own, because the files of the model must be the same in every run.
        write_json(Path(folder) / RUN_FILE, {"run_id": run_id, "model_id": config.model_id, "model_uri": uri})
    return run_id


def _slug(name: str) -> str:
    return "-".join(re.findall(r"[a-z0-9]+", name.lower()))


def _describe(config: ModelConfig) -> str:
    """Return a Markdown sentence that states a model's id, codebook, trainer and training data."""
    files = ", ".join(sorted(config.data))
    return (
        f"Model {config.model_id} for the codebook {config.codebook.name} ({len(config.codebook.keys)} labels), "
        f"trained by `{config.settings['trainer']}` on {files}."
    )


@contextmanager
def tracking_store(settings: Settings) -> Iterator[None]:
    """Select the project's MLflow store and experiment for the runs in the ``with`` block.

    The store and the experiment are created if necessary. The store is ``mlflow.db`` in the folder of the project,
    unless ``MLFLOW_TRACKING_URI`` names a different store.

    Raises
    ------
    MechtagError
        If the store does not respond.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    store = os.environ.get("MLFLOW_TRACKING_URI")
    root = settings.root.absolute()
    local = f"sqlite:///{root / _STORE}"
    if not store:
        _relocate(root)
    # Set the store every time, because MLflow remembers the last one it used and then ignores the variable.
    mlflow.set_tracking_uri(store or local)
    try:
        if not store and mlflow.get_experiment_by_name(EXPERIMENT) is None:
            mlflow.create_experiment(EXPERIMENT, artifact_location=(root / _ARTIFACTS).as_uri())
        mlflow.set_experiment(EXPERIMENT)
        yield
    except MlflowException as error:
        raise MechtagError(
            f"MLflow store {store or local} failed: {' '.join(error.message.split())[:300]}. All files have been "
            "written completely. Check MLFLOW_TRACKING_URI (and user name and password), then run 'mechtag track'"
        ) from None
    finally:
        if not store:
            # MLflow sets the variable itself; without this, the next project would use the store of this one.
            os.environ.pop("MLFLOW_TRACKING_URI", None)


def _relocate(root: Path) -> None:
    """Update the artifact paths in the MLflow store of a project that was moved."""
    # MLflow stores absolute paths.
    path = root / _STORE
    if not path.is_file():
        return
    now = (root / _ARTIFACTS).as_uri()
    with closing(sqlite3.connect(path)) as store, store:
        tables = {name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if "experiments" not in tables:
            return
        row = store.execute("SELECT artifact_location FROM experiments WHERE name = ?", (EXPERIMENT,)).fetchone()
        if row is None or row[0] == now:
            return
        for table, column in _STORED_PLACES:
            if table in tables:
                store.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",
                    (now, len(row[0]) + 1, len(row[0]), row[0]),
                )


def log_model(folder: str | Path, settings: Settings) -> str:
    """Log a model folder to the active run as a model that MLflow can load and serve; see `training.mlflow_model`.

    The logged model includes mechtag's code, so it runs on computers without mechtag. It does not include the encoder.
    If a package contains the encoder, the package is one of the requirements. Otherwise, the encoder is loaded from the
    location in ``encoder.name``.

    Parameters
    ----------
    settings
        Settings of the project. The settings for sentences and tagging are stored with the model.

    Returns
    -------
    str
        URI of the model (``models:/...``), which is equivalent to ``runs:/<run id>/model``.
    """
    import mlflow

    from mechtag.training.mlflow_model import EXAMPLE, MODEL, signature

    config = read_config(folder)
    with temporary_folder() as parts, _same_import_path():
        # Copy only the files of the model, because other files in the folder are not part of it.
        (parts / "model").mkdir()
        for file in (CONFIG, WEIGHTS, TUNED):
            shutil.copy(Path(folder) / file, parts / "model")
        code = parts / "mechtag"
        code.mkdir()
        shutil.copy(mechtag.__file__, code)
        for package in _CARRIED:
            shutil.copytree(
                Path(mechtag.__file__).with_name(package), code / package, ignore=shutil.ignore_patterns(*_NOT_CODE)
            )
        logged = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(Path(__file__).with_name("mlflow_model.py")),
            artifacts={MODEL: str(parts / "model")},
            code_paths=[str(code)],
            model_config=settings.model_dump(mode="json", include={"sentences", "tag"}),
            signature=signature(config.codebook.all_keys),
            input_example=list(EXAMPLE),
            pip_requirements=requirements(config),
            metadata={"model_id": config.model_id},
        )
    return str(logged.model_uri)


def requirements(config: ModelConfig) -> list[str]:
    """Return the packages that a served model requires, pinned to the installed versions."""
    from mechtag.training.mlflow_model import PACKAGES

    encoder = config.encoder.name
    packages = [*PACKAGES, encoder.removeprefix(PACKAGE_PREFIX)] if encoder.startswith(PACKAGE_PREFIX) else PACKAGES
    # Omit the local version ("+cpu" in "2.13.0+cpu"), which package registries do not have.
    return [f"{package}=={importlib.metadata.version(package).split('+')[0]}" for package in packages]


@contextmanager
def _same_import_path() -> Iterator[None]:
    """Restore Python's import path after the ``with`` block."""
    # MLflow adds a folder to the path.
    before = list(sys.path)
    try:
        yield
    finally:
        sys.path[:] = before


def log_evaluation(
    folder: str | Path,
    reports: str | Path,
    settings: Settings,
    metrics: Mapping[str, float],
    charts: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Add an evaluation to the MLflow run of a model, with its values as metrics and its files as artifacts.

    If the store has no run of the model, a run is created.

    Parameters
    ----------
    folder
        Model folder.
    reports
        Folder that 'mechtag evaluate' wrote to. The files in this folder and in its subfolder ``plots`` are logged
        under ``evaluation``.
    metrics
        Values of the metrics, keyed by name.
    charts
        SVG drawings, keyed by name. They are logged under ``evaluation/plots``.

    Returns
    -------
    str
        The run id.

    Raises
    ------
    MechtagError
        If the folder is not a model, or the store does not respond.
    """
    import mlflow

    config = read_config(folder)
    with tracking_store(settings):
        run_id = find_run(config, Path(folder))
    run_id = run_id or log_run(config, folder, settings, {})
    with tracking_store(settings), mlflow.start_run(run_id=run_id):
        mlflow.log_metrics(dict(metrics))
        for name, chart in charts.items():
            mlflow.log_text(chart, f"evaluation/plots/{name}.svg")
        for part in ("", "plots"):  # not recursively, because the store itself may be in this folder
            for file in sorted((Path(reports) / part).glob("*")):
                if file.is_file():
                    mlflow.log_artifact(str(file), artifact_path=f"evaluation/{part}".rstrip("/"))
    return run_id


def find_run(config: ModelConfig, folder: Path) -> str | None:
    """Return the id of the MLflow run that logged a model, or ``None`` if there is no such run.

    If the store contains the run that is recorded in the model folder, this run is returned. Otherwise, the newest run
    of the model is returned.
    """
    import mlflow

    path = folder / RUN_FILE
    named = read_json(path).get("run_id") if path.is_file() else None
    found = mlflow.search_runs(filter_string=f"tags.model_id = '{config.model_id}'", output_format="list")
    ids = [run.info.run_id for run in found]
    return named if named in ids else next(iter(ids), None)


def _flat(params: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in params.items():
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = json.dumps(value) if isinstance(value, list | tuple) else value
    return flat


REGISTERED = "mechtag"
CHAMPION, PREVIOUS = "champion", "previous"


@contextmanager
def tolerated(report: Callable[[str], None]) -> Iterator[None]:
    """Turn an error of MLflow in the ``with`` block into a note for the user.

    Parameters
    ----------
    report
        Function that is called with the note.
    """
    try:
        yield
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        report(
            f"note: MLflow failed ({type(error).__name__}: {reason}). The model in use is the one in the model folder; "
            "the next 'mechtag retrain' updates the registry"
        )


def register(folder: str | Path, settings: Settings, tags: Mapping[str, str], aliases: Sequence[str] = ()) -> None:
    """Add a model to MLflow's registry as a version, and point aliases to this version.

    If the registry already contains the model, no version is added; the existing version is used.

    Parameters
    ----------
    settings
        Settings with which the model is logged if the store has no run of the model.
    tags
        Tags to set on the version, in addition to ``model_id`` and ``codebook_sha256``.

    Raises
    ------
    MechtagError
        If the store does not respond, or refuses the request.
    """
    import mlflow
    from mlflow import MlflowClient

    config = read_config(folder)
    with tracking_store(settings):
        run_id = find_run(config, Path(folder))
    run_id = run_id or log_run(config, folder, settings, {})
    with tracking_store(settings):
        client = MlflowClient()
        found = client.search_model_versions(f"name = '{REGISTERED}' and tag.model_id = '{config.model_id}'")
        made = found[0] if found else mlflow.register_model(f"runs:/{run_id}/model", REGISTERED)
        for key, value in {**tags, "model_id": config.model_id, "codebook_sha256": config.codebook_sha256}.items():
            client.set_model_version_tag(REGISTERED, made.version, key, value)
        for alias in aliases:
            client.set_registered_model_alias(REGISTERED, alias, made.version)


def drop_alias(alias: str, settings: Settings) -> None:
    """Delete an alias, such as ``previous``, from MLflow's registry if it exists.

    Raises
    ------
    MechtagError
        If the store does not respond, or refuses the request.
    """
    from mlflow import MlflowClient

    with tracking_store(settings):
        client = MlflowClient()
        if alias in client.get_registered_model(REGISTERED).aliases:
            client.delete_registered_model_alias(REGISTERED, alias)
