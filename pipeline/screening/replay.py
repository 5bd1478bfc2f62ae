"""Write and describe the results of replaying the screening of a finished review.

The results are metrics, and the order in which the records were read in each replay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from mechtag.core.errors import MechtagError
from mechtag.core.files import write_csv, write_json
from mechtag.core.records import Record
from mechtag.core.words import counted
from mechtag.pipeline.screening.decisions import Judgements
from mechtag.pipeline.screening.ranking import RULES
from mechtag.pipeline.screening.simulation import Labels, Replay

_HEADER = ("run", "place", "record_id", "relevant", "known_before", "recall")


def judged_records(records: Sequence[Record], judgements: Judgements) -> tuple[list[Record], Labels]:
    """Return the records that have a decision; only these can be replayed.

    Returns
    -------
    list of Record, ndarray
        The records, and the label of each record: 1 for relevant, 0 for irrelevant.

    Raises
    ------
    MechtagError
        For the same reasons as in `Judgements.labels`, or if no record has a decision.
    """
    labels = judgements.labels(records)
    judged = np.flatnonzero(~np.isnan(labels))
    if not len(judged):
        raise MechtagError(f"{judgements.path}: all decisions are empty; enter 1 or 0 for each record that was judged")
    return [records[int(row)] for row in judged], labels[judged].astype(np.int64)


def summarise_stops(replays: Sequence[Replay], recall: float) -> dict[str, dict[str, float]]:
    """Return three metrics of each stopping rule.

    Returns
    -------
    dict
        One dict of metrics per rule. ``reached`` is the proportion of replays in which the rule reached the target
        recall. ``recall`` and ``work_saved`` are means over all replays.
    """
    found: dict[str, dict[str, float]] = {}
    for rule in RULES:
        stops = [run.stops[rule] for run in replays]
        found[rule] = {
            "reached": float(np.mean([stop.recall >= recall - 1e-9 for stop in stops])),
            "recall": float(np.mean([stop.recall for stop in stops])),
            "work_saved": float(np.mean([stop.work_saved for stop in stops])),
        }
    return found


def replay_files(folder: Path) -> tuple[Path, Path]:
    """Return the paths of the files that `write_replays` writes: first the metrics, then the reading order."""
    return folder / "simulation.json", folder / "reading.csv"


def write_replays(
    folder: Path,
    records: Sequence[Record],
    labels: Labels,
    replays: Sequence[Replay],
    content: Mapping[str, Any],
) -> None:
    """Write the results of replays to two files: ``simulation.json`` and ``reading.csv``.

    ``reading.csv`` has one row per record and replay.

    Parameters
    ----------
    labels
        Label of each record: 1 for relevant, 0 for irrelevant.
    content
        Metrics, which are written at the beginning of ``simulation.json``. After them, the file contains what the
        stopping rules did in each replay.
    """
    rows = []
    for number, run in enumerate(replays, start=1):
        recall = np.cumsum(labels[run.order]) / labels.sum()
        for place, row in enumerate(run.order, start=1):
            known = int(place <= run.priors)
            rows.append(
                (number, place, records[row].record_id, int(labels[row]), known, round(float(recall[place - 1]), 6))
            )
    figures, reading = replay_files(folder)
    write_csv(reading, _HEADER, rows)
    runs = [{rule: asdict(stop) for rule, stop in run.stops.items()} for run in replays]
    write_json(figures, {**content, "runs": runs})


def describe_simulation(content: Mapping[str, Any]) -> list[str]:
    """Return lines of text that describe the content of ``simulation.json``."""
    figures, stopping = content["figures"], content["stopping"]
    shown = {"wss_95": "WSS@95", "mean_time_to_discovery": "mean time to discovery", "recall_10": "recall at 10%"}
    lines = [f"{content['records']} records, {content['relevant']} relevant, {content['replays']} replays"]
    lines += [
        f"  {name}: {figures[key]['mean']:.3f} ({figures[key]['min']:.3f} to {figures[key]['max']:.3f})"
        for key, name in {"loss": "loss", **shown}.items()
    ]
    lines += [
        f"  rule {rule}, recall {content['recall']:g}, confidence {content['confidence']:g}: target reached in "
        f"{round(found['reached'] * content['replays'])} of {counted(content['replays'], 'replay')}, mean recall "
        f"{found['recall']:.3f}, mean work saved {found['work_saved']:.0%}"
        for rule, found in stopping.items()
    ]
    return lines
