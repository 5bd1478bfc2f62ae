"""Render the accuracy table for the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, repeat
from math import ceil
from statistics import fmean

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from mechtag.core.words import counted
from mechtag.evaluation.report.wording import (
    NONE,
    NONE_MEANS,
    coder_name,
    count,
    for_readers,
    interval,
    naive_method,
    number,
    p_value,
    percent,
    sentence_case,
    variation,
)
from mechtag.evaluation.results import (
    CONTAMINATION,
    KINDS,
    LLMS_COUNT,
    Agreement,
    BaselineFigures,
    Block,
    ByFullText,
    CodedRecords,
    CoderGroup,
    CoderGroupLabel,
    CoderPair,
    Coverage,
    EvidenceFigures,
    Figure,
    GoldStandard,
    LabelFigures,
    LlmFigures,
    OpenCode,
    PairAgreement,
    Pooled,
    RecordSet,
    Relevance,
    Results,
    SentenceLabel,
    SetMechanisms,
    SetRelevance,
    SystemFigures,
    Variation,
    describe_texts,
    new_runs,
    words_of,
)


@dataclass(frozen=True)
class Section:
    """A section of the accuracy table.

    Attributes
    ----------
    title
        Heading.
    lines
        Paragraphs of text above the table.
    header, rows
        Column names and rows of the table; empty if there is no table. A cell may have several lines.
    """

    title: str
    lines: Sequence[str] = ()
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()


def cell(figure: Figure, decimals: int = 2) -> str:
    """Format a metric for a cell of a table.

    The value is on the first line. The interval and the p-value, if any, are on the lines below.
    """
    lines = [number(figure.value, decimals), interval(figure, decimals)]
    if figure.p_value is not None:
        lines.append(p_value(figure.p_value))
    return "\n".join(filter(None, lines))


def _columns(block: type[Block], *names: str) -> dict[str, str]:
    """Return the column heading of each metric, keyed by the name of the metric."""
    words = block.words()
    return {name: words[name].column for name in names}


def _narrow(block: type[Block], *names: str) -> dict[str, str]:
    """Return the short heading of each metric for tables with narrow columns, keyed by the name of the metric."""
    words = block.words()
    return {name: words[name].narrow for name in names}


_RANKED = _narrow(SetRelevance, "roc_auc", "roc_auc_hard", "roc_auc_easy")
_DECIDED = _narrow(SetRelevance, "kept", "yes_right", "hard_yes", "easy_yes")
_MECHANISMS = _narrow(SetMechanisms, "across_auc", "within_auc", "kappa", "yes_right", "kept")
_TOP_SENTENCE = _narrow(EvidenceFigures, "precision_at_1")
_OVER_ALL = _narrow(Pooled, "macro_average_precision", "across_auc", "within_auc")


def all_sets(sets: Mapping[str, RecordSet]) -> list[list[str]]:
    """Return the rows of a table of sets of coded records.

    Each set has a row for its records. If sentences were coded, the set also has a row for its sentences.
    """
    rows = []
    for own in sets.values():
        figures = [cell(own.documents.figure(name)) for name in _OVER_ALL]
        rows.append([own.title, count(own.records), number(own.documents.prevalence), *figures])
        if found := own.sentences:
            figures = [cell(found.macro_average_precision), cell(found.across_auc), NONE]
            rows.append([f"{own.title}, sentences", count(found.sentences), number(found.prevalence), *figures])
    return rows


def set_sections(sets: Mapping[str, RecordSet]) -> list[Section]:
    """Return the sections that compare sets of coded records.

    The sections are about relevance, labels, and agreement with a second coder.
    """
    if not sets:
        return []
    sections = [
        Section(
            "Each set of coded records: ranking of relevance",
            [
                "Each set is one file of records, with its kind of text below its name. Relevant records are ranked "
                "against all irrelevant ones of the set, then against those that are easily mistaken for relevant "
                "(hard), then against the others (easy).",
            ],
            ["set", "relevant", *_RANKED.values()],
            [
                [
                    _name(own),
                    f"{own.relevant}/{own.records}",
                    *(_cell(own.relevance, name) for name in _RANKED),
                ]
                for own in sets.values()
            ],
        ),
        Section(
            "Each set of coded records: records kept and lost",
            [
                "Kept: proportion of relevant records that mechtag calls relevant or leaves to people; the others are "
                "lost. Yes is right: proportion of relevant records among those that it calls relevant. Hard, easy: "
                "proportion of hard and easy irrelevant records that it calls relevant.",
            ],
            ["set", "lost", *_DECIDED.values()],
            [
                [
                    _name(own),
                    f"{own.relevance.decisions.relevant.no}/{own.relevant}",
                    *(_cell(own.relevance, name) for name in _DECIDED),
                ]
                for own in sets.values()
            ],
        ),
        Section(
            "Each set of coded records: labels of the relevant ones",
            [
                "Found: proportion of the codes that mechtag answers yes or leaves to people. Top sentence: how often "
                "the sentence with the highest score for a label was coded with it.",
            ],
            ["set", *_MECHANISMS.values(), *_TOP_SENTENCE.values()],
            [
                [
                    _name(own),
                    *(_cell(own.mechanisms, name) for name in _MECHANISMS),
                    *(_cell(own.evidence, name) if own.evidence else NONE for name in _TOP_SENTENCE),
                ]
                for own in sets.values()
            ],
        ),
    ]
    again = [(own, own.second_coder) for own in sets.values() if own.second_coder]
    if again:
        rows = [
            [_name(own), count(second.records), *map(_kappa, (second.relevance, second.papers, second.sentences))]
            for own, second in again
        ]
        line = "Cohen's kappa on relevance, and on the labels of papers and of sentences."
        header = ["set", "double coded", "relevance", "papers", "sentences"]
        sections.append(Section("Each set of coded records: agreement with a second coder", [line], header, rows))
    return sections


def _name(own: RecordSet) -> str:
    kind = KINDS[own.texts][1] if own.texts == "unknown" else own.texts
    return f"{own.title}\n{kind}"


def _cell(block: SetRelevance | SetMechanisms | EvidenceFigures, name: str) -> str:
    figure = block.figure(name)
    return "too few" if figure.value is None and block.undefined.get(name, "").startswith("too few") else cell(figure)


def _kappa(pair: PairAgreement | None) -> str:
    if pair is None:
        return NONE
    return "too few" if pair.note else cell(pair.cohen_kappa)


_PROTOCOLS = {"transfer": "transfer", "leave_one_out": "leave-one-paper-out"}
_RANKING = _columns(Pooled, "across_auc", "within_auc")
_DECISIONS = _columns(Pooled, "macro_f1", "micro_f1", "kappa", "alpha")
_REFERRED = Pooled.words()["referred"].column
_LABEL = _columns(LabelFigures, "precision", "recall", "f1", "kappa", "roc_auc")
_SHORT = _columns(LabelFigures, "precision", "recall", "f1", "kappa")
_AGREEMENT = _narrow(PairAgreement, "agreement", "cohen_kappa", "pabak", "gwet_ac1")
_TOGETHER = _narrow(CoderGroup, *CoderGroup.words())
_RELEVANCE = _columns(LabelFigures, "roc_auc", "average_precision")
_GROUPS = {"humans": "People", "with_llms": "People and language models", "with_model": "People and mechtag"}
# Number of coder pairs that fit side by side in a table 100 characters wide.
_WIDE = 3
# Characters between two columns, width above which texts are wrapped, and maximum width of a word.
_GAP, _WRAPPED, _LONGEST = 3, 22, 40
# Number of codes to resolve that are printed; the metrics file contains all of them.
_SHOWN = 20
_NO_GOLD = ("The metrics include no gold standard: agreement with people on new papers was not measured.",)


def accuracy_sections(results: Results, names: Mapping[str, str] | None = None) -> list[Section]:
    """Return all sections of the accuracy table.

    Parameters
    ----------
    names
        Display names of labels, keyed by label key.
    """
    names = names or {}
    results = for_readers(results, names)
    systems: dict[str, SystemFigures | BaselineFigures] = {
        f"mechtag, {_PROTOCOLS[name]}": system for name, system in results.protocols.items()
    }
    systems |= {sentence_case(coder_name(own.name)): own for own in results.llms}
    systems |= {f"Naive: {naive_method(name)[0]}": system for name, system in results.baselines.items()}
    sections = [
        _coverage(results.coverage, results.gold_standard, results)
        if results.coverage and results.gold_standard
        else Section("Agreement of mechtag with human coding", _NO_GOLD),
        Section(
            "Does mechtag rank the labels that people ticked above the others?",
            [
                "Across papers: how often a paper with a label ranks above one without it, averaged over labels.",
                "Within a paper: how often a label of the paper ranks above one that it does not have.",
                "1.00 is perfect, 0.50 is chance. The 95% interval is below each figure. "
                "p is how often codes shuffled between papers reach an equal or better value.",
            ],
            ["system", "papers", *_RANKING.values()],
            [
                [name, str(system.papers), *(cell(system.pooled.figure(figure)) for figure in _RANKING)]
                for name, system in systems.items()
            ],
        ),
        Section(
            "Do the decisions of mechtag agree with those of people?",
            [
                "F1 balances missed and wrong suggestions. It can be high even if every label is suggested, so "
                "compare it with that of naive methods. Kappa and alpha correct for chance: 0 is chance, 1 is full "
                "agreement.",
                "Left to people: too close to the threshold to decide; the other metrics count these as yes "
                "above the threshold and as no below it.",
            ],
            ["system", *_DECISIONS.values(), _REFERRED],
            [
                [
                    name,
                    *(cell(system.pooled.figure(figure)) for figure in _DECISIONS),
                    percent(system.pooled.referred.value),
                ]
                for name, system in systems.items()
            ],
        ),
    ]
    for name, system in results.protocols.items():
        sections.append(_labels(f"Each label, {_PROTOCOLS[name]}", _meaning(results, name), system, names))
    if results.llms:
        sections += llm_sections(results.llms, names)
    if results.by_full_text:
        sections += full_text_sections(results.by_full_text, names)
    if results.coded_records:
        sections += [_coded(results.coded_records), *set_sections(results.sets)]
    if results.relevance:
        sections.append(_relevance(results.relevance, results.texts))
    if results.invariance:
        sections.append(_invariance(results.invariance))
    if results.agreement:
        sections += agreement_sections(results.agreement, names)
    if results.gold_standard:
        sections.append(_faults(results.gold_standard))
    return [_explained(section) for section in sections]


def llm_sections(llms: Sequence[LlmFigures], names: Mapping[str, str]) -> list[Section]:
    """Return the sections on language models.

    The first section describes all runs. Each further section contains the metrics per label of one model.

    Parameters
    ----------
    names
        Display names of labels, keyed by label key.
    """
    rows = [
        [
            *(run.coder, count(run.answered), count(run.quotes), percent(run.invented_share)),
            *(percent(run.unclear_share), count(run.prompt_tokens), count(run.completion_tokens), run.price),
        ]
        for run in chain.from_iterable(new_runs(llms))
    ]
    sections = [
        Section(
            "Language models as coders",
            [
                *describe_llms(llms),
                "An answer that is unclear, or missing, counts as left to people: as no in the decisions, and between "
                f"yes and no in the ranking. {CONTAMINATION}",
            ],
            ["model", "answers", "quotes", "not in the text", "unclear", "tokens read", "tokens written", "cost"],
            rows,
        )
    ]
    for own in llms:
        meaning = f"{sentence_case(coder_name(own.name))}, by the {words_of(own.basis.replace('-', '_'))}."
        sections.append(_labels(f"Each label, {coder_name(own.name)}", meaning, own, names))
    return sections


def describe_llms(llms: Sequence[LlmFigures]) -> list[str]:
    """Return sentences that describe how each language model was run.

    For a language model that did not answer all questions, a sentence states the number of missing codes.
    """
    found: list[str] = []
    for own in llms:
        found += own.runs.describe() if own.runs else [f"{own.name} is a language model, whose run is not described."]
        if own.unanswered:
            found.append(f"{own.name} did not answer {counted(own.unanswered, 'code')} of the gold papers.")
    return list(dict.fromkeys(found))  # A model may also be a voter.


def full_text_sections(found: ByFullText, names: Mapping[str, str]) -> list[Section]:
    """Return the sections on predictions based on full texts, including the comparison with abstracts.

    Parameters
    ----------
    names
        Display names of labels, keyed by label key.
    """
    systems: dict[str, SystemFigures | BaselineFigures] = {"mechtag, full text": found.full_text}
    systems |= {f"Naive: {naive_method(name)[0]}": own for name, own in found.naive.items()}
    sections = [
        Section(
            "Full texts: which papers have one",
            [found.coverage.describe()],
            ["paper", "file", "pages", "words", "windows", "remarks"],
            [
                [key, own.file, count(own.pages), count(own.word_count), count(own.windows), " ".join(own.remarks)]
                for key, own in found.coverage.by_paper.items()
            ],
        ),
        Section(
            "Full texts: agreement with human coding",
            [
                "Only papers with a full text. The naive methods know only how long a full text is or how often one "
                "word occurs in it; they answer yes for the half of the papers with the higher values.",
                found.describe_windows(),
            ],
            ["system", "papers", *_RANKING.values(), *_DECISIONS.values(), _REFERRED],
            [[name, *_overall(own)] for name, own in systems.items()],
        ),
        _labels("Each label, by the full text", describe_labels(found, names), found.full_text, names),
    ]
    if paired := found.paired:
        figures = Pooled.words()
        sections.append(
            Section(
                "Full text and abstract of the same papers",
                [paired.describe()],
                ["figure", "abstract", "full text", "full text minus abstract"],
                [
                    [figures[name].column, number(own.abstract), number(own.full_text), cell(own.difference)]
                    for name, own in paired.differences.items()
                ],
            )
        )
    header = ["system", "papers", *_RANKING.values(), *_DECISIONS.values(), _REFERRED]
    best = ["mechtag, best available", *_overall(found.best_available)]
    return [*sections, Section("Best available text of each paper", [found.describe_best()], header, [best])]


def _overall(system: SystemFigures | BaselineFigures) -> list[str]:
    figures = (cell(system.pooled.figure(name)) for name in (*_RANKING, *_DECISIONS))
    return [str(system.papers), *figures, percent(system.pooled.referred.value)]


def describe_labels(found: ByFullText, names: Mapping[str, str]) -> str:
    """Return a sentence that lists the labels for which the model ranks papers no better than a naive method.

    The naive method ranks papers by the length of their full texts, counted in windows (runs of sentences about as long
    as an abstract).
    """
    if not found.labels_not_above_windows:
        return "Each label with enough papers is ranked better than by the number of windows alone."
    listed = "; ".join(_named(label, names) for label in found.labels_not_above_windows)
    return f"Ranked no better than by the number of windows alone: {listed}."


def summary_section(results: Results, names: Mapping[str, str] | None = None) -> Section:
    """Return a short section with the most important metrics.

    The section fits on one screen and contains no intervals. It shows the metrics of ``transfer``. If ``transfer`` is
    missing, it shows the metrics of ``leave_one_out``. See `results.Results.protocols`.
    """
    results = for_readers(results, names or {})
    if not results.protocols:
        return Section("In short", _NO_GOLD)
    protocol, system = next(iter(results.protocols.items()))
    rows = [
        [
            _named(label, names or {}),
            f"{own.support}/{own.papers}",
            *("too few" if own.note else number(own.figure(name).value) for name in _SHORT),
        ]
        for label, own in system.labels.items()
    ]
    pooled = {"f1": system.pooled.macro_f1, "kappa": system.pooled.kappa}
    total = [number(pooled[name].value) if name in pooled else "" for name in _SHORT]
    return Section(
        f"In short: agreement with human coding on each label, {_PROTOCOLS[protocol]}",
        [
            "All labels: mean of F1, and kappa over all codes. Intervals, p-values and all other tables are above and "
            "in the reports."
        ],
        ["label", "ticked", *_SHORT.values()],
        [*rows, ["All labels", "", *total]],
    )


def _explained(section: Section) -> Section:
    """Add a line that explains the dashes in the table of a section, if there are any."""
    if not any(NONE in row for row in section.rows):
        return section
    return replace(section, lines=[*section.lines, NONE_MEANS])


def _meaning(results: Results, protocol: str) -> str:
    """Describe the training data of the models in an evaluation protocol, such as ``transfer``."""
    if protocol == "transfer":
        return results.describe_training()
    return "Each paper was tagged by a model that was also trained on the other papers of the gold standard."


def _coverage(found: Coverage, gold: GoldStandard, results: Results) -> Section:
    source = f": {gold.source}" if gold.source else ""
    lines = [
        f"Gold standard{source}",
        f"Of its {gold.papers} papers, {found.abstract} were read with their abstract, {found.synopsis} with a "
        f"synopsis of it, {found.title_only} with the title only; for {found.none} there was no text.",
    ]
    lines += filter(None, [found.describe()])
    lines += [f"{_PROTOCOLS[name].capitalize()}: {_meaning(results, name)}" for name in results.protocols]
    return Section("Agreement of mechtag with human coding", lines)


def _labels(title: str, meaning: str, system: SystemFigures, names: Mapping[str, str]) -> Section:
    rows = []
    for label, own in system.labels.items():
        carried = f"{own.support}/{own.papers}"
        if own.note:
            rows.append([_named(label, names), carried, *["too few"] * len(_LABEL)])
        else:
            rows.append([_named(label, names), carried, *(cell(own.figure(name)) for name in _LABEL)])
    return Section(title, [meaning], ["label", "ticked", *_LABEL.values()], rows)


def _coded(coded: CodedRecords) -> Section:
    lines = [
        f"{count(coded.records)} coded records, each tagged by a model that was not trained on it. They are training "
        "data: the figures serve to compare methods and do not show how accurate mechtag is in a new review.",
        *filter(None, [describe_texts(coded.texts)]),
    ]
    documents, found = coded.documents, coded.sentences
    rows = [
        [
            "All records",
            count(coded.records),
            _mean_prevalence(documents.labels),
            *(cell(documents.pooled.figure(name)) for name in _OVER_ALL),
        ]
    ]
    if found:
        figures = [cell(found.pooled.macro_average_precision), cell(found.pooled.across_auc), NONE]
        rows.append(["All sentences", count(found.sentences), _mean_prevalence(found.labels), *figures])
    if len(coded.sets) > 1:
        lines.append(
            "The first rows cover all sets of records together, the others one set each. Compare a value that was "
            "published earlier with the row of the set on which it was measured."
        )
        rows += all_sets(coded.sets)
    header = ["coded", "number", "have a label", *_OVER_ALL.values()]
    return Section("Training records, out of fold", lines, header, rows)


def _mean_prevalence(labels: Mapping[str, LabelFigures] | Mapping[str, SentenceLabel]) -> str:
    known = [own.prevalence for own in labels.values() if own.prevalence is not None]
    # If people coded only the relevance of the records, no label has a prevalence.
    return number(fmean(known) if known else None)


def _relevance(relevance: Relevance, texts: Mapping[str, int]) -> Section:
    coded, gold = relevance.coded_records, relevance.gold
    lines = [
        f"On the coded records, out of fold: {coded.support} of {coded.papers} are relevant.",
        *filter(None, [describe_texts(texts)]),
    ]
    if gold:
        lines.append(
            f"Papers of the gold standard that count as relevant: {gold.included}. Of these, {gold.papers} could be "
            f"scored; {gold.kept} would have been kept ({gold.yes} yes, {gold.refer} left to people), {gold.no} lost."
        )
        if gold.irrelevant_records:
            lines.append(
                f"Ranked among the {gold.irrelevant_records} irrelevant coded records, the median paper has rank "
                f"{gold.median_rank:g}, the lowest has rank {max(gold.ranks.values())} (1 is above them all)."
            )
    systems = {
        "mechtag": coded,
        **{f"Naive: {naive_method(name)[0]}": own for name, own in relevance.baselines.items()},
    }
    rows = [[name, *(cell(own.figure(figure)) for figure in _RELEVANCE)] for name, own in systems.items()]
    return Section("Relevance", lines, ["system", *_RELEVANCE.values()], rows)


def _invariance(variations: Mapping[str, Variation]) -> Section:
    lines = [
        "The coded records were reworded without adding information, and tagged by a model that was not trained "
        "on them. Changed: proportion of decisions on labels (yes, no, left to people) that differ. "
        "Reversed: papers whose relevance changed from yes to no or from no to yes.",
    ]
    rows = [
        [
            sentence_case(variation(name)),
            count(own.papers),
            cell(own.changed, 3),
            number(own.mean_change.value, 3),
            count(own.relevance_changed),
            count(own.relevance_reversed),
        ]
        for name, own in variations.items()
    ]
    figures = _narrow(Variation, "changed", "mean_change")
    header = ["variation", "papers", *figures.values(), "relevance changed", "reversed"]
    return Section("Do decisions stay the same when a paper is slightly reworded?", lines, header, rows)


def agreement_sections(agreement: Agreement, names: Mapping[str, str] | None = None) -> list[Section]:
    """Return the sections on agreement between coders, and on the codes that people should resolve first.

    Parameters
    ----------
    names
        Display names of labels, keyed by label key.
    """
    names = names or {}
    sections = [
        Section(
            "Agreement of people with one another and with the model",
            [
                f"{agreement.records} records. The model counts as another coder of the same records; it must not "
                "have been trained on them. A decision that it leaves to people counts by its probability.",
                "Kappa corrects for agreement by chance; if nearly all codes are no, it can be low "
                "although people hardly disagree. PABAK and AC1 do not drop in this case, so read both kinds "
                "together.",
                *filter(None, [describe_texts(agreement.texts)]),
                *agreement.llms,
                *([LLMS_COUNT] if any(one.kind == "llm" for one in agreement.coders) else []),
            ],
            ["coders", "items", *_AGREEMENT.values()],
            [
                [_pair(pair), count(pair.pooled.n), *(cell(pair.pooled.figure(name)) for name in _AGREEMENT)]
                for pair in agreement.pairs
            ],
        )
    ]
    if agreement.all:
        rows = [[_GROUPS[name], *(cell(own.figure(key)) for key in _TOGETHER)] for name, own in agreement.all.items()]
        sections.append(Section("All coders together", [], ["coders", *_TOGETHER.values()], rows))
    pairs = {_pair(pair): pair.labels for pair in agreement.pairs if pair.unit == "records"}
    if len(pairs) > _WIDE:
        groups = {_GROUPS[name]: own.labels for name, own in agreement.all.items()}
        sections.append(_kappas("Fleiss' kappa of each label", groups, "fleiss_kappa", names))
    elif pairs:
        sections.append(_kappas("Cohen's kappa of each label", pairs, "cohen_kappa", names))
    sections.append(_to_settle("Codes to resolve first", agreement.adjudicate, names))
    if agreement.gold:
        why = "Many of these may not be decidable from the abstract, because people read the full text. "
        sections.append(_to_settle("Codes of the gold standard to check; none was changed", agreement.gold, names, why))
    return sections


def _kappas(
    title: str,
    coders: Mapping[str, Mapping[str, PairAgreement]] | Mapping[str, Mapping[str, CoderGroupLabel]],
    figure: str,
    names: Mapping[str, str],
) -> Section:
    """Return a section with a table of one agreement coefficient, per label and per pair or group of coders."""
    rows = [
        [
            _named(label, names),
            *("too few" if own[label].note else cell(own[label].figure(figure)) for own in coders.values()),
        ]
        for label in next(iter(coders.values()))
    ]
    return Section(title, [], ["label", *coders], rows)


def _pair(pair: CoderPair) -> str:
    sentences = ", sentences" if pair.unit == "sentences" else ""
    return f"{sentence_case(coder_name(pair.a))} and {coder_name(pair.b)}{sentences}"


def _named(label: str, names: Mapping[str, str]) -> str:
    return names.get(label, words_of(label))


def _to_settle(title: str, codes: Sequence[OpenCode], names: Mapping[str, str], why: str = "") -> Section:
    if not codes:
        return Section(title, ["None: coders agree, and the model doubts no code."])
    line = (
        "Codes on which people disagree, then codes that the model confidently contradicts, with its probability "
        f"of yes. {why}The first {min(len(codes), _SHOWN)} of {len(codes)}."
    )
    rows = [
        [
            code.key or code.record_id,
            _named(code.label, names),
            ", ".join(f"{coder} {'yes' if value else 'no'}" for coder, value in code.codes.items()),
            number(code.probability),
        ]
        for code in codes[:_SHOWN]
    ]
    return Section(title, [line], ["record", "label", "codes", "model"], rows)


def _faults(gold: GoldStandard) -> Section:
    lines = [f"- {fault}" for fault in (*gold.faults, *gold.notes)] or ["None known."]
    return Section("Known faults of the gold standard, which were not corrected", lines)


def terminal(sections: Sequence[Section]) -> Group:
    """Render sections for a terminal, without relying on colour.

    If a table is wider than the terminal, its columns are divided among several tables.
    """
    parts: list[RenderableType] = []
    for section in sections:
        parts += [Text(f"\n{section.title}", style="bold"), *(Text(line) for line in section.lines)]
        if section.header:
            parts.append(_Fitted(section.header, section.rows))
    return Group(*parts)


@dataclass(frozen=True)
class _Fitted:
    """A table that is printed as several narrower tables if it is wider than the terminal."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the tables, laid out for the width of the terminal."""
        for columns in self._parts(options.max_width):
            table = Table(box=box.SIMPLE, pad_edge=False, show_edge=False, show_lines=False)
            for position in (0, *columns):
                name = Text(sentence_case(self.header[position]))
                table.add_column(name, min_width=self._width(position), vertical="top")
            for row in self.rows:
                table.add_row(*(Text(row[position]) for position in (0, *columns)))
            yield Text()
            yield table

    def _parts(self, width: int) -> list[list[int]]:
        """Return the column positions of each narrower table.

        The first column is left out, because all tables repeat it.
        """
        parts: list[list[int]] = [[]]
        for position in range(1, len(self.header)):
            if parts[-1] and not self._fits([*parts[-1], position], width):
                parts.append([])
            parts[-1].append(position)
        # If possible, all tables get the same number of columns.
        size = ceil((len(self.header) - 1) / len(parts))
        columns = list(range(1, len(self.header)))
        even = [columns[start : start + size] for start in range(0, len(columns), size)]
        return even if all(self._fits(part, width) for part in even) else parts

    def _fits(self, columns: Sequence[int], width: int) -> bool:
        return self._width(0) + sum(_GAP + self._width(position) for position in columns) <= width

    def _width(self, position: int) -> int:
        """Return the width of a column, in characters.

        The column is so wide that only long texts, and headings of several words, are wrapped.
        """
        cells = [line for row in self.rows for line in row[position].splitlines()]
        longest = max(map(len, cells), default=0)
        if longest > _WRAPPED:
            longest = max(_WRAPPED, *(len(word) for cell in cells for word in cell.split()))
        return min(max(longest, *map(len, self.header[position].split())), _LONGEST)


def accuracy_markdown(results: Results, names: Mapping[str, str] | None = None) -> str:
    """Render all sections of the accuracy table as Markdown; see `accuracy_sections`."""
    blocks = []
    for level, section in zip(chain("#", repeat("##")), accuracy_sections(results, names), strict=False):
        blocks.append(f"{level} {section.title}")
        if section.lines:
            listed = section.lines[0].startswith("- ")
            blocks.append(("\n" if listed else "\n\n").join(section.lines))
        if section.header:
            rows = [[*map(sentence_case, section.header)], ["---"] * len(section.header), *section.rows]
            blocks.append("\n".join("| " + " | ".join(map(_markdown_cell, row)) + " |" for row in rows))
    return "\n\n".join(blocks) + "\n"


def _markdown_cell(text: str) -> str:
    first, *below = text.replace("|", "\\|").split("\n")
    return f"{first} ({'; '.join(below)})" if below else first
