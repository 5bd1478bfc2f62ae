"""Create a model from the definitions of the codebook alone, for projects without coded records."""

from __future__ import annotations

from pathlib import Path

from mechtag.project import Project
from mechtag.workflows.reporter import SILENT, Reporter
from mechtag.workflows.status import has_codes


def usable_model(project: Project, reporter: Reporter = SILENT) -> Path:
    """Return the folder of the model for tagging; if necessary, create a model from the definitions of the labels.

    A model from definitions is created if the project has no model, and either no coded records, or codes on which no
    model can be trained yet. It is created again if the codebook or the encoder has changed, or if it cannot tag full
    texts.

    If a model could be trained on the codes of the project, but there is no model, the folder is empty or missing.
    `load_model` then tells the user to train a model.
    """
    from mechtag.models.model_folder import encoder_difference, read_config, swap_interrupted

    own = project.own_model
    if project.is_shipped or project.uses_shipped_model:
        return project.model
    if (own / "config.json").exists():
        config = read_config(own)
        if not config.from_definitions:
            return own
        if has_codes(project):
            reporter.note("note: records have been coded, but no model has been trained on them: run 'mechtag train'")
        is_current = config.codebook_sha256 == project.codebook.sha256 and config.window is not None
        if is_current and not encoder_difference(config.encoder, project.settings.encoder, own):
            return own
    elif swap_interrupted(own):
        return own
    elif has_codes(project):
        from mechtag.training.train import refusal

        if not (reason := refusal(project.settings, project.codebook)):
            return own
        reporter.note(f"note: records have been coded, but no model can be trained on these codes yet: {reason}")
    from mechtag.training.train import define, save_model

    save_model(define(project.settings, project.codebook), own)
    return own
