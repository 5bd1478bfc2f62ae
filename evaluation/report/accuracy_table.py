"""The accuracy table for people, made from ``metrics.json`` alone, for the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from statistics import fmean
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mechtag.evaluation.report.wording import KINDS, describe_coverage, describe_texts

NONE = "–"


@dataclass(frozen=True)
class Section:
    """A heading, some lines of text, and perhaps a table; a cell may hold two lines."""

    title: str
    lines: Sequence[str] = ()
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()


def words(name: str) -> str:
    """Write a name of the files as words."""
    return name.replace("_", " ")


def number(value: float | None, decimals: int = 2) -> str:
    """Write a number with so many decimals."""
    return NONE if value is None else f"{value:.{decimals}f}"


def share(value: float | None) -> str:
    """Write a share in hundredths."""
    return NONE if value is None else f"{value:.0%}"


def interval(figure: Mapping[str, float | None], decimals: int = 2) -> str:
    """Write the interval of a figure; nothing where it has none."""
    if figure["ci_low"] is None:
        return ""
    return f"{number(figure['ci_low'], decimals)} to {number(figure['ci_high'], decimals)}"


def cell(figure: Mapping[str, float | None], decimals: int = 2) -> str:
    """Write a figure, with its p-value where it has one, and its interval on a second line."""
    p_value = figure.get("p_value")
    first = number(figure["value"], decimals)
    if p_value is not None:
        first += " p<0.001" if p_value < 0.001 else f" p={p_value:.3f}"
    return f"{first}\n{interval(figure, decimals)}".rstrip()


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


_PROTOCOLS = {
    "transfer": ("transfer", "no paper of the gold standard was used in training"),
    "leave_one_out": ("leave-one-paper-out", "each paper was tagged by a model trained on the other papers of it too"),
}
_RANKING = {"across_auc": "across papers", "within_auc": "within a paper"}
_DECISIONS = {"macro_f1": "macro F1", "micro_f1": "micro F1", "kappa": "kappa", "alpha": "alpha"}
_LABEL = {"precision": "precision", "recall": "recall", "f1": "F1", "kappa": "kappa", "roc_auc": "ROC AUC"}
_AGREEMENT = {"agreement": "agree", "cohen_kappa": "kappa", "pabak": "PABAK", "gwet_ac1": "AC1"}
_TOGETHER = {"fleiss_kappa": "Fleiss' kappa", "gwet_ac1": "AC1", "krippendorff_alpha": "alpha"}
# Pairs of coders beside one another in a table of 100 columns.
_WIDE = 3
# Codes to settle that are printed; the file has them all.
_SHOWN = 20
_NO_GOLD = (
    "There is no gold standard in the metrics: nothing says how far the tool agrees with people on new papers.",
)


def accuracy_sections(metrics: Mapping[str, Any]) -> list[Section]:
    """Lay the figures out: coverage, pooled, labels, coded records, relevance, faults of the gold standard."""
    systems = {f"model, {_PROTOCOLS[name][0]}": metrics[name] for name in _PROTOCOLS if name in metrics} | {
        f"baseline: {words(name)}": section for name, section in metrics.get("baselines", {}).items()
    }
    sections = [
        _coverage(metrics) if "coverage" in metrics else Section("How far mechtag agrees with human coding", _NO_GOLD),
        Section(
            "Does it rank what people ticked above what they did not?",
            [
                "Across papers: how often a paper with a label ranks above one without it, mean over labels.",
                "Within a paper: how often a label that the paper has ranks above one that it has not.",
                "1.00 is perfect, 0.50 is chance. Below each figure stands its 95% interval. "
                "p is how often codes shuffled between papers do as well.",
            ],
            ["system", "papers", *_RANKING.values()],
            [
                [name, str(system["papers"]), *(cell(system["pooled"][figure]) for figure in _RANKING)]
                for name, system in systems.items()
            ],
        ),
        Section(
            "Do its decisions agree with people's?",
            [
                "F1 weighs missed against wrong suggestions. It is high for whoever ticks everything, so read it "
                "beside the baselines. Kappa and alpha take chance away: 0 is chance, 1 is full agreement.",
                "Left to people: too near the threshold to decide; in the figures these count by the threshold.",
            ],
            ["system", *_DECISIONS.values(), "left to people"],
            [
                [
                    name,
                    *(cell(system["pooled"][figure]) for figure in _DECISIONS),
                    share(system["pooled"]["referred"]["value"]),
                ]
                for name, system in systems.items()
            ],
        ),
    ]
    for name, (title, meaning) in _PROTOCOLS.items():
        if name in metrics:
            sections.append(_labels(f"Each label, {title}", f"{meaning[0].upper()}{meaning[1:]}.", metrics[name]))
    if "coded_records" in metrics:
        sections.append(_coded(metrics["coded_records"]))
        sections += set_sections(metrics["coded_records"].get("sets", {}))
    if "relevance" in metrics:
        sections.append(_relevance(metrics["relevance"], metrics.get("coded_records", {}).get("texts", {})))
    if "invariance" in metrics:
        sections.append(_invariance(metrics["invariance"]))
    if "agreement" in metrics:
        sections += agreement_sections(metrics["agreement"])
    if "gold_standard" in metrics:
        sections.append(_faults(metrics["gold_standard"]))
    return sections


def _coverage(metrics: Mapping[str, Any]) -> Section:
    found, gold = metrics["coverage"], metrics["gold_standard"]
    source = f": {gold['source']}" if gold["source"] else ""
    lines = [
        f"Gold standard{source}",
        f"Of its {gold['papers']} papers, {found['abstract']} are seen with their abstract, {found['synopsis']} with a "
        f"synopsis of it, {found['title_only']} with the title only; for {found['none']} there is nothing to read.",
    ]
    lines += filter(None, [describe_coverage(found)])
    lines += [f"{title[0].upper()}{title[1:]}: {meaning}." for title, meaning in _PROTOCOLS.values()]
    return Section("How far mechtag agrees with human coding", lines)


def _labels(title: str, meaning: str, section: Mapping[str, Any]) -> Section:
    rows = []
    for label, figures in section["labels"].items():
        carried = f"{figures['support']}/{figures['papers']}"
        if "note" in figures:
            rows.append([words(label), carried, "too few", *[""] * (len(_LABEL) - 1)])
        else:
            rows.append([words(label), carried, *(cell(figures[name]) for name in _LABEL)])
    return Section(title, [meaning], ["label", "ticked", *_LABEL.values()], rows)


def _coded(coded: Mapping[str, Any]) -> Section:
    lines = [
        f"{coded['records']} records that the project coded, from abstracts. Each was tagged by a model that had not "
        "seen it. This is training data: it serves to compare methods and proves nothing about new reviews.",
        *filter(None, [describe_texts(coded.get("texts", {}))]),
    ]
    parts = [
        ("records", coded["records"], coded["documents"]),
        *((("sentences", coded["sentences"]["sentences"], coded["sentences"]),) if "sentences" in coded else ()),
    ]
    rows = [
        [
            name,
            str(count),
            number(fmean(label["prevalence"] for label in section["labels"].values())),
            cell(section["pooled"]["macro_average_precision"]),
            cell(section["pooled"]["across_auc"]),
            cell(section["pooled"]["within_auc"]) if "within_auc" in section["pooled"] else NONE,
        ]
        for name, count, section in parts
    ]
    if len(coded.get("sets", ())) > 1:
        lines.append(
            "The first rows are over all sets of records together, the others over one set each. Compare a figure "
            "that was published earlier with the row of the set that it was measured on."
        )
        rows += all_sets(coded["sets"])
    header = ["coded", "number", "carry a label", "average precision", "across", "within"]
    return Section("The project's own coded records, out of fold", lines, header, rows)


def _relevance(relevance: Mapping[str, Any], texts: Mapping[str, int]) -> Section:
    coded = relevance["coded_records"]
    lines = [
        f"On the coded records, out of fold: {coded['support']} of {coded['papers']} are relevant.",
        *filter(None, [describe_texts(texts)]),
    ]
    gold = relevance.get("gold")
    if gold:
        lines.append(
            f"Of the {gold['included']} papers that people included, {gold['papers']} could be scored; {gold['kept']} "
            f"would have been kept ({gold['yes']} yes, {gold['refer']} left to people), {gold['no']} lost."
        )
        if gold["irrelevant_records"]:
            lines.append(
                f"Set among the {gold['irrelevant_records']} irrelevant coded records, the median paper ranks "
                f"{gold['median_rank']:g}, the last {max(gold['ranks'].values())} (1 is above them all)."
            )
    rows = [
        [name, cell(figures["roc_auc"]), cell(figures["average_precision"])]
        for name, figures in (
            ("model", coded),
            *((f"baseline: {words(name)}", figures) for name, figures in relevance["baselines"].items()),
        )
    ]
    return Section("Relevance", lines, ["system", "ROC AUC", "average precision"], rows)


def _invariance(invariance: Mapping[str, Any]) -> Section:
    lines = [
        "The coded records told a little differently, in ways that say nothing new, each tagged by a model that had "
        "not seen the record. Changed: the share of decisions on labels (yes, no, left to people) that are no longer "
        "the same. Reversed: papers whose relevance went from yes to no, or back.",
    ]
    rows = [
        [
            words(name),
            str(own["papers"]),
            cell(own["changed"], 3),
            number(own["mean_change"]["value"], 3),
            str(own["relevance_changed"]),
            str(own["relevance_reversed"]),
        ]
        for name, own in invariance.items()
    ]
    header = ["variation", "papers", "changed", "probability moved by", "relevance changed", "reversed"]
    return Section("Do its decisions hold when the same paper is told a little differently?", lines, header, rows)


def agreement_sections(agreement: Mapping[str, Any]) -> list[Section]:
    """Lay out how far coders agree, and which codes to settle first."""
    sections = [
        Section(
            "How far people agree with one another, and with the model",
            [
                f"{agreement['records']} records. The model is one more coder of the same records; it must not have "
                "learnt from them. What it leaves to people counts by its probability.",
                "Kappa takes off what chance would give; where nearly all codes are no, it can be low "
                "though people hardly differ. PABAK and AC1 do not fall there, so read the two kinds together.",
                *filter(None, [describe_texts(agreement.get("texts", {}))]),
            ],
            ["coders", "items", *_AGREEMENT.values()],
            [
                [_pair(pair), str(pair["pooled"]["n"]), *(cell(pair["pooled"][name]) for name in _AGREEMENT)]
                for pair in agreement["pairs"]
            ],
        )
    ]
    if agreement["all"]:
        rows = [[words(name), *(cell(found[name]) for name in _TOGETHER)] for name, found in agreement["all"].items()]
        sections.append(Section("All coders together", [], ["coders", *_TOGETHER.values()], rows))
    by_records = {_pair(pair): pair["labels"] for pair in agreement["pairs"] if pair["unit"] == "records"}
    figure, title = "cohen_kappa", "Cohen's kappa of each label"
    if len(by_records) > _WIDE:
        by_records = {words(name): found["labels"] for name, found in agreement["all"].items()}
        figure, title = "fleiss_kappa", "Fleiss' kappa of each label"
    if by_records:
        rows = [
            [
                words(label),
                *("too few" if "note" in own[label] else cell(own[label][figure]) for own in by_records.values()),
            ]
            for label in next(iter(by_records.values()))
        ]
        sections.append(Section(title, [], ["label", *by_records], rows))
    sections.append(_to_settle("Codes to settle first", agreement["adjudicate"]))
    if agreement.get("gold"):
        why = "Most are codes of which the abstract may say nothing: people read the full text. "
        sections.append(_to_settle("Codes of the gold standard to look at; nothing is mended", agreement["gold"], why))
    return sections


def _pair(pair: Mapping[str, Any]) -> str:
    sentences = ", sentences" if pair["unit"] == "sentences" else ""
    return f"{pair['a']} and {pair['b']}{sentences}"


def _to_settle(title: str, codes: Sequence[Mapping[str, Any]], why: str = "") -> Section:
    if not codes:
        return Section(title, ["None: nobody differs, and the model doubts no code."])
    line = (
        "Codes on which people differ, then those that the model is confident are another; beside them its probability "
        f"of a yes. {why}The first {min(len(codes), _SHOWN)} of {len(codes)}."
    )
    rows = [
        [
            code["key"] or code["record_id"],
            words(code["label"]),
            ", ".join(f"{coder} {'yes' if value else 'no'}" for coder, value in code["codes"].items()),
            number(code["probability"]),
        ]
        for code in codes[:_SHOWN]
    ]
    return Section(title, [line], ["record", "label", "codes", "model"], rows)


def _faults(gold: Mapping[str, Any]) -> Section:
    lines = [f"- {fault}" for fault in (*gold["faults"], *gold["notes"])] or ["None known."]
    return Section("Known faults of the gold standard, shown and not mended", lines)


def terminal(sections: Sequence[Section]) -> Group:
    """Render for a terminal of 100 columns; nothing depends on colour."""
    parts: list[RenderableType] = []
    for section in sections:
        parts += [Text(f"\n{section.title}", style="bold"), *(Text(line) for line in section.lines)]
        if section.header:
            table = Table(box=box.SIMPLE, pad_edge=False, show_edge=False, show_lines=False)
            for position, name in enumerate(section.header):
                table.add_column(Text(name), no_wrap=position > 0, vertical="top")
            for row in section.rows:
                table.add_row(*map(Text, row))
            parts.append(table)
    return Group(*parts)


def accuracy_markdown(metrics: Mapping[str, Any]) -> str:
    """Render the same as Markdown."""
    blocks = []
    for level, section in zip(chain("#", repeat("##")), accuracy_sections(metrics), strict=False):
        blocks.append(f"{level} {section.title}")
        if section.lines:
            listed = section.lines[0].startswith("- ")
            blocks.append(("\n" if listed else "\n\n").join(section.lines))
        if section.header:
            rows = [section.header, ["---"] * len(section.header), *section.rows]
            blocks.append("\n".join("| " + " | ".join(map(_markdown_cell, row)) + " |" for row in rows))
    return "\n\n".join(blocks) + "\n"


def _markdown_cell(text: str) -> str:
    first, _, second = text.replace("|", "\\|").partition("\n")
    return f"{first} ({second})" if second else first
