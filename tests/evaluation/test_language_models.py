"""Test that language models are evaluated like human coders, and that all outputs state that they are not human."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mechtag.core.errors import MechtagError
from mechtag.core.records import Basis, Coding
from mechtag.core.settings import DedupeSettings, Settings
from mechtag.evaluation.evaluate import agreement_of_files
from mechtag.evaluation.gold_benchmark import evaluate
from mechtag.evaluation.language_models import LanguageModel, read_language_models
from mechtag.evaluation.report.accuracy_table import accuracy_markdown, agreement_sections
from mechtag.evaluation.report.wording import for_readers
from mechtag.evaluation.results import CONTAMINATION, Results
from mechtag.pipeline.annotations.coding_table import write_codings
from mechtag.pipeline.annotations.gold_table import GoldStandard, gold_standard, load_matrix
from mechtag.pipeline.llm.run import LlmRuns, write_runs
from tests.support.gold import LABELS, SETTINGS, predict, record
from tests.support.reports import described_run

KEYS = ("relevant", *LABELS)
PAPERS = 8


@pytest.fixture(scope="module")
def gold(tmp_path_factory: pytest.TempPathFactory) -> GoldStandard:
    path = tmp_path_factory.mktemp("gold") / "matrix.csv"
    generator = np.random.default_rng(5)
    rows = [",".join((f"k{row}", *map(str, generator.integers(0, 2, 3)))) for row in range(PAPERS)]
    path.write_text("\n".join([f"key,{','.join(LABELS)}", *rows]), encoding="utf-8")
    return gold_standard(load_matrix(path), [record(f"k{row}") for row in range(PAPERS)])


def answers(gold: GoldStandard, coder: str = "llm:toy", basis: Basis = "abstract") -> list[Coding]:
    """Return the human codes, except that the first paper is unclear and the last one has no codes."""
    truth = gold.truth(LABELS)
    return [
        Coding(
            record_id=paper.record_id,
            coder=coder,
            label=label,
            value=None if not row else int(truth[row, column]),  # type: ignore[arg-type]
            basis=basis,
        )
        for row, paper in enumerate(gold.evaluated[:-1])
        for column, label in enumerate(LABELS)
    ]


def measured(gold: GoldStandard, models: list[LanguageModel]) -> Results:
    generator = np.random.default_rng(1)
    transfer = [predict(row.record_id, label, generator.random()) for row in gold.evaluated for label in LABELS]
    return evaluate(LABELS, gold, {"transfer": transfer}, SETTINGS, generator, llms=models)


def read(gold: GoldStandard, *tables: Path) -> list[LanguageModel]:
    return read_language_models(tables, KEYS, gold, DedupeSettings())


@pytest.fixture
def table(gold: GoldStandard, tmp_path: Path) -> Path:
    path = tmp_path / "codings_llm.csv"
    write_codings(path, answers(gold))
    write_runs(path, LlmRuns(runs=(described_run(),)))
    return path


def test_unclear_and_missing_answers_are_left_to_people(gold: GoldStandard, table: Path) -> None:
    (found,) = measured(gold, read(gold, table)).llms
    assert (found.name, found.papers, found.unanswered) == ("llm:toy", PAPERS, 3)
    assert found.pooled.referred.value == pytest.approx(6 / 24)
    truth = gold.truth(LABELS)
    for column, label in enumerate(LABELS):
        own, lost = found.labels[label].confusion, truth[[0, -1], column].sum()
        assert (own.tp, own.fp, own.fn) == (truth[:, column].sum() - lost, 0, lost)
        assert found.labels[label].brier.value is None
    # All decisions are right, except for the two papers in the middle of the ranking.
    score = np.where(np.isin(np.arange(PAPERS), (0, PAPERS - 1))[:, None], 0.5, truth)
    column = truth[:, 0]
    pairs = [(one, two) for one in score[column == 1, 0] for two in score[column == 0, 0]]
    expected = np.mean([1.0 if one > two else 0.5 if one == two else 0.0 for one, two in pairs])
    assert found.labels[LABELS[0]].roc_auc.value == pytest.approx(expected)


def test_other_figures_are_the_same_without_language_models(gold: GoldStandard, table: Path) -> None:
    with_one, without = measured(gold, read(gold, table)), measured(gold, [])
    assert "llms" not in without.content()
    assert {key: value for key, value in with_one.content().items() if key != "llms"} == without.content()
    assert Results.model_validate(with_one.content()) == with_one


def test_accuracy_table_identifies_the_language_model(gold: GoldStandard, table: Path) -> None:
    text = accuracy_markdown(measured(gold, read(gold, table)))
    assert "| Language model toy | 8 |" in text
    assert (
        "llm:toy is a language model, not a person: model toy, on the reviewers' machine, prompt abcdef012345" in text
    )
    assert "not in the text, and therefore dropped: 5 (25%)" in text
    assert "llm:toy did not answer 3 codes of the gold papers." in text
    assert CONTAMINATION in text
    assert "| llm:toy | 23 | 20 | 25% | 13% | 12,345 | 678 | 0.2500 USD |" in text


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"coder": "Ann"}, "Ann is not a language model"),
        ({"basis": "full-text"}, "coded both abstracts and full texts"),
        ({"record_id": "doi:10.1/x"}, "coded none of the papers"),
    ],
)
def test_other_tables_are_refused(gold: GoldStandard, tmp_path: Path, rows: dict[str, str], message: str) -> None:
    own = answers(gold)
    changed = [row.model_copy(update=rows) for row in own]
    write_codings(tmp_path / "table.csv", [*own, *changed] if "basis" in rows else changed[: len(LABELS)])
    with pytest.raises(MechtagError, match=message):
        read(gold, tmp_path / "table.csv")


def test_a_coder_is_in_one_table(gold: GoldStandard, table: Path) -> None:
    with pytest.raises(MechtagError, match="llm:toy is also in another table"):
        read(gold, table, table)


def test_a_vote_is_described_by_its_voters(gold: GoldStandard, tmp_path: Path) -> None:
    write_codings(tmp_path / "vote.csv", answers(gold, "llm:vote"))
    voters = LlmRuns(
        vote="llm:vote", runs=(described_run("llm:a"), described_run("llm:b", "remote", host="api.example.org"))
    )
    write_runs(tmp_path / "vote.csv", voters)
    text = accuracy_markdown(measured(gold, read(gold, tmp_path / "vote.csv")))
    assert "llm:vote is not a person; it is the majority vote of llm:a, llm:b." in text
    assert "at api.example.org" in text


def test_agreement_includes_language_models_as_coders_that_are_not_human(
    gold: GoldStandard, table: Path, tmp_path: Path
) -> None:
    people = tmp_path / "people.csv"
    rows = [row for row in answers(gold, "Ann") if row.value is not None]
    other = [row.model_copy(update={"coder": "Bo", "value": 1 - (row.value or 0)}) for row in rows]
    write_codings(people, [*rows, *other])
    settings = Settings.model_validate({"evaluate": {"bootstrap": 100, "min_positives": 1}})
    # People come first, whatever the order of the tables.
    found = agreement_of_files([table, people], KEYS, settings)
    assert [(one.name, one.kind) for one in found.coders] == [("Ann", "human"), ("Bo", "human"), ("llm:toy", "llm")]
    kinds = {(pair.a, pair.b): (pair.kind, pair.pooled.agreement.value) for pair in found.pairs}
    assert kinds == {
        ("Ann", "Bo"): ("human-human", 0.0),
        ("Ann", "llm:toy"): ("human-llm", 1.0),
        ("Bo", "llm:toy"): ("human-llm", 0.0),
    }
    assert set(found.all) == {"humans", "with_llms"}
    # Only disagreements between people are listed for adjudication; codes of the model do not count.
    assert {len(code.codes) for code in found.adjudicate} == {2}
    printed = "\n".join(
        line for section in agreement_sections(found) for line in (*section.lines, *map(str, section.rows))
    )
    assert "Ann and language model toy" in printed
    assert "llm:toy is a language model, not a person" in printed
    assert "Language models count as coders of the same records, but are not people." in printed
    shown = for_readers(Results(agreement=found), {}).agreement
    assert shown is not None
    assert [one.name for one in shown.coders] == ["first coder", "second coder", "language model toy"]
    with pytest.raises(MechtagError, match="coder Ann is also in another table"):
        agreement_of_files([people, people], KEYS, settings)


def test_codes_of_one_coder_from_two_texts_are_compared_separately(gold: GoldStandard, tmp_path: Path) -> None:
    ann = [row for row in answers(gold, "Ann") if row.value is not None]
    bo = [row.model_copy(update={"coder": "Bo"}) for row in ann]
    later = [row.model_copy(update={"basis": "full-text", "value": 1 - (row.value or 0)}) for row in ann]
    other = [row.model_copy(update={"basis": "full-text"}) for row in bo]
    table = tmp_path / "people.csv"
    write_codings(table, [*ann, *later, *bo, *other])
    settings = Settings.model_validate({"evaluate": {"bootstrap": 100, "min_positives": 1}})
    with pytest.raises(MechtagError, match=r"coder Ann coded label .* from the abstract and from the full text"):
        agreement_of_files([table], KEYS, settings)
    by_abstract = agreement_of_files([table], KEYS, settings, basis="abstract")
    by_full_text = agreement_of_files([table], KEYS, settings, basis="full-text")
    assert (by_abstract.pairs[0].pooled.agreement.value, by_full_text.pairs[0].pooled.agreement.value) == (1.0, 0.0)
    write_codings(table, [*ann, *bo])
    with pytest.raises(MechtagError, match=r"no coding has the basis full-text"):
        agreement_of_files([table], KEYS, settings, basis="full-text")
