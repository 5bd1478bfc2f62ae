"""The registry of models in MLflow: which version is in use, and which one a rollback would bring back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from models.artifact import read_config
from pipeline.settings import Settings
from training.tracking import find_run, log_run, tracking_store

REGISTERED = "mechtag"
CHAMPION, PREVIOUS = "champion", "previous"


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


def register(folder: str | Path, settings: Settings, tags: Mapping[str, str], aliases: Sequence[str] = ()) -> None:
    """Give the model in a folder a version in the registry, unless it has one, and let aliases point to it.

    Parameters
    ----------
    settings
        To log the model under, where the store has no run of it.
    tags
        Of the version, beside ``model_id`` and ``codebook_sha256``.

    Raises
    ------
    MechtagError
        The store does not answer, or refuses.
    """
    import mlflow
    from mlflow import MlflowClient

    config = read_config(folder)
    with tracking_store():
        run_id = find_run(config, Path(folder))
    run_id = run_id or log_run(config, folder, settings, {})
    with tracking_store():
        client = MlflowClient()
        found = client.search_model_versions(f"name = '{REGISTERED}' and tag.model_id = '{config.model_id}'")
        made = found[0] if found else mlflow.register_model(f"runs:/{run_id}/model", REGISTERED)
        for key, value in {**tags, "model_id": config.model_id, "codebook_sha256": config.codebook_sha256}.items():
            client.set_model_version_tag(REGISTERED, made.version, key, value)
        for alias in aliases:
            client.set_registered_model_alias(REGISTERED, alias, made.version)


def drop_alias(alias: str) -> None:
    """Take an alias away, where it points to a model; raises as `register`."""
    from mlflow import MlflowClient

    with tracking_store():
        client = MlflowClient()
        if alias in client.get_registered_model(REGISTERED).aliases:
            client.delete_registered_model_alias(REGISTERED, alias)
