"""Define words and number formats for the report, the accuracy table and the text for the paper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mechtag.core.records import LLM, is_llm
from mechtag.evaluation.results import Coder, Figure, Results, interval_decimals, words_of

#: Written where there is no number.
NONE = "–"
#: Explains `NONE` below a table.
NONE_MEANS = "A dash means that a figure has no value: there are no such papers, too few, or all have the same codes."
#: Short name of each naive method, and what it does.
_NAIVE = {
    "all_positive": ("yes to everything", "yes to every label of every paper"),
    "prevalence": ("label frequency", "the frequency of the label in training papers, the same for every paper"),
    "text_length": ("text length", "the longer the text, the more likely, for every label"),
    "windows": ("number of windows", "the more windows the text is divided into, the more likely, for every label"),
    "definition_cosine": (
        "similarity to definition",
        "the similarity of the sentences to the definition of the label",
    ),
    "tfidf": ("word counts", "word counts (TF-IDF), trained on the same sentences as the tool"),
    "tfidf_leave_one_out": (
        "word counts, gold papers",
        "word counts (TF-IDF), trained only on the other papers of the gold standard",
    ),
    "tfidf_svm": ("word counts", "word counts (TF-IDF), trained on the same records as the tool"),
}
#: What was changed in a paper, by name of the variation.
VARIATIONS = {
    "methods_added": "three methods sentences added",
    "methods_removed": "methods sentences removed",
    "headings_capitals": "headings as in “METHODS: We asked”",
    "headings_full_stop": "headings as in “Methods. We asked”",
    "headings_glued": "headings as in “MethodsWe asked”",
    "headings_removed": "headings removed",
    "keywords_added": "a list of keywords added at the end",
    "notices_added": "notices of publishers or funders added at the end",
    "sentences_joined": "two sentences joined by a semicolon",
    "sentences_split": "a long sentence split in two",
    "spelling_american": "American spelling",
    "spelling_british": "British spelling",
}
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")


def number(value: float | None, decimals: int = 2) -> str:
    """Format a number with the given number of decimal places; if it rounds to zero, it has no minus sign."""
    return NONE if value is None else f"{round(value, decimals) + 0:.{decimals}f}".replace("-", "−")


def percent_decimals(value: float | None, decimals: int = 0) -> int:
    """Return how many decimal places are needed to print a proportion between 0 and 1 as neither 0% nor 100%.

    Parameters
    ----------
    decimals
        Minimum number of decimal places.
    """
    if value is None or not 0 < value < 1:
        return decimals
    return next((each for each in range(decimals, 6) if 0 < round(100 * value, each) < 100), decimals)


def percent(value: float | None, decimals: int = 0) -> str:
    """Format a proportion as a percentage with at least the given number of decimal places; see `percent_decimals`."""
    return NONE if value is None else f"{value:.{percent_decimals(value, decimals)}%}"


def count(value: int | None) -> str:
    """Format a whole number with thousands separators."""
    return NONE if value is None else f"{value:,}"


def interval(found: Figure, decimals: int = 2) -> str:
    """Format the interval of a metric; return ``""`` if there is no interval, or if both ends are equal."""
    if found.ci_low is None or found.ci_low == found.ci_high:
        return ""
    decimals = interval_decimals(found, decimals)
    return f"{number(found.ci_low, decimals)} to {number(found.ci_high, decimals)}"


def figure(found: Figure) -> str:
    """Format a metric, with its interval in brackets."""
    between = interval(found) if found.value is not None else ""
    return f"{number(found.value)} ({between})" if between else number(found.value)


def p_value(value: float) -> str:
    """Format a p-value as 'p = 0.012', or as 'p < 0.001' if it is below 0.001."""
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def sentence_case(text: str) -> str:
    """Return a text with its first letter in upper case."""
    return text[:1].upper() + text[1:]


def naive_method(name: str) -> tuple[str, str]:
    """Return the short name and the description of a naive method."""
    if name in _NAIVE:
        return _NAIVE[name]
    if name.endswith("_cosine"):
        query = words_of(name.removesuffix("_cosine"))
        return f"similarity to “{query}”", f"the similarity of the sentences to “{query}”, for every label"
    if name.endswith("_per_1000_words"):
        query = words_of(name.removesuffix("_per_1000_words"))
        return f"“{query}” per 1,000 words", f"the more often the text says “{query}”, the more likely, for every label"
    return words_of(name), "a method for comparison"


def variation(name: str) -> str:
    """Return a description of the text variation ``name``, such as the removal of headings."""
    return VARIATIONS.get(name, words_of(name))


def label_names(codebook: Mapping[str, Any]) -> dict[str, str]:
    """Return the display names of relevance and of the labels, keyed by their keys in the codebook.

    Parameters
    ----------
    codebook
        Content of the codebook file.
    """
    relevance = codebook["relevance"]
    names = {relevance["key"]: relevance.get("name", "Relevant")}
    return names | {label["key"]: label.get("name", words_of(label["key"])) for label in codebook.get("labels", ())}


def for_readers(results: Results, names: Mapping[str, str]) -> Results:
    """Return the results in a form for readers outside the project.

    The names of people are replaced by roles, such as 'first coder'. In the list of faults of the gold standard, the
    keys of labels are replaced by display names. The metrics do not change.

    Parameters
    ----------
    names
        Display names of labels, keyed by label key.
    """
    roles = _roles(results)
    update: dict[str, Any] = {}
    if coded := results.coded_records:
        update["coded_records"] = coded.model_copy(update={"coders": tuple(roles[name] for name in coded.coders)})
    if found := results.agreement:
        update["agreement"] = found.model_copy(
            update={
                "coders": tuple(Coder(name=roles[one.name], kind=one.kind) for one in found.coders),
                "pairs": tuple(
                    pair.model_copy(update={"a": roles[pair.a], "b": roles[pair.b]}) for pair in found.pairs
                ),
                **{
                    block: tuple(
                        code.model_copy(update={"codes": {roles.get(key, key): own for key, own in code.codes.items()}})
                        for code in getattr(found, block)
                    )
                    for block in ("adjudicate", "gold")
                },
            }
        )
    if gold := results.gold_standard:
        faults = tuple(_with_name(fault, names) for fault in gold.faults)
        update["gold_standard"] = gold.model_copy(update={"faults": faults})
    return results.model_copy(update=update)


def coder_name(name: str) -> str:
    """Return the name of a coder for display; if the coder is a language model, the name says so."""
    return f"language model {name.strip().removeprefix(LLM)}" if is_llm(name) else name


def _roles(results: Results) -> dict[str, str]:
    """Map the real name of each coder to the name that is used in reports for outsiders."""
    agreement = results.agreement
    named: list[tuple[str, str]] = [(one.name, one.kind) for one in agreement.coders] if agreement else []
    for pair in agreement.pairs if agreement else ():
        named += zip((pair.a, pair.b), pair.kind.split("-"), strict=True)
    named += [(name, "human") for name in (results.coded_records.coders if results.coded_records else ())]
    people = list(dict.fromkeys(name for name, kind in named if kind == "human"))
    tools = dict.fromkeys((name for name, kind in named if kind == "model"), "tool")
    llms = {name: coder_name(name) for name, kind in named if kind == "llm"}
    return {name: _role(place, len(people)) for place, name in enumerate(people)} | llms | tools


def _role(place: int, people: int) -> str:
    if people == 1:
        return "coder"
    return f"{_ORDINALS[place]} coder" if place < len(_ORDINALS) else f"coder {place + 1}"


def _with_name(fault: str, names: Mapping[str, str]) -> str:
    """Replace the label key at the start of a message with the name of the label.

    If the message does not start with a label key, its first letter is capitalised.
    """
    for key, name in names.items():
        if fault.startswith(f"{words_of(key)}: "):
            return name + fault.removeprefix(words_of(key))
    return sentence_case(fault)
