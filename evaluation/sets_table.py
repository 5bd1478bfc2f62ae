"""The part of the accuracy table that gives each set of coded records on its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evaluation.layout import NONE, Section, cell, number
from evaluation.wording import KINDS

_RANKED = {"roc_auc": "ROC AUC", "roc_auc_hard": "hard ones only", "roc_auc_easy": "easy ones only"}
_DECIDED = {"kept": "kept", "yes_right": "yes is right", "hard_yes": "hard, yes", "easy_yes": "easy, yes"}
_MECHANISMS = {"across_auc": "across", "within_auc": "within", "kappa": "kappa", "yes_right": "yes is right"}
_CODED_TWICE = ("relevance", "papers", "sentences")


def all_sets(sets: Mapping[str, Any]) -> list[list[str]]:
    """Rows of the table of all coded records, two for each set: over its records, and over its sentences."""
    rows = []
    for own in sets.values():
        documents = own["documents"]
        figures = [cell(documents[name]) for name in ("macro_average_precision", "across_auc", "within_auc")]
        rows.append([own["title"], str(own["records"]), number(documents["prevalence"]), *figures])
        if "sentences" in own:
            found = own["sentences"]
            figures = [cell(found[name]) for name in ("macro_average_precision", "across_auc")]
            count = str(found["sentences"])
            rows.append([f"{own['title']}, sentences", count, number(found["prevalence"]), *figures, NONE])
    return rows


def set_sections(sets: Mapping[str, Any]) -> list[Section]:
    """Lay out relevance, mechanisms and the second coder of each set."""
    if not sets:
        return []
    sections = [
        Section(
            "Each set of coded records: is relevance ranked well?",
            [
                "Each set is one file of records; what its texts are is below its name. Relevant records are ranked "
                "against all irrelevant ones of the set, then against those that are easily taken for relevant (hard), "
                "then against the others (easy).",
            ],
            ["set", "relevant", *_RANKED.values()],
            [
                [
                    _name(own),
                    f"{own['relevant']}/{own['records']}",
                    *(_cell(own["relevance"], name) for name in _RANKED),
                ]
                for own in sets.values()
            ],
        ),
        Section(
            "Each set of coded records: which records does it keep?",
            [
                "Kept: share of relevant records that it calls relevant or leaves to people; the others it would lose. "
                "Yes is right: share of relevant ones among those it calls relevant. Hard, easy: share of these "
                "irrelevant records that it calls relevant.",
            ],
            ["set", "lost", *_DECIDED.values()],
            [
                [
                    _name(own),
                    f"{own['relevance']['decisions']['relevant']['no']}/{own['relevant']}",
                    *(_cell(own["relevance"], name) for name in _DECIDED),
                ]
                for own in sets.values()
            ],
        ),
        Section(
            "Each set of coded records: labels of the relevant ones",
            [
                "Found: share of the codes that it says yes to or leaves to people. Top sentence: how often the "
                "sentence that it puts first for a label was coded for it.",
            ],
            ["set", *_MECHANISMS.values(), "found", "top sentence"],
            [
                [
                    _name(own),
                    *(_cell(own["mechanisms"], name) for name in (*_MECHANISMS, "kept")),
                    _cell(own["evidence"], "precision_at_1") if "evidence" in own else NONE,
                ]
                for own in sets.values()
            ],
        ),
    ]
    again = {name: own for name, own in sets.items() if "second_coder" in own}
    if again:
        rows = [
            [
                _name(own),
                str(own["second_coder"]["records"]),
                *(_kappa(own["second_coder"].get(what)) for what in _CODED_TWICE),
            ]
            for own in again.values()
        ]
        line = "Cohen's kappa on relevance, and on the labels of papers and of sentences."
        header = ["set", "coded again", *_CODED_TWICE]
        sections.append(Section("Each set of coded records: agreement with a second coder", [line], header, rows))
    return sections


def _name(own: Mapping[str, Any]) -> str:
    kind = KINDS[own["texts"]][1] if own["texts"] == "unknown" else own["texts"]
    return f"{own['title']}\n{kind}"


def _cell(section: Mapping[str, Any], name: str) -> str:
    if section[name]["value"] is None and section.get("undefined", {}).get(name, "").startswith("too few"):
        return "too few"
    return cell(section[name])


def _kappa(pair: Mapping[str, Any] | None) -> str:
    if pair is None:
        return NONE
    return "too few" if "note" in pair else cell(pair["cohen_kappa"])
