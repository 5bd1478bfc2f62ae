"""Write a paragraph about a review for the methods section of a paper, including the figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import mechtag
from mechtag.core.codebook import Codebook
from mechtag.core.words import counted
from mechtag.review.plan import Mode, Plan
from mechtag.review.store.exercises import Exercise

_PEOPLE = {1: "one person", 2: "two people independently"}
_ORDER = (
    "The records were read in an order learned from the decisions so far; the order was shuffled within blocks of ten "
    "records, and no scores were shown."
)
_SHOWN: Mapping[Mode, str] = {
    "off": "Coders saw no suggestions of a model.",
    "blind": "Coders saw no suggestions of a model.",
    "after": "Suggestions of a model appeared only after a coder had finished a record; the coder could then revise "
    "the codes.",
    "assisted": "Suggestions of a model were visible from the start, except for a random {share} of the records, which "
    "were shown without suggestions.",
}


def methods_text(found: Mapping[str, Any], plan: Plan, codebook: Codebook, exercises: Sequence[Exercise]) -> str:
    """Return a paragraph about a review for the methods section of a paper, as plain text.

    Parameters
    ----------
    found
        Result of `mechtag.review.jobs.accuracy.run`.
    exercises
        Calibration exercises, in which several people judged the same records, the latest first.
    """
    labels = f"{counted(len(codebook.keys), 'label')} (codebook {codebook.name}, version {codebook.sha256[:12]})"
    sentences = [
        f"Titles and abstracts were screened by {_PEOPLE[plan.coders_screen]} per record in mechtag "
        f"{mechtag.__version__}.",
        "The records were read in random order." if plan.mode_screen == "off" else _ORDER,
        f"Included records were coded by {_PEOPLE[plan.coders_code]} per record for {labels}.",
        _SHOWN[plan.mode_code].format(share=f"{100 * plan.audit_share:g}%"),
    ]
    if 2 in plan.wanted.values():
        sentences.append(
            "Differences between coders, and records that coders referred, were settled by an adjudicator."
        )
    sentences += [_exercise(one) for one in reversed(exercises) if one.state != "running"]
    people, model = found["people"], found["model"]
    if people:
        sentences += _between_people(people, codebook)
    if model:
        sentences += _of_the_model(model)
    assisted = found["effect"]["assisted"]
    if assisted and "note" not in assisted["all"]:
        row = assisted["all"]
        sentences.append(
            f"With a suggestion in view, the agreement with the model differed by {_figure(row['agreement_change'])} "
            f"from that without one ({row['n_with']:,} and {row['n_without']:,} codes)."
        )
    return " ".join(sentences)


# What people do with records at each stage.
_JUDGED = {"screen": "screened", "code": "coded", "full-text": "coded the full texts of"}


def _exercise(one: Exercise) -> str:
    return (
        f"Before this, {len(one.coders)} people {_JUDGED[one.stage]} the same {len(one.records)} random records as a "
        f"calibration exercise; these codes were {one.state}."
    )


def _between_people(people: Mapping[str, Any], codebook: Codebook) -> list[str]:
    relevance, humans = codebook.relevance.key, people["all"]["humans"]
    alphas = {
        # A label may have been retired since the figures were computed.
        codebook.names.get(key, key): row["krippendorff_alpha"]
        for key, row in humans["labels"].items()
        if row["krippendorff_alpha"]["value"] is not None
    }
    sentences = [
        f"Agreement was computed from the codes of {people['records']:,} records as they were first given, before "
        "their coders saw a suggestion or codes of others; 95% intervals are from a bootstrap over records."
    ]
    if (name := codebook.names[relevance]) in alphas:
        sentences.append(f"Krippendorff's alpha was {_figure(alphas.pop(name))} for inclusion.")
    if humans["krippendorff_alpha"]["value"] is not None:
        listed = "; ".join(f"{name}: {_figure(found)}" for name, found in alphas.items())
        sentences.append(
            f"It was {_figure(humans['krippendorff_alpha'])} over all labels" + (f" ({listed})." if listed else ".")
        )
    return sentences


def _of_the_model(model: Mapping[str, Any]) -> list[str]:
    pooled = model["pooled"]
    start = (
        f"On {model['papers']:,} papers, each judged by a model that had not learned from it, the agreement of the "
        "model with the final codes was"
    )
    return [f"{start} {_figure(pooled['kappa'])} (kappa)."] if pooled["kappa"]["value"] is not None else []


def _figure(found: Mapping[str, float | None]) -> str:
    text = f"{found['value']:.2f}"
    if found["ci_low"] is None:
        return text
    return f"{text} (95% interval {found['ci_low']:.2f} to {found['ci_high']:.2f})"
