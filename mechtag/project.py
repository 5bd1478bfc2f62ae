"""Open and create projects; a project is the folder of a review, with settings, codebook, data, models and reports.

All paths in the settings are relative to the folder, so the folder can be moved, copied or zipped. The repository of
mechtag is also a project.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path

from mechtag.core.codebook import Codebook, load_codebook
from mechtag.core.errors import MechtagError
from mechtag.core.files import StrPath, replacing, write_text
from mechtag.core.settings import PARAMS, ProjectPath, Settings, find_project, load_settings

#: The codebook, the model and the example review that come with mechtag.
SHIPPED = Path(__file__).with_name("shipped")
_SHIPPED_CODEBOOK = SHIPPED / "codebook.yaml"
# Laid out like the folder of a review, except that the settings are missing.
_EXAMPLE = SHIPPED / "example"

_NEW_PARAMS = """\
# Settings of this review. Paths are relative to this folder. A key that is omitted has its default value.
codebook: codebook.yaml

# Name, and file or folder, of each search.
sources:
  search: data/raw

train:
  records: data/annotated/codings.csv   # human codes, written by 'mechtag codings'
  texts: data/unique.parquet            # the coded records, written by 'mechtag ingest' and 'mechtag dedupe'
  exemplars: ""                         # invented sentences with their labels (JSON lines), if there are any
  added: data/annotated/added           # codings that 'mechtag retrain' adds

evaluate:
  gold: data/annotated/gold.csv         # papers by labels, 1 or 0, to measure accuracy
  second_coder: ""

retrain:
  test_records: ""                      # records of the papers used to measure accuracy

encoder:
  name: fast                            # or accurate (see 'mechtag encoder get --help'), a hub id or a folder
"""


@dataclass(frozen=True)
class Project:
    """A project: the folder of a review, with its settings.

    Attributes
    ----------
    root
        Path of the folder; relative if it is the working directory.
    settings
        Content of the settings file, ``params.yaml``.
    is_shipped
        Whether no project was found. In this case, the codebook and model are those that come with mechtag.
    """

    root: Path
    settings: Settings
    is_shipped: bool = False

    @classmethod
    def open(cls, folder: StrPath | None = None) -> Project:
        """Open the project in a folder; see `open_project`."""
        return open_project(folder)

    @classmethod
    def create(cls, folder: StrPath, codebook: StrPath | None = None) -> Project:
        """Create the folder of a new review; see `create_project`."""
        return create_project(folder, codebook)

    @cached_property
    def codebook(self) -> Codebook:
        """Return the codebook named in the settings; raise `MechtagError` if the codebook cannot be read."""
        return load_codebook(self.settings.codebook)

    @property
    def own_model(self) -> Path:
        """Return the folder of the project's own model, which may not exist yet."""
        return self.root / "models/trained"

    @property
    def model(self) -> Path:
        """Return the folder of the model to use for tagging.

        If the project uses the shipped codebook and has no model of its own, the result is the folder of the model that
        comes with mechtag. Otherwise, the result is the folder of the project's own model, which may not exist yet. If
        the model that comes with mechtag is missing, as in a clone of the repository, the project's own model is used.
        """
        shipped = SHIPPED / "model"
        if self.is_shipped:
            return shipped
        own, has_shipped = ((folder / "config.json").exists() for folder in (self.own_model, shipped))
        if not own and has_shipped and self.codebook.sha256 == shipped_codebook().sha256:
            return shipped
        return self.own_model

    @property
    def uses_shipped_model(self) -> bool:
        """Return whether tagging uses the model that comes with mechtag."""
        return self.model == SHIPPED / "model"

    @property
    def kept_models(self) -> Path:
        """Return the folder with copies of the project's model and of its earlier models."""
        return self.root / "models/kept"

    def kept_with(self, model: Path) -> Path:
        """Return the folder that contains copies of a model and of its predecessors.

        Parameters
        ----------
        model
            Folder of the model.
        """
        return self.kept_models if model == self.own_model else model.with_name("kept")

    @property
    def out_of_fold(self) -> Path:
        """Return the folder of the out-of-fold predictions from training."""
        return self.root / "data/work/train"

    @property
    def checkpoints(self) -> Path:
        """Return the folder of checkpoints, from which interrupted fine-tuning resumes; users may delete the folder."""
        return self.root / "data/work/checkpoints"

    @property
    def work(self) -> Path:
        """Return the folder of intermediate files."""
        return self.root / "data/work"

    @property
    def reports(self) -> Path:
        """Return the folder of reports and figures."""
        return self.root / "reports"

    def with_annotations(self, records: Path) -> Project:
        """Return a copy of the project that uses ``records`` instead of the coded records named in its settings."""
        train = self.settings.train.model_copy(update={"records": ProjectPath(str(records))})
        return replace(self, settings=self.settings.model_copy(update={"train": train}))

    def require_own(self) -> None:
        """Raise `MechtagError` if no project was found.

        Training and the review page write files, so they need a project that the user created.
        """
        if self.is_shipped:
            raise MechtagError(
                "no project found: neither this folder nor any folder above it has a params.yaml that names "
                "a codebook; create a project with 'mechtag init FOLDER', or change to the folder of your project",
                options="--project FOLDER",
            )


