"""Test ``mechtag rank`` and ``mechtag simulate`` on made-up records."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mechtag.core.parquet import read_records, write_records
from mechtag.core.records import Record
from mechtag.pipeline.screening import search
from mechtag.pipeline.screening.search import Search
from tests.support.command import call
from tests.support.paths import ROOT

TEAMS = ("Managers shared the lead with nurses and doctors", "Leaders of a joint team built trust between services")
OTHERS = ("Rats were fed a diet rich in fat", "The alloy was heated to a thousand degrees", "Bridges under wind load")
COUNT, RELEVANT = 160, 10


def truth(record_id: str) -> int:
    return int(int(record_id.split("/")[1]) < RELEVANT)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("records") / "unique.parquet"
    rows = []
    for number in range(COUNT):
        texts = TEAMS if number < RELEVANT else OTHERS
        title = f"{texts[number % len(texts)]}, part {number}"
        rows.append(Record(record_id=f"doi:10.5555/{number}", title=title, source_file="made", source_index=number))
    write_records(path, [rows[row] for row in np.random.default_rng(0).permutation(COUNT)])
    return path


@pytest.fixture(scope="module")
def params(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("params") / "params.yaml"
    path.write_text(f"codebook: {ROOT / 'data/annotated/codebook.yaml'}\n", encoding="utf-8")
    return path


def table(path: Path) -> list[dict[str, str]]:
    lines = path.read_text(encoding="utf-8-sig").splitlines()  # No cell contains a line break.
    return list(csv.DictReader(lines, delimiter=";" if ";" in lines[0] else ","))


def decide(path: Path, count: int) -> None:
    """Fill in decisions on the first ``count`` unread records, as a reviewer does in a spreadsheet."""
    rows = table(path)
    for row in [row for row in rows if not row["decision"]][:count]:
        row["decision"] = str(truth(row["record_id"]))
    write_table(path, rows)


def write_table(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=";")  # as in Excel in many European countries
        writer.writeheader()
        writer.writerows(rows)


def split_rows(path: Path) -> tuple[list[str], list[str]]:
    """Return the ids of the records without a decision and of those with one, each in table order."""
    rows = table(path)
    return [row["record_id"] for row in rows if not row["decision"]], [
        row["record_id"] for row in rows if row["decision"]
    ]


def course(path: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["course"]
    return found


@pytest.mark.slow
def test_a_whole_review_from_the_first_record_to_the_stop(tmp_path: Path, records: Path, params: Path) -> None:
    output = tmp_path / "ranking.csv"
    words = ("rank", records, "-o", output, "--project", params.parent, "--recall", "0.8", "--confidence", "0.8")
    status, said, _ = call(*words)
    assert status == 0
    assert f"0 of {COUNT} records have been judged, 0 of them as relevant; left to read: {COUNT}" in said
    assert "too early to decide" in said
    # Only the codebook's definition of relevance is known; records about teams are most similar to it.
    unread, judged = split_rows(output)
    assert sum(map(truth, unread[:10])) >= 8
    assert [row["rank"] for row in table(output)] == [str(place) for place in range(1, COUNT + 1)]

    read: list[str] = []
    for _ in range(8):
        top = split_rows(output)[0][:15]
        decide(output, 15)
        read += top
        status, said, _ = call(*words, "--labels", output)
        assert status == 0
        unread, judged = split_rows(output)
        assert judged == read
        assert sorted(unread + judged) == sorted(record.record_id for record in read_records(records))
        if "Stopping" in said and "not yet" in said:
            break
    # After 100 irrelevant records in a row, a random sample is drawn, which is read next.
    assert "At most" in said
    sample = course(output)["sample"]
    assert unread == sample
    assert sorted(sample) == sorted(set(sample))

    while "you may stop." not in said:
        decide(output, 5)
        _, said, _ = call(*words, "--labels", output)
        unread, judged = split_rows(output)
        assert course(output)["sample"] == sample
        assert unread, "the sample of a review whose relevant records are all found ends before the last record"
        if "not yet" in said:
            assert unread == sample[len(sample) - len(unread) :]
    assert sum(map(truth, judged)) == RELEVANT
    verdict = json.loads(output.with_suffix(".json").read_text(encoding="utf-8"))["verdict"]
    assert verdict["stop"]
    assert verdict["recall_at_least"] >= 0.8


@pytest.fixture(scope="module")
def ranked(tmp_path_factory: pytest.TempPathFactory, records: Path, params: Path) -> Path:
    """Return the folder of a first ranking without decisions; each test copies it."""
    folder = tmp_path_factory.mktemp("ranked")
    assert call("rank", records, "-o", folder / "ranking.csv", "--project", params.parent)[0] == 0
    return folder


@pytest.fixture
def begun(tmp_path: Path, ranked: Path, records: Path, params: Path) -> tuple[Path, tuple[object, ...]]:
    """Return a ranking with 20 decisions, and the arguments of the command that updates it."""
    shutil.copytree(ranked, tmp_path, dirs_exist_ok=True)
    output = tmp_path / "ranking.csv"
    decide(output, 20)
    return output, ("rank", records, "-o", output, "--project", params.parent, "--labels", output)


def test_ranking_learns_from_decisions(begun: tuple[Path, tuple[object, ...]]) -> None:
    output, words = begun
    rows = table(output)
    for row in rows:  # This reviewer includes metals, which the codebook does not mention.
        if row["decision"]:
            row["decision"] = "0"
    metals = [row for row in rows if "alloy" in row["title"]]
    metals[0]["decision"] = "1"
    with output.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    assert call(*words)[0] == 0
    titles = [row["title"] for row in table(output) if not row["decision"]]
    assert all("alloy" in title for title in titles[:20])


def test_what_people_entered_stays_when_the_table_is_rewritten(begun: tuple[Path, tuple[object, ...]]) -> None:
    output, words = begun
    rows = table(output)
    first, second, *_ = (row["record_id"] for row in rows if row["decision"])
    third, fourth = [row["record_id"] for row in rows if not row["decision"]][:2]
    own = {second: "wrong population", third: "=1+1"}
    for row in rows:
        row["exclusion reason"] = own.get(row["record_id"], "")
        row["checked"] = ""
        row["decision"] = {third: "maybe", fourth: "?"}.get(row["record_id"], row["decision"])
    write_table(output, rows)
    for _ in range(2):
        status, said, message = call(*words, "--labels", output)
        assert status == 0, message
        new = {row["record_id"]: row for row in table(output)}
        assert list(rows[0]) == list(new[first])
        assert {name: row["exclusion reason"] for name, row in new.items() if row["exclusion reason"]} == {
            **{second: "wrong population", third: "'=1+1"}
        }
        assert (new[third]["decision"], new[fourth]["decision"]) == ("maybe", "?")
        assert f"20 of {COUNT} records have been judged" in said
    # A decision replaces the word.
    new[third]["decision"] = "1"
    write_table(output, list(new.values()))
    assert call(*words, "--labels", output)[0] == 0
    assert {row["record_id"]: row["decision"] for row in table(output)}[third] == "1"
    output.write_text(output.read_text(encoding="utf-8-sig").replace(",checked", ","), encoding="utf-8")
    output.write_text(output.read_text(encoding="utf-8").replace("population,", "population,seen"), encoding="utf-8")
    before = output.read_bytes()
    status, _, message = call(*words, "--labels", output)
    assert (status, output.read_bytes()) == (1, before)
    assert "column 13 has no name, so overwriting the table would delete its cells" in message
    rows.append(dict.fromkeys(rows[0], "") | {"record_id": "doi:10.5555/gone", "exclusion reason": "not in English"})
    write_table(output, rows)
    status, _, message = call(*words, "--labels", output)
    assert status == 1
    assert "'doi:10.5555/gone' matches none of the records, so overwriting the table would delete" in message


def test_ranked_rule_draws_no_sample(begun: tuple[Path, tuple[object, ...]]) -> None:
    output, words = begun
    status, said, message = call(*words, "--rule", "ranked", "--recall", "0.7", "--confidence", "0.7")
    assert status == 0
    assert "this review began with one target (rule sample, recall 0.95, confidence 0.95)" in message
    assert "and continues with a different one (rule ranked, recall 0.7, confidence 0.7)" in message
    assert "of the ranking is relevant, you may stop then" in said or "you may stop." in said
    assert course(output)["sample"] is None


def test_a_target_does_not_have_to_be_repeated(begun: tuple[Path, tuple[object, ...]]) -> None:
    output, words = begun
    assert call(*words, "--recall", "0.7")[0] == 0
    status, _, message = call(*words)
    assert (status, "this review began" in message) == (0, False)
    assert course(output)["target"] == {"rule": "sample", "recall": 0.7, "confidence": 0.95}


def test_an_unknown_rule_is_wrong_usage(begun: tuple[Path, tuple[object, ...]]) -> None:
    assert call(*begun[1], "--rule", "fifty-in-a-row")[0] == 2


def test_records_that_change_under_a_sample_are_refused(
    tmp_path: Path, ranked: Path, records: Path, params: Path
) -> None:
    shutil.copytree(ranked, tmp_path, dirs_exist_ok=True)
    output = tmp_path / "ranking.csv"
    words = ("-o", output, "--project", params.parent)
    decide(output, 140)
    call("rank", records, *words, "--labels", output)
    assert course(output)["sample"]
    more = [*read_records(records), Record(record_id="doi:10.5555/999", title="New")]
    write_records(tmp_path / "more.parquet", more)
    before = output.read_bytes()
    status, _, message = call("rank", tmp_path / "more.parquet", *words, "--labels", output)
    assert status == 1
    assert (
        "missing now: 0. Records that are unread now, but were not when the sample was drawn: 1 (the first is"
        in message
    )
    assert output.read_bytes() == before


def test_a_decision_removed_after_the_sample_was_drawn_is_named(
    tmp_path: Path, ranked: Path, records: Path, params: Path
) -> None:
    shutil.copytree(ranked, tmp_path, dirs_exist_ok=True)
    output = tmp_path / "ranking.csv"
    words = ("rank", records, "-o", output, "--project", params.parent, "--labels", output)
    decide(output, 140)
    call(*words)
    judged = split_rows(output)[1]
    text = output.read_text(encoding="utf-8-sig")
    output.write_text(text.replace(f",{judged[7]},{truth(judged[7])},", f",{judged[7]},,"), encoding="utf-8")
    status, _, message = call(*words)
    assert status == 1
    assert f"the first is {judged[7]}; removing a decision" in message


def test_decisions_are_not_overwritten(begun: tuple[Path, tuple[object, ...]], tmp_path: Path) -> None:
    output, words = begun
    before = output.read_bytes()
    status, _, message = call(*words[: words.index("--labels")])
    assert status == 1
    assert "would delete decisions or notes on 20 records (the first is" in message
    other = tmp_path / "other.csv"
    other.write_text(f"record_id,decision\n{split_rows(output)[1][0]},1\n", encoding="utf-8")
    status, _, message = call(*words, "--labels", other)
    assert status == 1
    assert "would delete decisions or notes on 19 records (the first is" in message
    assert output.read_bytes() == before


def test_decisions_saved_while_the_ranking_is_computed_are_not_overwritten(
    begun: tuple[Path, tuple[object, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    output, words = begun
    load = search.load_search

    def save_meanwhile(*given: Any) -> Search:
        decide(output, 3)
        return load(*given)

    monkeypatch.setattr("mechtag.workflows.screen.load_search", save_meanwhile)
    before = course(output)
    status, _, message = call(*words)
    assert status == 1
    assert f"{output} was changed while this command was running, so it was not overwritten" in message
    assert len(split_rows(output)[1]) == 23
    assert course(output) == before


def test_other_files_are_not_overwritten(begun: tuple[Path, tuple[object, ...]], tmp_path: Path) -> None:
    other = tmp_path / "budget.csv"
    other.write_text("item,cost\ntea,1\n", encoding="utf-8")
    status, _, message = call(*begun[1], "-o", other)
    assert status == 1
    assert "no column identifies the record" in message
    for name in (tmp_path / "ranking.json", "."):
        status, _, message = call(*begun[1], "-o", name)
        assert status == 1
        assert "its name must end in .csv" in message


@pytest.mark.slow
def test_decisions_on_unknown_records_are_reported(begun: tuple[Path, tuple[object, ...]]) -> None:
    output, words = begun
    with output.open("a", encoding="utf-8") as file:
        file.write(";doi:10.1/none;1;;;;;;;;\n")
    status, _, message = call(*words)
    assert status == 0
    assert "doi:10.1/none matches none of the records" in message


@pytest.mark.parametrize(
    ("content", "message"), [("{}", "course"), ('{"course": {"read": 1}}', "read"), ("[]", "expected one JSON object")]
)
def test_a_damaged_course_file_is_refused(begun: tuple[Path, tuple[object, ...]], content: str, message: str) -> None:
    output, words = begun
    output.with_suffix(".json").write_text(content, encoding="utf-8")
    status, _, said = call(*words)
    assert status == 1
    assert str(output.with_suffix(".json")) in said
    assert message in said


def test_impossible_targets_are_refused(begun: tuple[Path, tuple[object, ...]]) -> None:
    status, _, message = call(*begun[1], "--recall", "95")
    assert status == 1
    assert "recall 95 is out of range" in message


def test_duplicates_and_empty_files_are_refused(tmp_path: Path, params: Path) -> None:
    twice = tmp_path / "twice.ris"
    record = "TY  - JOUR\nTI  - Same paper\nDO  - 10.5555/same\nER  - \n"
    twice.write_text(record * 2, encoding="utf-8")
    status, _, message = call("rank", twice, "-o", tmp_path / "r.csv", "--project", params.parent)
    assert status == 1
    assert "record 2 is the same paper as record 1" in message
    write_records(tmp_path / "none.parquet", [])
    status, _, message = call("rank", tmp_path / "none.parquet", "-o", tmp_path / "r.csv", "--project", params.parent)
    assert status == 1
    assert "the file contains no records" in message


def test_unreadable_entries_of_an_export_are_reported(tmp_path: Path, params: Path) -> None:
    source = tmp_path / "search.ris"
    entries = ("TI  - Garden teams", "AB  - No title.", "AB  - No title again.")
    source.write_text("".join(f"TY  - JOUR\n{entry}\nER  - \n" for entry in entries), encoding="utf-8")
    status, said, message = call("rank", source, "-o", tmp_path / "r.csv", "--project", params.parent)
    assert status == 0
    assert "0 of 1 records have been judged" in said
    assert "2 entries could not be read and will be ignored: search.ris: record 2, line 4: no title" in message


def test_cells_of_the_table_are_safe_in_a_spreadsheet(tmp_path: Path, params: Path) -> None:
    source = tmp_path / "evil.ris"
    source.write_text(
        "TY  - JOUR\nTI  - =HYPERLINK(1)\nAB  - +1\nJO  - @SUM(A1)\nDO  - 10.5555/x\nER  - \n", encoding="utf-8"
    )
    assert call("rank", source, "-o", tmp_path / "r.csv", "--project", params.parent)[0] == 0
    row = table(tmp_path / "r.csv")[0]
    assert (row["title"], row["abstract"], row["journal"]) == ("'=HYPERLINK(1)", "'+1", "'@SUM(A1)")


@pytest.mark.slow
def test_simulate_replays_a_finished_review(tmp_path: Path, records: Path, params: Path) -> None:
    labels = tmp_path / "labels.csv"
    names = [record.record_id for record in read_records(records)]
    judged = "".join(f"{name},{truth(name)}\n" for name in names[:-1])
    labels.write_text(f"record_id,included\n{judged}{names[-1]},\n", encoding="utf-8")
    words = ("simulate", records, "--labels", labels, "--runs", 2, "--batch", 1, "--project", params.parent)
    status, said, _ = call(*words, "-o", tmp_path / "a")
    assert status == 0
    content = json.loads((tmp_path / "a/simulation.json").read_text(encoding="utf-8"))
    relevant = sum(truth(name) for name in names[:-1])
    assert (content["records"], content["relevant"], content["replays"]) == (COUNT - 1, relevant, 2)
    assert f"{COUNT - 1} records, {relevant} relevant, 2 replays" in said
    assert content["figures"]["loss"]["max"] < 0.1
    for rule in ("sample", "ranked"):
        assert content["stopping"][rule]["recall"] >= 0.95
        assert content["runs"][0][rule]["work_saved"] == pytest.approx(
            1 - content["runs"][0][rule]["read"] / (COUNT - 1)
        )
    rows = table(tmp_path / "a/reading.csv")
    assert len(rows) == 2 * (COUNT - 1)
    second = rows[COUNT - 1 :]
    assert {row["record_id"] for row in second} == set(names[:-1])
    assert [row["known_before"] for row in second[:3]] == ["1", "1", "0"]
    found = np.cumsum([truth(row["record_id"]) for row in second]) / relevant
    assert [float(row["recall"]) for row in second] == pytest.approx(found, abs=1e-6)

    assert call(*words, "-o", tmp_path / "b")[0] == 0
    assert (tmp_path / "b/reading.csv").read_bytes() == (tmp_path / "a/reading.csv").read_bytes()


def test_a_ranking_of_papers_with_one_title_can_be_read_again(tmp_path: Path, params: Path) -> None:
    source = tmp_path / "export.ris"
    source.write_text(
        "TY  - JOUR\nTI  - Editorial\nPY  - 2010\nJO  - BMJ\nAB  - Leadership\nER  - \n\n"
        "TY  - JOUR\nTI  - Editorial\nPY  - 2010\nJO  - Nature\nAB  - Weather\nER  - \n",
        encoding="utf-8",
    )
    assert call("ingest", source, "-o", tmp_path / "records.parquet")[0] == 0
    assert call("dedupe", tmp_path / "records.parquet", "-o", tmp_path / "unique.parquet")[0] == 0
    finished, again = tmp_path / "finished.csv", tmp_path / "again.csv"
    assert call("rank", tmp_path / "unique.parquet", "-o", finished, "--project", params.parent)[0] == 0
    names = [row["record_id"] for row in table(finished)]
    assert len({name.split("#")[0] for name in names}) == 1, "both papers have the same title, year and author"
    decided = finished.read_text(encoding="utf-8-sig").replace(f"{names[0]},", f"{names[0]},1", 1)
    finished.write_text(decided, encoding="utf-8")
    status, _, said = call("rank", finished, "--labels", finished, "-o", again, "--project", params.parent)
    assert status == 0, said
    assert {row["record_id"]: row["decision"] for row in table(again)} == {names[0]: "1", names[1]: ""}


def test_simulate_needs_decisions_to_replay(tmp_path: Path, records: Path, params: Path) -> None:
    labels = tmp_path / "labels.csv"
    for cells, message in (("", "all decisions are empty"), ("1", "at least two of each; add")):
        labels.write_text(f"record_id,included\ndoi:10.5555/3,{cells}\n", encoding="utf-8")
        words = ("simulate", records, "--labels", labels, "-o", tmp_path / "out", "--project", params.parent)
        status, _, said = call(*words)
        assert status == 1
        assert message in said


def test_decisions_on_other_records_are_not_overwritten(begun: tuple[Path, tuple[object, ...]]) -> None:
    output, words = begun
    with output.open("a", encoding="utf-8") as file:
        file.write(";doi:10.1/none;1;;;;;;;;\n")
    before = output.read_bytes()
    decided = output.with_name("decided.csv")
    decided.write_bytes(before.replace(b";doi:10.1/none;1;", b";doi:10.1/none;;"))
    status, _, message = call(*(decided if word == output and words[at - 1] == "--labels" else word
                                for at, word in enumerate(words)))  # fmt: skip
    assert status == 1
    assert "would delete decisions or notes on 1 record (the first is doi:10.1/none)" in message
    assert output.read_bytes() == before
