"""Test that the metrics file is unchanged after reading and writing, and that other files are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from mechtag.core.errors import MechtagError
from mechtag.core.files import read_json, write_json
from mechtag.evaluation.results import Figure, LabelFigures, Pooled, Results, SetMechanisms, SetRelevance
from tests.support.reports import finished

__all__ = ["finished"]  # a fixture, which pytest finds by its name here


def test_a_file_is_written_as_it_was_read(finished: Path, tmp_path: Path) -> None:
    Results.read(finished / "reports/metrics.json").write(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (finished / "reports/metrics.json").read_bytes()


def test_values_are_found_by_their_place_in_the_file(finished: Path) -> None:
    content = read_json(finished / "reports/metrics.json")
    found = Results.read(finished / "reports/metrics.json").figures()
    assert found["transfer.pooled.kappa"] == content["transfer"]["pooled"]["kappa"]["value"]
    assert found["coded_records.sets.garden.relevance.kept"]
    assert not any(".labels." in name for name in found)
    assert None not in found.values()


def test_headline_is_a_short_list_of_figures(finished: Path) -> None:
    results = Results.read(finished / "reports/metrics.json")
    found = read_json(finished / "reports/headline.json")
    assert results.transfer
    assert results.relevance
    assert found["transfer, kappa"] == results.transfer.pooled.kappa.value
    assert found["relevance, recall"] == results.relevance.coded_records.recall.value
    assert found["relevance, garden, ROC AUC"] == results.sets["garden"].relevance.roc_auc.value
    assert found["gold, papers read"] == 15
    assert 18 <= len(found) <= 25
    assert Results().headline() == {}


def test_other_files_are_refused(finished: Path, tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    content = read_json(finished / "reports/metrics.json")
    del content["transfer"]["pooled"]["yes_right"]
    write_json(path, content)
    with pytest.raises(
        MechtagError,
        match=r"not a metrics file of this version of mechtag \(transfer\.pooled\.yes_right: field required\)",
    ):
        Results.read(path)
    write_json(path, {"read": 3, "rejected": 1})
    with pytest.raises(MechtagError, match=r"\(read: .*, and 1 more fault\); run 'mechtag evaluate' again"):
        Results.read(path)
    path.write_text("no JSON", encoding="utf-8")
    with pytest.raises(MechtagError, match="not readable as JSON"):
        Results.read(path)


def test_every_metric_has_a_description() -> None:
    for block in (Pooled, LabelFigures, SetRelevance, SetMechanisms):
        figures = [name for name, field in block.model_fields.items() if field.annotation is Figure]
        assert list(block.words()) == figures != []
    assert Pooled.words()["across_auc"].narrow == "across"
    assert Pooled.words()["alpha"].narrow == "alpha"
