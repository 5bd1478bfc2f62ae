"""Test that the example codebook and its coded records are readable, consistent, and as their README says."""

from __future__ import annotations

import re

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from mechtag.core.codebook import Codebook, load_codebook
from mechtag.pipeline.annotations.coded_records import CodedRecord, read_about, read_coded
from tests.support.paths import ROOT

FOLDER = ROOT / "data/examples/green-space"
README = (FOLDER / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def codebook() -> Codebook:
    return load_codebook(FOLDER / "codebook.yaml")


@pytest.fixture(scope="module")
def records(codebook: Codebook) -> list[CodedRecord]:
    return read_coded(FOLDER, codebook.keys)


def test_records_are_coded_with_this_codebook_and_described_as_invented(
    codebook: Codebook, records: list[CodedRecord]
) -> None:
    assert {record.codebook for record in records} == {codebook.name}
    assert {kind for _, kind in read_about(FOLDER, "coded records").values()} == {"invented"}
    for record in records:
        assert record.record.type == "invented"
        assert not any((record.record.authors, record.record.year, record.record.journal, record.record.doi))


def test_a_record_has_exactly_the_labels_of_its_sentences(records: list[CodedRecord]) -> None:
    for record in records:
        assert record.sentence_labels is not None
        assert set(record.labels) == {label for labels in record.sentence_labels for label in labels}, record.key
        assert record.relevant or not record.labels, record.key


def test_readme_states_the_counts(codebook: Codebook, records: list[CodedRecord]) -> None:
    relevant = [record for record in records if record.relevant]
    hard = [record for record in records if record.hard]
    assert not any(record.relevant for record in hard)
    assert (
        f"{len(records)} abstracts in mixed order: {len(relevant)} relevant, "
        f"{len(records) - len(relevant)} irrelevant, {len(hard)} of which are hard"
    ) in README
    assert f"{sum(len(record.sentences) for record in records)} sentences" in README
    table = [tuple(row) for row in re.findall(r"^\| `(\w+)` \| (\d+) \| (\d+) \|$", README, re.MULTILINE)]
    assert table == [
        (
            label,
            str(sum(label in record.labels for record in records)),
            str(sum(label in labels for record in records for labels in record.sentence_labels or ())),
        )
        for label in codebook.keys
    ]
    numbers = [len(record.labels) for record in relevant]
    assert (
        f"{min(numbers)} to {max(numbers)} labels (mean {np.mean(numbers):.1f}); {numbers.count(0)} have none" in README
    )


def test_labels_differ_in_prevalence(codebook: Codebook, records: list[CodedRecord]) -> None:
    relevant = [record for record in records if record.relevant]
    for label in codebook.keys:
        assert 0.15 <= np.mean([label in record.labels for record in relevant]) <= 0.5, label


def test_no_two_abstracts_are_alike(records: list[CodedRecord]) -> None:
    texts = [record.record.abstract or "" for record in records]
    assert all(120 <= len(text.split()) <= 230 for text in texts)
    vectors = TfidfVectorizer().fit_transform(texts)
    cosines = (vectors @ vectors.T).toarray()
    np.fill_diagonal(cosines, 0)
    assert cosines.max() < 0.5
