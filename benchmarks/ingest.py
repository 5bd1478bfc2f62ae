"""Compare the speed of ``mechtag ingest`` with that of parsers: rispy, and the Python modules ``csv`` and ``json``.

The records are those of the data set ``digital_work``, repeated under new titles. A record without an abstract
receives the abstract of a different record, because nearly all records in database exports have an abstract.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.publish import ROOT, publish, result
from benchmarks.sets import BENCH
from mechtag.core.errors import MechtagError

COMMAND = "python -m benchmarks.ingest"
_RECORDS, _RUNS, _TIMES = 21_477, 5, 3
_COLUMNS = ("title", "author", "year", "journal", "volume", "number", "pages", "abstract", "doi")
_TEXT = f"""
## Ingest

{_RECORDS:,} records (bibliographic data and abstracts of `digital_work`, each abstract kept or borrowed) in three
formats. The table shows the seconds of processor time to read the file: the median of {_RUNS} runs in separate
processes, in which the systems alternate. The other systems only parse; mechtag also detects the format and encoding,
cleans every field, builds each record, and keeps the original fields. `times` is mechtag's median divided by that of
the other system; the target is at most {_TIMES}.

rispy is written in Python, like mechtag. Python's `csv` and `json` are written in C and take about 10 microseconds
per record, so mechtag would have only 20 more for everything else; compared with them the target is not met. Of the
time that mechtag spends on a record of the CSV file, a quarter is spent in the `csv` parser, and a seventh in a first
pass over all bytes that detects the encoding and splits lines, so that a broken row is reported with its number and
does not affect the others. A sixth is spent on searching each abstract for markup, entities, wrongly decoded letters,
double spaces and publishers' notices, a sixth on authors, journal, identifiers and the record id, an eighth on
recognising the columns, and the rest on building the record with all fields as they were read.
"""
# Processor time, because wall time would include other programs on the machine.
_TIMED = "import time; begun = time.process_time(); {code}; print(time.process_time() - begun)"
_PEERS = {
    "ris": ("rispy", "import rispy", "found = rispy.load(open(path, encoding='utf-8'))"),
    "csv": ("csv", "import csv", "found = list(csv.reader(open(path, encoding='utf-8', newline='')))"),
    "jsonl": ("json", "import json", "found = [json.loads(line) for line in open(path, encoding='utf-8')]"),
}
_OURS = ("mechtag", "from mechtag.pipeline.reading.ingest import ingest", "found = ingest([path])")


def _records() -> list[dict[str, str]]:
    source = BENCH / "dedupe/digital_work/records_pre_merged.csv"
    if not source.is_file():
        raise MechtagError(f"{source}: no such file; set MECHTAG_BENCH to the folder of the benchmark data")
    with source.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    abstracts = [row["abstract"] for row in rows if row["abstract"].strip()]
    records = []
    for number in range(_RECORDS):
        row = rows[number % len(rows)]
        again = f" ({number // len(rows) + 1})" if number >= len(rows) else ""
        abstract = row["abstract"].strip() or abstracts[number % len(abstracts)]
        records.append({**{name: row[name] for name in _COLUMNS}, "title": row["title"] + again, "abstract": abstract})
    return records


def _ris(record: dict[str, str]) -> str:
    start, _, end = (part.strip() for part in record["pages"].partition("--"))
    fields = [("TY", "JOUR"), ("TI", record["title"]), *(("AU", name) for name in record["author"].split(" and "))]
    fields += [("PY", record["year"]), ("T2", record["journal"]), ("VL", record["volume"]), ("IS", record["number"])]
    fields += [("SP", start), ("EP", end), ("DO", record["doi"]), ("AB", " ".join(record["abstract"].split()))]
    return "".join(f"{tag}  - {value}\n" for tag, value in fields if value) + "ER  - \n\n"


def _json(record: dict[str, str]) -> str:
    item: dict[str, Any] = {name: record[name] for name in ("title", "journal", "volume", "pages", "abstract", "doi")}
    item |= {"authors": record["author"].split(" and "), "year": record["year"], "issue": record["number"]}
    return json.dumps(item, ensure_ascii=False) + "\n"


def _csv(records: list[dict[str, str]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS)
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def _seconds(setup: str, code: str, path: Path) -> float:
    program = f"{setup}; path = {str(path)!r}; {_TIMED.format(code=code)}"
    done = subprocess.run((sys.executable, "-c", program), cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MechtagError(f"{code}: failed: {done.stderr[-2000:]}")
    return float(done.stdout)


def main() -> None:
    """Write the records in three formats, measure how long each program takes to read them, and publish the results."""
    argparse.ArgumentParser(prog=COMMAND, description=__doc__).parse_args()
    records = _records()
    texts = {"ris": "".join(map(_ris, records)), "csv": _csv(records), "jsonl": "".join(map(_json, records))}
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for kind, text in texts.items():
            path = Path(folder) / f"records.{kind}"
            path.write_text(text, encoding="utf-8", newline="")
            taken: dict[str, list[float]] = {}
            # In turn, so that other load on the machine affects both.
            for _ in range(_RUNS):
                for name, setup, code in (_PEERS[kind], _OURS):
                    taken.setdefault(name, []).append(_seconds(setup, code, path))
            medians = {name: statistics.median(seconds) for name, seconds in taken.items()}
            dataset = f"digital_work, {kind}"
            results += [result(dataset, name, "seconds", median, runs=_RUNS) for name, median in medians.items()]
            times = medians["mechtag"] / medians[_PEERS[kind][0]]
            results.append(result(dataset, "mechtag", "times", times, runs=_RUNS))
    publish("ingest", COMMAND, results, _TEXT, versions=("rispy",))


if __name__ == "__main__":
    main()
