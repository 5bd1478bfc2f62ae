"""Change the codebook, keep its earlier versions, and find codes that were given before their label changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from sqlalchemy import Connection, select

from mechtag.core.codebook import Codebook, describe_validation, load_codebook
from mechtag.core.files import write_text
from mechtag.review.acts import Refused, Stamp
from mechtag.review.store import schema
from mechtag.review.store.events import project_events
from mechtag.review.workspace import Workspace


@dataclass(frozen=True)
class Change:
    """The differences between the codebook in use and a new codebook.

    Attributes
    ----------
    added
        Keys of the labels that only the new codebook contains.
    removed
        Keys of the labels that only the codebook in use contains.
    reworded
        The text in use and the new text of each label whose text differs, keyed by label. The text consists of the
        name, the definition and the rules. Relevance counts as a label here.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    reworded: Mapping[str, tuple[str, str]]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.reworded)


def compare(old: Codebook, new: Codebook) -> Change:
    """Return the differences between two codebooks; a different order of labels is not a difference."""
    before = {entry.key: _text(entry) for entry in old.entries}
    after = {entry.key: _text(entry) for entry in new.entries}
    both = [key for key in after if key in before and before[key] != after[key]]
    return Change(
        tuple(key for key in after if key not in before),
        tuple(key for key in before if key not in after),
        {key: (before[key], after[key]) for key in both},
    )


def _text(entry: Any) -> str:
    rules = [*(f"Include: {rule}" for rule in entry.include), *(f"Exclude: {rule}" for rule in entry.exclude)]
    absence = (f"Absence: {rule}" for rule in getattr(entry, "absence", ()))  # relevance has no such rules
    return "\n".join((entry.name, entry.definition, *rules, *absence))


def parse(old: Codebook, content: Mapping[str, Any]) -> Codebook:
    """Return the codebook that a form describes.

    Parameters
    ----------
    old
        The codebook in use.
    content
        Fields of the form. They replace the fields of ``old``.

    Raises
    ------
    Refused
        If the new codebook is not valid, or if the form changes the key of relevance.
    """
    try:
        new = Codebook.model_validate({**old.model_dump(mode="json"), **content})
    except ValidationError as error:
        raise Refused(describe_validation("codebook", error)) from None
    if new.relevance.key != old.relevance.key:
        raise Refused(
            f"the key of relevance must stay '{old.relevance.key}', because existing screening decisions use this "
            "key; change it back"
        )
    return new


def check_retired(workspace: Workspace, new: Codebook) -> tuple[str, ...]:
    """Return the keys of labels in a new codebook that were retired earlier, so that their codes count again.

    Raises
    ------
    Refused
        If the text of such a label differs from its text before it was retired. Its earlier codes would then count
        for a label with a different meaning.
    """
    known = workspace.codebook.all_keys
    files = (workspace.folder / "codebooks").glob("*.yaml")
    kept = [load_codebook(path) for path in sorted(files, key=lambda path: int(path.name.partition("-")[0]))]
    before = {entry.key: _text(entry) for book in kept for entry in book.labels if entry.key not in known}
    again = [entry for entry in new.labels if entry.key in before]
    for entry in again:
        if _text(entry) != before[entry.key]:
            raise Refused(
                f"the key '{entry.key}' belongs to a retired label, whose codes are kept. Choose a different key for "
                f"the new label, or enter the text of the retired label to use this label again:\n{before[entry.key]}"
            )
    return tuple(entry.key for entry in again)


def save(workspace: Workspace, stamp: Stamp, new: Codebook, meaning: Sequence[str]) -> int:
    """Put a new version of the codebook into use, keep a copy of the previous version, and log the change.

    Parameters
    ----------
    meaning
        Keys of the labels whose meaning has changed, so that earlier codes may be wrong. If only the wording of a label
        has changed, its earlier codes remain valid.

    Returns
    -------
    int
        Number of the new version, which is 2 or more.

    Raises
    ------
    Refused
        If nothing has changed, or if ``meaning`` contains the key of a label whose text has not changed.
    """
    old = workspace.codebook
    change = compare(old, new)
    if not change and old.sha256 == new.sha256:
        raise Refused("nothing in the codebook has changed, so nothing was saved")
    unknown = set(meaning) - change.reworded.keys()
    if unknown:
        raise Refused(
            "the meaning of these labels cannot have changed, because their text has not changed: "
            f"{', '.join(sorted(unknown))}; reload the page"
        )
    path = Path(workspace.project.settings.codebook)
    folder = workspace.folder / "codebooks"
    folder.mkdir(parents=True, exist_ok=True)
    number = 1 + len(list(folder.glob("*.yaml")))
    kept = folder / f"{number}-{old.sha256[:12]}.yaml"
    write_text(kept, path.read_text(encoding="utf-8"))
    write_text(path, to_yaml(new))
    content = {
        "version": number + 1,
        "from": old.sha256[:12],
        "to": new.sha256[:12],
        "meaning": list(meaning),
        "wording": [key for key in change.reworded if key not in meaning],
        "added": list(change.added),
        "removed": list(change.removed),
    }
    workspace.acts.log(stamp, "codebook", content)
    return number + 1


def to_yaml(codebook: Codebook) -> str:
    """Return a codebook as YAML text."""
    content = codebook.model_dump(mode="json", exclude_defaults=True)
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)


@dataclass(frozen=True)
class StaleCode:
    """A code of a finished record that may be wrong now, because the meaning of its label was changed later."""

    record: int
    title: str
    stage: str
    coder: int
    name: str
    label: str
    at: str


def find_stale(connection: Connection, codebook: Codebook) -> list[StaleCode]:
    """Return the codes of finished records that were given before the meaning of their label changed.

    The codes are sorted by label and person. Codes of withdrawn people are left out.
    """
    last = {key: row.seq for row in project_events(connection, "codebook") for key in row.value["meaning"]}
    current, record, account = schema.current, schema.record, schema.account
    rows = connection.execute(
        select(current, record.c.title, account.c.name)
        .join(record, record.c.id == current.c.record)
        .join(account, account.c.id == current.c.coder)
        .where(current.c.label.in_(last), current.c.committed == 1, account.c.state != "withdrawn")
        .order_by(current.c.label, account.c.name, current.c.record)
    )
    return [
        StaleCode(row.record, row.title, row.stage, row.coder, row.name, row.label, row.at)
        for row in rows
        if row.event < last[row.label] and row.label in codebook.all_keys
    ]
