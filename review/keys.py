"""Define the keyboard shortcuts of all pages, and the sets of shortcuts from which a person can choose.

In a template, ``{{ keys.on("include") }}`` assigns a shortcut to a control, and ``{{ keys.hint("include") }}`` shows
the shortcut in the text of the control.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from mechtag.core.errors import MechtagError


@dataclass(frozen=True)
class Key:
    """The keyboard shortcut of a control.

    Attributes
    ----------
    action
        Name by which templates refer to the shortcut.
    names
        Alternative shortcuts in the notation of ``reader.js``, such as ``1``, ``shift+n`` or ``ctrl+enter``. ``g+s``
        means G and then S. Pages show the first alternative.
    meaning
        What the shortcut does, as shown in lists of keys.
    screens
        Beginnings of the addresses of the pages on which the shortcut works. If empty, the shortcut works on all pages.
        ``reasons`` is not an address: the shortcut works only while the list of reasons on the *Screen* page is open.
    """

    action: str
    names: tuple[str, ...]
    meaning: str
    screens: tuple[str, ...] = ()


# Pages to which a shortcut leads from every page: name of the action, second key, and title.
_PLACES = (
    ("screen", "s", "Screen"),
    ("code", "c", "Code"),
    ("reconcile", "r", "Reconcile"),
    ("duplicates", "d", "Duplicates"),
    ("learn", "l", "Learn"),
    ("accuracy", "a", "Accuracy"),
    ("flow", "f", "Flow"),
    ("home", "h", "the project page"),
)

TABLE = (
    Key("include", ("1",), "Include the record", ("screen",)),
    Key("exclude", ("2",), "Exclude the record", ("screen",)),
    *(
        Key(
            f"reason_{number}",
            (str(number),),
            f"Exclude for reason {number}" if number else "Exclude without a reason",
            ("reasons",),
        )
        for number in (*range(1, 10), 0)
    ),
    Key("refer", ("3",), "Unsure: refer the record to the adjudicator", ("screen",)),
    Key("criteria", ("c",), "Show or hide the criteria", ("screen",)),
    Key("words", ("w",), "Highlight words, or stop highlighting them", ("screen", "code")),
    Key("yes", ("1",), "Yes for the chosen label", ("code",)),
    Key("no", ("2",), "No for the chosen label", ("code",)),
    Key("needs_review", ("3",), "Needs review for the chosen label", ("code",)),
    Key("previous_label", ("[",), "Choose the previous label", ("code",)),
    Key("next_label", ("]",), "Choose the next label", ("code",)),
    Key("find_label", (";",), "Choose the label whose letter you press next", ("code",)),
    Key("rules", ("i",), "Show or hide the definition and rules of the chosen label", ("code",)),
    Key("next_sentence", ("j",), "Go to the next sentence", ("code",)),
    Key("previous_sentence", ("k",), "Go to the previous sentence", ("code",)),
    Key("mark", ("space",), "Mark the sentence for the chosen label, or remove the mark", ("code",)),
    Key("sign_present", ("p",), "Mark the sentence as evidence that the chosen label is present", ("code",)),
    Key("sign_absent", ("m",), "Mark the sentence as evidence that the chosen label is absent", ("code",)),
    Key("sign_unclear", ("q",), "Mark the sentence as evidence that leaves this unclear", ("code",)),
    Key("role", ("r",), "Give the sentence the role whose number you press next, or remove the role", ("code",)),
    Key("accept", ("a",), "Accept the suggestion for the chosen label", ("code",)),
    Key("reject", ("x",), "Reject the suggestion for the chosen label", ("code",)),
    Key("doubt", ("f",), "Answer the suggestion for the chosen label with needs review", ("code",)),
    Key(
        "rest_no", ("shift+n",), "Show the labels without an answer, and offer to answer no for all of them", ("code",)
    ),
    Key("done", ("ctrl+enter",), "Finish the record, and go to the next one", ("code",)),
    Key("settle_yes", ("1",), "Settle the first open label: include, or yes", ("reconcile",)),
    Key("settle_no", ("2",), "Settle the first open label: exclude, or no", ("reconcile",)),
    Key("take_a", ("a",), "Settle the first open label with the code of A", ("reconcile",)),
    Key("take_b", ("x",), "Settle the first open label with the code of B", ("reconcile",)),
    Key("conflict_after", ("j",), "Go to the next record of the list", ("reconcile",)),
    Key("conflict_before", ("k",), "Go to the previous record of the list", ("reconcile",)),
    Key("votes", ("v",), "Show who said what", ("reconcile",)),
    Key("same", ("s",), "The two records are the same paper", ("duplicates",)),
    Key("different", ("d",), "The two records are different papers", ("duplicates",)),
    Key("search", ("/",), "Go to the search field", ("records",)),
    Key("later", ("l",), "Put the record or the pair of records aside for later", ("screen", "code", "duplicates")),
    Key("note", ("n",), "Write a note or comment"),
    Key("doi", ("o",), "Open the paper by its DOI"),
    Key("undo", ("u", "ctrl+z"), "Undo"),
    Key("redo", ("shift+u", "ctrl+shift+z"), "Redo"),
    Key("keys", ("?",), "Show the keys of this page"),
    *(Key(f"go_{name}", (f"g+{letter}",), f"Go to {title}") for name, letter, title in _PLACES),
)
_BY_ACTION = {key.action: key for key in TABLE}

#: Sets of keys from which a person can choose; each contains only the keys that differ from `TABLE`.
SETS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "default": {},
    "rayyan": {
        "include": ("i",),
        "exclude": ("e",),
        "refer": ("u",),
        "undo": ("z", "ctrl+z"),
        "redo": ("shift+z", "ctrl+shift+z"),
    },
    "asreview": {"include": ("r",), "exclude": ("i",)},
    "off": {key.action: tuple(name for name in key.names if name.startswith("ctrl+")) for key in TABLE},
}
#: Names of the sets on the pages.
SET_NAMES = {
    "default": "Keys of mechtag",
    "rayyan": "Keys of Rayyan: I include, E exclude, U unsure, Z undo",
    "asreview": "Keys of ASReview: R relevant, I irrelevant, N note",
    "off": "No keys, except those with Ctrl",
}


def key_set_of(account: int) -> str:
    """Return the name under which table ``fact`` of the database stores a person's keyboard shortcuts."""
    return f"keys of {account}"


