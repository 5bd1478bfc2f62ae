"""MLflow: every training run with its settings, figures, hashes and model folder."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models.artifact import ModelConfig
from pipeline.store import write_json

RUN_FILE = "mlflow_run.json"
EXPERIMENT = "mechtag"
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

    store = os.environ.get("MLFLOW_TRACKING_URI")
    # Said each time, because MLflow remembers the last store of the process and then ignores the variable.
    mlflow.set_tracking_uri(store or _LOCAL_STORE)
    if not store:
        if mlflow.get_experiment_by_name(EXPERIMENT) is None:
            mlflow.create_experiment(EXPERIMENT, artifact_location=Path("mlartifacts").absolute().as_uri())
    mlflow.set_experiment(EXPERIMENT)
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
        mlflow.log_artifacts(str(folder), artifact_path="model")
    return run_id


def _flat(params: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in params.items():
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = json.dumps(value) if isinstance(value, list | tuple) else value
    return flat
