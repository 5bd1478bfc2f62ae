"""Putting another model in the place of the one in use, and back: whole or not at all.

Each model that is or was in use is kept in a folder of its own, with its out-of-fold
predictions and the version of the annotations it learnt from. To install one, what shall be
done is written down first; an installation that was interrupted is finished by `recover`.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mechtag.core.errors import MechtagError
from mechtag.core.files import read_json, replacing, write_json
from mechtag.models.model_folder import load_model, read_config
from mechtag.pipeline.annotations.versions import (
    append_history,
    read_additions,
    read_history,
    use_version,
    version_in_use,
)
from mechtag.training.retraining.challenger import MODEL, OUT_OF_FOLD

NOTE = "kept.json"
_JOURNAL = "installing.json"


@dataclass(frozen=True)
class Places:
    """Where things lie.

    Attributes
    ----------
    model, out_of_fold
        Of the model in use.
    kept
        A folder a model that is or was in use, by model id.
    added
        See `annotations.versions`.
    """

    model: Path
    out_of_fold: Path
    kept: Path
    added: Path


def keep(places: Places, model: Path, out_of_fold: Path, note: Mapping[str, Any]) -> str:
    """Keep a copy of a model, and give its id.

    Parameters
    ----------
    note
        ``former``: id of the model that it follows, or empty; ``version`` of the annotations, and
        ``tags`` for the registry.
    """
    model_id = read_config(model).model_id
    folder = places.kept / model_id
    if not folder.is_dir():
        part = places.kept / f".{model_id}.part"
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(model, part / MODEL)
        shutil.copytree(out_of_fold, part / OUT_OF_FOLD)
        part.rename(folder)
    write_json(folder / NOTE, {"model_id": model_id, **note})
    return model_id


def keep_champion(places: Places) -> None:
    """Keep the model in use, unless it is kept already."""
    model_id = read_config(places.model).model_id
    if not is_kept(places, model_id):
        version = version_in_use(places.added)
        tags = {"data_version": version or "none added"}
        keep(places, places.model, places.out_of_fold, {"former": "", "version": version, "tags": tags})


def keep_challenger(places: Places, challenger: Path, version: str, tags: Mapping[str, str]) -> None:
    """Keep a challenger that is to follow the model in use.

    Parameters
    ----------
    challenger
        Folder of `challenger.Challenger`.
    version
        Of the annotations that it learnt from.
    """
    note = {"former": read_config(places.model).model_id, "version": version, "tags": tags}
    keep(places, challenger / MODEL, challenger / OUT_OF_FOLD, note)


def is_kept(places: Places, model_id: str) -> bool:
    """Return whether a model is kept, and so can be brought back."""
    return bool(model_id) and (places.kept / model_id / NOTE).is_file()


def note_of(places: Places, model_id: str) -> dict[str, Any]:
    """Read what was noted when a model was kept.

    Raises
    ------
    MechtagError
        It was not kept.
    """
    path = places.kept / model_id / NOTE
    if not is_kept(places, model_id):
        raise MechtagError(f"{path.parent}: model {model_id} was not kept here, or was deleted since")
    return read_json(path)


def install(places: Places, model_id: str, history: Mapping[str, Any]) -> None:
    """Put a model that was kept in the place of the one in use, with all that belongs to it.

    Parameters
    ----------
    history
        Row for `versions.append_history`.

    Raises
    ------
    MechtagError
        The model was not kept, or was altered, or what belongs to it is missing; nothing is changed then.
    """
    note = note_of(places, model_id)
    folder = places.kept / model_id
    if load_model(folder / MODEL).config.model_id != model_id:
        raise MechtagError(f"{folder}: holds another model than its name says; restore it")
    # Read before anything is changed: to find them missing halfway would leave a model without its annotations.
    read_additions(places.added, note["version"])
    read_history(places.added)
    write_json(places.kept / _JOURNAL, {"model_id": model_id, "history": history})
    try:
        _swap(folder / MODEL, places.model)
    except OSError:
        (places.kept / _JOURNAL).unlink()
        raise
    for file in sorted((folder / OUT_OF_FOLD).iterdir()):
        with replacing(places.out_of_fold / file.name) as part:
            shutil.copyfile(file, part)
    use_version(places.added, note["version"])
    append_history(places.added, history)
    (places.kept / _JOURNAL).unlink()


def interrupted(places: Places) -> bool:
    """Return whether an installation was begun and not finished."""
    return (places.kept / _JOURNAL).is_file()


def recover(places: Places) -> str:
    """Finish an installation that was interrupted, and give the id of the model; empty where none was."""
    if not interrupted(places):
        return ""
    journal = read_json(places.kept / _JOURNAL)
    install(places, journal["model_id"], journal["history"])
    return str(journal["model_id"])


def former_of(places: Places, model_id: str) -> str:
    """Give the id of the model that was in use before this one.

    Raises
    ------
    MechtagError
        It is not known, or was not kept.
    """
    if not is_kept(places, model_id) or not (former := note_of(places, model_id)["former"]):
        raise MechtagError(
            f"{places.model}: model {model_id} did not come from 'mechtag retrain', or is the first one; "
            "there is no former one to go back to"
        )
    note_of(places, former)
    return str(former)


def _swap(source: Path, folder: Path) -> None:
    """Put a copy of ``source`` in the place of ``folder``; where that fails, ``folder`` stays or comes back."""
    new, old = folder.with_name(f".{folder.name}.new"), folder.with_name(f".{folder.name}.old")
    shutil.rmtree(new, ignore_errors=True)
    shutil.copytree(source, new)
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    try:
        new.rename(folder)
    except OSError:
        if old.exists():
            old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)
