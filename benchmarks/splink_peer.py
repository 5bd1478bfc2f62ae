"""Find duplicates with splink, set up without labels as its documentation recommends, for `benchmarks.dedupe`.

The steps are those of splink's tutorial (https://moj-analytical-services.github.io/splink, 'Estimating model
parameters' and 'Predicting results'). Three kinds of probabilities are estimated: the probability of a match from
deterministic rules; the probabilities of agreement between records of different papers from random pairs; and the
probabilities of agreement between records of one paper by expectation maximisation, once for each of two blocking
rules.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd

#: Links with at least this probability join records; the tutorial clusters at 0.95, which wrongly removes
#: twice as many records.
THRESHOLD = 0.99
_SEED, _PAIRS = 2021, 1e6
# Assumed share of true pairs that the deterministic rules find.
_RECALL = 0.8
_STEM = 30


def _prepared(source: Path) -> pd.DataFrame:
    """Read a table of records, and return the columns that splink uses.

    Text is in lower case and without punctuation, except in DOIs; missing values are None.
    """
    records = pd.read_csv(source, dtype=str, keep_default_na=False)
    plain = records.map(lambda text: " ".join(re.findall(r"\w+", text.lower())))
    columns = {
        "unique_id": records["ID"].astype(int),
        "title": plain["title"],
        "stem": plain["title"].str[:_STEM],
        "family": plain["author"].str.split(" and ").str[0].str.split(" ").str[0],
        "year": plain["year"],
        "journal": plain["journal"],
        "volume": plain["volume"],
        "page": records["pages"].str.extract(r"(\d+)", expand=False).fillna(""),
        "doi": records["doi"].str.lower().str.extract(r"(10\.\S+)", expand=False).fillna(""),
    }
    return pd.DataFrame(columns).replace({"": None})


def _settings() -> Any:
    import splink.comparison_library as compare
    from splink import SettingsCreator, block_on

    return SettingsCreator(
        link_type="dedupe_only",
        comparisons=[
            # Agreement on 'Editorial' is weaker evidence than agreement on a rare title.
            compare.JaroWinklerAtThresholds("title", [0.97, 0.9]).configure(term_frequency_adjustments=True),
            compare.JaroWinklerAtThresholds("family", [0.9]).configure(term_frequency_adjustments=True),
            compare.LevenshteinAtThresholds("year", [1]),
            compare.JaroWinklerAtThresholds("journal", [0.9, 0.7]).configure(term_frequency_adjustments=True),
            *(compare.ExactMatch(name) for name in ("volume", "page", "doi")),
        ],
        blocking_rules_to_generate_predictions=[
            *(block_on("doi"), block_on("stem"), block_on("family", "year")),
            *(block_on("volume", "page"), block_on("year", "page")),
        ],
    )


def find(source: Path) -> list[int]:
    """Find duplicates in a table written by `benchmarks.sets.write_rows`; return the numbers of the records to keep."""
    from splink import DuckDBAPI, Linker, block_on

    database = DuckDBAPI()
    linker = Linker(database.register(_prepared(source)), _settings())
    train = linker.training
    train.estimate_probability_two_random_records_match([block_on("doi"), block_on("title", "year")], recall=_RECALL)
    train.estimate_u_using_random_sampling(max_pairs=_PAIRS, seed=_SEED)
    train.estimate_parameters_using_expectation_maximisation(block_on("title"))
    train.estimate_parameters_using_expectation_maximisation(block_on("volume", "page"))
    links = linker.inference.predict(threshold_match_probability=THRESHOLD)
    clusters = linker.clustering.cluster_pairwise_predictions_at_threshold(links, THRESHOLD).as_pandas_dataframe()
    return sorted(int(number) for number in clusters.groupby("cluster_id")["unique_id"].min())
