"""Show what a person saved in a different window next to what this window asks for, and let the person choose."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.responses import HTMLResponse

from mechtag.review.visit import Visit

# Fields that the new form has of its own.
_OWN = frozenset(("csrf", "client_id", "based_on"))


def two_versions(
    visit: Visit, *, saved: Sequence[tuple[str, str]], wanted: str, based_on: int, back: str
) -> HTMLResponse:
    """Return the page with both versions, with status 409.

    Parameters
    ----------
    saved
        Names and values of what is saved now.
    wanted
        What the form asks for.
    based_on
        Number of the last event about the person's codes of the record.
    back
        Address of the record.
    """
    fields = [(name, value) for name, value in visit.form.multi_items() if name not in _OWN and isinstance(value, str)]
    action = visit.request.url.path
    response = visit.page(
        "two_versions.html",
        status=409,
        saved=saved,
        wanted=wanted,
        fields=fields,
        action=action,
        based_on=based_on,
        back=back,
    )
    response.headers["HX-Replace-Url"] = back
    return response
