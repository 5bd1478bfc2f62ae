"""Describe the state of a review: its records, codes and model, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

from mechtag.core.errors import MechtagError
from mechtag.core.files import read_json
from mechtag.core.settings import ProjectPath
from mechtag.core.tables import is_table
from mechtag.core.words import counted
from mechtag.models.model_folder import ModelConfig, encoder_difference, read_config
from mechtag.pipeline.annotations.coded_records import CodedRecord
from mechtag.pipeline.annotations.coding_table import data_hashes, read_annotations
from mechtag.pipeline.annotations.versions import latest_version, version_in_use
from mechtag.project import Project

# Maximum number of labels that are named.
_NAMED = 3


def describe(project: Project) -> list[str]:
    """Return lines of text that describe the state of a project. The last line names the next step.

    Raises
    ------
    MechtagError
        If the codebook cannot be read. If human codes cannot be read, no error is raised, but the returned lines say
        so.
    """
    codebook = project.codebook
    where = "none; using the shipped codebook and model" if project.is_shipped else project.root.resolve()
    lines = [f"Project:   {where}", f"Codebook:  {codebook.name}, {counted(len(codebook.keys), 'label')}"]
    if project.is_shipped:
        model = read_config(project.model)
        return [
            *lines,
            f"Model:     {model.model_id}",
            "Next:      create a folder for your review: mechtag init my-review",
        ]
    files = _search_files(project)
    tagged = _tagged(project)
    found = _model(project)
    earlier = _tagged_by(project, tagged) not in ("", found.model_id) if tagged and found else False
    about = f"; tagged: {_describe_tagged(project, tagged)}" if tagged else ""
    about += ", by a different model from the one below" if earlier else ""
    lines.append(f"Records:   {counted(len(files), 'search file')}{about}")
    codes, coded = _codes(project)
    lines.append(f"Codes:     {codes}")
    lines.append(f"Model:     {_describe_model(project, found)}")
    different = encoder_difference(found.encoder, project.settings.encoder, project.model) if found else ""
    stale = [*filter(None, [different]), *_out_of_date(project, found, bool(coded))]
    lines += [f"Outdated:  {reason}" for reason in stale]
    return [*lines, f"Next:      {_next(project, files, tagged, coded, found, stale, earlier)}"]


def _search_files(project: Project) -> list[Path]:
    """Return the paths of all exports of the project's literature searches."""
    found = []
    for source in map(Path, project.settings.sources.values()):
        found += [source] if source.is_file() else [path for path in sorted(source.rglob("*")) if path.is_file()]
    return [path for path in found if not path.name.startswith(".")]


def _tagged(project: Project) -> Path | None:
    """Return the folder of the search that was tagged last, relative to the project; ``None`` if there is none."""
    patterns = ("*/summary.json", "*/*/summary.json", "work/*/tagged/summary.json")
    summaries = [path for pattern in patterns for path in (project.root / "data").glob(pattern)]
    newest = max(summaries, key=lambda path: path.stat().st_mtime, default=None)
    return newest.parent.relative_to(project.root) if newest else None


def _describe_tagged(project: Project, folder: Path) -> str:
    path = project.root / folder / "summary.json"
    try:
        return f"{counted(read_json(path)['unique'], 'record')} ({folder})"
    except (MechtagError, KeyError):
        return f"unreadable ({path})"


def _tagged_by(project: Project, folder: Path) -> str:
    """Return the id of the model that tagged a search; ``""`` if it is not known."""
    try:
        return str(read_json(project.root / folder / "summary.json").get("model_id", ""))
    except (MechtagError, AttributeError):
        return ""


def _free_folder(project: Project) -> str:
    """Return the first of ``data/tagged-2``, ``data/tagged-3``, ... that does not exist."""
    names = (f"data/tagged-{number}" for number in count(2))
    return next(name for name in names if not (project.root / name).exists())


def has_codes(project: Project) -> bool:
    """Return whether the project has codes by people.

    The codes are in the file of coded records that the settings name, or were added by retraining.
    """
    settings = project.settings.train
    return Path(settings.records).exists() or bool(version_in_use(settings.added))


