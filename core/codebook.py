"""Read and validate the codebook, which defines the labels, their order and their meaning."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mechtag.core.errors import MechtagError
from mechtag.core.files import StrPath


class Strict(BaseModel):
    """Base class of pydantic models that describe files: unknown keys are errors, and instances are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


_File = TypeVar("_File", bound=BaseModel)
_KEY = r"^[a-z][a-z0-9_]*$"
_NOT_BLANK = r"\S"
# Far more than any codebook or settings hold.
_MOST_NODES = 100_000
# Columns that identify the paper in tables with one column per label.
_COLUMNS = frozenset(("key", "paper", "record_id"))


class Label(Strict):
    """One label of the codebook.

    Attributes
    ----------
    key
        Identifier in tables and settings. It consists of lower-case letters, digits and ``_``.
    name
        Display name.
    definition
        Meaning of the label; the model uses it as an input.
    include
        Coding rules for content that counts as the label.
    exclude
        Coding rules for content that does not count as the label.
    absence
        Coding rules for content that reports the absence of what the label describes. Models do not use these rules.
    """

    key: str = Field(pattern=_KEY)
    name: str = Field(pattern=_NOT_BLANK)
    definition: str = Field(pattern=_NOT_BLANK)
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    absence: tuple[str, ...] = ()


class Relevance(Strict):
    """The rule that decides whether a record belongs in the review."""

    key: str = Field(default="relevant", pattern=_KEY)
    name: str = Field(default="Relevant", pattern=_NOT_BLANK)
    definition: str = Field(pattern=_NOT_BLANK)
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


class EvidenceRole(Label):
    """A role of evidence: the kind of information that a passage contains about a label, such as context or outcome."""


#: Roles of realist evaluation, where a mechanism consists of a resource and the reasoning with which people respond to
#: it (Dalkin et al. 2015, doi:10.1186/s13012-015-0345-7). A codebook can define others.
EVIDENCE_ROLES = (
    EvidenceRole(
        key="context",
        name="Context",
        definition=(
            "Conditions that are there before anybody acts, and that make it easier or harder for something to work: "
            "history, policy, funding, organisations, professions, relations of power, places and people."
        ),
        include=(
            "what is given: earlier mergers, rules, budgets, staffing, size",
            "differences of culture or interest",
        ),
        exclude=("what somebody offers or does (resource)",),
    ),
    EvidenceRole(
        key="resource",
        name="Resource",
        definition=(
            "What a leader, a programme or an organisation offers, introduces or does, and to which people can respond:"
            " acts, structures, training, money, information, opportunities, rules."
        ),
        include=(
            "acts and skills of leaders",
            "something that is recommended or missing, such as a budget or training",
        ),
        exclude=("how people think or feel about it (reasoning)", "conditions that were there already (context)"),
    ),
    EvidenceRole(
        key="reasoning",
        name="Reasoning",
        definition=(
            "How people respond in their minds to what is offered: what they think, feel, judge, want or decide, such "
            "as trust, motivation, understanding, commitment, fear or resistance."
        ),
        include=("attitudes, feelings, perceptions and intentions", "willingness or refusal"),
        exclude=("what changes in consequence (outcome)",),
    ),
    EvidenceRole(
        key="outcome",
        name="Outcome",
        definition=(
            "What results: a change in how people work together, in services, in performance, or for the people who "
            "use the services, whether intended or not."
        ),
        include=("results, effects and consequences, also unwanted ones",),
        exclude=("a change of mind alone (reasoning)",),
    ),
)


class Codebook(Strict):
    """The labels, the relevance rule and the roles of evidence of a review.

    Table columns and model scores are always in the order of ``labels``. Models do not use ``roles``.
    """

    name: str = Field(pattern=_NOT_BLANK)
    title: str = ""
    source: dict[str, Any] = Field(default_factory=dict)
    relevance: Relevance
    labels: tuple[Label, ...] = Field(min_length=1)
    roles: tuple[EvidenceRole, ...] = Field(default=EVIDENCE_ROLES, min_length=1)

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        role_keys = [role.key for role in self.roles]
        if repeated := sorted({key for key in role_keys if role_keys.count(key) > 1}):
            raise ValueError(f"two roles have the key {repeated[0]!r}; choose a different key for one of them")
        names: dict[str, str] = {}
        for role in self.roles:
            for name in (role.key, role.name):
                folded = " ".join(name.replace("_", " ").casefold().split())
                if names.setdefault(folded, role.key) != role.key:
                    raise ValueError(
                        f"the roles {names[folded]!r} and {role.key!r} are both called {name!r}; give each role a key "
                        "and a name that no other role has"
                    )
        keys = self.all_keys
        doubled = sorted({key for key in keys if keys.count(key) > 1})
        if doubled:
            raise ValueError(
                f"the key {doubled[0]!r} appears more than once; relevance and each label need different keys"
            )
        if taken := sorted(_COLUMNS.intersection(keys)):
            raise ValueError(
                f"a label cannot have the key {taken[0]!r}, because tables have another column with this name; "
                "choose a different key"
            )
        return self

    @property
    def keys(self) -> tuple[str, ...]:
        """Return the keys of the labels in codebook order, without relevance."""
        return tuple(label.key for label in self.labels)

    @property
    def all_keys(self) -> tuple[str, ...]:
        """Return the key of relevance, followed by the keys of the labels in codebook order.

        Arrays of scores have their columns in this order.
        """
        return (self.relevance.key, *self.keys)

    @property
    def entries(self) -> tuple[Label | Relevance, ...]:
        """Return the relevance rule followed by the labels, in the order of ``all_keys``."""
        return (self.relevance, *self.labels)

    @property
    def names(self) -> dict[str, str]:
        """Return the display names of relevance and of the labels; the keys are those in ``all_keys``."""
        return {entry.key: entry.name for entry in self.entries}

    @property
    def definitions(self) -> dict[str, str]:
        """Return one hash for relevance and one for each label; the keys are those in ``all_keys``.

        A hash shows whether a label has changed between two versions of a codebook. It covers ``definition``,
        ``include`` and ``exclude``, but not ``absence``.
        """
        return {
            entry.key: _digest(entry.model_dump(mode="json", include={"definition", "include", "exclude"}))
            for entry in self.entries
        }

    @property
    def role_names(self) -> dict[str, str]:
        """Return the display name of each role of evidence, keyed by the key of the role."""
        return {role.key: role.name for role in self.roles}

    @property
    def sha256(self) -> str:
        """Return a hash by which a model recognises the codebook that it was trained with.

        The hash does not depend on what models ignore: the roles of evidence, the rules for evidence of absence, and
        the layout and comments of the file.
        """
        return _digest(used_by_models(self.model_dump(mode="json")))


