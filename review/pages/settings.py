"""Show the *Settings* page, on which owners change the plan of the review."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection, exists, select
from starlette.responses import Response

from mechtag.review.acts import Refused, Stamp
from mechtag.review.jobs import tagging
from mechtag.review.plan import Plan
from mechtag.review.store import schema
from mechtag.review.store.events import read_plan
from mechtag.review.visit import Visit, route
from mechtag.review.workspace import add_job

# Settings on which the guarantee of the stopping rule depends; changing them after the first decision needs a reason.
_FIXED_AT_START = frozenset(("rule", "recall", "confidence"))


@dataclass(frozen=True)
class Setting:
    """A setting of the review's plan, with the texts and limits that the page shows.

    Attributes
    ----------
    key
        Name of the field of `Plan`.
    name, help
        Heading and explanation of the setting.
    choices
        Possible values, each with its text; empty if the value is a number or a list.
    lowest, highest, step
        If the value is a number: lowest number, highest number, and step between numbers.
    """

    key: str
    name: str
    help: str
    choices: tuple[tuple[str, str], ...] = ()
    lowest: float | None = None
    highest: float | None = None
    step: float | None = None

    @property
    def is_list(self) -> bool:
        """Return whether the value of the setting is a list.

        People enter one item of the list per line.
        """
        return self.key in ("exclusion_reasons", "words_for", "words_against")


_MODES = (
    ("off", "Off: random order, no suggestions"),
    ("blind", "Blind: the model orders the records, and shows no suggestions"),
    ("after", "After: suggestions appear once the coder has finished a record"),
    ("assisted", "Assisted: suggestions are shown from the start"),
)
_NUMBERS = (("1", "one person"), ("2", "two people, independently"))
_YES_NO = (("true", "yes"), ("false", "no"))

GROUPS: tuple[tuple[str, tuple[Setting, ...]], ...] = (
    (
        "People",
        (
            Setting(
                "coders_screen", "Who screens each record", "Two people miss fewer relevant records than one.", _NUMBERS
            ),
            Setting(
                "coders_code", "Who codes each record", "Agreement can be computed only with two people.", _NUMBERS
            ),
            Setting(
                "unblinded",
                "Lift blinding",
                "Everyone then sees everyone's codes. Codes given from then on do not count as independent, and "
                "blinding cannot be restored.",
                _YES_NO,
            ),
        ),
    ),
    (
        "Suggestions of the model",
        (
            Setting(
                "mode_screen",
                "While screening",
                "Whether the model determines the order of records, and when coders see its suggestions.",
                _MODES,
            ),
            Setting(
                "mode_code",
                "While coding",
                "Figures of agreement with the model count only codes that were given before a suggestion was seen.",
                _MODES,
            ),
            Setting(
                "audit_share",
                "Blind share in the mode 'assisted'",
                "This proportion of records is shown without suggestions, so that the effect of suggestions can be "
                "estimated.",
                lowest=0.05,
                highest=0.5,
                step=0.01,
            ),
            Setting(
                "learn_from_assisted",
                "Learn from codes that were given with a suggestion in view",
                "Even if the model learns from these codes, they never decide whether a new model replaces the model "
                "in use.",
                _YES_NO,
            ),
        ),
    ),
    (
        "Roles of evidence",
        (
            Setting(
                "roles",
                "Code roles of evidence",
                "On the Code page, coders can then give each marked sentence a role, such as context or outcome, and "
                "link sentences to configurations. The codebook defines the roles.",
                _YES_NO,
            ),
        ),
    ),
    (
        "Screening",
        (
            Setting(
                "reasons",
                "Reasons for exclusion",
                "Whether coders choose a reason when they exclude a record. Reasons are counted on the Flow page.",
                (("none", "not asked"), ("optional", "optional"), ("required", "required")),
            ),
            Setting("exclusion_reasons", "List of reasons", "Enter one reason per line."),
            Setting(
                "words_for",
                "Words for inclusion",
                "Enter one word per line. These words are highlighted in titles and abstracts. With an asterisk, "
                "manag* highlights manager, managing and all other words that begin with manag.",
            ),
            Setting("words_against", "Words against inclusion", "Enter one word per line."),
            Setting(
                "rerank_after",
                "Rank again after this number of decisions",
                "After this number of new decisions, the remaining records are ranked again in the background.",
                lowest=1,
                highest=100,
                step=1,
            ),
        ),
    ),
    (
        "When screening may stop",
        (
            Setting(
                "rule",
                "Rule",
                "Set this rule before the first decision. A later change needs a reason and is reported.",
                (("sample", "random sample of the unread records"), ("ranked", "by rank")),
            ),
            Setting(
                "recall", "Recall", "Proportion of the relevant records to find.", lowest=0.5, highest=0.99, step=0.01
            ),
            Setting(
                "confidence",
                "Confidence",
                "Confidence with which this recall is reached when screening stops.",
                lowest=0.5,
                highest=0.99,
                step=0.01,
            ),
        ),
    ),
)
_BY_KEY = {setting.key: setting for _, group in GROUPS for setting in group}


def settings(visit: Visit) -> Response:
    """Show the settings of the review's plan; only owners can change them."""
    with visit.workspace.store.read() as connection:
        plan, begun = _plan(connection)
    return visit.page("settings.html", groups=GROUPS, plan=plan, begun=begun, fixed=_FIXED_AT_START)


