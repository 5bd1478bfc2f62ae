"""Test the public Python API on toy data and with the shipped model."""

from __future__ import annotations

import doctest
import shutil
import sys
from pathlib import Path
from types import CodeType

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_predict

import mechtag
import mechtag.api
from mechtag.core.codebook import Codebook
from mechtag.core.errors import MechtagError
from mechtag.core.records import Prediction, Record
from mechtag.project import SHIPPED
from tests.support.garden import CODEBOOK, LABELS, carried, papers, title
from tests.support.paths import ROOT, UPDATE

TRAINED = pytest.mark.skipif(
    not (SHIPPED / "model/config.json").exists(), reason="no trained model; run 'dvc repro train'"
)


def test_public_names_exist() -> None:
    assert mechtag.__all__ == ["Project", "Records", "Tagger", "__version__", "dedupe", "evaluate", "rank", "read"]
    for name in mechtag.__all__:
        assert getattr(mechtag, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        mechtag.nothing  # noqa: B018


def test_records_go_to_pandas_and_datasets_and_back() -> None:
    records = mechtag.read(UPDATE)
    assert (len(records), len(records.rejected)) == (30, 0)
    unique = records.dedupe()
    assert len(unique) == 26
    frame = unique.to_pandas()
    assert list(frame.columns[:3]) == ["record_id", "title", "abstract"]
    for back in (mechtag.Records.from_pandas(frame), mechtag.Records.from_dataset(unique.to_dataset())):
        assert [record.model_copy(update={"raw": ()}) for record in unique] == list(back)
    assert isinstance(records[:2], mechtag.Records)
    assert repr(records) == "<Records: 30 records>"


def test_tables_of_users_become_records() -> None:
    frame = pd.DataFrame(
        {"title": ["A", "B"], "doi": ["https://doi.org/10.1000/X", None], "year": [2020.0, np.nan], "mine": [1, 2]}
    )
    first, second = mechtag.Records.from_pandas(frame)
    assert (first.doi, first.year, first.record_id) == ("10.1000/x", 2020, "doi:10.1000/x")
    assert (second.doi, second.year, second.title) == (None, None, "B")
    with pytest.raises(MechtagError, match="no column 'title'"):
        mechtag.Records.from_pandas(frame.drop(columns="title"))
    with pytest.raises(MechtagError, match=r"row 1 of the table: invalid value of abstract .*valid string"):
        mechtag.Records.from_pandas(pd.DataFrame({"title": ["A"], "abstract": [5]}))
    with pytest.raises(MechtagError, match=r"row 1 of the table: invalid value of year .*valid integer"):
        mechtag.Records.from_pandas(pd.DataFrame({"title": ["A"], "year": ["in press"]}))


def test_digits_that_pandas_read_as_numbers_are_identifiers() -> None:
    """In a column with missing values, pandas turns the PubMed id 12345678 into 12345678.0."""
    frame = pd.DataFrame({"title": ["A", "B"], "pmid": [12345678, None], "volume": [3.0, np.nan], "record_id": [7, 8]})
    first, second = mechtag.Records.from_pandas(frame)
    assert (first.pmid, first.volume, first.record_id) == ("12345678", "3", "7")
    assert (second.pmid, second.volume, second.record_id) == (None, None, "8")
    (alone,) = mechtag.Records.from_pandas(frame.loc[[0], ["title", "pmid"]])
    assert alone.record_id == "pmid:12345678"


def test_rejected_entries_are_still_there_after_duplicates_are_merged(tmp_path: Path) -> None:
    (tmp_path / "two.ris").write_text("TY  - JOUR\nTI  - Soil\nER  - \n\nTY  - JOUR\nPY  - 2020\nER  - \n")
    records = mechtag.read(tmp_path / "two.ris")
    assert len(records.rejected) == 1
    assert records.dedupe().rejected == records.rejected
    assert records.dedupe().notes == records.notes


@pytest.fixture(scope="module")
def garden() -> tuple[list[str], np.ndarray]:
    """Return texts whose first line is a title, and their label codes; a third of the texts are off topic."""
    coded = [
        (f"{title(number)}\n{' '.join(text for text, _ in one)}", carried(one))
        for number, one in enumerate(papers(24, 1))
    ]
    other = [(f"Report {number}\nTrains were late on line {number}. Passengers waited.", []) for number in range(12)]
    texts = [text for text, _ in coded + other]
    return texts, np.array([[int(label in labels) for label in LABELS] for _, labels in coded + other])


@pytest.mark.slow
def test_the_tagger_works_in_scikit_learn(garden: tuple[list[str], np.ndarray]) -> None:
    texts, targets = garden
    tagger = mechtag.Tagger(Codebook.model_validate(CODEBOOK), folds=3)
    assert clone(tagger).get_params() == tagger.get_params()
    chances = cross_val_predict(tagger, texts, targets, cv=3, method="predict_proba")
    assert chances.shape == targets.shape
    assert ((chances >= 0) & (chances <= 1)).all()
    assert chances[targets == 1].mean() > 2 * chances[targets == 0].mean()
    with pytest.raises(NotFittedError, match="not fitted"):
        tagger.predict(texts)
    fitted = clone(tagger).fit(texts, targets)
    assert fitted.labels_ == LABELS
    assert set(np.unique(fitted.predict(texts))) <= {0, 1}
    np.testing.assert_array_equal(fitted.predict_proba(texts), clone(tagger).fit(texts, targets).predict_proba(texts))


@pytest.mark.slow
def test_relevance_may_come_first(garden: tuple[list[str], np.ndarray]) -> None:
    texts, targets = garden
    relevant = np.array([[1]] * 24 + [[0]] * 12)
    tagger = mechtag.Tagger(Codebook.model_validate(CODEBOOK), folds=3).fit(texts, np.hstack([relevant, targets]))
    assert tagger.labels_ == ("about_gardens", *LABELS)
    chances = tagger.predict_proba(texts)
    assert chances[:24, 0].min() > chances[24:, 0].max()
    # Records and tables get the same probabilities as texts.
    record = Record(record_id="x", title=texts[0].split("\n")[0], abstract=texts[0].split("\n")[1])
    np.testing.assert_allclose(tagger.predict_proba([record]), chances[:1], rtol=1e-4)
    frame = pd.DataFrame({"title": [record.title], "abstract": [record.abstract]})
    np.testing.assert_allclose(tagger.predict_proba(frame), chances[:1], rtol=1e-4)
    (found,) = {row.record_id for row in tagger.tag([record])}
    assert found == "x"


@pytest.mark.parametrize("shape", [(36, 2), (35, 3), (36,)])
def test_shapes_that_do_not_match_are_refused(garden: tuple[list[str], np.ndarray], shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected \(36, 3\) for the labels of the codebook, or \(36, 4\)"):
        mechtag.Tagger(Codebook.model_validate(CODEBOOK)).fit(garden[0], np.ones(shape))


@pytest.mark.parametrize(
    ("codes", "match"),
    [
        (np.full((36, 3), 0.5), r"y contains 0\.5; the codes are 1 \(yes\), 0 \(no\) and NaN"),
        (np.full((36, 3), 2), "y contains 2; the codes are 1"),
        (pd.DataFrame(1, range(36), LABELS[::-1]), "columns of y are .*; use the order watering, pests, shade$"),
        (np.array([[0, 1, 0, 0]] * 36), "text 0 is coded as irrelevant, but has a label"),
        (None, "y is missing; pass the codes of the 36 texts"),
    ],
)
def test_codes_that_would_be_misread_are_refused(
    garden: tuple[list[str], np.ndarray], codes: object, match: str
) -> None:
    with pytest.raises(ValueError, match=match):
        mechtag.Tagger(Codebook.model_validate(CODEBOOK)).fit(garden[0], codes)


@pytest.mark.parametrize("text", [float("nan"), None, {"title": "a", "abstract": "b"}, np.array(["a", "b"])])
def test_what_is_not_a_text_is_refused(text: object) -> None:
    tagger = mechtag.Tagger(Codebook.model_validate(CODEBOOK))
    with pytest.raises(TypeError, match=r"text 1 is .* must be a string or a Record"):
        tagger.fit(["Beans", text], [[1, 0, 0], [0, 1, 0]])
    with pytest.raises(TypeError, match="a single string; put it into a list"):
        tagger.fit("Beans", [[1, 0, 0]])


def test_what_was_not_judged_is_never_a_no(garden: tuple[list[str], np.ndarray]) -> None:
    texts, targets = garden[0][:8] + garden[0][-4:], np.vstack([garden[1][:8], garden[1][-4:]])
    tagger = mechtag.Tagger(Codebook.model_validate(CODEBOOK), folds=2)
    without = clone(tagger).fit(texts[:-2], targets[:-2]).predict_proba(texts)
    unjudged = np.where(np.arange(12)[:, None] < 10, targets, np.nan)
    np.testing.assert_array_equal(clone(tagger).fit(texts, unjudged).predict_proba(texts), without)
    # Who judged labels, but not relevance, considers the text relevant.
    relevant = np.array([[1.0]] * 8 + [[0.0]] * 4)
    stated = clone(tagger).fit(texts, np.hstack([relevant, targets])).predict_proba(texts)
    left_open = np.hstack([np.where(relevant == 1, np.nan, 0), targets])
    np.testing.assert_array_equal(clone(tagger).fit(texts, left_open).predict_proba(texts), stated)
    assert tagger.fit().predict_proba([]).shape == (0, 4)


def test_metrics_equal_those_of_scikit_learn() -> None:
    from sklearn.metrics import cohen_kappa_score, roc_auc_score

    generator = np.random.default_rng(0)
    codes = pd.DataFrame(generator.integers(0, 2, (40, 2)), index=[f"r{n}" for n in range(40)], columns=["a", "b"])
    chances = np.clip(codes.to_numpy() * 0.3 + generator.random((40, 2)) * 0.7, 0, 1)
    rows = [
        Prediction(
            record_id=name,
            label=label,
            score=chance,
            probability=chance,
            threshold=0.5,
            decision="yes" if chance >= 0.5 else "no",
            model_id="m",
        )
        for name, line in zip(codes.index, chances, strict=True)
        for label, chance in zip(codes.columns, line, strict=True)
    ]
    figures = mechtag.evaluate(rows, codes, bootstrap=200)
    for column, label in enumerate(codes.columns):
        assert figures.loc[(label, "roc_auc"), "value"] == pytest.approx(
            roc_auc_score(codes[label], chances[:, column])
        )
    kappa = cohen_kappa_score(codes.to_numpy().ravel(), (chances >= 0.5).ravel())
    assert figures.loc[("all labels", "kappa"), "value"] == pytest.approx(kappa)
    assert (figures["ci_low"] <= figures["value"]).loc["all labels", "kappa"]
    with pytest.raises(MechtagError, match="other"):
        mechtag.evaluate(rows, codes.rename(columns={"a": "other"}))
    with pytest.raises(MechtagError, match=r"column a of 'codes' contains 2; write 1 \(yes\) or 0 \(no\)"):
        mechtag.evaluate(rows, codes.replace({"a": {1: 2}}))
    with pytest.raises(MechtagError, match=r"column record_id of 'codes' contains 'r0'.* belong in the index"):
        mechtag.evaluate(rows, codes.reset_index(names="record_id"))
    with pytest.raises(MechtagError, match="'codes' contains r0 several times among its records"):
        mechtag.evaluate(rows, pd.concat([codes, codes[:1]]))
    with pytest.raises(MechtagError, match="'codes' contains a several times among its labels"):
        mechtag.evaluate(rows, codes[["a", "a"]])
    with pytest.raises(MechtagError, match="'codes' is empty"):
        mechtag.evaluate(rows, codes[:0])


def test_records_are_ranked_by_decisions() -> None:
    texts = ["soil and water", "water for plants", "rail timetable", "late trains"]
    records = [Record(record_id=str(n), title=text, abstract=text * 3) for n, text in enumerate(texts)]
    order = mechtag.rank(records, {"0": 1, "2": 0})
    assert list(order.index).index("1") < list(order.index).index("3")
    assert set(order.columns) == {"score", "decision", "title"}
    assert len(mechtag.rank(records)) == 4
    with pytest.raises(MechtagError, match="1 decision on records that are not among 'records', such as 9"):
        mechtag.rank(records, {"9": 1})
    undecided = mechtag.rank(records, pd.Series({"0": 1, "1": np.nan, "2": 0, "3": None}))
    pd.testing.assert_frame_equal(undecided, order)
    for wrong in (2, "yes"):
        with pytest.raises(MechtagError, match=rf"decision on record 0 is {wrong!r}; write 1 \(relevant\) or 0"):
            mechtag.rank(records, {"0": wrong})  # type: ignore[dict-item]


@TRAINED
def test_the_shipped_model_tags(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    found = mechtag.Tagger.load().tag(mechtag.read(UPDATE)[:3])
    frame = found.to_pandas()
    assert len(frame) == 3
    assert {"relevant", "relevant_decision", "relevant_evidence"} <= set(frame.columns)
    assert found.to_dataset().num_rows == len(found) == 24


@TRAINED
def test_the_model_of_a_project_must_have_its_codebook(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    project = mechtag.Project.create(tmp_path / "review")
    monkeypatch.chdir(project.root)
    labels = mechtag.Tagger.load().labels_
    shutil.copytree(SHIPPED / "model", project.own_model)
    assert mechtag.Tagger.load().labels_ == labels
    (project.root / "codebook.yaml").write_text(yaml.safe_dump(CODEBOOK), encoding="utf-8")
    with pytest.raises(MechtagError, match=r"trained for the codebook .*, but the codebook in use is kitchen garden"):
        mechtag.Tagger.load()
    assert mechtag.Tagger.load(project.own_model).labels_ == labels


@TRAINED
def test_one_record_is_tagged_by_few_modules() -> None:
    """A newcomer who wants to understand how a record is tagged must read at most 25 modules."""
    tagger, records = mechtag.Tagger.load(), mechtag.read(UPDATE)[:1]
    tagger.tag(records)  # Modules that are loaded only now do not count.
    codes = set[CodeType]()
    sys.setprofile(lambda frame, event, _: codes.add(frame.f_code) if event == "call" else None)
    try:
        tagger.tag(records)
    finally:
        sys.setprofile(None)
    modules = {Path(code.co_filename).resolve() for code in codes}
    own = {path for path in modules if path.is_relative_to(ROOT) and "tests" not in path.parts and path.suffix == ".py"}
    inside = sorted(str(path.relative_to(ROOT)) for path in own if ".venv" not in path.parts)
    assert {"models/encoder.py", "models/scoring.py", "pipeline/reading/text/cleaning.py"} <= set(inside)
    assert len(inside) <= 25, inside


@TRAINED
def test_the_examples_in_the_docstrings_are_right() -> None:
    assert doctest.testmod(mechtag.api).failed == 0
