"""A review as a folder: its settings, codebook, data, models and reports.

All paths in the settings are relative to the folder, so it can be moved, copied or zipped. The repository of mechtag is
such a folder; `create_project` makes others.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from mechtag.core.codebook import Codebook, load_codebook
from mechtag.core.errors import MechtagError
from mechtag.core.files import write_text
from mechtag.core.settings import ProjectPath, Settings, load_settings

PARAMS = "params.yaml"
#: The codebook and the model that come with mechtag.
SHIPPED = Path(__file__).with_name("shipped")
# Other programs have files of this name too; only that of a review names a codebook.
_NAMES_CODEBOOK = re.compile(r"^codebook\s*:", re.MULTILINE)

_NEW_PARAMS = """\
# Settings of this review. Paths are relative to this folder. A key that is left out has its default;
# https://pypi.org/project/mechtag lists all of them.
codebook: codebook.yaml

# Name, and file or folder, of each search.
sources:
  search: data/raw

train:
  records: data/annotated/codings.csv   # what people coded; 'mechtag codings' writes it
  texts: data/tagged/records.parquet    # the records that they coded
  exemplars: ""                         # invented sentences with their labels (JSON lines), if there are any
  added: data/annotated/added           # codings that 'mechtag retrain' adds

evaluate:
  gold: data/annotated/gold.csv         # papers by labels, 1 or 0: what accuracy is measured against
  second_coder: ""

retrain:
  test_records: ""                      # records of the papers that accuracy is measured on
"""


@dataclass(frozen=True)
class Project:
    """The folder of a review.

    Attributes
    ----------
    root
        The folder; relative if it is the working directory.
    settings
    is_shipped
        There is no review: these are the codebook and the model that come with mechtag.
    """

    root: Path
    settings: Settings
    is_shipped: bool = False

    @classmethod
    def open(cls, folder: str | os.PathLike[str] | None = None) -> Project:
        """Open a review; see `open_project`."""
        return open_project(folder)

    @classmethod
    def create(cls, folder: str | os.PathLike[str], codebook: str | os.PathLike[str] | None = None) -> Project:
        """Make the folder of a new review; see `create_project`."""
        return create_project(folder, codebook)

    @cached_property
    def codebook(self) -> Codebook:
        """The codebook that the settings name; raises `MechtagError` if it cannot be read."""
        return load_codebook(self.settings.codebook)

    @property
    def own_model(self) -> Path:
        """Folder of the model that the review trained, whether or not there is one."""
        return self.root / "models/trained"

    @property
    def model(self) -> Path:
        """Folder of the model to tag with: the review's own, or the shipped one if it has the same codebook."""
        if not (self.own_model / "config.json").exists() and self.codebook.sha256 == shipped_codebook().sha256:
            return SHIPPED / "model"
        return self.own_model

    @property
    def kept_models(self) -> Path:
        """Folder of the models that are or were in use."""
        return self.root / "models/kept"

    @property
    def out_of_fold(self) -> Path:
        """Folder of the predictions that cross-validation made in training."""
        return self.root / "data/work/train"

    @property
    def checkpoints(self) -> Path:
        """Folder from which interrupted fine-tuning resumes; it may be deleted at any time."""
        return self.root / "data/work/checkpoints"

    @property
    def work(self) -> Path:
        """Folder of intermediate files."""
        return self.root / "data/work"

    @property
    def reports(self) -> Path:
        """Folder of reports and figures."""
        return self.root / "reports"

    def with_annotations(self, records: Path) -> Project:
        """Return the project with other coded records than its settings name."""
        train = self.settings.train.model_copy(update={"records": ProjectPath(str(records))})
        return replace(self, settings=self.settings.model_copy(update={"train": train}))

    def require_own(self) -> None:
        """Raise `MechtagError` if there is no review to train in."""
        if self.is_shipped:
            raise MechtagError(
                "not in a project: no folder here or above has a params.yaml that names a codebook; "
                "make one with 'mechtag init FOLDER', or name one with --project"
            )


def shipped_codebook() -> Codebook:
    """Return the codebook that comes with mechtag."""
    return load_codebook(SHIPPED / "codebook.yaml")


def find_project(start: str | os.PathLike[str] = ".") -> Path | None:
    """Return the nearest folder, from ``start`` upwards, that holds a review; ``None`` if there is none."""
    start = Path(start)
    here = start.resolve()
    for folder in (here, *here.parents):
        params = folder / PARAMS
        if params.is_file() and _NAMES_CODEBOOK.search(params.read_text(encoding="utf-8", errors="replace")):
            return start if folder == here else folder
    return None


def open_project(folder: str | os.PathLike[str] | None = None) -> Project:
    """Open the review in a folder, else the nearest one above the working directory, else what comes with mechtag.

    Raises
    ------
    MechtagError
        ``folder`` is not a review, or its settings cannot be read.
    """
    if folder is not None:
        if not (Path(folder) / PARAMS).is_file():
            raise MechtagError(f"{folder}: not a project: it has no {PARAMS}; 'mechtag init {folder}' makes one")
        return Project(Path(folder), load_settings(Path(folder) / PARAMS))
    if found := find_project():
        return Project(found, load_settings(found / PARAMS))
    return Project(SHIPPED, Settings(codebook=ProjectPath("codebook.yaml", SHIPPED)), is_shipped=True)


def create_project(folder: str | os.PathLike[str], codebook: str | os.PathLike[str] | None = None) -> Project:
    """Make the folder of a new review.

    Parameters
    ----------
    folder
        New, or without a project.
    codebook
        YAML file; by default the codebook that comes with mechtag.

    Raises
    ------
    MechtagError
        The folder already holds a project, or the codebook is faulty.
    """
    root = Path(folder)
    if (root / PARAMS).exists():
        raise MechtagError(f"{root / PARAMS}: exists already; this folder is a project, and nothing was changed")
    source = Path(codebook) if codebook is not None else SHIPPED / "codebook.yaml"
    load_codebook(source)
    for name in ("data/raw", "data/annotated", "models", "reports"):
        (root / name).mkdir(parents=True, exist_ok=True)
    if not (root / "codebook.yaml").exists() or not (root / "codebook.yaml").samefile(source):
        if (root / "codebook.yaml").exists():
            raise MechtagError(f"{root / 'codebook.yaml'}: exists already and is another codebook; move it away first")
        write_text(root / "codebook.yaml", source.read_text(encoding="utf-8"))
    # Last, because it is what makes the folder a project.
    write_text(root / PARAMS, _NEW_PARAMS)
    return open_project(root)
