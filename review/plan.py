"""Define the settings of a review (its plan), such as the number of coders and the rule for stopping screening."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, get_args

from pydantic import Field

from mechtag.core.codebook import Strict
from mechtag.core.records import Basis

#: Stages of a review, in order. At ``screen``, a record is included or excluded. At ``code``, it is coded for all
#: labels from its abstract, and at ``full-text`` from its full text, if one is attached.
Stage = Literal["screen", "code", "full-text"]
STAGES: tuple[str, ...] = get_args(Stage)
#: Stages at which records are coded for all labels, with the text by which they are coded.
BASES: Mapping[str, Basis] = {"code": "abstract", "full-text": "full-text"}
#: Stages with their own order of reading; full texts are read in the order in which abstracts are coded.
RANKED = ("screen", "code")
#: Names of the stages on the pages.
STAGE_NAMES: Mapping[str, str] = {"screen": "Screening", "code": "Coding", "full-text": "Full-text coding"}

#: What coders see of the model. ``off``: nothing, and records come in random order. ``blind``: no suggestions, but the
#: model determines the order. ``after``: suggestions after the coder has finished a record. ``assisted``: suggestions
#: from the start.
Mode = Literal["off", "blind", "after", "assisted"]

_Coders = Annotated[int, Field(ge=1, le=2)]


class Plan(Strict):
    """The settings of a review, which owners change on the *Settings* page.

    Every change is stored as an event.

    Attributes
    ----------
    coders_screen
        Number of people who independently screen each record.
    coders_code
        Number of people who independently code each record.
    mode_screen, mode_code
        When coders see suggestions of the model, in screening and in coding: ``off``, ``blind``, ``after`` or
        ``assisted``; see `Mode`.
    audit_share
        In the mode ``assisted``, the proportion of records that are shown without suggestions. These records are used
        to estimate the effect of suggestions.
    reasons
        Whether coders choose a reason when they exclude a record: ``none`` (they cannot), ``optional`` or ``required``.
    exclusion_reasons
        Reasons that coders can choose.
    rule, recall, confidence
        Stopping rule for screening, and the recall and confidence to reach; see
        `mechtag.pipeline.screening.ranking.Target`.
    rerank_after
        Number of new decisions after which the records are ranked again.
    words_for, words_against
        Words for inclusion, and words against inclusion. They are highlighted in titles and abstracts. An asterisk
        stands for any ending: ``stem*`` highlights all words that begin with ``stem``.
    roles
        Whether coders can give roles of evidence to sentences, and link these sentences into configurations. A
        configuration explains a label.
    learn_from_assisted
        Whether training also uses codes that were given while a suggestion was visible.
    unblinded
        Whether blinding has ended. If it has, everyone may see everyone's codes.
    """

    coders_screen: _Coders = 2
    coders_code: _Coders = 2
    mode_screen: Mode = "blind"
    mode_code: Mode = "after"
    audit_share: float = Field(default=0.15, ge=0.05, le=0.5)
    reasons: Literal["none", "optional", "required"] = "none"
    exclusion_reasons: tuple[str, ...] = ()
    rule: Literal["sample", "ranked"] = "sample"
    recall: float = Field(default=0.95, gt=0, lt=1)
    confidence: float = Field(default=0.95, gt=0, lt=1)
    rerank_after: int = Field(default=10, ge=1, le=100)
    words_for: tuple[str, ...] = ()
    words_against: tuple[str, ...] = ()
    roles: bool = False
    learn_from_assisted: bool = True
    unblinded: bool = False

    def coders(self, stage: str) -> int:
        """Return the number of people who must judge each record at a stage, such as ``screen``."""
        return self.coders_screen if stage == "screen" else self.coders_code

    @property
    def wanted(self) -> dict[str, int]:
        """Return the number of people who must judge each record, keyed by stage, such as ``screen``."""
        return {stage: self.coders(stage) for stage in STAGES}

    def mode(self, stage: str) -> Mode:
        """Return the mode of a stage, which determines when coders see suggestions of the model."""
        return self.mode_screen if stage == "screen" else self.mode_code
