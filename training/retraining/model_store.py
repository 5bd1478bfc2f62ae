"""Replace the model in use atomically, and roll back to earlier models.

There is one folder for the model in use and one for each former model. Each folder contains a copy of the model, the
out-of-fold predictions of the model, and the version of the annotations that the model was trained on. An installation
is first recorded in a journal, so that `recover` can complete an interrupted installation.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mechtag.core.errors import MechtagError
from mechtag.core.files import read_json, replacing, write_json
from mechtag.core.temporary import temporary_folder
from mechtag.models.model_folder import finish_swap, load_model, new_folder, read_config, swap_in, swap_interrupted
from mechtag.pipeline.annotations.versions import (
    append_history,
    read_additions,
    read_history,
    use_version,
    version_in_use,
)
from mechtag.training.retraining.challenger import DOCUMENTS, MODEL, OUT_OF_FOLD, SENTENCES

NOTE = "kept.json"
_JOURNAL = "installing.json"


@dataclass(frozen=True)
class ModelPaths:
    """Paths of the model in use, of the copies of models, and of the added annotations.

    Attributes
    ----------
    model
        Model folder of the model in use.
    out_of_fold
        Folder of the out-of-fold predictions of the model in use.
    kept
        Folder with one subfolder for the model in use and one for each former model. The name of a subfolder is the
        model id.
    added
        Folder of the added annotations; see `annotations.versions`.
    """

    model: Path
    out_of_fold: Path
    kept: Path
    added: Path


def keep(paths: ModelPaths, model: Path, out_of_fold: Path, note: Mapping[str, Any]) -> str:
    """Copy a model and its out-of-fold predictions to the folder of kept models, and return the id of the model.

    Parameters
    ----------
    note
        Information on the model, with three keys. ``former`` is the id of the previous model, or ``""``. ``version`` is
        the version of the annotations. ``tags`` are the tags to set in MLflow's registry.
    """
    config = read_config(model)
    model_id = config.model_id
    folder = paths.kept / model_id
    if not folder.is_dir():
        with temporary_folder(paths.kept) as parts:
            shutil.copytree(model, parts / model_id / MODEL)
            # A model from the definitions alone was trained on no papers, so it has no out-of-fold predictions.
            if not config.from_definitions:
                shutil.copytree(out_of_fold, parts / model_id / OUT_OF_FOLD)
            (parts / model_id).rename(folder)
    write_json(folder / NOTE, {"model_id": model_id, **note})
    return model_id


def keep_champion(paths: ModelPaths) -> None:
    """Keep a copy of the model in use, unless a copy is already kept."""
    model_id = read_config(paths.model).model_id
    if not is_kept(paths, model_id):
        version = version_in_use(paths.added)
        tags = {"data_version": version or "none added"}
        keep(paths, paths.model, paths.out_of_fold, {"former": "", "version": version, "tags": tags})


def keep_challenger(paths: ModelPaths, challenger: Path, version: str, tags: Mapping[str, str]) -> None:
    """Keep a copy of a challenger that will replace the model in use.

    Parameters
    ----------
    challenger
        Folder of the challenger; see `challenger.Challenger`.
    version
        Version of the annotations that the challenger was trained on.
    tags
        Tags to set in MLflow's registry.
    """
    note = {"former": read_config(paths.model).model_id, "version": version, "tags": tags}
    keep(paths, challenger / MODEL, challenger / OUT_OF_FOLD, note)


def is_kept(paths: ModelPaths, model_id: str) -> bool:
    """Return whether the folder of kept models contains a copy of a model."""
    return bool(model_id) and (paths.kept / model_id / NOTE).is_file()


def note_of(paths: ModelPaths, model_id: str) -> dict[str, Any]:
    """Return the information that `keep` stored with the copy of a model.

    Returns
    -------
    dict
        ``model_id``, and the keys ``former``, ``version`` and ``tags``, which are explained in `keep`.

    Raises
    ------
    MechtagError
        If no copy of the model is kept.
    """
    path = paths.kept / model_id / NOTE
    if not is_kept(paths, model_id):
        raise MechtagError(
            f"{path.parent}: no copy of model {model_id} was found, so this model cannot be restored; restore this "
            "folder from a backup, or train again with 'mechtag train'"
        )
    return read_json(path)


def install(paths: ModelPaths, model_id: str, history: Mapping[str, Any]) -> None:
    """Replace the model in use with a model that was kept with `keep`.

    The out-of-fold predictions and the version of the annotations are replaced as well.

    Parameters
    ----------
    history
        Row to append to the history; see `versions.append_history`.

    Raises
    ------
    MechtagError
        If no copy of the model is kept, if the copy was altered, or if its annotations are missing. In these cases,
        nothing is changed.
    """
    note = note_of(paths, model_id)
    folder = paths.kept / model_id
    found = load_model(folder / MODEL).config.model_id
    if found != model_id:
        raise MechtagError(
            f"{folder}: the folder contains model {found} instead of model {model_id}; restore the files of model "
            f"{model_id} from a backup, or train again with 'mechtag train'"
        )
    # Read these before any change: if they were found missing later, the model would have no annotations.
    read_additions(paths.added, note["version"])
    read_history(paths.added)
    write_json(paths.kept / _JOURNAL, {"model_id": model_id, "history": history})
    try:
        _replace_folder(folder / MODEL, paths.model)
    except OSError:
        (paths.kept / _JOURNAL).unlink()
        raise
    for name in (DOCUMENTS, SENTENCES):
        kept, target = folder / OUT_OF_FOLD / name, paths.out_of_fold / name
        if not kept.exists():
            target.unlink(missing_ok=True)
            continue
        with replacing(target) as part:
            shutil.copyfile(kept, part)
    use_version(paths.added, note["version"])
    append_history(paths.added, history)
    (paths.kept / _JOURNAL).unlink()


def interrupted(paths: ModelPaths) -> bool:
    """Return whether the installation of a model, or the replacement of a model folder, was interrupted."""
    return (paths.kept / _JOURNAL).is_file() or swap_interrupted(paths.model)


def recover(paths: ModelPaths) -> str:
    """Complete an interrupted installation of a model.

    Returns the id of the installed model, or ``""`` if no installation was interrupted.
    """
    if not (paths.kept / _JOURNAL).is_file():
        # 'mechtag train' keeps no journal, because the model is all that it replaces.
        return read_config(paths.model).model_id if finish_swap(paths.model) else ""
    journal = read_json(paths.kept / _JOURNAL)
    install(paths, journal["model_id"], journal["history"])
    return str(journal["model_id"])


def former_of(paths: ModelPaths, model_id: str) -> str:
    """Return the id of the model that was in use before a given model.

    Raises
    ------
    MechtagError
        If the former model is unknown, or no copy of it is kept.
    """
    if not is_kept(paths, model_id) or not (former := note_of(paths, model_id)["former"]):
        raise MechtagError(
            f"{paths.model}: there is no earlier model to roll back to, because model {model_id} is the first one, or "
            "was not installed by 'mechtag retrain'; to get a different model, run 'mechtag train'"
        )
    note_of(paths, former)
    return str(former)


def _replace_folder(source: Path, folder: Path) -> None:
    """Replace ``folder`` with a copy of ``source``; if this fails, ``folder`` keeps its old content."""
    shutil.rmtree(new_folder(folder), ignore_errors=True)
    shutil.copytree(source, new_folder(folder))
    swap_in(folder)