@cache
def shipped_codebook() -> Codebook:
    """Return the codebook that comes with mechtag."""
    return load_codebook(_SHIPPED_CODEBOOK)


def open_project(folder: StrPath | None = None) -> Project:
    """Open the project in a folder.

    If no folder is passed and no project is found, a project with the shipped codebook and model is returned.

    Parameters
    ----------
    folder
        Folder of the project. By default, the working directory or the nearest folder above it that contains a project.

    Raises
    ------
    MechtagError
        If ``folder`` is not a project, or if the settings of the project cannot be read.
    """
    if folder is not None:
        if not (Path(folder) / PARAMS).is_file():
            raise MechtagError(
                f"{folder} is not a project, because it has no {PARAMS}; create a project with 'mechtag init {folder}'"
            )
        return Project(Path(folder), load_settings(Path(folder) / PARAMS))
    if found := find_project():
        return Project(found, load_settings(found / PARAMS))
    return Project(SHIPPED, Settings(codebook=ProjectPath("codebook.yaml", SHIPPED)), is_shipped=True)


def create_project(folder: StrPath, codebook: StrPath | None = None) -> Project:
    """Create the folder of a new review.

    Parameters
    ----------
    folder
        Folder to create. It may exist, but must not be a project yet.
    codebook
        YAML file of the codebook; by default, the codebook that comes with mechtag.

    Raises
    ------
    MechtagError
        If the folder is already a project, if the codebook is missing or invalid, or if the folder contains a different
        ``codebook.yaml``.
    """
    source = Path(codebook) if codebook is not None else _SHIPPED_CODEBOOK
    if not source.exists():
        raise MechtagError(f"{source}: no such codebook file; check the path")
    load_codebook(source)
    return _create(Path(folder), {"codebook.yaml": source})


def create_example(folder: StrPath) -> Project:
    """Create the folder of the example review: invented records from a search, and the codes of two people.

    Parameters
    ----------
    folder
        Folder to create. It may exist, but must not be a project yet.

    Raises
    ------
    MechtagError
        If the folder is already a project, or if it contains a file that the example would replace.
    """
    files = {path.relative_to(_EXAMPLE).as_posix(): path for path in sorted(_EXAMPLE.rglob("*")) if path.is_file()}
    return _create(Path(folder), files)


def _create(root: Path, files: Mapping[str, Path]) -> Project:
    """Create a project in the folder ``root``; ``files`` maps paths in the new folder to the files to copy."""
    if (root / PARAMS).exists():
        raise MechtagError(
            f"{root / PARAMS} already exists, so this folder is already a project; choose a different folder"
        )
    for name, source in files.items():
        if (root / name).exists() and not (root / name).samefile(source):
            remedy = ", or pass it as the codebook" if name == "codebook.yaml" else ""
            raise MechtagError(
                f"{root / name} already exists, and the new project would replace it; move the existing file "
                f"elsewhere{remedy}"
            )
    for name in ("data/raw", "data/annotated", "models", "reports"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for name, source in files.items():
        if not (root / name).exists():
            with replacing(root / name) as copy:
                shutil.copyfile(source, copy)
    # Write this file last, because it makes the folder a project.
    write_text(root / PARAMS, _NEW_PARAMS)
    return open_project(root)
