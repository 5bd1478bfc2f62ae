"""The project's own coded records as people and the model coded them: the block ``agreement``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from evaluation.adjudicate import to_adjudicate
from evaluation.coded import CodedSet, ticks
from evaluation.coders import Coders, coders_of, with_model
from evaluation.join import System
from evaluation.resampling import Draws, draw
from evaluation.side_by_side import agreement_section, cells_of, pair_section
from pipeline.annotations import CodedRecord, Codes
from pipeline.codings import records_by_name
from pipeline.errors import MechtagError
from pipeline.gold import GoldStandard
from pipeline.records import Coding
from pipeline.settings import EvaluateSettings


def coded_agreement(
    coded: CodedSet,
    labels: Sequence[str],
    relevance_key: str,
    settings: EvaluateSettings,
    generator: np.random.Generator,
) -> dict[str, Any]:
    """Compare coders of the coded records with one another and with the model out of fold.

    Returns
    -------
    dict
        The block `evaluation.side_by_side.agreement_section` for the records that several people coded (all,
        where none was coded by several), with a pair for their sentences, and ``adjudicate`` for all records.

    Raises
    ------
    MechtagError
        A record of the second coder is not among the coded ones, or has other sentences.
    """
    people = _people(coded, labels, relevance_key)
    everyone = with_model(people, System("coded records", coded.documents))
    several = everyone.of_several()
    draws = draw(len(several.records), settings.bootstrap, 0, generator)
    section = agreement_section(several, relevance_key, draws, settings.min_positives)
    by_sentence = [
        (first, codes)
        for first, codes in ((first_coding(coded.records, codes), codes) for codes in coded.second)
        if first.sentence_labels and codes.sentence_labels
    ]
    if by_sentence:
        pair = _sentence_pair(by_sentence, labels, several.records, draws, settings.min_positives)
        section["pairs"].append(pair)
    section["texts"] = coded.texts(set(several.records))
    section["adjudicate"] = to_adjudicate(everyone, settings.min_positives)
    return section


def doubted_gold(gold: GoldStandard, transfer: System, labels: Sequence[str], least: int) -> list[dict[str, Any]]:
    """List the codes of a gold standard that the model, which has seen none of them, contradicts with confidence.

    They are what to look at; nothing is mended. Papers of which there is no text are left out.
    """
    matrix = gold.matrix
    codings = [row for row in matrix.codings(labels, "reviewers", "full-text") if row.key in gold.records]
    ids = {key: record.record_id for key, record in gold.records.items()}
    coders = with_model(coders_of(codings, labels, matrix.path, ids), transfer)
    return to_adjudicate(coders, least)


def _people(coded: CodedSet, labels: Sequence[str], relevance_key: str) -> Coders:
    """Arrange the codes of records: of the first coder, or of all who coded in the table, and of the second coder."""
    keys = (relevance_key, *labels)
    if coded.table:
        names = records_by_name([row.record for row in coded.records])
        ids = {name: record.record_id for name, record in names.items()}
        first = [row.model_copy(update={"record_id": ids[row.record_id or row.key or ""]}) for row in coded.table]
    else:
        first = [row for record in coded.records for row in record.codings(labels, relevance_key)]
    second = [
        Coding(
            record_id=first_coding(coded.records, codes).record.record_id,
            key=codes.key,
            coder=codes.coder,
            label=label,
            value=int(codes.relevant if label == relevance_key else label in codes.labels),
            basis=codes.basis,
            codebook_version=codes.codebook,
        )
        for codes in coded.second
        for label in keys
    ]
    return coders_of([*first, *second], keys, "coded records")


def first_coding(records: Sequence[CodedRecord], second: Codes) -> CodedRecord:
    """Find the record that a second coder coded: two papers may share a key, but then not the number of sentences."""
    same_key = [row for row in records if row.key == second.key]
    sentences = len(second.sentence_labels or ())
    found = [row for row in same_key if sentences in (0, len(row.sentences))]
    if len(found) == 1:
        return found[0]
    place = f"second coder: record {second.key}"
    if not same_key:
        raise MechtagError(f"{place} is not among the coded records")
    if not found:
        counts = ", ".join(str(len(row.sentences)) for row in same_key)
        raise MechtagError(f"{place} has {sentences} sentences, the coded record {counts}; code the same sentences")
    raise MechtagError(f"{place}: the key stands for {len(found)} coded records of as many sentences; tell them apart")


def _sentence_pair(
    codes: Sequence[tuple[CodedRecord, Codes]], labels: Sequence[str], records: Sequence[str], draws: Draws, least: int
) -> dict[str, Any]:
    """Compare the two coders sentence by sentence; records are drawn whole, since their sentences are alike."""
    cells = np.zeros((4, len(records), len(labels)))
    for first, second in codes:
        one, two = (ticks(row.sentence_labels or (), labels) for row in (first, second))
        cells[:, records.index(first.record.record_id)] = cells_of(one, two).sum(axis=1)
    return {
        "a": ", ".join(dict.fromkeys(first.coder for first, _ in codes)),
        "b": ", ".join(dict.fromkeys(second.coder for _, second in codes)),
        "kind": "human-human",
        "unit": "sentences",
        **pair_section(cells, labels, "", draws, least),
    }