@dataclass(frozen=True)
class Choice:
    """The keyboard shortcuts that a person has chosen.

    Attributes
    ----------
    key_set
        Name of a set of shortcuts in `SETS`. For any other name, the shortcuts of `TABLE` apply.
    own
        Shortcuts that the person has changed, keyed by action. They override the set. ``""`` means that the action has
        no shortcut.
    """

    key_set: str = "default"
    own: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, stored: Any) -> Choice:
        """Return the shortcuts that a person has saved.

        ``stored`` is the value in table ``fact`` of the database. It is ``None`` if the person has not saved any
        shortcuts.
        """
        if isinstance(stored, Mapping):
            own = {action: name for action, name in stored["own"].items() if action in _BY_ACTION}
            return cls(stored["set"], own)
        # Before single keys could be changed, the name of the key set was stored alone.
        return cls(stored or "default")

    def dump(self) -> dict[str, Any]:
        """Return the person's shortcuts as a dict that table ``fact`` of the database can store."""
        return {"set": self.key_set, "own": dict(self.own)}

    def names(self, action: str) -> tuple[str, ...]:
        """Return the shortcuts for an action.

        Pages show the first shortcut. Shortcuts with Ctrl cannot be turned off.
        """
        table = _BY_ACTION[action].names
        if action not in self.own:
            return SETS.get(self.key_set, {}).get(action, table)
        with_ctrl = tuple(name for name in table if name.startswith("ctrl+"))
        return (self.own[action], *with_ctrl) if self.own[action] else with_ctrl

    def change(self, action: str, typed: str) -> Choice:
        """Return a copy of the person's shortcuts with a different key for one action.

        Parameters
        ----------
        typed
            The keyboard key as a person types it, such as ``x``, ``Shift X`` or ``Space``. An empty text turns the
            shortcut off. For a shortcut that opens a page, such as ``G then S``, the second key (``S``) is enough.

        Raises
        ------
        MechtagError
            If the action does not exist, if the keyboard key cannot be used, or if a different action on the same page
            has this shortcut.
        """
        if action not in _BY_ACTION:
            raise MechtagError("this shortcut does not exist; choose one of the shortcuts on the Keys page")
        after = Choice(self.key_set, {**self.own, action: _key(action, typed)})
        own = _BY_ACTION[action]
        for other in TABLE:
            both = not own.screens or not other.screens or set(own.screens) & set(other.screens)
            if other is own or not both:
                continue
            if shared := set(after.names(action)) & set(after.names(other.action)):
                raise MechtagError(
                    f"the keyboard shortcut {spoken(min(shared))} is already used on the same page, for "
                    f"“{other.meaning}”; choose a different shortcut, or first change the shortcut for "
                    f"“{other.meaning}”"
                )
        return after


