"""Test the benchmark with several codebooks: draws of papers, metrics, tables, systems and readers of data sets."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks import codebook_peers, codebook_sets, hallmarks
from benchmarks.codebook_peers import Scores, SetFitSettings, setfit, tfidf, whole_vector
from benchmarks.codebook_sets import CodedSet
from benchmarks.codebooks import (
    ALONE,
    BEFORE,
    BETTER,
    EXEMPLARS,
    HELD,
    PAPERS,
    SEEDS,
    SENTENCES,
    SETFIT,
    SIZES,
    VECTOR,
    WORDS,
    Encoded,
    all_draws,
    draw,
    figures,
    lead_over,
    leads,
    leads_table,
    means_table,
    measure,
    origins,
    relevance_table,
    score,
    set_table,
    significantly_below,
)
from benchmarks.publish import merge, publish, result
from mechtag.core.codebook import Codebook
from mechtag.core.errors import MechtagError
from mechtag.core.settings import Settings, TrainSettings
from mechtag.models.features import embed_codebook
from mechtag.pipeline.annotations.coded_records import Exemplar
from mechtag.training.dataset import build_corpus
from tests.support.toy import WordEncoder, fruit_documents

RELEVANT = np.arange(300) % 3 == 0  # 100 relevant and 200 irrelevant papers
OURS = f"mechtag, {PAPERS}"


def test_the_papers_of_a_small_draw_are_part_of_each_larger_draw() -> None:
    smaller = np.zeros(300, dtype=bool)
    for size in SIZES:
        found = draw(RELEVANT, size, SEEDS[0])
        assert not (smaller & ~found.learned).any()
        assert not (found.learned & found.held).any()
        smaller = found.learned


def test_a_draw_has_as_many_irrelevant_as_relevant_papers() -> None:
    for size in (0, 2, 40):
        learned = draw(RELEVANT, size, SEEDS[0]).learned
        assert (learned & RELEVANT).sum() == (learned & ~RELEVANT).sum() == size
    everything = draw(RELEVANT, None, SEEDS[0])
    assert (everything.learned ^ everything.held).all()


def test_held_out_papers_depend_on_the_seed_and_not_on_the_size() -> None:
    held = [draw(RELEVANT, size, SEEDS[0]).held for size in SIZES]
    assert all((each == held[0]).all() for each in held)
    assert (held[0] & RELEVANT).sum() == HELD * 100
    assert (held[0] & ~RELEVANT).sum() == HELD * 200
    assert (held[0] != draw(RELEVANT, None, SEEDS[1]).held).any()
    np.testing.assert_array_equal(draw(RELEVANT, 5, SEEDS[0]).learned, draw(RELEVANT, 5, SEEDS[0]).learned)


def test_sizes_are_not_drawn_if_too_few_papers_are_left() -> None:
    draws = all_draws(np.arange(60) < 40)  # 24 of the 40 relevant papers are not held out
    assert [each.size for each in draws[:: len(SEEDS)]] == [0, 2, 5, 10, 20, None]
    assert [each.seed for each in draws[: len(SEEDS)]] == list(SEEDS)
    # With 34 relevant papers, 20 are not held out, so a draw of 20 would equal the draw of all papers.
    assert [20 in [each.size for each in all_draws(np.arange(60) < relevant)] for relevant in (34, 35)] == [False, True]


def judged(labels: Sequence[Sequence[float]], relevant: int) -> np.ndarray:
    """Return the codes of relevant papers, followed by those of two irrelevant papers whose labels must be ignored."""
    return np.array([*([1, *codes] for codes in labels), [0, 1, 1], [0, 1, 1]])[: relevant + 2]


# The scores of the first label are 3, 2, 1, 1, 0.5 and 0; the papers with 3, 2 and 0.5 have this label.
CODES = judged([[1, 1], [1, 1], [0, 0], [0, 0], [1, 0], [0, 0], [np.nan, np.nan]], 7)
FOUND = Scores(np.array([[3, 2, 1, 1, 0.5, 0, 9, -9, -9], [0.0] * 9]).T, np.array([4, 4, 4, 4, 4, 2, 4, 2, 3.0]))


def test_metrics_of_a_case_worked_by_hand() -> None:
    values = figures(CODES, FOUND, np.ones((1, 9)))
    # 3 and 2 outrank three negatives each, 0.5 outranks one. The second label has too few papers to be measured.
    assert values["across"] == pytest.approx([7 / 9])
    # Precision is 1, 1 and, after the tie, 3 of 5.
    assert values["average precision"] == pytest.approx([(1 + 1 + 3 / 5) / 3])
    # Against 2: six wins and a tie; against 3: six wins and a loss.
    assert values["relevance AUC"] == pytest.approx([(6.5 + 6) / 14])


def test_a_paper_drawn_twice_counts_twice() -> None:
    weight = np.array([[1, 1, 1, 1, 2, 0, 1, 1, 1.0]])
    assert figures(CODES, FOUND, weight)["across"] == pytest.approx([(1 * 2 + 1 * 2 + 2 * 0) / (4 * 2)])


def test_ranking_of_the_labels_of_a_paper_by_hand() -> None:
    codes = judged([[1, 0]] * 3 + [[0, 1]] * 3, 6)
    scores = Scores(np.array([[1, 5, 4, 3, 2, 6, 0, 0], [7.0] * 8]).T)
    # Ranks over all papers are 3, 7, 6, 5, 4 and 8 for the first label, and always 4.5 for the second. Papers 2, 3 and
    # 5 have the higher rank for the label that they have, and papers 1, 4 and 6 for the label that they do not have.
    assert figures(codes, scores, np.ones((1, 8)))["within"] == pytest.approx([3 / 6])


def test_relevance_is_measured_only_where_it_is_scored_and_varies() -> None:
    assert "relevance AUC" not in figures(CODES, Scores(FOUND.labels), np.ones((1, 9)))
    assert "relevance AUC" not in figures(CODES[:6], FOUND.take(np.arange(9) < 6), np.ones((1, 6)))


def run(*values: float) -> dict[str, np.ndarray]:
    return {"across": np.array(values)}


def test_the_lead_is_over_the_better_system_in_each_resample() -> None:
    runs = {ALONE: {1: run(0.6, 0.8)}, WORDS: {1: run(0.7, 0.5)}, OURS: {1: run(0.8, 0.7)}}
    ((system, metric, gap, count),) = leads(runs)
    assert (system, metric, count) == (OURS, lead_over(BETTER), 1)
    assert gap == pytest.approx([0.1, -0.1])


def test_lead_compares_the_same_draws_coding_and_encoder() -> None:
    runs = {
        SETFIT: {1: run(0.5)},
        f"{BEFORE}, {PAPERS}": {1: run(0.6), 2: run(0.7)},
        f"{BEFORE}, sentences": {1: run(0.0), 2: run(0.0)},
        f"{VECTOR}, accurate": {1: run(0.4), 2: run(0.4)},
        OURS: {1: run(0.9), 2: run(0.1)},
        f"{OURS}, accurate": {1: run(0.6), 2: run(0.8)},
    }
    found = {(system, metric): (float(gap[0]), count) for system, metric, gap, count in leads(runs)}
    assert found == {
        (OURS, lead_over(SETFIT)): (pytest.approx(0.4), 1),
        (OURS, lead_over(BEFORE)): (pytest.approx(0.5 - 0.65), 2),
        (f"{OURS}, accurate", lead_over(VECTOR)): (pytest.approx(0.3), 2),
    }


def one(low: float | None, high: float | None, metric: str = lead_over(BETTER), size: str = "n = 5") -> dict[str, Any]:
    return result(f"garden, {size}", OURS, metric, 0.0, (low, high))


def test_a_result_is_significantly_below_if_its_whole_interval_is() -> None:
    assert significantly_below([one(-0.2, -0.001)]) == [f"garden, n = 5, {OURS}"]
    kept = [one(-0.2, 0.0), one(-0.2, 0.1), one(None, None), one(-0.2, -0.1, "across"), one(-0.2, -0.1, "lead over x")]
    assert significantly_below(kept) == []


@pytest.mark.parametrize("worse", [False, True])
def test_a_system_that_ranks_worse_than_its_peers_breaks_the_rule(worse: bool) -> None:
    generator = np.random.default_rng(3)
    targets = np.column_stack([np.ones(200), generator.random((200, 2)) < 0.4])
    draws = all_draws(targets[:, 0] == 1)
    good = Scores(targets[:, 1:] + generator.normal(scale=0.5, size=(200, 2)))
    noise = Scores(generator.random((200, 2)))
    own = noise if worse else Scores(good.labels * 2)
    scored = {WORDS: dict.fromkeys(draws, good), ALONE: dict.fromkeys(draws, noise), OURS: dict.fromkeys(draws, own)}
    del scored[OURS][draws[0]]
    results = measure(targets, scored, draws, "garden")
    sizes = ["n = 0", "n = 2", "n = 5", "n = 10", "n = 20", "n = 40", "n = 80", "all = 120"]
    assert significantly_below(results) == [f"garden, {size}, {OURS}" for size in sizes if worse]
    assert {found["runs"] for found in results if found["dataset"] == "garden, n = 0" and found["system"] == OURS} == {
        2
    }
    across = [found for found in results if found["metric"] == "across" and found["system"] == OURS]
    assert [found["dataset"] for found in across] == [f"garden, {size}" for size in sizes]
    assert all(found["ci_low"] < found["value"] < found["ci_high"] for found in across)


def test_tables_show_means_leads_and_sizes() -> None:
    results = [
        *(result(f"garden, {size}", OURS, "across", value, (0.1, 0.9)) for size, value in
          (("n = 0", 0.0), ("n = 2", 0.5), ("all = 9", 0.7))),
        result("garden, n = 2", SETFIT, "across", 0.4, (0.3, 0.5)),
        result("garden, all = 9", OURS, "average precision", 0.25, (0.2, 0.3)),
        *(one(low, high, size=size) for size, low, high in (("n = 2", 0.1, 0.2), ("n = 5", -0.1, 0.1), ("x", -2, -1))),
    ]  # fmt: skip
    assert means_table(results, ["garden"]).splitlines()[2:] == [f"| {OURS} | 0.600 | 0.600 |"]
    assert leads_table(results, ["garden"]).splitlines()[2:] == [f"| {OURS} | {BETTER} | +0.000 (1, 1, 1) |"]
    assert set_table(results[:5], "garden").splitlines() == [
        "| system | across, n = 0 | across, n = 2 | across, all = 9 | average precision, all = 9 |",
        "| --- | ---: | ---: | ---: | ---: |",
        f"| {SETFIT} |  | 0.400 (0.30 to 0.50) |  |  |",
        f"| {OURS} | 0.000 (0.10 to 0.90) | 0.500 (0.10 to 0.90) | 0.700 (0.10 to 0.90) | 0.250 (0.20 to 0.30) |",
    ]


def test_published_results_that_are_not_measured_again_keep_their_commit() -> None:
    old = [
        result("garden, n = 2", OURS, "across", 0.5),
        result("garden, n = 2", SETFIT, "across", 0.4),
        result("garden, all = 9", f"{OURS}, accurate", "across", 0.6),
        result("pond, n = 2", OURS, "across", 0.7) | {"commit": "older"},
    ]
    new = [result("garden, n = 2", OURS, "across", 0.55), result("pond, n = 2", OURS, "within", 0.9)]
    found = merge({"commit": "before", "results": old}, new)
    assert [(each["dataset"], each["system"], each["metric"], each.get("commit")) for each in found] == [
        ("garden, n = 2", SETFIT, "across", "before"),
        ("garden, n = 2", OURS, "across", None),
        ("garden, all = 9", f"{OURS}, accurate", "across", "before"),
        ("pond, n = 2", OURS, "across", "older"),
        ("pond, n = 2", OURS, "within", None),
    ]
    assert [each["value"] for each in found] == [0.4, 0.55, 0.6, 0.7, 0.9]
    assert origins(found) == (
        "Results of commit before that were not measured again: garden (SetFit, accurate). "
        "Results of commit older that were not measured again: pond (fast)."
    )
    assert origins(new) == ""


def test_results_of_the_same_commit_do_not_state_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.publish._commit", lambda: "now")
    old, new = result("pond, n = 2", OURS, "across", 0.7), result("pond, n = 2", OURS, "within", 0.9)
    assert merge({"commit": "now", "results": [old]}, [new]) == [old, new]


def test_relevance_has_a_separate_table() -> None:
    results = [
        *(result(f"garden, {size}", OURS, "relevance AUC", value, (0.1, 0.9)) for size, value in
          (("n = 0", 0.5), ("all = 9", 0.7))),
        result("garden, n = 0", f"{OURS}, accurate", "across", 0.4, (0.3, 0.5)),
        *(result("garden, n = 0", f"mechtag, {coding}", "relevance AUC", 0.4, (0.3, 0.5)) for coding in
          (SENTENCES, EXEMPLARS)),
        result("pond, n = 0", OURS, "across", 0.4, (0.3, 0.5)),
    ]  # fmt: skip
    assert relevance_table(results, ["garden", "pond"]).splitlines() == [
        "| set | system | n = 0 | n = 2 | n = 5 | n = 10 | n = 20 | n = 40 | n = 80 | all |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        f"| garden | {OURS} | 0.500 (0.10 to 0.90) |  |  |  |  |  |  | 0.700 (0.10 to 0.90) |",
    ]


def test_a_section_with_its_own_tables_has_no_table_of_all_results(tmp_path: Path) -> None:
    for table in (True, False):
        publish("garden", "x", [one(0.1, 0.2)], "## Garden", table=table, docs=tmp_path)
        page = (tmp_path / "benchmarks.md").read_text(encoding="utf-8")
        assert ("| data | system |" in page) is table
        assert page.count("<!-- garden -->\n## Garden\n\n") == 1


def garden_corpus() -> Any:
    codes = [[1, 1, 0], [1, 0, 0], [1, 1, 0], [0, np.nan, np.nan], [1, 1, 1], [1, np.nan, 0]]
    texts = ("slugs eat leaves", "walls shade beds", "slugs eat roots", "cars need fuel", "slugs again", "shade again")
    vectors = np.array([[1, 0], [0, 1], [1, 0], [-1, 0], [1, 0], [0, 1]], dtype=np.float32)
    return SimpleNamespace(whole_texts=texts, document_targets=np.array(codes, dtype=float), wholes=vectors)


@pytest.mark.parametrize("system", [tfidf, whole_vector])
def test_peers_learn_from_the_drawn_papers_only(system: Any) -> None:
    corpus = garden_corpus()
    learned = np.arange(6) < 4
    scores = system(corpus, learned)
    assert scores.labels[4, 0] > scores.labels[5, 0]
    assert scores.relevance[4] > scores.relevance[3]
    assert not scores.labels[:, 1].any()  # All drawn papers have the same code.
    corpus.document_targets[4:] = [0, 0, 1]
    np.testing.assert_array_equal(system(corpus, learned).labels, scores.labels)


def test_setfit_learns_from_relevant_papers_and_is_run_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = []

    def fake(own: Sequence[str], labels: Sequence[list[int]], texts: Sequence[str], *rest: object) -> np.ndarray:
        asked.append((tuple(own), labels, tuple(texts), *rest))
        return np.full((len(texts), 2), 0.5)

    monkeypatch.setattr(codebook_peers, "WORK", tmp_path)
    monkeypatch.setattr(codebook_peers, "_setfit_scores", fake)
    corpus, learned, held = garden_corpus(), np.array([0, 1, 0, 1, 0, 1], bool), np.array([1, 0, 1, 0, 0, 0], bool)
    assert setfit(corpus, learned, held, tmp_path, 1, train=False) is None
    for seed, train in ((1, True), (1, False), (2, True)):
        scores = setfit(corpus, learned, held, tmp_path, seed, train=train)
        assert scores is not None
        np.testing.assert_array_equal(np.isnan(scores.labels).any(axis=1), ~held)
        assert scores.relevance is None
    expected = (("walls shade beds", "shade again"), [[0, 0], [0, 0]], ("slugs eat leaves", "slugs eat roots"))
    assert [each[:3] for each in asked] == [expected] * 2
    assert [each[3:] for each in asked] == [(tmp_path, seed, SetFitSettings()) for seed in (1, 2)]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for module in (codebook_sets, hallmarks):
        monkeypatch.setattr(module, "BENCH", tmp_path)
    return tmp_path / "multilabel"


def test_reads_chemical_exposure(bench: Path) -> None:
    abstracts = {
        "11": (
            "Food was measured .\nBlood and milk were measured .\n\nNothing .\n",
            "<exposure routes--oral intake--food--< Biomonitoring--exposure biomarker--blood AND  "
            "Biomonitoring--effect marker--gene< ",
        ),
        "12": ("No label at all .\n", "< "),
        "13": ("Two sentences .\nBut one label string .\n", "<exposure routes--inhalation"),
        "14": ("An unknown label, and air .\n", "<exposure routes--telepathy AND exposure routes--inhalation--"),
    }
    for name, column in (("text", 0), ("labels", 1)):
        (bench / "chemical_exposure" / name).mkdir(parents=True)
        for key, texts in abstracts.items():
            (bench / "chemical_exposure" / name / f"{key}.txt").write_text(texts[column], encoding="utf-8")
    codebook, documents = codebook_sets._exposure(Settings())
    # Abstracts without labels, or with fewer label strings than sentences, are left out.
    assert [document.record_id for document in documents] == ["pmid:11", "pmid:14"]
    first, second = documents
    assert first.document.sentences == ("Food was measured .", "Blood and milk were measured .", "Nothing .")
    assert first.sentence_labels == (("oral_intake",), ("exposure_biomarker", "effect_marker"), ())
    assert [key for key in codebook.keys if first.codes[key]] == ["exposure_biomarker", "effect_marker", "oral_intake"]
    assert second.sentence_labels == (("inhalation",),)
    assert first.relevant
    assert second.relevant


def test_reads_development_goals(bench: Path) -> None:
    folder = bench / "development_goals"
    folder.mkdir(parents=True)
    rows = {
        "task1_train.jsonl": [
            {"ID": "a", "TITLE": "Poor\r\nfarmers", "ABSTRACT": "They earn little.  They eat little.", "SDG": 1},
            {"ID": "b", "TITLE": "Verbs", "ABSTRACT": "Verbs are words.", "SDG": 0},
        ],
        "testdata_results.jsonl": [
            {"ID": "c", "TITLE": "Health and hunger", "ABSTRACT": "Both matter.", "SDG": 2, "SDGS": [2, 3]},
        ],
    }
    for name, own in rows.items():
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in own), encoding="utf-8")
    codebook, documents = codebook_sets._goals(Settings())
    assert [(each.record_id, each.relevant) for each in documents] == [("a", True), ("b", False), ("c", True)]
    assert documents[0].document.title == "Poor farmers"
    assert documents[0].document.sentences == ("They earn little.", "They eat little.")
    carried = [[key for key in codebook.keys if each.codes[key]] for each in documents]
    assert carried == [["goal_1"], [], ["goal_2", "goal_3"]]
    assert all(each.sentence_labels is None for each in documents)


def test_models_learn_from_exemplars_without_any_coded_paper(fruit: Codebook) -> None:
    encoder = WordEncoder()
    definitions, exemplars = embed_codebook(fruit, encoder), [Exemplar(id="e1", text="an apple", labels=("apple",))]
    corpora = {
        coding: build_corpus(fruit_documents(), own, fruit.keys, encoder, definitions)
        for coding, own in ((PAPERS, ()), (EXEMPLARS, [*exemplars, Exemplar(id="e2", text="a pear", labels=("pear",))]))
    }
    draws = all_draws(corpora[PAPERS].document_targets[:, 0] == 1)[:4]
    assert [each.size for each in draws] == [0, 0, 0, 2]
    found = score(Encoded(None, None, {}, corpora), draws, TrainSettings())  # type: ignore[arg-type]
    assert [list(found[f"mechtag, {coding}"]) for coding in corpora] == [draws[3:], draws]
    by_exemplars, alone = found[f"mechtag, {EXEMPLARS}"][draws[0]], found[ALONE][draws[0]]
    assert by_exemplars.labels.shape == alone.labels.shape
    assert (by_exemplars.labels != alone.labels).any()


def write_table(path: Path, rows: Sequence[dict[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_reads_hallmarks(bench: Path) -> None:
    labels = {"1": "inflammation|angiogenesis", "2": ""}
    write_table(bench / "hoc_documents.csv.gz", [{"pmid": key, "labels": own} for key, own in labels.items()])
    sentences = [("1", "Vessels grew .", "angiogenesis"), ("2", "Nothing .", ""), ("1", "They met .", "inflammation|x")]
    write_table(
        bench / "hoc_sentences.csv.gz",
        [dict(zip(("pmid", "sentence", "labels"), sentence, strict=True)) for sentence in sentences],
    )
    codebook, documents = codebook_sets._hallmarks(Settings())
    (only,) = documents  # Abstracts without a label are left out.
    assert only.record_id == "pmid:1"
    assert only.document.sentences == ("Vessels grew .", "They met .")
    assert only.sentence_labels == (("angiogenesis",), ("inflammation",))
    assert [key for key in codebook.keys if only.codes[key]] == ["angiogenesis", "inflammation"]
    coded = CodedSet("hallmarks", codebook, documents)
    assert coded.has_sentences
    whole = coded.without_sentences()
    assert not whole.has_sentences
    assert [each.codes for each in whole.documents] == [only.codes]


@pytest.mark.parametrize("read", [codebook_sets._exposure, codebook_sets._goals, codebook_sets._hallmarks])
def test_a_missing_set_is_reported_with_its_source(bench: Path, read: Any) -> None:
    with pytest.raises(MechtagError, match=r"multilabel.*(github\.com|MECHTAG_BENCH)"):
        read(Settings())
