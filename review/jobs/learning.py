"""Train a model on the final codes of the review, or restore the previous model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy import update

from mechtag.core.errors import MechtagError
from mechtag.review.acts import Stamp
from mechtag.review.codings import final_codings, independent_codings
from mechtag.review.examples import teaching_examples
from mechtag.review.jobs.progress import JobReporter, Progress
from mechtag.review.jobs.splitting import split_abstracts
from mechtag.review.jobs.tagging import record_of, records_to_tag, sentences_of
from mechtag.review.store import schema
from mechtag.review.store.changes import save_changes
from mechtag.review.store.events import read_plan
from mechtag.review.store.records import read_entries
from mechtag.review.workspace import Workspace, add_job, read_fact, write_fact
from mechtag.workflows.learn import Compared, learn, write_codes, write_examples

KIND = "learn"
ROLL_BACK = "roll_back"
#: Key in table ``fact`` of the last training: hashes of the table of codes and of the file of examples, number of
#: codes, and id of the model.
FACT = "learned"
_TAG = "tag"


def run(workspace: Workspace, arguments: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Train a model on the final codes of the review, and use it if it is not worse than the model in use.

    Returns
    -------
    dict
        The fields of `mechtag.workflows.learn.Learned`, such as ``outcome``. One more field, ``tagged``, is the number
        of records for which suggestions are computed.

    Raises
    ------
    MechtagError
        If there are no final codes to learn from.
    """
    from mechtag.workflows.define import usable_model

    project = workspace.project
    with workspace.store.read() as connection:
        plan = read_plan(connection)
        codings = final_codings(connection, learn_from_assisted=plan.learn_from_assisted)
        independent = independent_codings(connection)
        examples = teaching_examples(connection, codings, workspace.codebook)
        before = read_fact(connection, FACT) or {}
    # Models learn from abstracts, because they are trained on abstracts.
    codings = [row for row in codings if row.label in workspace.codebook.all_keys and row.basis == "abstract"]
    if not any(row.value is not None for row in codings):
        unassisted = "" if plan.learn_from_assisted else " that was given without a suggestion in view"
        raise MechtagError(
            f"the model cannot learn yet, because no abstract has a final code (yes or no){unassisted}; screen or code "
            "more records first"
        )
    progress.start(1, "Reading the codes")
    # A model is made from the definitions only if there are no codes yet, so this comes before the codes are written.
    champion = usable_model(project)
    written = {"sha256": write_codes(project, codings, before.get("sha256"))}
    with workspace.store.write() as connection:
        write_fact(connection, FACT, {**before, **written})
    written["examples"] = write_examples(project, examples, before.get("examples"))
    with workspace.store.write() as connection:
        write_fact(connection, FACT, {**before, **written})
    progress.start(1, "Training")
    compared = _tagged_records(workspace, progress)
    # The outcome is stored before a new model is installed: a job that is interrupted after that, and repeated, still
    # knows how the models were compared, and which model was replaced.
    found = learn(
        project,
        independent,
        champion,
        JobReporter(progress),
        compared,
        lambda decided: _note(workspace, progress.job, {**arguments, "decided": asdict(decided)}),
    )
    outcome, decided = asdict(found), arguments.get("decided")
    if found.outcome == "unchanged" and decided is not None and decided["model_id"] == found.model_id:
        outcome = decided
    result = outcome | {"tagged": len(compared.records)}
    with workspace.store.write() as connection:
        write_fact(connection, FACT, {**written, "codes": len(codings), "model_id": found.model_id})
        add_job(connection, _TAG, None)
    coder = arguments["coder"]
    content = {name: result[name] for name in ("outcome", "model_id", "former_id", "papers", "compared", "reasons")}
    workspace.acts.log(Stamp(coder, client_id=f"learn-job-{progress.job}"), "train", content)
    if outcome["outcome"] == "adopted":
        content = {name: result[name] for name in ("model_id", "former_id")}
        workspace.acts.log(Stamp(coder, client_id=f"promote-job-{progress.job}"), "promote", content)
    return result


def _tagged_records(workspace: Workspace, progress: Progress) -> Compared:
    """Return the records that are tagged with both the old and the new model, so that changes can be listed.

    The result also contains the sentences of the records' abstracts, and a function that saves the changes.
    """
    split_abstracts(workspace, progress)  # those that people have added or corrected
    with workspace.store.read() as connection:
        entries = read_entries(connection, records_to_tag(connection))
    return Compared(
        [record_of(entry) for entry in entries],
        [sentence for entry in entries for sentence in sentences_of(entry)],
        lambda changes: save_changes(workspace.store, progress.job, changes),
    )


def roll_back(workspace: Workspace, arguments: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Restore the model that was in use before the current model.

    Returns
    -------
    dict
        ``reasons``: messages about the restored model.
    """
    from mechtag.models.model_folder import read_config
    from mechtag.workflows.retrain import Retraining

    progress.start(1, "Restoring the previous model")
    retraining, model = Retraining(workspace.project), workspace.project.own_model
    if arguments.get("given_up"):
        retraining.update_registry()  # Also completes the installation of a model if it was interrupted.
    # The id of the model to replace is stored first: a job that is interrupted and repeated can see whether the model
    # has already been replaced, so that it does not restore an even earlier model.
    given_up = arguments.get("given_up") or (read_config(model).model_id if model.is_dir() else "")
    _note(workspace, progress.job, {**arguments, "given_up": given_up})
    if not given_up or read_config(model).model_id == given_up:
        retraining.roll_back()
    with workspace.store.write() as connection:
        add_job(connection, _TAG, None)
    coder = arguments["coder"]
    stamp = Stamp(coder, client_id=f"roll-back-job-{progress.job}")
    workspace.acts.log(stamp, "rollback", {"text": "restored the previous model"})
    return {"reasons": [f"model {read_config(model).model_id} is in use again"]}


def _note(workspace: Workspace, job: int, arguments: Mapping[str, Any]) -> None:
    text, table = json.dumps(arguments, ensure_ascii=False, sort_keys=True), schema.job
    with workspace.store.write() as connection:
        connection.execute(update(table).where(table.c.id == job).values(arguments=text))
