"""Evaluate files of predictions on the gold standard, and measure how well coders agree.

`evaluate_files` writes a metrics file, and tables in the same folder.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from mechtag.core.errors import MechtagError
from mechtag.core.files import write_json
from mechtag.core.outputs import check_outputs
from mechtag.core.parquet import read_predictions, read_records
from mechtag.core.records import FINAL, Coding, Prediction
from mechtag.core.settings import Settings
from mechtag.core.tables import is_table
from mechtag.core.words import counted
from mechtag.evaluation.by_full_text import papers_with, read_full_text_set
from mechtag.evaluation.coded_records import CodedSet
from mechtag.evaluation.coders import agreement_section, coders_of, to_adjudicate, with_model
from mechtag.evaluation.gold_benchmark import evaluate
from mechtag.evaluation.language_models import read_language_models
from mechtag.evaluation.output_tables import full_text_files, output_files, write_full_text_outputs, write_outputs
from mechtag.evaluation.predictions import System
from mechtag.evaluation.resampling import draw_resamples
from mechtag.evaluation.results import NOT_CHECKED, PROTOCOLS, Agreement, TrainingCheck
from mechtag.pipeline.annotations.coded_records import Basis, read_about, read_codes
from mechtag.pipeline.annotations.coding_table import read_annotations, read_codings
from mechtag.pipeline.annotations.gold_table import GoldStandard, gold_standard, load_matrix, read_gold_notes
from mechtag.pipeline.annotations.record_finder import Finder
from mechtag.pipeline.llm.run import read_runs

#: Compares the papers of a gold standard with the training papers of the models with these ids.
Check = Callable[[GoldStandard, Collection[str]], TrainingCheck]

# The names of files with relevance predictions for the coded records begin with this prefix.
_RELEVANCE_PREFIX = "relevance_"


def evaluate_files(
    predictions: Path,
    gold: Path,
    records: Path,
    output: Path,
    *,
    label_keys: Sequence[str],
    relevance_key: str,
    settings: Settings,
    baselines: Path | None = None,
    out_of_fold: Path | None = None,
    curve: Path | None = None,
    variations: Path | None = None,
    full_texts: Path | None = None,
    llms: Sequence[Path] = (),
    check: Check | None = None,
    note: Callable[[str], None] = lambda _: None,
) -> TrainingCheck:
    """Evaluate the model, the baselines and the language models on the gold papers, and write the metrics.

    Parameters
    ----------
    predictions
        Predictions of the model, which was not trained on any gold paper.
    gold
        Coding matrix of the gold standard. Notes are read from the YAML file of the same name, if it exists.
    records
        Records of the gold papers.
    output
        Metrics file to which the result is written. Further files are written to the same folder: ``headline.json``,
        ``per_label.csv``, the table of human codes and predictions, and the plot points.
    baselines
        Folder with one prediction file per baseline, named after the baseline. If the name of a file begins with
        ``relevance_``, the file predicts relevance for the coded records. The file ``leave_one_out`` contains
        predictions of models that were each trained on the coded records and on all gold papers but one.
    out_of_fold
        Folder with the out-of-fold predictions for the coded records (``documents.parquet``, ``sentences.parquet``).
    curve
        Folder of prediction files for the coded records. Each file is named after the number of papers on which the
        model was trained. Requires ``out_of_fold``.
    variations
        Folder of prediction files for the coded records. Each file is named after the variation that was made to the
        texts.
    full_texts
        Table of the full texts from which the gold papers were tagged. If it is passed, predictions based on full texts
        are also evaluated, and tables on them are written to the folder ``full_text`` next to the metrics.
    llms
        Tables of codings of the gold papers by language models.
    check
        Function that compares the gold papers with the training papers of the model, and may raise an error. It is
        called with the gold standard and the ids of the models that made the predictions.
    note
        Function that shows a note to the user. It is called if there are predictions based on full texts, but
        ``full_texts`` is not passed.

    Returns
    -------
    TrainingCheck
        Result of ``check``; the metrics file also contains this result.

    Raises
    ------
    MechtagError
        If a file is missing or invalid; if predictions lack a paper or a label; or if ``out_of_fold`` and
        ``predictions`` were written by different models.
    """
    tables = output_files(output.parent, gold) + (full_text_files(output.parent, gold) if full_texts else ())
    inputs = (predictions, gold, gold.with_suffix(".yaml"), records, baselines, out_of_fold, curve, variations)
    check_outputs((output, output.with_name("headline.json"), *tables), (*inputs, full_texts, *llms))
    standard = gold_standard(load_matrix(gold), read_records(records), read_gold_notes(gold))
    if unmatched := [key for key in standard.matrix.keys if key not in standard.records]:
        verb = "matches" if len(unmatched) == 1 else "match"
        note(
            f"note: {gold}: {counted(len(unmatched), 'paper')} {verb} none of the tagged records and could not be "
            f"measured: {', '.join(unmatched)}"
        )
    by_basis: dict[str, list[Prediction]] = {"abstract": [], "full-text": []}
    for row in read_predictions(predictions):
        by_basis[row.basis].append(row)
    systems = {PROTOCOLS[0]: by_basis["abstract"]}
    tagged_full = None
    if full_texts:
        query = settings.evaluate.baseline_query
        tagged_full = read_full_text_set(predictions, by_basis["full-text"], full_texts, standard, query)
    elif by_basis["full-text"]:
        note(
            f"note: {predictions} also contains predictions based on full texts, which are not evaluated; to evaluate "
            "them, run 'mechtag evaluate --full-texts TABLE'"
        )
    made_by = {row.model_id for row in systems[PROTOCOLS[0]]}
    checked = check(standard, made_by) if check else NOT_CHECKED
    others = _read_folder(baselines, "baselines") if baselines else {}
    systems |= {name: rows for name, rows in others.items() if not name.startswith(_RELEVANCE_PREFIX)}
    learning = _read_curve(curve) if curve else {}
    coded = _coded_set(out_of_fold, others, learning, label_keys, relevance_key, settings) if out_of_fold else None
    generator = np.random.default_rng(settings.seed)
    results = evaluate(
        label_keys,
        standard,
        systems,
        settings.evaluate,
        generator,
        coded=coded,
        relevance_key=relevance_key,
        variations=_read_folder(variations, "variations") if variations else None,
        full_texts=tagged_full,
        llms=read_language_models(llms, (relevance_key, *label_keys), standard, settings.dedupe),
    )
    if coded is not None:
        _refuse_another_model(coded, made_by, out_of_fold)
    results = results.model_copy(update={"training_check": checked})
    write_outputs(output.parent, results, label_keys, standard, systems)
    if tagged_full:
        own = papers_with(standard, tagged_full)
        write_full_text_outputs(output.parent, results, label_keys, own, tagged_full.predictions)
    write_json(output.with_name("headline.json"), results.headline())
    results.write(output)
    return checked


def _refuse_another_model(coded: CodedSet, made_by: Collection[str], folder: Path | None) -> None:
    """Raise an error if out-of-fold predictions and the predictions for gold papers come from different models."""
    others = {row.model_id.removesuffix(":out-of-fold") for row in coded.documents}
    if others != set(made_by):
        raise MechtagError(
            f"{folder}: these out-of-fold predictions belong to model {', '.join(sorted(others))}, but the gold papers "
            f"were tagged by model {', '.join(sorted(made_by))}. Pass predictions for "
            "the gold papers and out-of-fold predictions of the same model",
            options="--out-of-fold",
        )


def agreement_of_files(
    codings: Sequence[Path],
    all_keys: Sequence[str],
    settings: Settings,
    predictions: Path | None = None,
    records: Path | None = None,
    basis: Basis | None = None,
) -> Agreement:
    """Compute the agreement of coders with one another and with the model, from tables of codings.

    Final codes of the review page are left out if the tables contain other codes, too: the people on whose codes they
    are based would seem to agree with one more coder.

    Parameters
    ----------
    codings
        Tables of codings by people or language models. Each coder may occur in only one table.
    all_keys
        Key of relevance, followed by the keys of the labels in codebook order.
    predictions
        Predictions of a model that was not trained on the records.
    records
        Table in which the records of the codings are looked up. By default, this is ``records.parquet`` in the folder
        of the predictions, if it exists.
    basis
        Text of the codings that are compared. By default, all codings are compared.

    Raises
    ------
    MechtagError
        If a file is invalid; if a coder is in two tables; if no coding has the basis; if ``basis`` is ``None`` and a
        coder coded a label differently from the abstract and from the full text; if the predictions lack a record or a
        label; or if there are fewer than two coders.
    """
    beside = predictions.with_name("records.parquet") if predictions else None
    if records is None and beside is not None and beside.exists():
        records = beside
    finder = Finder(read_records(records) if records else (), settings.dedupe)
    rows: list[Coding] = []
    for table in codings:
        own = read_codings(table, all_keys, finder)
        if doubled := {row.coder for row in own} & {row.coder for row in rows}:
            raise MechtagError(
                f"{table}: coder {min(doubled)} is also in another table. If this is the same coder, put all codes of "
                "this coder into one table; otherwise, rename one of the two coders"
            )
        rows += own
    place = ", ".join(map(str, codings))
    rows = [row for row in rows if basis in (None, row.basis)]
    if not rows:
        raise MechtagError(f"{place}: no coding has the basis {basis}; compare codings with the other basis")
    rows = _without_final(rows)
    _refuse_two_texts(rows, place)
    coders = coders_of(rows, all_keys, place)
    if predictions:
        coders = with_model(coders, System(str(predictions), read_predictions(predictions, "abstract")))
    if len(coders.names) < 2:
        raise MechtagError(
            f"{place}: the only coder is {coders.names[0]}; agreement requires two coders. Add the codes of a second "
            "coder, or the predictions of a model",
            options="--predictions",
        )
    several = coders.of_several()
    generator = np.random.default_rng(settings.seed)
    draws = draw_resamples(len(several.records), settings.evaluate.bootstrap, 0, generator)
    least = settings.evaluate.min_positives
    section = agreement_section(several, all_keys[0], draws, least)
    found = {**section, "adjudicate": to_adjudicate(coders, least)}
    if described := [line for table in codings if (runs := read_runs(table)) for line in runs.describe()]:
        found["llms"] = described
    return Agreement.model_validate(found)


def _without_final(codings: list[Coding]) -> list[Coding]:
    """Leave out the final codes of the review page, unless there are no other codes."""
    return [coding for coding in codings if coding.coder != FINAL] or codings


def _refuse_two_texts(codings: Sequence[Coding], place: str) -> None:
    """Raise an error if a coder coded a label differently from the abstract and from the full text of a record."""
    known: dict[tuple[str, str | None, str], Coding] = {}
    for row in codings:
        first = known.setdefault((row.coder, row.record_id or row.key, row.label), row)
        if first.basis != row.basis and first.value != row.value:
            raise MechtagError(
                f"{place}: coder {row.coder} coded label '{row.label}' of record {row.record_id or row.key} "
                "differently from the abstract and from the full text; choose which codes to compare",
                options="--basis abstract or --basis full-text",
            )


def _read_folder(folder: Path, command: str) -> dict[str, list[Prediction]]:
    files = sorted(folder.glob("*.parquet"))
    if not files:
        raise MechtagError(
            f"{folder}: the folder contains no prediction files (*.parquet); run 'mechtag {command}' first"
        )
    return {path.stem: read_predictions(path) for path in files}


def _read_curve(folder: Path) -> dict[int, list[Prediction]]:
    files = sorted(folder.glob("*.parquet"))
    wrong = [path.name for path in files if not path.stem.isdecimal()]
    if wrong or not files:
        found = ", ".join(wrong) or "no *.parquet files"
        raise MechtagError(
            f"{folder}: the folder contains {found}, but must contain only files written by 'mechtag curve', such as "
            "34.parquet; check the path"
        )
    return {int(path.stem): read_predictions(path) for path in files}


def _coded_set(
    folder: Path,
    others: Mapping[str, list[Prediction]],
    learning: Mapping[int, list[Prediction]],
    label_keys: Sequence[str],
    relevance_key: str,
    settings: Settings,
) -> CodedSet:
    second, records = settings.evaluate.second_coder, settings.train.records
    coded = read_annotations(settings, label_keys, relevance_key)
    finder = Finder([row.record for row in coded], settings.dedupe)
    return CodedSet(
        records=coded,
        documents=read_predictions(folder / "documents.parquet"),
        sentences=read_predictions(folder / "sentences.parquet"),
        relevance_baselines={
            name.removeprefix(_RELEVANCE_PREFIX): rows
            for name, rows in others.items()
            if name.startswith(_RELEVANCE_PREFIX)
        },
        second=read_codes(second, label_keys) if second else (),
        table=_without_final(read_codings(records, (relevance_key, *label_keys), finder, to_train=True))
        if is_table(records)
        else (),
        learning=learning,
        about={} if is_table(records) else read_about(records, "coded records"),
    )
