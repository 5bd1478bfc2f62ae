"""Test adding annotations: to which record, what they replace, which codes go stale, and how versions are kept."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mechtag.core.codebook import Codebook
from mechtag.core.errors import MechtagError
from mechtag.core.records import Coding, Record, Sentence
from mechtag.core.settings import DedupeSettings, SentenceSettings, Settings
from mechtag.pipeline.annotations.additions import Incoming, extend_additions, find_stale, match_codings
from mechtag.pipeline.annotations.coded_records import CodedRecord
from mechtag.pipeline.annotations.coding_table import add_codings, coded_from, read_annotations
from mechtag.pipeline.annotations.versions import (
    BASE,
    Additions,
    append_history,
    list_versions,
    read_additions,
    read_history,
    use_version,
    version_in_use,
    write_additions,
)
from mechtag.training.dataset import coded_documents, unit_table
from mechtag.training.heads import assign_folds


def codebook(**definitions: str) -> Codebook:
    said = {"trust": "People rely on one another.", "money": "Funds are spoken of.", **definitions}
    return Codebook.model_validate(
        {
            "name": "teams",
            "relevance": {"key": "relevant", "definition": "About teams."},
            "labels": [{"key": key, "name": key, "definition": text} for key, text in said.items()],
        }
    )


TODAY = codebook()
STAMP = f"teams@{TODAY.sha256[:12]}"


def record(number: int, **fields: object) -> Record:
    return Record.model_validate(
        {
            "record_id": f"doi:10.1234/{number}",
            "title": f"How the {number}th team of nurses learnt to share its work",
            "abstract": "Trust grew. Money was short.",
            "authors": (f"Author{number}, A.",),
            "year": 2000 + number,
            "doi": f"10.1234/{number}",
            "source_file": "some.jsonl",
            "source_index": number,
            "raw": (("key", f"p{number}"),),
            **fields,
        }
    )


def coded(number: int, *labels: str, relevant: bool = True) -> CodedRecord:
    own = record(number)
    texts = own.abstract.split(". ")
    sentences = tuple(
        Sentence(record_id=own.record_id, sentence=row, section="", start=0, end=1, text=text)
        for row, text in enumerate(texts)
    )
    return CodedRecord(
        key=f"p{number}",
        relevant=relevant,
        labels=labels,
        sentence_labels=(labels, ()),
        coder="first",
        basis="abstract",
        codebook="teams",
        record=own,
        sentences=sentences,
    )


def coding(number: int, coder: str, label: str, value: int | None, **fields: object) -> Coding:
    row = {"record_id": f"doi:10.1234/{number}", "coder": coder, "label": label, "value": value, "basis": "abstract"}
    return Coding.model_validate({**row, **fields})


def incoming(before: Additions, *codings: Coding) -> Incoming:
    known = {row.source_index for row in before.records}
    numbers = {int(str(row.record_id).split("/")[1]) for row in codings}
    return Incoming(codings, tuple(record(number) for number in sorted(numbers - known) if number >= 10))


def add(*codings: Coding, before: Additions | None = None, refused: dict[str, str] | None = None):  # type: ignore[no-untyped-def]
    base = [coded(1, "trust"), coded(2, relevant=False)]
    return extend_additions(
        before or Additions(), incoming(before or Additions(), *codings), base, TODAY, TODAY.definitions, refused or {}
    )


def test_a_record_known_under_another_id_is_found_by_the_rules_for_duplicates() -> None:
    known = record(1)
    twin = known.model_copy(
        update={"record_id": "text:abc", "doi": None, "source_file": "rayyan.csv", "source_index": 7, "raw": ()}
    )
    rows = [coding(1, "ann", "trust", 1, record_id="text:abc"), coding(30, "ann", "trust", 0)]
    found = match_codings(rows, [twin, record(30)], [known], DedupeSettings(), "new.csv")
    assert [row.record_id for row in found.codings] == ["doi:10.1234/1", "doi:10.1234/30"]
    assert [row.record_id for row in found.records] == ["doi:10.1234/30"]


def test_records_that_are_added_again_are_known() -> None:
    found = match_codings([coding(1, "ann", "trust", 1)], [record(1)], [record(1)], DedupeSettings(), "new.csv")
    assert ([row.record_id for row in found.codings], found.records) == (["doi:10.1234/1"], ())


def test_a_record_may_be_named_by_its_key_without_being_given_again() -> None:
    rows = [coding(1, "bob", "trust", 1, record_id=None, key="p1")]
    found = match_codings(rows, [], [record(1)], DedupeSettings(), "x")
    assert found.codings[0].record_id == "doi:10.1234/1"


def test_codings_of_unknown_records_are_refused_by_name() -> None:
    rows = [coding(1, "ann", "trust", 1, record_id=None, key="p77")]
    message = r"new\.csv: 1 coded record cannot be found in the table of records \(1 record\) or .*: p77"
    with pytest.raises(MechtagError, match=message):
        match_codings(rows, [record(1)], [], DedupeSettings(), "new.csv")


def test_contradicting_codes_under_two_names_of_a_coder_are_refused() -> None:
    twin = record(1).model_copy(update={"record_id": "text:abc", "doi": None, "source_index": 9, "raw": ()})
    rows = [coding(1, "ann", "trust", 1), coding(1, "ann", "trust", 0, record_id="text:abc")]
    with pytest.raises(
        MechtagError,
        match=r"label 'trust' of record doi:10.1234/1 in two different ways: yes \(in the row .* and no \(in the row",
    ):
        match_codings(rows, [record(1), twin], [], DedupeSettings(), "new.csv")


def test_later_codes_of_a_coder_replace_earlier_ones() -> None:
    first, aside, counts = add(coding(10, "ann", "trust", 1), coding(10, "ann", "money", 0))
    assert (counts, aside) == ({"new": 2}, [])
    second, _, counts = add(coding(10, "ann", "trust", 0), coding(10, "ann", "money", 0), before=first)
    assert counts == {"corrected": 1, "known": 1}
    assert [(row.label, row.value) for row in second.codings] == [("trust", 0), ("money", 0)]
    assert {row.codebook_version for row in second.codings} == {STAMP}
    assert [row.record_id for row in second.records] == ["doi:10.1234/10"]


def test_codes_from_abstract_and_full_text_are_kept_apart() -> None:
    both = coding(10, "ann", "trust", 1), coding(10, "ann", "trust", 0, basis="full-text")
    assert len(match_codings(both, [record(10)], [], DedupeSettings(), "new.csv").codings) == 2
    additions, _, counts = add(*both)
    assert (counts, [row.value for row in additions.codings]) == ({"new": 2}, [1, 0])


def test_final_codes_settle_disagreements_of_earlier_codes() -> None:
    before, aside, _ = add(coding(10, "ann", "trust", 1), coding(10, "bob", "trust", 0))
    assert aside == []
    final = [coding(10, "final", "trust", 1), coding(11, "final", "relevant", 0)]
    additions, aside, _ = add(*final, coding(11, "ann", "trust", 1), before=before)
    assert aside == []
    (first, second) = coded_from(
        additions.codings, additions.records, ("trust", "money"), "relevant", SentenceSettings(), "added"
    )
    assert (first.code("trust"), first.relevant, second.relevant) == (1, True, False)
    recoded = add_codings(
        [coded(1, "trust")],
        Additions((coding(1, "ann", "trust", 1), coding(1, "final", "trust", 0))),
        ("trust", "money"),
        "relevant",
        Settings(),
    )
    assert recoded[0].code("trust") == 0


def test_records_whose_relevance_is_not_settled_are_set_aside() -> None:
    additions, aside, counts = add(
        coding(10, "ann", "relevant", 0),
        coding(10, "bob", "trust", 1),
        coding(11, "ann", "relevant", 0),
        coding(11, "ann", "trust", 1),
        coding(2, "ann", "relevant", 1),
        coding(12, "ann", "trust", 1),
    )
    assert {row.record_id: row.reason for row in aside} == {
        "doi:10.1234/10": "coders disagree on relevance (bob: yes, ann: no)",
        "doi:10.1234/11": "ann codes the record as not relevant, but also as trust",
        "doi:10.1234/2": "coders disagree on relevance (first: no, ann: yes)",
    }
    assert ([row.record_id for row in additions.codings], counts) == (["doi:10.1234/12"], {"set_aside": 5, "new": 1})
    assert [row.record_id for row in additions.records] == ["doi:10.1234/12"]


def test_refused_records_leave_even_if_they_were_added_before() -> None:
    before, _, _ = add(coding(10, "ann", "trust", 1), coding(11, "ann", "trust", 1))
    after, aside, _ = add(coding(12, "ann", "trust", 1), before=before, refused={"doi:10.1234/10": "a test paper"})
    assert [row.record_id for row in after.codings] == ["doi:10.1234/11", "doi:10.1234/12"]
    assert [row.record_id for row in after.records] == ["doi:10.1234/11", "doi:10.1234/12"]
    assert [(row.record_id, row.reason) for row in aside] == [("doi:10.1234/10", "a test paper")]


def test_a_second_coder_who_differs_opens_the_label_for_record_and_sentences() -> None:
    additions, _, _ = add(coding(1, "bob", "trust", 0), coding(1, "bob", "money", 0), coding(10, "bob", "money", 1))
    base = [coded(1, "trust"), coded(2, relevant=False)]
    found = add_codings(base, additions, TODAY.keys, "relevant", Settings())
    assert [(row.record.record_id, row.added) for row in found] == [
        ("doi:10.1234/1", False),
        ("doi:10.1234/2", False),
        ("doi:10.1234/10", True),
    ]
    assert ([found[0].code(label) for label in TODAY.keys], found[0].sentences_not_judged) == ([None, 0], ("trust",))
    assert found[0].coder == "first, bob"
    assert [found[2].code(label) for label in TODAY.keys] == [None, 1]
    targets = np.array(unit_table(coded_documents(found[:1], TODAY.keys), [], TODAY.keys)["targets"])
    # Rows: title and two sentences; columns: relevance, trust, money.
    np.testing.assert_array_equal(targets[:, 1], [np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(targets[:, 2], [np.nan, 0, 0])


def test_the_same_coder_may_correct_an_earlier_code() -> None:
    additions, _, _ = add(coding(1, "first", "trust", 0))
    (found,) = add_codings([coded(1, "trust")], additions, TODAY.keys, "relevant", Settings())
    assert (found.code("trust"), found.labels, found.coder) == (0, (), "first")


def coded_by(*rows: Coding) -> list[CodedRecord]:
    return coded_from(rows, [record(1)], TODAY.keys, "relevant", Settings().sentences, "codings.csv")


def test_a_record_that_a_table_lists_twice_is_coded_once() -> None:
    rows = [coding(1, "ann", "trust", 1), coding(2, "ann", "trust", 0)]
    records = [record(1), record(2), record(1, source_file="other.jsonl")]
    found = coded_from(rows, records, TODAY.keys, "relevant", Settings().sentences, "codings.csv")
    assert [(one.record.record_id, one.code("trust")) for one in found] == [("doi:10.1234/1", 1), ("doi:10.1234/2", 0)]


def test_each_coder_of_a_table_of_codings_may_correct_an_earlier_code() -> None:
    both = [coding(1, coder, label, 1) for coder in ("ann", "bob") for label in ("relevant", "trust")]
    base = coded_by(*both)
    later = Additions((coding(1, "ann", "trust", 0), coding(1, "bob", "trust", 0)))
    (found,) = add_codings(base, later, TODAY.keys, "relevant", Settings())
    assert (found.code("trust"), found.relevant, found.coder) == (0, True, "ann, bob")
    rows = coding(1, "ann", "relevant", 0), coding(1, "bob", "relevant", 0)
    withdrawn = coding(1, "ann", "trust", None), coding(1, "bob", "trust", 0)
    additions, aside, counts = extend_additions(
        Additions(), Incoming((*rows, *withdrawn), ()), base, TODAY, TODAY.definitions, {}
    )
    assert (aside, counts) == ([], {"corrected": 4})
    assert not add_codings(base, additions, TODAY.keys, "relevant", Settings())[0].relevant


def test_a_repeated_code_of_one_coder_does_not_settle_a_disagreement() -> None:
    base = coded_by(coding(1, "ann", "trust", 1), coding(1, "bob", "trust", 0))
    for later, code in ((coding(1, "bob", "trust", 0), None), (coding(1, "bob", "trust", 1), 1)):
        (found,) = add_codings(base, Additions((later,)), TODAY.keys, "relevant", Settings())
        assert found.code("trust") == code


def test_a_later_no_to_relevance_is_set_aside_while_the_coder_keeps_a_label() -> None:
    base = coded_by(coding(1, "ann", "relevant", 1), coding(1, "ann", "trust", 1))
    new = Incoming((coding(1, "ann", "relevant", 0),), ())
    additions, aside, counts = extend_additions(Additions(), new, base, TODAY, TODAY.definitions, {})
    assert [row.reason for row in aside] == ["ann codes the record as not relevant, but also as trust"]
    assert (additions.codings, counts) == ((), {"set_aside": 1})


def test_codes_go_stale_only_with_their_own_definition() -> None:
    additions, _, _ = add(
        coding(10, "ann", "trust", 1),
        coding(10, "ann", "money", 1),
        coding(11, "ann", "money", 0, codebook_version="v0"),
    )
    base = [coded(1, "trust"), coded(2, relevant=False)]
    assert [(row.key, row.label, row.reason) for row in find_stale(additions, base, TODAY)] == [
        ("", "money", "coded under an unknown version of the codebook")
    ]
    changed = codebook(trust="People vouch for one another.")
    stale = find_stale(additions, base, changed)
    assert [(row.record_id, row.coder, row.label) for row in stale] == [
        ("doi:10.1234/1", "first", "trust"),
        ("doi:10.1234/10", "ann", "trust"),
        ("doi:10.1234/11", "ann", "money"),
    ]
    # Codes given under the new definition count again.
    again = Incoming((coding(10, "ann", "trust", 1), coding(1, "first", "trust", 1)), ())
    renewed, _, counts = extend_additions(additions, again, base, changed, TODAY.definitions, {})
    assert counts == {"known": 2}
    assert [row.label for row in find_stale(renewed, base, changed)] == ["money"]
    wider = codebook(trust="People vouch for one another.", extra="New.")
    assert next((row.label, row.reason) for row in find_stale(renewed, base, wider)) == (
        "extra",
        "the label was not in the codebook when the record was coded",
    )


def test_versions_are_kept_and_found_by_their_content(tmp_path: Path) -> None:
    folder = tmp_path / "added"
    assert (version_in_use(folder), read_additions(folder), list_versions(folder)) == ("", Additions(), [])
    first, _, _ = add(coding(10, "=ann", "trust", 1, evidence="-Trust\u2028grew."))
    second, _, _ = add(coding(11, "ann", "trust", None), before=first)
    names = [write_additions(folder, each) for each in (first, second, first)]
    assert names[0] == names[2]
    assert list_versions(folder) == names[:2] == [f"1-{first.digest}", f"2-{second.digest}"]
    use_version(folder, names[0])
    assert read_additions(folder) == first
    assert read_additions(folder, names[1]) == second
    assert read_additions(folder, "") == Additions()
    empty = Additions(definitions={BASE: TODAY.definitions})
    assert read_additions(folder, write_additions(folder, empty)) == empty


def test_a_version_that_was_changed_is_refused(tmp_path: Path) -> None:
    additions, _, _ = add(coding(10, "ann", "trust", 1))
    name = write_additions(tmp_path, additions)
    path = tmp_path / name / "codings.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace('"value": 1', '"value": 0'), encoding="utf-8")
    with pytest.raises(MechtagError, match="were changed after they were written"):
        read_additions(tmp_path, name)
    path.unlink()
    with pytest.raises(MechtagError, match="no such file; restore it"):
        read_additions(tmp_path, name)


@pytest.mark.parametrize("name", ["../elsewhere", "7-0123456789ab", 7, "1-x"])
def test_a_missing_version_is_refused(tmp_path: Path, name: object) -> None:
    (tmp_path / "in_use.json").write_text(json.dumps({"version": name}), encoding="utf-8")
    with pytest.raises(MechtagError, match=r"no such version of the annotations|is not a valid version name"):
        read_additions(tmp_path)


def test_history_is_written_once(tmp_path: Path) -> None:
    for row in ({"event": "a"}, {"event": "b"}, {"event": "b"}, {"event": "a"}):
        append_history(tmp_path, row)
    assert [row["event"] for row in read_history(tmp_path)] == ["a", "b", "a"]


def test_training_reads_the_version_in_use(tmp_path: Path) -> None:
    lines = [
        {
            "key": "p1",
            "title": record(1).title,
            "doi": "10.1234/1",
            "relevant": True,
            "labels": ["trust"],
            "sentences": [{"text": "Trust grew.", "labels": ["trust"]}],
            "coder": "first",
            "basis": "abstract",
            "codebook": "teams",
        }
    ]
    (tmp_path / "coded.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines), encoding="utf-8")
    train = {"records": str(tmp_path / "coded.jsonl"), "added": str(tmp_path / "added")}
    settings = Settings.model_validate({"train": train})
    additions, _, _ = add(coding(10, "ann", "trust", 1), coding(1, "ann", "trust", 0))
    name = write_additions(tmp_path / "added", additions)

    def codes(version: str | None = None) -> list[int | None]:
        return [row.code("trust") for row in read_annotations(settings, TODAY.keys, "relevant", version)]

    assert codes() == [1]
    assert codes(name) == [None, 1]
    use_version(tmp_path / "added", name)
    assert (codes(), codes("")) == ([None, 1], [1])


def test_records_keep_their_folds_when_others_are_added() -> None:
    relevant = np.array([1, 0] * 20, dtype=float)
    later = np.array([1, 1, 0, 1, 1, 1, 0, 1], dtype=float)
    before = assign_folds(relevant, 5, seed=3)
    for count in range(1, len(later) + 1):
        after = assign_folds(np.append(relevant, later[:count]), 5, 3, added=count)
        np.testing.assert_array_equal(after[: len(relevant)], before)
        assert after[-1] == assign_folds(np.append(relevant, later), 5, 3, added=len(later))[len(relevant) + count - 1]
    dealt = assign_folds(np.append(relevant, later), 5, 3, added=len(later))[len(relevant) :]
    assert np.bincount(dealt[later == 1], minlength=5).tolist() == [2, 1, 1, 1, 1]


def test_fields_added_to_the_contract_leave_the_hash_of_earlier_versions_as_it_was() -> None:
    coding = Coding(
        record_id="doi:10.1/x", coder="ann", label="trust", value=1, basis="abstract", codebook_version="v1"
    )
    record = Record(record_id="doi:10.1/x", title="A title")
    before = Additions((coding,), (record,), {"": {"trust": "abc"}})
    assert before.digest == "107fdd184853"  # computed by version 0.1.0 before the fields were added
    marked = coding.model_copy(update={"sentences": (0,)})
    assert Additions((marked,), (record,), before.definitions).digest != before.digest
