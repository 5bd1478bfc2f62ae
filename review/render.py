"""Render HTML pages from templates, and format values for the pages."""

from __future__ import annotations

import hashlib
import uuid
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

_HERE = Path(__file__).resolve().parent
STATIC = _HERE / "static"


# The RIS reference types that occur most often in search exports.
_RIS_TYPES = {
    "ABST": "Abstract",
    "BOOK": "Book",
    "CHAP": "Book chapter",
    "CONF": "Conference proceedings",
    "CPAPER": "Conference paper",
    "EJOUR": "Journal article",
    "GEN": "Other",
    "JOUR": "Journal article",
    "NEWS": "Newspaper article",
    "RPRT": "Report",
    "THES": "Thesis",
    "UNPB": "Unpublished work",
    "WEB": "Web page",
}


@cache
def static_name(name: str) -> str:
    """Return the address of a file in the folder ``static``.

    The address contains a hash of the file, so that browsers can cache the file forever.
    """
    digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return f"/static/{digest}/{name}"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"static": static_name, "new_id": lambda: str(uuid.uuid4())}
    environment.filters |= {
        "when": when,
        "plural": plural,
        "reference_type": reference_type,
        "sentence": as_sentence,
        "count": lambda number: f"{number:,}",
    }
    return environment


def render(template: str, **context: Any) -> str:
    """Render a template as HTML, with all values escaped.

    Raises
    ------
    jinja2.UndefinedError
        If a value that the template needs is missing.
    """
    return _environment().get_template(template).render(**context)


def when(moment: str) -> str:
    """Convert a time in ISO 8601 to text in the time zone of this computer, such as ``29 Nov 2026, 14:02``."""
    local = datetime.fromisoformat(moment).astimezone()
    return f"{local.day} {local:%b %Y, %H:%M}"


def reference_type(kind: str) -> str:
    """Return the description of a common RIS type, such as ``Journal article`` for ``JOUR``.

    Any other type is returned unchanged.
    """
    return _RIS_TYPES.get(kind.upper(), kind)


def plural(number: int, one: str, many: str | None = None) -> str:
    """Return a number with its noun in the singular or plural, such as ``1 record`` or ``2,000 records``.

    Parameters
    ----------
    one, many
        Singular and plural of the noun. By default, an ``s`` is added to the singular.
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def as_sentence(message: object) -> str:
    """Return a message with a capital letter at the beginning and a full stop at the end."""
    text = str(message).removesuffix(".")
    return f"{text[:1].upper()}{text[1:]}."
