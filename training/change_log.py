"""Writing down what a new model decides otherwise, for people to read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pipeline.files import write_csv, write_text
from training.changes import BOUNDS, STEPS, Change

_HEADER = (
    "record_id",
    "title",
    "label",
    "before",
    "probability_before",
    "after",
    "probability_after",
    "cause",
    "why",
    *(f"probability_with_new_{step}" for step in STEPS),
)
_CAUSES = {
    "sentences": "sentences score otherwise (what was learnt from the new annotations, or a new definition)",
    "calibration": "the same sentence scores mean another probability",
    "relevance": "the chance that the record is relevant changed",
    BOUNDS: "the probability from which yes or no is said moved",
}
# Decisions that are listed in the text; the table has all.
_SHOWN = 100


def write_change_log(folder: Path, changes: Sequence[Change], records: int, champion: str, challenger: str) -> None:
    """Write ``changes.csv``, every decision that differs, and ``changes.md``, an account of them.

    Parameters
    ----------
    records
        How many records both models tagged.
    champion, challenger
        Their model ids.
    """
    write_csv(folder / "changes.csv", _HEADER, [_cells(change) for change in changes], bom=True)
    touched = len({change.record_id for change in changes})
    lines = [
        "# Change log",
        "",
        f"Model {champion} (before) and model {challenger} (after) tagged the same {records} records. "
        f"{len(changes)} decisions on {touched} of them differ.",
        "",
    ]
    turns = Counter((change.label, change.old, change.new) for change in changes)
    if turns:
        lines += ["| label | before | after | decisions |", "|---|---|---|---|"]
        lines += [f"| {label} | {old} | {new} | {count} |" for (label, old, new), count in sorted(turns.items())]
        causes = Counter(change.cause for change in changes)
        lines += ["", "Why, by the step that moved most in the direction of the change:", ""]
        lines += [f"- {count}: {_CAUSES[cause]}" for cause, count in causes.most_common()]
        lines.append("")
    for change in changes[:_SHOWN]:
        lines.append(
            f"- **{_plain(change.title)}** ({_plain(change.record_id)}), {change.label}: {change.old} "
            f"({change.probabilities[0]:.2f}) to {change.new} ({change.probabilities[-1]:.2f}): {_plain(change.why)}"
        )
    if len(changes) > _SHOWN:
        lines += ["", f"The other {len(changes) - _SHOWN} are in changes.csv."]
    write_text(folder / "changes.md", "\n".join(lines).rstrip() + "\n")


def _cells(change: Change) -> list[object]:
    first, *between, last = (round(chance, 4) for chance in change.probabilities)
    before = [change.record_id, change.title, change.label, change.old, first]
    return [*before, change.new, last, change.cause, change.why, *between, last]


def _plain(text: str) -> str:
    """Text from exports as Markdown shows it, without what Markdown or HTML would act on."""
    kept = " ".join(text.split())
    return "".join(f"\\{char}" if char in "\\`*_[]<>|" else char for char in kept)
