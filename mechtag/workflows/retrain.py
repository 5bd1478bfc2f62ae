"""Retrain on new annotations, and replace the model in use only if the new model is not worse."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from mechtag.core.errors import MechtagError
from mechtag.core.records import Record
from mechtag.core.words import counted
from mechtag.evaluation.model_comparison import compare_systems, decide_promotion, write_comparison
from mechtag.evaluation.predictions import System
from mechtag.models.model_folder import encoder_difference, load_model, read_config
from mechtag.pipeline.annotations.coding_table import read_annotations
from mechtag.pipeline.annotations.versions import (
    CODINGS,
    append_history,
    list_versions,
    read_additions,
    read_history,
    track_with_dvc,
    version_in_use,
    write_additions,
)
from mechtag.pipeline.dedupe.dedupe import dedupe
from mechtag.pipeline.reading.ingest import read_sources, read_unique
from mechtag.pipeline.reading.text.sentences import split
from mechtag.pipeline.tagging.chunks import locked
from mechtag.project import Project
from mechtag.training.finetuning.trainers import count_epochs
from mechtag.training.mlflow_runs import CHAMPION, PREVIOUS, drop_alias, log_run, register, tolerated
from mechtag.training.retraining.challenger import MODEL, champion_predictions, train_challenger
from mechtag.training.retraining.explain_changes import find_changes, write_change_log
from mechtag.training.retraining.model_store import (
    ModelPaths,
    former_of,
    install,
    interrupted,
    is_kept,
    keep_challenger,
    keep_champion,
    note_of,
    recover,
)
from mechtag.training.retraining.new_codings import add_annotations, write_notes
from mechtag.workflows.reporter import SILENT, Reporter
from mechtag.workflows.status import has_codes

NO_VERSION = "none"
_NEW = "new papers"


class Retraining:
    """Retrains the model of a project, and lists or rolls back earlier retrainings.

    Parameters
    ----------
    project
        Project whose model is retrained.
    model
        Folder of the model in use; by default, the folder of the project's own model.
    out_of_fold
        Folder of the out-of-fold predictions of the model in use; by default, the project's folder of
        out-of-fold predictions.
    """

    def __init__(
        self,
        project: Project,
        model: Path | None = None,
        out_of_fold: Path | None = None,
        reporter: Reporter = SILENT,
    ) -> None:
        project.require_own()
        self._project, self._settings, self._codebook = project, project.settings, project.codebook
        model = model or project.own_model
        added = Path(project.settings.train.added)
        self._paths = ModelPaths(model, out_of_fold or project.out_of_fold, project.kept_with(model), added)
        self._reporter = reporter

    def add(
        self,
        codings: Sequence[Path] = (),
        records: Sequence[Path] = (),
        *,
        change_log_on: Path | None = None,
        leave_out_leaks: bool = False,
        onto: str | None = None,
    ) -> list[str]:
        """Add codings as a new version of the annotations, and train a new model on this version.

        The new model replaces the model in use if it is not worse.

        Parameters
        ----------
        codings
            Tables of codings. They may be left out if only the codebook has changed.
        records
            Tables of the records that the codings are about.
        change_log_on
            Records to tag with the old and the new model, so that changed tags can be listed; by default, the sources
            in the settings.
        leave_out_leaks
            Whether to leave out records that may be papers used to measure accuracy. By default, such records cause an
            error.
        onto
            Version of the annotations to which the codings are added; by default, the version of the last retraining
            or rollback. With ``"none"``, codings that were added earlier are not used.

        Returns
        -------
        list of str
            Sentences that describe the decision and the reasons for it.

        Raises
        ------
        MechtagError
            If no record has been coded yet; if codings are invalid, or are about papers used to measure accuracy; if
            there is no model in use; or if a different retraining is running.
        """
        with self._alone():
            if not has_codes(self._project):
                raise MechtagError(
                    f"{self._settings.train.records} does not exist, so no record has been coded yet; import the first "
                    "codings with 'mechtag codings', and train on them with 'mechtag train'"
                )
            version = self._add(codings, records, onto, leave_out_leaks)
            return self._challenge(version, change_log_on)

    def roll_back(self) -> list[str]:
        """Restore the previous model, and return sentences that describe the rollback."""
        with self._alone():
            given_up = read_config(self._paths.model).model_id
            former = former_of(self._paths, given_up)
            version = note_of(self._paths, former)["version"]
            install(self._paths, former, self._row(f"rolled back from {given_up}", version, former, ()))
            self._point_aliases(former)
            annotations = f"version {version} of the added annotations" if version else "no added annotations"
            return [f"{self._paths.model}: model {former} is in use again, with {annotations}"]

    def update_registry(self) -> None:
        """Point the aliases in the MLflow registry to the model in use, for example after an interrupted rollback."""
        with self._alone():
            self._point_aliases(read_config(self._paths.model).model_id)

    def history(self) -> list[str]:
        """Return lines of text that list the versions of the annotations, and the changes of the model in use."""
        # No lock is needed: reading is allowed while a retraining is running.
        with self._alone() if interrupted(self._paths) else nullcontext():
            return [*self._versions(), *self._decisions()]

    def _versions(self) -> Iterator[str]:
        used = version_in_use(self._paths.added)
        for name in list_versions(self._paths.added):
            try:
                additions = read_additions(self._paths.added, name)
            except MechtagError as error:
                self._reporter.note(f"note: version {name} of the annotations cannot be read: {error}")
                continue
            coders = ", ".join(sorted({coding.coder for coding in additions.codings}))
            counts = f"{len(additions.codings)} codings of {len({row.record_id for row in additions.codings})} records"
            yield f"{name}: {counts} by {coders or 'nobody'}{' (in use)' if name == used else ''}"

    def _decisions(self) -> Iterator[str]:
        for row in read_history(self._paths.added):
            version = row["version"] or "none"
            yield f"{row['date']}: {row['event']}; annotations: version {version}; model in use: {row['champion']}"
            yield from (f"    {reason}" for reason in row["reasons"])

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Lock models and annotations during the ``with`` block; first complete an interrupted model replacement."""
        # The annotations have their own lock, because several models may use the same annotations.
        with locked(self._paths.kept), locked(self._paths.added):
            if found := recover(self._paths):
                self._reporter.note(
                    f"{self._paths.model}: an interrupted replacement of the model is now complete; "
                    f"model {found} is in use"
                )
                # A model that 'mechtag train' was putting in place is not kept.
                if is_kept(self._paths, found):
                    self._point_aliases(found)
            yield

    @staticmethod
    def _row(event: str, version: str, champion: str, reasons: Sequence[str]) -> dict[str, object]:
        return {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "event": event,
            "version": version,
            "champion": champion,
            "reasons": list(reasons),
        }

    def _point_aliases(self, champion: str) -> None:
        """Set the MLflow aliases of the model in use and of the model that a rollback would restore."""
        paths, settings = self._paths, self._settings
        note = note_of(paths, champion)
        with tolerated(self._reporter.note):
            register(paths.kept / champion / MODEL, settings, note["tags"], [CHAMPION])
            # If the kept models were deleted, no rollback is possible.
            if is_kept(paths, note["former"]):
                before = note_of(paths, note["former"])
                register(paths.kept / note["former"] / MODEL, settings, before["tags"], [PREVIOUS])
            else:
                drop_alias(PREVIOUS, settings)

    def _add(self, codings: Sequence[Path], records: Sequence[Path], onto: str | None, leave_out_leaks: bool) -> str:
        """Create a version of the annotations that contains new codings, and return the name of the version."""
        reports = self._project.reports / "retrain"
        then = read_config(self._paths.model).codebook.definitions
        onto = "" if onto == NO_VERSION else onto
        addition = add_annotations(
            self._settings,
            self._codebook,
            list(codings),
            list(records),
            then,
            onto,
            leave_out_leaks,
            self._reporter.note,
        )
        version = write_additions(self._paths.added, addition.additions)
        write_notes(reports / version, addition)
        hashed = track_with_dvc(self._paths.added / version)
        self._reporter.note(
            f"version {version} of the annotations{f' (DVC {hashed})' if hashed else ''}: {addition.describe()}"
        )
        for row in addition.set_aside:
            self._reporter.note(f"note: the new codes of '{row.title}' are not used for training: {row.reason}")
        unknown = Counter(row.label for row in addition.additions.codings if row.label not in self._codebook.all_keys)
        if unknown:
            labels = ", ".join(f"{label} ({count})" for label, count in sorted(unknown.items()))
            verb = "is" if unknown.total() == 1 else "are"
            self._reporter.note(
                f"note: {counted(unknown.total(), 'code')} in version {version} {verb} not used, because the codebook "
                f"has no such label: {labels}. If you renamed a label, import its codes again under the new key: "
                f"'mechtag codings {self._paths.added / version / CODINGS} --map MAP.yaml -o codings.csv'"
            )
        if addition.stale:
            stale = reports / version / "stale.csv"
            self._reporter.note(
                f"{stale}: {len(addition.stale)} codes were assigned under earlier definitions of their labels; "
                "check whether the codes still apply"
            )
        return version

    def _records_for_changes(self, given: Path | None) -> Sequence[Record]:
        if given:
            return read_unique(given, self._reporter.note)
        settings = self._settings
        sources = [Path(path) for path in settings.sources.values() if path != settings.retrain.test_records]
        return dedupe(read_sources(sources, self._reporter.note), settings.dedupe).unique if sources else ()

    def _challenge(self, version: str, change_log_on: Path | None) -> list[str]:
        """Train a new model, promote it if it is not worse than the model in use, and describe the outcome.

        The outcome is returned as a list of sentences.
        """
        paths, settings, codebook = self._paths, self._settings, self._codebook
        champion = load_model(paths.model)
        if difference := encoder_difference(champion.config.encoder, settings.encoder, paths.model):
            self._reporter.note(f"note: {difference}. The new model is trained with the encoder in the settings")
        # Read these first, so that errors in them show before training, which takes long.
        records = self._records_for_changes(change_log_on)
        with self._reporter.progress("fine-tuning", count_epochs(settings.train)) as advance:
            challenger = train_challenger(
                settings,
                codebook,
                version,
                self._project.work / "retrain" / version,
                work=self._project.checkpoints,
                on_progress=advance,
            )
        ids = champion.config.model_id, challenger.model.config.model_id
        if ids[0] == ids[1]:
            keep_champion(paths)
            self._point_aliases(ids[0])
            return [
                f"{paths.model}: model {ids[0]} was already trained on exactly these annotations; no training is needed"
            ]
        coded = read_annotations(settings, codebook.keys, codebook.relevance.key, version)
        known, new = champion_predictions(champion, paths.out_of_fold, coded)
        systems = System("the model in use", known), System("the challenger", challenger.documents)
        labels = [key for key in codebook.keys if key in champion.config.codebook.keys]
        added = {row.record.record_id for row in new}
        earlier = [row for row in coded if row.record.record_id not in added]
        papers = {"all papers": coded, "earlier papers": earlier, _NEW: new}
        figures = {
            name: compare_systems(
                *systems, rows, labels, codebook.relevance.key, settings.retrain, np.random.default_rng(settings.seed)
            )
            for name, rows in papers.items()
            if rows
        }
        # Do not decide on new papers alone: there are few of them, and errors in their codes affect both models.
        verdict = decide_promotion({name: each for name, each in figures.items() if name != _NEW}, settings.retrain)
        report = self._project.reports / "retrain" / version
        heading = {
            "champion": ids[0],
            "challenger": ids[1],
            "annotations before": version_in_use(paths.added) or "none added",
            "annotations after": version,
            "papers": len(coded),
            "papers that are new": len(new),
            "codebook changed": champion.config.codebook_sha256 != codebook.sha256,
        }
        write_comparison(report, heading, figures, verdict)
        sentences = list(split(records, settings.sentences))
        changes = find_changes(champion.tagger, challenger.model.tagger, records, sentences, new)
        write_change_log(report, changes, len(records), *ids)
        tags = {"data_version": version, "compared": "; ".join(verdict.reasons)}
        with tolerated(self._reporter.note):
            metrics = challenger.figures | {
                f"retrain_{each.figure}_{side}": value
                for each in figures["all papers"]
                for side, value in (("champion", each.champion), ("challenger", each.challenger))
                if value is not None
            }
            folder = challenger.folder / MODEL
            log_run(challenger.model.config, folder, settings, metrics, challenger.losses)
            register(folder, settings, tags)
        in_use = ids[1] if verdict.promote else ids[0]
        event = f"{ids[1]} promoted" if verdict.promote else f"{ids[1]} not promoted"
        row = self._row(event, version, in_use, verdict.reasons)
        keep_champion(paths)
        if verdict.promote:
            keep_challenger(paths, challenger.folder, version, tags)
            install(paths, ids[1], row)
        else:
            append_history(paths.added, row)
        self._point_aliases(in_use)
        done = "is now in use" if verdict.promote else "was not promoted; the model in use was not changed"
        return [
            *(f"  {reason}" for reason in verdict.reasons),
            f"  {len(changes)} decisions change on {len(records)} records: {report / 'changes.md'}",
            f"model {ids[1]} {done}: {report / 'comparison.md'}",
        ]