def _plan(connection: Connection) -> tuple[dict[str, Any], bool]:
    """Return all settings, keyed by name, and whether anybody has given a code."""
    begun = connection.execute(select(exists().where(schema.event.c.kind == "code"))).scalar_one()
    return read_plan(connection).model_dump(mode="json"), bool(begun)


def change(visit: Visit) -> Response:
    """Save the settings of one group.

    Each changed setting is logged as a separate event. A setting that the person left as the page showed it is not
    changed, even if somebody else has changed it since the page was loaded.
    """
    name = visit.text("group")
    group = dict(GROUPS).get(name)
    if group is None:
        raise Refused("this group of settings does not exist; reload the Settings page", 404)
    why = visit.text("why").strip()
    with visit.workspace.store.read() as connection:
        before, begun = _plan(connection)
    changes = {}
    for setting in group:
        value, name_shown = _read(setting, visit.text(setting.key)), f"shown-{setting.key}"
        left_as_shown = name_shown in visit.form and value == _read(setting, visit.text(name_shown))
        if value != before[setting.key] and not left_as_shown:
            changes[setting.key] = value
    if begun and not why and _FIXED_AT_START & changes.keys():
        raise Refused(
            "screening has already begun. To change the stopping rule, its recall or its confidence, enter a reason. "
            "After the change, the recall is no longer guaranteed, and reports mention the change"
        )
    # All values are checked before the first is written.
    try:
        Plan.model_validate({**before, **changes})
    except ValidationError as error:
        fault = error.errors()[0]
        name = _BY_KEY[str(fault["loc"][0])].name
        raise Refused(f"{name}: this value is not allowed ({fault['msg']}); enter a different value") from None
    stamp = visit.stamp()
    for key, value in changes.items():
        visit.workspace.acts.change_plan(Stamp(stamp.coder, f"{stamp.client_id}/{key}"), key, value, why=why)
    with visit.workspace.store.write() as connection:
        for key in changes:
            ask_after_change(connection, visit.person.id, key)
    return visit.go("/settings")


def ask_after_change(connection: Connection, coder: int, key: str) -> None:
    """Add a job that computes suggestions, if the changed setting is ``coders_screen``.

    This setting is the number of people who screen each record. If one person is enough, more records are included than
    if two people must agree. Coders need suggestions for the added records.

    Parameters
    ----------
    coder
        Account number of the person who changed the setting.
    key
        Name of the changed setting.
    """
    if key == "coders_screen":
        add_job(connection, tagging.KIND, coder)


def _read(setting: Setting, text: str) -> Any:
    if setting.is_list:
        return list(dict.fromkeys(" ".join(line.split()) for line in text.splitlines() if line.strip()))
    if setting.choices == _YES_NO:
        return text == "true"
    if setting.choices == _NUMBERS:
        return int(text) if text in ("1", "2") else None
    if setting.lowest is None:
        return text
    try:
        number = float(text)
    except ValueError:
        raise Refused(f"{setting.name}: '{text}' is not a number; enter digits, such as 0.95") from None
    return int(number) if setting.step == 1 and number.is_integer() else number


ROUTES = [route("/settings", "settings", settings), route("/settings", "change_settings", change, ("POST",))]
