"""Write the methods text for the authors' paper, and the model card."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined, UndefinedError

from mechtag.core.errors import MechtagError
from mechtag.core.words import counted
from mechtag.evaluation.report.wording import (
    count,
    figure,
    for_readers,
    label_names,
    number,
    percent,
    sentence_case,
)
from mechtag.evaluation.results import (
    CONTAMINATION,
    KINDS,
    BaselineFigures,
    ByFullText,
    Coverage,
    GoldStandard,
    Pooled,
    Results,
    SystemFigures,
    describe_texts,
    new_runs,
)
from mechtag.pipeline.llm.run import LlmRun

# Descriptions of the text that was read for a paper.
_COVERAGE = {
    "abstract": "the abstract of",
    "synopsis": "a synopsis of the abstract of",
    "title_only": "only the title of",
    "none": "no text of",
}
# Metrics that are compared between the full text and the abstract.
_COMPARED = ("across_auc", "within_auc", "kappa")

# Characters that Markdown may read as markup within a line; an underscore within a word is not markup.
_MARKUP = re.compile(r"([\\`*<&\[]|(?<!\w)_|_(?!\w))")


def paper_texts(results: Results, model: Mapping[str, Any], summary: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Fill in the templates of the methods text and the model card.

    Parameters
    ----------
    model
        Content of the model's ``config.json``.
    summary
        Content of the ``summary.json`` of a tagged literature search. By default, the texts describe no search.

    Returns
    -------
    dict
        Two Markdown texts:

        - ``methods`` covers items 8 and 9 of PRISMA 2020 (Page et al. 2021, doi:10.1136/bmj.n71) and the RAISE
          recommendations (https://osf.io/fwaud). Square brackets mark what the authors must fill in.
        - ``model_card`` is in the format of Hugging Face (Mitchell et al. 2019, doi:10.1145/3287560.3287596).

    Raises
    ------
    MechtagError
        If the metrics or ``summary`` come from a different model; if there are no metrics of the model on the gold
        standard; or if a file lacks an entry.
    """
    transfer, coverage, gold = results.transfer, results.coverage, results.gold_standard
    if transfer is None or coverage is None or gold is None:
        raise MechtagError(
            "the metrics file contains no metrics of the model on the gold standard; run 'mechtag evaluate' with the "
            "model's predictions for the gold papers"
        )
    try:
        refuse_another_model(results, model, summary)
        shown = for_readers(results, label_names(model["codebook"]))
        content = _content(shown, transfer, coverage, shown.gold_standard or gold, model, summary)
        names = ("methods", "model_card")
        return {name: _environment().get_template(f"{name}.md.j2").render(content) for name in names}
    except (KeyError, TypeError, UndefinedError) as error:
        raise MechtagError(
            "an entry is missing in the metrics, the model's config.json or the summary of the tagged search: "
            f"{error}; create these files again with this version of mechtag"
        ) from None


def refuse_another_model(results: Results, model: Mapping[str, Any], summary: Mapping[str, Any] | None) -> None:
    """Raise an error if the metrics or the tagged records come from a model other than ``model``.

    Parameters
    ----------
    model
        Content of the model's ``config.json``.
    summary
        Content of the ``summary.json`` that tagging wrote; ``None`` if no records were tagged.

    Raises
    ------
    MechtagError
        If the metrics or the summary name a different model. Metrics that name no model are accepted.
    """
    own = model["model_id"]
    measured = results.transfer.model_id if results.transfer else None
    if measured not in (None, own):
        raise MechtagError(
            f"the metrics were computed with model {measured}, but the model folder contains model {own}; run "
            "'mechtag tag' and 'mechtag evaluate' again"
        )
    tagged = summary["model_id"] if summary is not None else None
    if tagged not in (None, own):
        raise MechtagError(
            f"the records were tagged with model {tagged}, but the model folder contains model {own}; run "
            "'mechtag tag' again"
        )


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown, not HTML.
    )
    environment.filters.update(
        figure=figure,
        percent=percent,
        count=count,
        cell=cell,
        plain=plain,
        sentence=sentence_case,
        counted=counted,
        be=be,
        quoted=quoted,
    )
    return environment


def plain(text: str) -> str:
    """Escape a text so that Markdown displays it unchanged."""
    return _MARKUP.sub(r"\\\1", " ".join(text.split()))


def be(count: int, one: str = "was", many: str = "were") -> str:
    """Return ``one`` if a count is 1, otherwise ``many``."""
    return one if count == 1 else many


def cell(text: str) -> str:
    """Escape a text so that it can be a cell of a Markdown table."""
    return plain(text).replace("|", "\\|")


