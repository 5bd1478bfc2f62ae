"""Let a person choose between the codes that were saved from another browser window and the codes in this window."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.responses import HTMLResponse

from mechtag.review.visit import Visit

# Fields for which the new form has its own values.
_OWN = frozenset(("csrf", "client_id", "based_on"))


def two_versions(
    visit: Visit, *, saved: Sequence[tuple[str, str]], wanted: str, based_on: int, back: str
) -> HTMLResponse:
    """Return a page that shows the saved codes next to the codes in the form, with HTTP status 409.

    Parameters
    ----------
    saved
        Name and value of each saved code, in words.
    wanted
        What the person tried to save with the form, in words.
    based_on
        Number of the event that last changed the saved codes. The form on the page contains this number, which shows
        that the person has seen these codes.
    back
        Address of the page that shows the record.
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
