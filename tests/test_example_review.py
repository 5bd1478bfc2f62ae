"""Test that the files of the review that `mechtag init --example` makes agree with each other and their README."""

from __future__ import annotations

import re
from collections import Counter, defaultdict

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from mechtag.core.codebook import Codebook, load_codebook
from mechtag.core.records import Coding, Record, Sentence, keys_of
from mechtag.core.settings import DedupeSettings, SentenceSettings
from mechtag.pipeline.annotations.coding_table import read_codings
from mechtag.pipeline.annotations.gold_table import load_matrix
from mechtag.pipeline.annotations.record_finder import Finder
from mechtag.pipeline.dedupe.dedupe import dedupe
from mechtag.pipeline.reading.ingest import ingest
from mechtag.pipeline.reading.text.cleaning import clean_record
from mechtag.pipeline.reading.text.sentences import split
from tests.support.paths import ROOT

FOLDER = ROOT / "data/examples/farm-trees"
README = (FOLDER / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def codebook() -> Codebook:
    return load_codebook(FOLDER / "codebook.yaml")


@pytest.fixture(scope="module")
def read() -> list[Record]:
    """The exported records, including duplicates."""
    found = ingest([FOLDER / "data/raw/search.ris"])
    assert (found.rejected, found.notes, found.unread) == ((), (), ())
    return [clean_record(record) for record in found.records]


@pytest.fixture(scope="module")
def records(read: list[Record]) -> dict[str, Record]:
    """The record of each paper by key, without duplicates."""
    return {key: record for record in dedupe(read, DedupeSettings()).unique for key in keys_of(record)}


@pytest.fixture(scope="module")
def codings(codebook: Codebook, records: dict[str, Record]) -> list[Coding]:
    return read_codings(FOLDER / "data/annotated/codings.csv", codebook.all_keys, Finder(list(records.values())))


@pytest.fixture(scope="module")
def sentences(records: dict[str, Record]) -> dict[str, list[Sentence]]:
    found = defaultdict(list)
    for sentence in split(records.values(), SentenceSettings()):
        found[sentence.record_id].append(sentence)
    return found


def test_the_search_has_a_few_duplicates(read: list[Record], records: dict[str, Record]) -> None:
    assert f"{len(read)} records of {len(records)} papers" in README
    assert 3 <= len(read) - len(records) <= 5


def test_no_record_looks_like_a_real_publication(read: list[Record]) -> None:
    for record in read:
        assert (record.doi, record.pmid) == (None, None)
        assert re.match("Invented|Inv. |Example|Ex. |Journal of Invented", record.journal or ""), record.journal
        assert ("N1", "Invented for mechtag: this paper does not exist") in record.raw
        assert record.authors
        assert record.year


def test_abstracts_are_short_and_differ_in_style_and_content(
    records: dict[str, Record], sentences: dict[str, list[Sentence]]
) -> None:
    assert all(4 <= len(own) <= 9 for own in sentences.values())
    structured = [own for own in sentences.values() if own[-1].section]
    assert 8 <= len(structured) <= len(records) / 2
    vectors = TfidfVectorizer().fit_transform([record.abstract or "" for record in records.values()])
    cosines = (vectors @ vectors.T).toarray()
    np.fill_diagonal(cosines, 0)
    assert cosines.max() < 0.4


def test_a_label_is_coded_yes_for_the_sentences_that_are_quoted(
    codings: list[Coding], codebook: Codebook, sentences: dict[str, list[Sentence]]
) -> None:
    relevant = {(row.coder, row.key) for row in codings if row.label == codebook.relevance.key and row.value == 1}
    for row in codings:
        if row.label == codebook.relevance.key:
            continue
        assert (row.coder, row.key) in relevant
        assert row.sentences_complete
        assert row.value == bool(row.sentences)
        texts = [sentences[row.record_id or ""][number].text for number in row.sentences or ()]
        assert row.evidence == (" […] ".join(texts) or None)


def test_the_readme_states_the_counts(codings: list[Coding], codebook: Codebook, records: dict[str, Record]) -> None:
    gold = load_matrix(FOLDER / "data/annotated/gold.csv")
    papers = {coder: {row.key for row in codings if row.coder == coder} for coder in ("Anna", "Ben")}
    assert {row.coder for row in codings} == set(papers)
    assert papers["Ben"] < papers["Anna"] <= records.keys()
    assert set(gold.keys) <= records.keys() - papers["Anna"]
    anna = [row for row in codings if row.coder == "Anna"]
    included = sum(row.value == 1 for row in anna if row.label == codebook.relevance.key)
    assert f"codes of {len(papers['Anna'])} papers ({included} relevant) by Anna" in README
    assert f"of {len(papers['Ben'])} of them by Ben" in README
    assert f"the labels of {len(gold.keys)} further relevant papers" in README
    assert f"papers, {included + len(gold.keys)} of which are relevant" in README
    yes = [row for row in anna if row.value == 1]
    coded, marked = Counter(row.label for row in yes), Counter[str]()
    for row in yes:
        marked[row.label] += len(row.sentences or ())
    for label in codebook.keys:
        assert f"| `{label}` | {coded[label]} | {marked[label]} | {gold.values(label).count(1)} |" in README
