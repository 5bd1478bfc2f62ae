"""Measure how well language models code the gold papers, with the same metrics as for the trained model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mechtag.core.errors import MechtagError
from mechtag.core.records import Basis, Coding, Prediction, is_llm
from mechtag.core.settings import DedupeSettings
from mechtag.evaluation.predictions import System
from mechtag.evaluation.resampling import Draws
from mechtag.evaluation.sections import labels_section, pooled_section
from mechtag.pipeline.annotations.coding_table import read_codings
from mechtag.pipeline.annotations.gold_table import GoldStandard
from mechtag.pipeline.annotations.record_finder import Finder
from mechtag.pipeline.llm.run import LlmRuns, read_runs

# Scores that rank the answers yes, unclear and no; many papers have the same score.
_SCORES = {1: 1.0, None: 0.5, 0: 0.0}


@dataclass(frozen=True)
class LanguageModel:
    """A language model as a coder of gold papers.

    Attributes
    ----------
    codes
        Answers of the model, keyed by a tuple of record id and label: 1 for yes, 0 for no, ``None`` for unclear.
    runs
        Runs of the model; if the coder is a vote of several language models, the runs of all voters. ``None`` if no
        file next to the table of codings describes the runs.
    """

    name: str
    basis: Basis
    codes: Mapping[tuple[str, str], int | None]
    runs: LlmRuns | None


def read_language_models(
    tables: Sequence[Path], all_keys: Sequence[str], gold: GoldStandard, settings: DedupeSettings
) -> list[LanguageModel]:
    """Read the tables that 'mechtag llm' or 'mechtag llm-vote' wrote for the gold papers.

    Raises
    ------
    MechtagError
        If a table is invalid; or if a coder is a person, coded no gold paper, is also in another table, or coded both
        abstracts and full texts.
    """
    finder = Finder(gold.evaluated, settings)
    papers = {record.record_id for record in gold.evaluated}
    found: dict[str, LanguageModel] = {}
    for table in tables:
        runs = read_runs(table)
        by_coder: dict[str, list[Coding]] = {}
        for row in read_codings(table, all_keys, finder):
            by_coder.setdefault(row.coder, []).append(row)
        for name, rows in by_coder.items():
            _check(table, name, rows, papers, found)
            codes = {(row.record_id or "", row.label): row.value for row in rows}
            found[name] = LanguageModel(name, rows[0].basis, codes, _own(runs, name))
    return list(found.values())


def _check(table: Path, name: str, rows: Sequence[Coding], papers: set[str], found: Mapping[str, object]) -> None:
    if not is_llm(name):
        raise MechtagError(
            f"{table}: {name} is not a language model; pass tables that 'mechtag llm' or 'mechtag llm-vote' wrote. "
            "To compare people, use 'mechtag agreement'"
        )
    if name in found:
        raise MechtagError(
            f"{table}: coder {name} is also in another table; pass only one table with codes of this coder"
        )
    if len({row.basis for row in rows}) > 1:
        raise MechtagError(
            f"{table}: coder {name} coded both abstracts and full texts. Put the codings of abstracts and of full "
            "texts into separate tables, and use a different coder name in each table"
        )
    if papers.isdisjoint(row.record_id for row in rows):
        raise MechtagError(
            f"{table}: coder {name} coded none of the papers of the gold standard; run 'mechtag llm' on the "
            "records of these papers"
        )


def _own(runs: LlmRuns | None, name: str) -> LlmRuns | None:
    """Return the runs of the language model ``name``; if ``runs`` describes a vote, return the runs of all voters."""
    if runs is None or runs.vote:
        return runs
    return LlmRuns(runs=tuple(run for run in runs.runs if run.coder == name)) if runs.runs else None


def language_models_section(
    models: Sequence[LanguageModel], gold: GoldStandard, label_keys: Sequence[str], draws: Draws, min_positives: int
) -> list[dict[str, Any]]:
    """Compute the metrics of each language model on all gold papers that have a record.

    Unclear and missing answers are treated like decisions that need review. Metrics of decisions count such answers as
    no. Metrics of ranking place such answers between yes and no.
    """
    record_ids = [record.record_id for record in gold.evaluated]
    truth = gold.truth(label_keys)
    found = []
    for model in models:
        judged = System(model.name, _predictions(model, record_ids, label_keys)).judged(record_ids, label_keys, truth)
        # It states no probabilities.
        judged = replace(judged, probability=np.full(truth.shape, np.nan))
        cells = [(record_id, label) for record_id in record_ids for label in label_keys]
        found.append(
            {
                "name": model.name,
                "basis": model.basis,
                "unanswered": sum(cell not in model.codes for cell in cells),
                **({"runs": model.runs.model_dump()} if model.runs else {}),
                **pooled_section(judged, draws),
                "labels": labels_section(judged, label_keys, draws, min_positives),
            }
        )
    return found


def _predictions(model: LanguageModel, record_ids: Sequence[str], labels: Sequence[str]) -> Iterator[Prediction]:
    for record_id in record_ids:
        for label in labels:
            value = model.codes.get((record_id, label))
            is_unclear = value is None
            yield Prediction(
                record_id=record_id,
                label=label,
                score=_SCORES[value],
                probability=_SCORES[None] if is_unclear else None,
                # Higher than the probability, so that an unclear answer does not count as yes.
                threshold=1 if is_unclear else None,
                decision="refer" if is_unclear else "yes" if value else "no",
                model_id=model.name,
                basis=model.basis,
            )
