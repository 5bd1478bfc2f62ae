"""MLflow: every training run with its settings, figures, hashes and model folder; the registry of models."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from models.artifact import ModelConfig, read_config
from pipeline.store import read_json, write_json

RUN_FILE = "mlflow_run.json"
EXPERIMENT = "mechtag"
# Name under which models stand in the registry, and the aliases of the model in use and of the one to go back to.
REGISTERED = "mechtag"
CHAMPION, PREVIOUS = "champion", "previous"
_ARTIFACTS = "model"
_LOCAL_STORE = "sqlite:///mlflow.db"


def log_run(
    config: ModelConfig,
    folder: str | Path,
    params: Mapping[str, Any],
    metrics: Mapping[str, float],
    losses: Sequence[float] = (),
) -> str:
    """Log a finished training run and write its id into the model folder.

    The store is ``mlflow.db`` in the working directory unless ``MLFLOW_TRACKING_URI`` says
    otherwise. The id stands in a file of its own, because it differs from run to run and the
    model must not.

    Parameters
    ----------
    params
        Settings; nested blocks are logged as ``block.key``.
    metrics
        Out-of-fold figures by name.
    losses
        Of tuning, on held-out papers: before the first epoch and after each.

    Returns
    -------
    str
        The run id.
    """
    import mlflow

    _open_store()
    with mlflow.start_run() as run:
        mlflow.log_params(_flat(params))
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
        write_json(Path(folder) / RUN_FILE, {"run_id": run_id, "model_id": config.model_id})
        mlflow.log_artifacts(str(folder), artifact_path=_ARTIFACTS)
    return run_id


@contextmanager
def tolerated(tell: Callable[[str], None]) -> Iterator[None]:
    """Go on where MLflow fails: no store, network or server may cost the model that was trained."""
    try:
        yield
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        tell(
            f"note: MLflow failed ({type(error).__name__}: {reason}). The model in use is what the model folder says; "
            "the registry is brought in line by the next 'mechtag retrain'"
        )


def register(folder: str | Path, tags: Mapping[str, str], aliases: Sequence[str] = ()) -> None:
    """Give the model in a folder a version in the registry, unless it has one, and let aliases point to it.

    Parameters
    ----------
    tags
        Of the version, beside ``model_id``.
    """
    from mlflow import MlflowClient

    _open_store()
    client = MlflowClient()
    config = read_config(folder)
    if not client.search_registered_models(f"name = '{REGISTERED}'"):
        client.create_registered_model(REGISTERED)
    found = client.search_model_versions(f"name = '{REGISTERED}' and tag.model_id = '{config.model_id}'")
    if found:
        version = found[0].version
    else:
        run_id = _run_of(folder) or log_run(config, folder, config.settings, {})
        made = client.create_model_version(REGISTERED, f"runs:/{run_id}/{_ARTIFACTS}", run_id)
        version = made.version
    for key, value in {**tags, "model_id": config.model_id, "codebook_sha256": config.codebook_sha256}.items():
        client.set_model_version_tag(REGISTERED, version, key, value)
    for alias in aliases:
        client.set_registered_model_alias(REGISTERED, alias, version)


def drop_alias(alias: str) -> None:
    """Take an alias away, where it points to a model."""
    from mlflow import MlflowClient

    _open_store()
    client = MlflowClient()
    if alias in client.get_registered_model(REGISTERED).aliases:
        client.delete_registered_model_alias(REGISTERED, alias)


def _open_store() -> None:
    """Turn to the tracking store: ``mlflow.db`` here, unless ``MLFLOW_TRACKING_URI`` says otherwise."""
    import mlflow

    store = os.environ.get("MLFLOW_TRACKING_URI")
    # Said each time, because MLflow remembers the last store of the process and then ignores the variable.
    mlflow.set_tracking_uri(store or _LOCAL_STORE)
    if not store:
        if mlflow.get_experiment_by_name(EXPERIMENT) is None:
            mlflow.create_experiment(EXPERIMENT, artifact_location=Path("mlartifacts").absolute().as_uri())
    mlflow.set_experiment(EXPERIMENT)


def _run_of(folder: str | Path) -> str | None:
    """Find the run that logged the model in a folder, if this store knows it."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    path = Path(folder) / RUN_FILE
    if not path.is_file():
        return None
    run_id = str(read_json(path)["run_id"])
    try:
        MlflowClient().get_run(run_id)
    except MlflowException:
        return None
    return run_id


def _flat(params: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in params.items():
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = json.dumps(value) if isinstance(value, list | tuple) else value
    return flat
