"""Open all pages of a review, and remove what differs between two runs from them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from starlette.routing import Route

from mechtag.review.pages import ROUTES
from tests.support.review_site import Browser

# Values that exist, for parameters in the addresses of pages.
_VALUES = {"list": "coding"}


def _addresses(stage: str) -> Iterator[str]:
    """Yield the addresses of all pages, without and with a record; ``stage`` fills the stage in an address."""
    for route in ROUTES:
        assert isinstance(route, Route)
        if "GET" not in (route.methods or ()):
            continue
        path = route.path
        for name in route.param_convertors:
            value = {**_VALUES, "stage": stage}.get(name, "1")
            path = path.replace("{" + name + ":int}", value).replace("{" + name + "}", value)
        yield path
        for record in (1, 2, 3):
            yield f"{path}?record={record}"
            yield f"{path}?record={record}&votes=1"


def walk(browser: Browser, stage: str = "code") -> dict[str, str]:
    """Return the HTML of all pages by address, including pages that refuse the request."""
    pages = {address: browser.client.get(address) for address in _addresses(stage)}
    assert not [address for address, response in pages.items() if response.status_code >= 500]
    assert sum(response.status_code == 200 for response in pages.values()) > 20
    return {address: response.text for address, response in pages.items()}


def without_times(page: str) -> str:
    return re.sub(r"\d+ \w+ \d{4}, \d\d:\d\d|\d{4}-\d\d-\d\dT[\d:.+]+|data-(?:owner|csrf)=\"[^\"]+\"", "", page)


def without_ids(page: str) -> str:
    return re.sub(r'name="(?:csrf|client_id|sight)" value="[^"]*"', "", page)