def used_by_models(codebook: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a codebook without the roles of evidence and the rules for evidence of absence.

    Models do not use these.

    Parameters
    ----------
    codebook
        Content of a codebook, as returned by `Codebook.model_dump`.
    """
    content = {name: value for name, value in codebook.items() if name != "roles"}
    labels = [{name: value for name, value in label.items() if name != "absence"} for label in codebook["labels"]]
    return content | {"labels": labels}


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def load_codebook(path: StrPath) -> Codebook:
    """Read and check a codebook file (YAML).

    Raises
    ------
    MechtagError
        If the file is missing or is not a YAML mapping; if a key of the mapping is unknown or missing; or if the key of
        a label is repeated or is a reserved column name.
    """
    return read_yaml(
        path,
        Codebook,
        missing="no such codebook file; set the path of the codebook under 'codebook' in params.yaml",
        expected="a codebook must be a mapping with the keys name, relevance and labels",
    )


def read_yaml(
    path: StrPath,
    model: type[_File],
    *,
    missing: str,
    expected: str,
    empty: dict[str, Any] | None = None,
    loader: type[yaml.SafeLoader] = yaml.SafeLoader,
) -> _File:
    """Read a YAML file written by a user and validate it.

    Parameters
    ----------
    missing
        Error message if the file is missing, without its path.
    expected
        End of the error message if the file is not a mapping. The message begins with "the file contains ..., but".
    empty
        Content to use if the file is empty; ``None`` if an empty file is an error.

    Raises
    ------
    MechtagError
        If the file is missing, is not a YAML mapping, or does not fit ``model``.
    """
    path = Path(path)
    try:
        # All loaders passed in are safe loaders: they construct plain values only.
        data = _load(path.read_text(encoding="utf-8-sig"), loader)
    except FileNotFoundError:
        raise MechtagError(f"{path}: {missing}") from None
    except OSError as error:
        raise MechtagError(
            f"{path}: the file cannot be read: {error.strerror}; check its path and permissions"
        ) from None
    # AttributeError: the loader expects a date where a tag announces one.
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError, AttributeError) as error:
        raise MechtagError(f"{path}: the file is not readable as YAML: {error}\nCorrect the file") from None
    data = empty if data is None else data
    if not isinstance(data, dict):
        found = "nothing" if data is None else f"a value of type {type(data).__name__}"
        raise MechtagError(f"{path}: the file contains {found}, but {expected}")
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise MechtagError(describe_validation(path, error)) from None


def _load(text: str, loader: type[yaml.SafeLoader]) -> Any:
    """Parse YAML text, and raise `ValueError` if it has too many values after its aliases are expanded."""
    reader = loader(text)
    try:
        node = reader.get_single_node()
        if node is None:
            return None
        if _count_values(node, {}) > _MOST_NODES:
            raise ValueError(
                f"the file has more than {_MOST_NODES:,} values after its aliases are expanded; shorten the file, or "
                "use fewer aliases"
            )
        return reader.construct_document(node)
    finally:
        reader.dispose()


def _count_values(node: yaml.Node, known: dict[int, int]) -> int:
    """Return the number of values in a YAML node after its aliases are expanded."""
    if id(node) not in known:
        known[id(node)] = _MOST_NODES  # size of a node that contains itself, while it is being counted
        parts = node.value if isinstance(node, yaml.CollectionNode) else ()
        pairs = (part if isinstance(part, tuple) else (part,) for part in parts)
        known[id(node)] = 1 + sum(_count_values(part, known) for pair in pairs for part in pair)
    return known[id(node)]


def describe_validation(path: str | Path, error: ValidationError) -> str:
    """Convert a pydantic error to a message with one line per fault; each line states the place in the file."""
    lines = []
    faults = error.errors()
    for fault in faults:
        depth = len(fault["loc"])
        if fault["type"] == "too_short" and any(
            len(other["loc"]) > depth and other["loc"][:depth] == fault["loc"] for other in faults
        ):
            continue  # Faulty items were not counted, so the list only looks too short.
        place = ".".join(str(part) for part in fault["loc"]) or "top level"
        message = fault["msg"].removeprefix("Value error, ")
        if fault["type"] == "extra_forbidden":
            message = "unknown key; remove it or correct its spelling"
        elif fault["type"] == "tuple_type":
            message = "expected a list, such as [one, two]"
        elif fault.get("ctx", {}).get("pattern") == _NOT_BLANK:
            message = "the text is empty; enter a text"
        elif fault.get("ctx", {}).get("pattern") == _KEY:
            message = f"{fault['input']!r} is not a valid key; use a to z, digits and _, starting with a letter"
        lines.append(f"{path}: {place}: {message}")
    return "\n".join(lines)