def _key(action: str, typed: str) -> str:
    """Convert a key as a person typed it, such as ``Shift+N``, to the notation of `TABLE`, such as ``shift+n``."""
    name = "+".join(typed.lower().replace("+", " ").split())
    leads = action.startswith("go_")
    name = name.removeprefix("g+then+").removeprefix("g+") if leads else name
    if not typed:
        return ""
    single = len(name) == 1 and name.isprintable()
    with_shift = name.startswith("shift+") and name[6:].isascii() and name[6:].isalpha() and len(name) == 7
    if leads and single:
        return f"g+{name}"
    if name == "g":
        raise MechtagError(
            "the key G is reserved for the shortcuts to other pages, such as G then S; choose a different key"
        )
    if leads or not (single or with_shift or name == "space"):
        raise MechtagError(
            f"'{typed.strip()[:20]}' cannot be used as a key; type one letter, digit or sign (not +)"
            + ("" if leads else ", or Shift and a letter, or Space")
        )
    return name


def spoken(name: str) -> str:
    """Convert a key to text for people, such as ``shift+n`` to ``Shift N``, or ``g+s`` to ``G then S``."""
    first, *others = (part.upper() if len(part) == 1 else part.capitalize() for part in name.split("+"))
    return (" then " if len(first) == 1 else " ").join([first, *others])


@dataclass
class PageKeys:
    """The keyboard shortcuts of the controls on one page, for one person.

    Parameters
    ----------
    chosen
        The shortcuts that the person has chosen.
    used
        For each action for which the template has called `on`: the shortcut and its meaning, as shown to people.
    """

    chosen: Choice = Choice()
    used: dict[str, tuple[str, str]] = field(default_factory=dict)

    def on(self, action: str) -> Markup:
        """Return the HTML attribute that gives the control of an action its shortcut; empty if there is no shortcut."""
        names = self.chosen.names(action)
        if not names:
            return Markup()
        self.used[action] = spoken(names[0]), _BY_ACTION[action].meaning
        return Markup('data-key="{}"').format(" ".join(names))

    def hint(self, action: str) -> Markup:
        """Return the HTML that shows the shortcut of an action next to its control; empty if there is no shortcut."""
        names = self.chosen.names(action)
        return Markup("<kbd>{}</kbd>").format(spoken(names[0])) if names else Markup()

    def listed(self) -> list[tuple[str, str]]:
        """Return the entries of ``used`` (shortcut and meaning) in the order of `TABLE`."""
        return [self.used[key.action] for key in TABLE if key.action in self.used]