def _codes(project: Project) -> tuple[str, list[CodedRecord]]:
    """Return a short description of the project's codes, and the coded records that could be read.

    The records include those whose codes the next retraining will use again, although the model in use was not trained
    on them.
    """
    settings, codebook = project.settings, project.codebook
    if not has_codes(project):
        return f"none yet ({settings.train.records} does not exist)", []
    if texts := _missing_texts(project):
        return f"{settings.train.records}; they can be counted as soon as {texts} exists", []
    try:
        coded = read_annotations(settings, codebook.keys, codebook.relevance.key)
        latest = latest_version(settings.train.added)
        every = coded
        if latest != version_in_use(settings.train.added):
            every = read_annotations(settings, codebook.keys, codebook.relevance.key, latest)
    except MechtagError as error:
        return f"cannot be read: {error}", []
    relevant = sum(bool(record.relevant) for record in coded)
    added = sum(record.added for record in coded)
    counts = f"{counted(len(coded), 'record')} coded, {relevant} of them relevant"
    counts += f"; {added} added by retraining" if added else ""
    if waiting := len(every) - len(coded):
        counts += (
            f"; {counted(waiting, 'more record')} coded, which the next retraining will use, because the last one did "
            "not promote its model"
        )
    return counts, every


def _missing_texts(project: Project) -> ProjectPath | None:
    """Return the path in the setting ``train.texts`` if this file is needed but missing; otherwise ``None``.

    The file contains the records of the coded papers. It is needed if the codes are in a table of codings, because such
    a table contains no texts.
    """
    settings = project.settings.train
    if not settings.texts or Path(settings.texts).exists():
        return None
    return settings.texts if is_table(settings.records) and Path(settings.records).exists() else None


def _model(project: Project) -> ModelConfig | None:
    try:
        return read_config(project.model)
    except MechtagError:
        return None


def _describe_model(project: Project, model: ModelConfig | None) -> str:
    if model is None:
        return "none yet"
    if model.from_definitions:
        return f"{model.model_id}, from the definitions of the codebook alone"
    return model.model_id + (" (comes with mechtag)" if project.uses_shipped_model else "")


def _out_of_date(project: Project, model: ModelConfig | None, has_coded: bool) -> Iterator[str]:
    """Yield the reasons why the model is out of date.

    The annotations and the training settings are compared only if ``has_coded`` says that coded records could be read.
    """
    if model is None or project.uses_shipped_model or model.from_definitions:
        return
    if model.codebook_sha256 != project.codebook.sha256:
        yield "the codebook has changed since the model was trained"
    if not has_coded:
        return
    now = data_hashes(project.settings)
    changed = sorted(name for name in now.keys() | model.data.keys() if now.get(name) != model.data.get(name))
    if changed:
        yield f"the annotations have changed since the model was trained: {', '.join(changed)}"
    if model.settings != project.settings.train.model_dump(mode="json") or model.seed != project.settings.seed:
        yield "the training settings have changed since the model was trained"


def _next(
    project: Project,
    files: list[Path],
    tagged: Path | None,
    coded: list[CodedRecord],
    model: ModelConfig | None,
    stale: list[str],
    earlier: bool,
) -> str:
    raw = next((str(source) for source in project.settings.sources.values()), "data/raw")
    if not files:
        return f"put search exports into {raw}"
    if texts := _missing_texts(project):
        records = Path(str(texts)).with_name("records.parquet")
        dedupe = f"mechtag dedupe {records} -o {texts}"
        if not (project.root / records).exists():
            sources = " ".join(map(str, project.settings.sources.values()))
            dedupe = f"mechtag ingest {sources} -o {records}, then {dedupe}"
        return f"read the search and remove duplicates: {dedupe}"
    if has_codes(project) and not coded:
        return f"correct {project.settings.train.records}, which cannot be read: see Codes above"
    if coded and (model is None or model.from_definitions):
        return "train a model: mechtag train"
    if coded and stale:
        return "train again: mechtag train (or mechtag retrain, which keeps the better model)"
    if not tagged:
        return f"tag the search: mechtag tag {raw} -o data/tagged"
    if earlier:
        return f"tag the search again, with the model in use: mechtag tag {raw} -o {_free_folder(project)}"
    choose = f"'mechtag next {tagged} -o next.csv'"
    imported = f"import codes with 'mechtag codings' ({project.settings.train.records})"
    if not coded or project.uses_shipped_model:
        return f"review {tagged / 'review.xlsx'}, or the papers that {choose} chooses; {imported}"
    least = project.settings.train.min_positives
    few = [label for label in project.codebook.labels if sum(one.code(label.key) == 1 for one in coded) < least]
    if few:
        names = ", ".join(label.name for label in few[:_NAMED]) + (", ..." if len(few) > _NAMED else "")
        return (
            f"code more papers for the labels with fewer than {least} examples ({names}): {choose} chooses papers; "
            f"{imported}"
        )
    return "measure accuracy against your own codes: mechtag evaluate (docs/report.md)"