def _content(
    results: Results,
    transfer: SystemFigures,
    coverage: Coverage,
    gold: GoldStandard,
    model: Mapping[str, Any],
    summary: Mapping[str, Any] | None,
) -> dict[str, Any]:
    labels = model["codebook"]["labels"]
    agreement, baselines, coded = results.agreement, results.baselines, results.coded_records
    return {
        "metrics": results,
        "model": model,
        "version": model["versions"]["mechtag"],
        "versions": ", ".join(f"{name} {version}" for name, version in model["versions"].items()),
        "data": ", ".join(f"{plain(name)} (SHA-256 {digest[:12]})" for name, digest in model["data"].items()),
        "encoder": f"{model['encoder']['name']}, SHA-256 {model['encoder']['sha256'][:12]}",
        "labels": labels,
        "codebook": model["codebook"].get("title") or model["codebook"]["name"],
        # Without irrelevant records in training, every record gets the same score for relevance.
        "judges_relevance": coded is None or coded.relevant < coded.records,
        "exemplars": model["settings"].get("exemplars"),
        "training": plain(results.describe_training()),
        "is_clean": results.training_check.is_clean,
        "has_training_papers": bool(results.training_check.used),
        "names": "; ".join(plain(label["name"]) for label in labels),
        "gold": gold,
        "source": plain(gold.source) or "a gold standard",
        "coverage": _coverage(coverage),
        "transfer": transfer,
        "pooled": transfer.pooled,
        "baselines": {
            "name": "A naive method" if len(baselines) == 1 else "Naive methods",
            **{name: _range(baselines, name) for name in ("across_auc", "within_auc")},
        },
        "all_positive": figure(baselines["all_positive"].pooled.macro_f1) if "all_positive" in baselines else "",
        "by_full_text": results.by_full_text,
        "paired_differences": _paired_differences(results.by_full_text),
        "coded": coded,
        "coded_texts": describe_texts(results.texts),
        "agreement_texts": describe_texts(agreement.texts) if agreement else "",
        "gold_texts": coverage.describe(),
        "sets": results.sets,
        "kinds": {kind: many for kind, (_, many) in KINDS.items()},
        "relevance": results.relevance,
        "agreement": agreement,
        "pairs": [pair for pair in agreement.pairs if pair.unit == "records"] if agreement else [],
        "llms": results.llms,
        "new_runs": (own_runs := new_runs(results.llms)),
        "runs": (runs := list(chain.from_iterable(own_runs))),
        "hosts": list(dict.fromkeys(run.host for run in runs if run.host)),
        "prompts": _prompts(runs),
        "contamination": CONTAMINATION,
        "summary": summary,
        "sources": _sources(summary) if summary else "",
        "found": summary["decisions"][model["codebook"]["relevance"]["key"]] if summary else None,
        "header": _header(transfer.pooled, gold, model, results.training_check.is_clean),
    }


def _prompts(runs: Sequence[LlmRun]) -> list[dict[str, Any]]:
    """Return a dict for each different prompt, with the prompt and the language models that received the prompt."""
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for run in runs:
        questions = tuple(run.questions.values())
        prompt = {"prompt_sha256": run.prompt_sha256, "system": run.system, "text": run.text, "questions": questions}
        own = found.setdefault((run.prompt_sha256, *questions), {"coder": run.coder, "also": [], **prompt})
        if run.coder != own["coder"]:
            own["also"].append(run.coder)
    return list(found.values())


def quoted(text: str) -> str:
    """Return a text as a Markdown code block, which is displayed without formatting."""
    return "\n".join(f"    {line}".rstrip() for line in text.splitlines())


def _coverage(coverage: Coverage) -> str:
    counts = dict(coverage)
    return ", ".join(f"{words} {counts[name]}" for name, words in _COVERAGE.items() if counts[name])


def _paired_differences(found: ByFullText | None) -> str:
    """Return a text that lists how much the most important metrics differ between full texts and abstracts."""
    if found is None or found.paired is None:
        return ""
    words, differences = Pooled.words(), found.paired.differences
    return ", ".join(f"{words[name].column} {figure(differences[name].difference)}" for name in _COMPARED)


def _range(baselines: Mapping[str, BaselineFigures], name: str) -> str:
    values = [system.pooled.figure(name).value for system in baselines.values()]
    found = [value for value in values if value is not None]
    if not found:
        return ""
    low, high = number(min(found)), number(max(found))
    return low if low == high else f"{low} to {high}"


def _sources(summary: Mapping[str, Any]) -> str:
    return ", ".join(f"{count(one['read'])} from {plain(one['file'])}" for one in summary["sources"])


def _header(pooled: Pooled, gold: GoldStandard, model: Mapping[str, Any], is_clean: bool) -> str:
    """Return the YAML metadata of the model card, in the format of the Hugging Face hub.

    The metadata contain metrics only if ``is_clean`` is true, which means that no gold paper was used in training.
    """
    words = pooled.words()
    name = f"mechtag-{model['codebook']['name']}"
    header: dict[str, Any] = {
        "library_name": "mechtag",
        "pipeline_tag": "text-classification",
        "license": "unknown",
        "tags": ["systematic-review", "evidence-synthesis", "multi-label-classification"],
    }
    # Indexes of models display these metrics as an evaluation, so gold papers must not have been used in training.
    if is_clean:
        header["model-index"] = [
            {
                "name": name,
                "results": [
                    {
                        "task": {"type": "text-classification"},
                        "dataset": {"type": "table", "name": gold.source or "gold standard"},
                        "metrics": [
                            {"type": kind, "name": title, "value": pooled.figure(key).value}
                            for kind, title, key in (
                                ("roc_auc", f"ROC AUC {words['across_auc'].column}, mean of labels", "across_auc"),
                                ("f1", words["macro_f1"].column, "macro_f1"),
                                ("cohen_kappa", words["kappa"].full, "kappa"),
                            )
                            if pooled.figure(key).value is not None
                        ],
                    }
                ],
            }
        ]
    return yaml.safe_dump(header, sort_keys=False, allow_unicode=True)
