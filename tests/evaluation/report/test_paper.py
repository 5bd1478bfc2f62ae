"""Test the text for the paper and the model card: all their numbers come from the run."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path

import pytest
import yaml

from mechtag.core.errors import MechtagError
from mechtag.evaluation.report import accuracy_table
from mechtag.evaluation.report.html import Numbers
from mechtag.evaluation.report.paper import cell, figure, paper_texts, percent
from mechtag.evaluation.results import (
    Figure,
    LabelFigures,
    PairAgreement,
    Pooled,
    Results,
    SetDocuments,
    SetMechanisms,
    SetRelevance,
)
from tests.support.command import call
from tests.support.paths import ROOT
from tests.support.reports import described_run


def found(value, low=None, high=None, p_value=None):
    return {"value": value, "ci_low": low, "ci_high": high, "p_value": p_value}


POOLED = {name: found(None) for name in Pooled.words()} | {
    "across_auc": found(0.591, 0.517, 0.663, 0.02),
    "within_auc": found(0.613, 0.524, 0.687, 0.01),
    "kappa": found(0.181, 0.077, 0.292),
    "macro_f1": found(0.359, 0.251, 0.441),
    "referred": found(0.101, 0.05, 0.15),
    "yes_right": found(0.772, 0.571, 0.957),
    "no_right": found(0.567, 0.478, 0.662),
}
LABEL = {name: found(None) for name in LabelFigures.words()} | {
    "papers": 34,
    "support": 22,
    "prevalence": 0.647,
    "referred": 12,
    "confusion": {"tp": 7, "fp": 3, "fn": 15, "tn": 9},
    "kappa": found(0.055, -0.211, 0.323),
    "roc_auc": found(0.432, 0.242, 0.627),
    "precision": found(0.701, 0.397, 0.893),
    "recall": found(0.318, 0.164, 0.527),
}


def one_set(title, texts, hard):
    """Return the metrics of a set of coded records; if ``hard`` is None, it is unknown which records are hard."""
    of_hard = found(None) if hard is None else found(0.876, 0.801, 0.931)
    relevance = {name: found(None) for name in SetRelevance.words()}
    relevance |= {"roc_auc": found(0.912, 0.855, 0.952), "roc_auc_hard": of_hard, "hard_yes": of_hard}
    relevance["kept"] = found(0.967, 0.919, 0.991)
    relevance["decisions"] = {"relevant": {"yes": 30, "refer": 9, "no": 2}, "hard": {"yes": 6, "refer": 0, "no": 15}}
    relevance["decisions"]["irrelevant"] = relevance["decisions"]["hard"]
    mechanisms = {"papers": 41} | {name: found(None) for name in SetMechanisms.words()}
    documents = {"prevalence": 0.191} | {name: found(None) for name in SetDocuments.words()}
    counts = {"title": title, "texts": texts, "records": 84, "relevant": 41, "hard": hard}
    return counts | {"relevance": relevance, "mechanisms": mechanisms, "documents": documents}


@pytest.fixture
def metrics():
    rare = {**LABEL, "support": 1, "note": "too few: 1 of 34 have the label; metrics need 5"}
    pooled = {name: found(None) for name in PairAgreement.words()}
    pooled |= {"n": 490, "both_yes": 100, "only_a": 20, "only_b": 20, "both_no": 350}
    pooled |= {"cohen_kappa": found(0.84, 0.77, 0.91), "gwet_ac1": found(0.89)}
    pair = {"unit": "records", "labels": {}, "pooled": pooled}
    sentences = {"macro_average_precision": found(None), "across_auc": found(None)}
    ranks = {"irrelevant_records": 89, "median_rank": 6.0, "ranks": {}}
    baseline = {"papers": 34, "labels": {}}
    gold = {"source": "A review, Table 9", "papers": 36, "column_sums": {}, "without_label": [], "expected_empty": {}}
    gold |= {"other_columns": [], "faults": ["a fault of the table."], "notes": []}
    content = {
        "training_check": {},
        "coverage": {"abstract": 0, "synopsis": 31, "title_only": 3, "none": 2},
        "transfer": {"papers": 34, "model_id": "m1", "pooled": POOLED, "labels": {"trust": LABEL, "rare": rare}},
        "baselines": {
            "all_positive": {
                **baseline,
                "pooled": {**POOLED, "across_auc": found(0.5), "macro_f1": found(0.64, 0.55, 0.72)},
            },
            "tfidf": {**baseline, "pooled": {**POOLED, "across_auc": found(0.48)}},
        },
        "coded_records": {
            "records": 168,
            "relevant": 79,
            "coders": ["ann"],
            "bases": ["abstract"],
            "documents": {"papers": 168, "pooled": POOLED, "labels": {}},
            "sentences": {"sentences": 1317, "pooled": sentences, "labels": {}},
            "texts": {"synopses": 118, "invented": 50},
            "sets": {"real": one_set("Real | ones", "synopses", None), "made": one_set("Made up", "invented", 21)},
        },
        "relevance": {
            "baselines": {},
            "coded_records": {
                **LABEL,
                "papers": 168,
                "support": 79,
                "roc_auc": found(0.974, 0.951, 0.991),
                "recall": found(0.949, 0.877, 0.982),
            },
            "gold": {"included": 36, "papers": 34, "kept": 30, "yes": 21, "refer": 9, "no": 4, **ranks},
        },
        "agreement": {
            "records": 70,
            "texts": {"synopses": 60, "invented": 10},
            "coders": [{"name": "ann", "kind": "human"}, {"name": "mechtag", "kind": "model"}],
            "pairs": [
                {"a": "ann", "b": "bob", "kind": "human-human", **pair},
                {"a": "ann", "b": "mechtag", "kind": "human-model", **pair},
            ],
            "all": {},
            "adjudicate": [],
        },
        "gold_standard": gold,
        "resampling": {"bootstrap": 2000, "permutations": 1999, "min_positives": 5},
    }
    return copy.deepcopy(content)


@pytest.fixture
def model():
    return {
        "model_id": "m1",
        "codebook": {
            "name": "toy",
            "title": "Toys",
            "relevance": {"key": "relevant", "definition": "Is it about toys?"},
            "labels": [
                {"key": "trust", "name": "Trust | faith", "definition": "Someone trusts."},
                {"key": "rare", "name": "Rare", "definition": "Hardly\nseen."},
            ],
        },
        "codebook_sha256": "c" * 64,
        "encoder": {"name": "some/encoder", "sha256": "e" * 64},
        "seed": 2021,
        "settings": {"decided_precision": 0.8, "min_positives": 3, "trainer": "frozen", "folds": 5},
        "data": {"coded.jsonl": "d" * 64},
        "versions": {"mechtag": "0.1.0", "torch": "2.13.0"},
    }


@pytest.fixture
def summary():
    return {
        "model_id": "m1",
        "read": 33,
        "rejected": 1,
        "duplicates": 6,
        "unique": 26,
        "without_abstract": 8,
        "sources": [{"file": "search.ris", "read": 33, "kept": 32}],
        "decisions": {"relevant": {"yes": 11, "refer": 12, "no": 14}},
    }


def numbers(data):
    """Return all numbers in JSON data, in each form in which the texts may write them."""
    if isinstance(data, dict):
        return set().union(*map(numbers, data.values()))
    if isinstance(data, list):
        return {str(len(data))}.union(*map(numbers, data))
    if isinstance(data, bool) or data is None:
        return set()
    if isinstance(data, int | float):
        # Bounds of intervals near 0 or 1 have three decimals.
        return {f"{data:.2f}", f"{data:.3f}", f"{data:.0%}", str(data), f"{data:,}"}
    return set(re.findall(r"-?\d+(?:\.\d+)*%?", data))


def written(text):
    return set(re.findall(r"(?<![\w.:/-])-?\d+(?:[.,]\d+)*%?(?![\w/-])", text.replace("−", "-")))


def run_part(text):
    """Remove from a text what is the same for every run, such as headings, references and the metrics of chance."""
    text = re.sub(r"(?m)^#.*$", "", text.split("## References")[0])
    return text.replace("0.5 is chance", "").replace("| 0.5 |", "").replace("| 0 |", "").replace("95% intervals", "")


def shipped():
    """Return the metrics, model settings and tagging summary of the last run; skip the test if there was no run."""
    paths = ("reports/metrics.json", "models/trained/config.json", "data/work/update/tagged/summary.json")
    files = [ROOT / path for path in paths]
    if not all(path.exists() for path in files):
        pytest.skip("the files of a pipeline run are missing; run 'dvc repro'")
    return [json.loads(path.read_text(encoding="utf-8")) for path in files]


def test_every_number_is_one_of_the_run(metrics, model, summary):
    texts = paper_texts(Results.model_validate(metrics), model, summary)
    allowed = numbers([metrics, model, summary]) | {str(len(model["codebook"]["labels"]))}
    for name, text in texts.items():
        assert written(run_part(text)) - allowed == set(), name
        assert len(written(run_part(text))) > 20, name


def test_every_number_of_the_shipped_run_is_one_of_its_files():
    metrics, model, summary = shipped()
    if metrics["transfer"].get("model_id") != model["model_id"]:
        pytest.skip("the metrics are older than the model; run 'dvc repro'")
    allowed = numbers([metrics, model, summary])
    for name, text in paper_texts(Results.model_validate(metrics), model, summary).items():
        assert written(run_part(text)) - allowed - {str(len(model["codebook"]["labels"]))} == set(), name


def test_the_metrics_are_in_their_sections(metrics, model, summary):
    text = paper_texts(Results.model_validate(metrics), model, summary)["methods"]
    assert "ranked above one without it with probability 0.59 (0.52 to 0.66)" in text
    assert "Naive methods reached 0.48 to 0.50" in text
    assert "It left 10% of decisions to people" in text
    assert "| Trust \\| faith | 22 of 34 | 7 | 3 | 0.06 (−0.21 to 0.32) |" in text
    assert "| Rare | 1 of 34 | 7 | 3 | too few |" in text
    assert "that count as relevant, 34 could be scored; 30 of these would have been kept and 4 lost." in text
    assert (
        "was given 33 records (33 from search.ris). It could not read 1 of them and listed it with the reason. "
        "6 records were removed as duplicates, with the reason recorded. 26 records remained."
    ) in text
    assert "suggested 11 as relevant and 14 as irrelevant, and left 12 to people; 8 had no abstract" in text
    assert "the first coder and the tool agreed at Cohen's kappa 0.84 (0.77 to 0.91), Gwet's AC1 0.89." in text
    assert "read a synopsis of the abstract of 31, only the title of 3, no text of 2" in text


def test_full_texts_have_their_figures_and_their_limits(metrics, model, summary):
    without = paper_texts(Results.model_validate(metrics), model, summary)["methods"]
    assert "it did not read full texts" in without
    paper = {"file": "a.pdf", "pages": 9, "word_count": 4321, "windows": 27, "has_abstract": True}
    differences = {
        name: {"abstract": 0.51, "full_text": 0.62, "difference": found(0.11, -0.04, 0.25, 0.14)}
        for name in Pooled.words()
    }
    system = {"papers": 13, "pooled": {**POOLED, "across_auc": found(0.62, 0.49, 0.74)}, "labels": {}}
    metrics["by_full_text"] = {
        "coverage": {"papers": 36, "full_text": 13, "both": 12, "by_paper": {"p1": paper}, "without": ["p2"]},
        "full_text": system,
        "naive": {},
        "not_above_windows": ["kappa"],
        "labels_not_above_windows": [],
        "paired": {"papers": 12, "differences": differences},
        "best_available": {**system, "papers": 34},
        "doubted": [],
    }
    summary["full_texts"] = {"text:1": {"windows": 27, "notes": []}}
    text = paper_texts(Results.model_validate(metrics), model, summary)["methods"]
    assert written(run_part(text)) - numbers([metrics, model, summary]) - {"2", "20"} == set()
    assert "it did not read full texts" not in text
    assert "it read the full text of 1 record to suggest codes" in text
    assert "13 of the 36 papers of the gold standard have a full text; 12 of them have an abstract as well." in text
    assert "not a random sample" in text
    assert "On 13 papers, tagged by the full text, the two probabilities were 0.62 (0.49 to 0.74) and 0.61" in text
    assert "The tool is not better than the number of windows alone in: kappa." in text
    assert "12 papers have both an abstract and a full text: too few to say which is better" in text
    assert "Full text minus abstract: across papers 0.11 (−0.04 to 0.25), within a paper 0.11" in text
    assert "reads titles and abstracts, and full texts where the authors had them" in text


def test_synopses_and_invented_texts_are_named_with_their_metrics(metrics, model, summary):
    note = (
        "The texts are 118 synopses of abstracts in other words and 50 invented abstracts. None is a published "
        "abstract; on published abstracts the results may be worse."
    )
    gold = "For 31 of the 34 papers that were read, the text is a reworded synopsis"
    texts = paper_texts(Results.model_validate(metrics), model, summary)
    parts = {part.split("\n")[0]: part for text in texts.values() for part in text.split("\n## ")}
    for name in ("Methods: data collection process (PRISMA 2020, item 9)", "Accuracy"):
        assert gold in parts[name]
    told = ("Methods: data collection process (PRISMA 2020, item 9)", "Statement on the use of automation (RAISE)")
    results = "Results: agreement of the tool with people"
    for name in (*told, results, "Training", "Relevance on each set of coded records"):
        assert note in parts[name], name
    for name in (results, "Agreement between people, and with the model"):
        assert note.replace("118", "60").replace("50", "10") in parts[name], name
    metrics["coded_records"]["texts"] = metrics["agreement"]["texts"] = {"published": 168}
    metrics["coverage"] = {"abstract": 31, "synopsis": 0, "title_only": 3, "none": 2}
    for text in paper_texts(Results.model_validate(metrics), model, summary).values():
        assert "None is a published abstract" not in text
        assert "is a reworded synopsis" not in text


def test_each_set_has_its_figures_in_both_texts(metrics, model):
    texts = paper_texts(Results.model_validate(metrics), model)
    assert (
        "- Made up (invented abstracts), 41 of 84 relevant: ROC AUC 0.91 (0.85 to 0.95), 0.88 (0.80 to 0.93) against "
        "only the 21 hard irrelevant records, 6 of which were called relevant; 2 relevant records would"
    ) in texts["methods"]
    assert (
        "- Real | ones (synopses of abstracts in other words), 41 of 84 relevant: ROC AUC 0.91 (0.85 to 0.95); 2"
    ) in texts["methods"]
    assert (
        "| Made up | invented abstracts | 41 of 84 | 0.91 (0.85 to 0.95) | 0.88 (0.80 to 0.93) | 0.97 (0.92 to 0.99) "
        "| 0.88 (0.80 to 0.93) |"
    ) in texts["model_card"]
    assert "| Real \\| ones | synopses" in texts["model_card"]
    metrics["coded_records"]["sets"] = {}
    for text in paper_texts(Results.model_validate(metrics), model).values():
        assert "Made up" not in text
        assert "each set of coded records" not in text


@pytest.mark.parametrize("path", ["across_auc", "within_auc", "kappa", "macro_f1", "yes_right"])
def test_another_figure_changes_both_texts(metrics, model, path):
    before = paper_texts(Results.model_validate(metrics), model)
    changed = copy.deepcopy(metrics)
    changed["transfer"]["pooled"][path] = found(0.123, 0.111, 0.135)
    after = paper_texts(Results.model_validate(changed), model)
    assert all(before[name] != after[name] for name in before)


def test_all_that_guidelines_ask_for_is_answered(metrics, model, summary):
    text = paper_texts(Results.model_validate(metrics), model, summary)["methods"]
    for part in ("item 8", "item 9", "item 16a"):
        assert part in text
    asked = ("Tool and version", "Purpose", "Training data", "Validation data", "Checks by people", "Limits")
    for part in (*asked, "Interests", "Availability", "Responsibility"):
        assert f"- **{part}**: " in text
    # Placeholders mark what only the authors know.
    assert len(re.findall(r"\[[^\]]+\]", text)) >= 8


def test_model_card_has_a_header_that_the_hub_reads(metrics, model):
    text = paper_texts(Results.model_validate(metrics), model)["model_card"]
    _, header, body = text.split("---\n", 2)
    head = yaml.safe_load(header)
    assert (head["library_name"], head["pipeline_tag"]) == ("mechtag", "text-classification")
    (result,) = head["model-index"][0]["results"]
    assert {one["type"]: one["value"] for one in result["metrics"]} == {
        "roc_auc": 0.591,
        "f1": 0.359,
        "cohen_kappa": 0.181,
    }
    assert result["dataset"]["name"] == "A review, Table 9"
    for heading in ("Uses", "Training", "Accuracy", "Limits", "Licence"):
        assert f"\n## {heading}\n" in body
    tables = [block for block in body.split("\n\n") if block.startswith("|")]
    assert len(tables) == 5
    for table in tables:
        rows = [re.sub(r"\\\|", "", line) for line in table.strip().splitlines()]
        assert len({row.count("|") for row in rows}) == 1, table


def test_sentences_on_missing_metrics_are_left_out(metrics, model):
    for name in ("coded_records", "relevance", "agreement"):
        del metrics[name]
    metrics["baselines"] = {}
    metrics["transfer"]["pooled"]["yes_right"] = found(None)
    texts = paper_texts(Results.model_validate(metrics), model)
    assert "people agreed with 57% of no; it decided no code as yes." in texts["methods"]
    assert "Naive methods" not in texts["methods"]
    for text in texts.values():
        assert not re.search(r"\bNone\b(?! of)", text)
        assert "study selection" not in text


def test_figures_of_another_model_are_refused(metrics, model, summary):
    with pytest.raises(
        MechtagError,
        match="the metrics were computed with model m1, but the model folder contains model m2; run 'mechtag tag' and",
    ):
        paper_texts(Results.model_validate(metrics), {**model, "model_id": "m2"})
    with pytest.raises(
        MechtagError,
        match="the records were tagged with model m0, but the model folder contains model m1; run 'mechtag tag' again",
    ):
        paper_texts(Results.model_validate(metrics), model, {**summary, "model_id": "m0"})
    del metrics["transfer"]
    with pytest.raises(MechtagError, match="no metrics of the model on the gold standard; run 'mechtag evaluate'"):
        paper_texts(Results.model_validate(metrics), model)


def test_files_that_lack_something_are_refused(metrics, model, summary):
    for files in (
        (metrics, {}, summary),
        (metrics, model, {}),
        (metrics, model, {"model_id": "m1"}),
        (metrics, {**model, "settings": {}}, summary),
        ({**metrics, "transfer": {**metrics["transfer"], "labels": {}}}, model, summary),
    ):
        with pytest.raises(
            MechtagError, match=r"an entry is missing in .*; create these files again with this version of mechtag"
        ):
            paper_texts(Results.model_validate(files[0]), *files[1:])


def test_figures_and_cells_are_formatted():
    assert figure(Figure(**found(0.5))) == "0.50"
    assert figure(Figure(**found(None))) == percent(None) == "–"
    assert cell("a | b\nc") == "a \\| b c"


def test_command_writes_the_text_and_the_card(metrics, model, summary, tmp_path: Path):
    (tmp_path / "model").mkdir()
    files = {"metrics.json": metrics, "model/config.json": model, "summary.json": summary}
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content), encoding="utf-8")
    words = ("--model", tmp_path / "model", "--tagged", tmp_path / "summary.json", "-o", tmp_path / "methods.md")
    status, _, message = call("methods", tmp_path / "metrics.json", *words)
    assert status == 0, message
    texts = paper_texts(Results.model_validate(metrics), model, summary)
    assert (tmp_path / "methods.md").read_text(encoding="utf-8") == texts["methods"]
    assert (tmp_path / "model/README.md").read_text(encoding="utf-8") == texts["model_card"]


def test_templates_are_shipped():
    import tomllib

    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (pattern,) = settings["tool"]["setuptools"]["package-data"]["mechtag.evaluation.report"]
    folder = ROOT / "evaluation/report"
    assert set(folder.glob(pattern)) == {path for path in (folder / "templates").iterdir() if path.is_file()} != set()


@pytest.mark.parametrize(
    ("low", "high", "shown"),
    [
        (0.9962, 1.0, "1.00 (0.996 to 1.000)"),
        (0.99996, 1.0, "1.00 (0.99996 to 1.00000)"),
        (1.0, 1.0, "1.00"),
        (0.9, 1.0, "1.00 (0.90 to 1.00)"),
    ],
)
def test_no_interval_is_printed_without_width(low, high, shown):
    own = Figure(**found(1.0, low, high))
    assert figure(own) == shown
    assert accuracy_table.interval(own) == (shown[6:-1] if "(" in shown else "")


def test_the_page_prints_no_interval_without_width(metrics):
    pooled = metrics["transfer"]["pooled"]
    for name, low in (("yes_right", 0.9962), ("no_right", 1.0)):
        pooled[name] = found(1.0, low, 1.0)
    numbers = Numbers(Results.model_validate(metrics))
    shown = re.sub(r"<[^>]*>", "", numbers.between("transfer/pooled/yes_right"))
    assert shown == " (between 99.6% and 100.0%)"
    assert numbers.between("transfer/pooled/no_right") == ""
    assert re.sub(r"<[^>]*>", "", numbers.figure("transfer/pooled/yes_right")) == "1.00 0.996 to 1.000"
    assert re.sub(r"<[^>]*>", "", numbers.figure("transfer/pooled/no_right")) == "1.00"


def test_counts_of_zero_and_one_are_worded_correctly(metrics, model, summary):
    model["codebook"] |= {"title": "", "labels": model["codebook"]["labels"][:1]}
    metrics["transfer"]["papers"] = 1
    metrics["coded_records"]["sets"]["made"]["relevance"]["decisions"]["relevant"]["no"] = 1
    summary |= {"read": 1, "rejected": 0, "duplicates": 0, "unique": 1}
    text = paper_texts(Results.model_validate(metrics), model, summary)["methods"]
    assert "For the 1 code of the codebook “toy” (" in text
    assert "was given 1 record (33 from search.ris). 1 record remained." in text
    assert "could not read" not in text
    assert "duplicates" not in text
    assert "1 relevant record would have been lost" in text
    assert "Of 1 record to screen" in text
    assert not re.search(r"\b1 (?:records|papers|codes|sentences)\b", text)
    summary |= {"duplicates": 1, "rejected": 2}
    text = paper_texts(Results.model_validate(metrics), model, summary)["methods"]
    assert "It could not read 2 of them and listed them" in text
    assert "1 record was removed as a duplicate" in text


def test_relevance_is_not_mentioned_if_it_was_not_learned(metrics, model, summary):
    metrics["coded_records"]["relevant"] = metrics["coded_records"]["records"]
    del metrics["relevance"]
    texts = paper_texts(Results.model_validate(metrics), model, summary)
    for text in texts.values():
        assert "support vector machine" not in text
        assert "whether a record is relevant" not in text
    assert "it did not judge relevance, because all records that it was trained on are relevant" in texts["methods"]
    assert "suggested 11 as relevant" not in texts["methods"]


def test_figures_that_do_not_exist_are_not_written_as_results(metrics, model, summary):
    for name in POOLED:
        metrics["transfer"]["pooled"][name] = found(None)
    del metrics["relevance"], metrics["agreement"]
    metrics["baselines"] = {"tfidf": metrics["baselines"]["tfidf"]}
    metrics["gold_standard"] |= {"faults": [], "source": ""}
    text = paper_texts(Results.model_validate(metrics), model, summary)["methods"]
    results = text.split("## Results: agreement of the tool with people")[1].split("| code |")[0]
    assert "–" not in results
    assert "could not be measured on 34 papers" in results
    assert "No faults of the validation data are recorded." in text
    assert "none." not in text
    assert "We compared it with a gold standard: 36 papers" in text


def test_one_naive_method_is_not_a_range(metrics, model):
    metrics["baselines"] = {"tfidf": metrics["baselines"]["tfidf"]}
    text = paper_texts(Results.model_validate(metrics), model)["methods"]
    assert "A naive method reached 0.48 and 0.61." in text


def test_claims_about_what_people_did_are_left_to_the_authors(metrics, model, summary):
    text = paper_texts(Results.model_validate(metrics), model, summary)["methods"]
    assert "[No record was excluded by the tool alone.]" in text
    assert "reviewers' own machine" not in text.split("## Methods: data")[0]


def llm(name="llm:toy", **fields):
    labels = {key: LABEL for key in ("trust", "rare")}
    return {
        "name": name,
        "basis": "abstract",
        "papers": 34,
        "pooled": POOLED,
        "labels": labels,
        "unanswered": 2,
        **fields,
    }


def test_language_models_are_reported_in_full(metrics, model):
    remote = described_run("llm:big", "remote", model="big*model", host="api.example.org", cost_usd=None)
    runs = {"vote": "llm:vote", "runs": [described_run().model_dump(), remote.model_dump() | {"without_text": 3}]}
    metrics["llms"] = [llm("llm:vote", runs=runs)]
    text = paper_texts(Results.model_validate(metrics), model)["methods"]
    assert "A code of llm:vote is the answer of more than half of 2 language models: llm:toy, llm:big." in text
    assert "the language model toy, run on the reviewers' machine from 2026-11-01 to 2026-11-02" in text
    assert r"the language model big\*model, run at api.example.org" in text
    assert text.count("3 further questions were not asked, because there was no text to read. Of its") == 1
    assert text.count("were not asked") == 1
    assert "Of its 20 quotes, 5 (25%) were not in the text and were dropped" in text
    assert "2 of its yes were counted as unclear" in text
    assert "SHA-256 abcdef012345; temperature 0.0, seed 1" in text or "temperature 0, seed 1" in text
    assert "It read 12,345 and wrote 678 tokens; cost: 0.2500 USD." in text
    assert "cost: unknown" in text
    assert "Texts were sent to api.example.org, where a language model ran." in text
    assert "may have seen published papers" in text
    assert "No code of a language model was used to train the tool, unless a person had confirmed it." in text
    # The prompt appears once in the appendix, as a literal block.
    assert text.count("    Code. *Rules*\n") == 1
    assert "    The code: Trust\n" in text
    assert "llm:toy and llm:big, prompt SHA-256 abcdef0123456789." in text


def test_a_language_model_that_also_votes_is_described_once(metrics, model):
    toy, big = described_run(last="2026-11-01"), described_run("llm:big", model="big")
    vote = {"vote": "llm:vote", "runs": [toy.model_dump(), big.model_dump()]}
    metrics["llms"] = [llm(runs={"runs": [toy.model_dump()]}), llm("llm:vote", runs=vote)]
    results = Results.model_validate(metrics)
    text = paper_texts(results, model)["methods"]
    assert text.count("we had the language model toy, run on the reviewers' machine on 2026-11-01, code") == 1
    assert text.count("we had the language model big") == 1
    assert "- **Language models**: toy, on the reviewers' machine; big, on the reviewers' machine;" in text
    (section, *_) = accuracy_table.llm_sections(results.llms, {"trust": "Trust", "rare": "Rare"})
    assert [row[0] for row in section.rows] == ["llm:toy", "llm:big"]
    assert len(section.lines) == len(set(section.lines))


def test_a_language_model_without_a_description_leaves_gaps_to_fill(metrics, model):
    metrics["llms"] = [llm()]
    text = paper_texts(Results.model_validate(metrics), model)["methods"]
    assert "llm:toy is a language model. [Which model" in text
    assert "- **Language models**: [which, and where]" in text
    assert "Appendix" not in text


def test_without_language_models_none_is_mentioned(metrics, model):
    text = paper_texts(Results.model_validate(metrics), model)["methods"]
    assert "additional coders" not in text
    assert "**Language models**" not in text
