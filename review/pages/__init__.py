"""Collect the pages of the review.

There is one module per page. ``ROUTES`` in each module lists the addresses of the page.
"""

from __future__ import annotations

from mechtag.review.pages import (
    abstracts,
    accuracy,
    activity,
    around,
    code,
    codebook,
    codings,
    duplicates,
    exercise,
    exports,
    flow,
    full_texts,
    home,
    importing,
    jobs,
    keys,
    learn,
    matrix,
    merging,
    reconcile,
    records,
    roles,
    screen,
    settings,
    sign_in,
    take,
    team,
    words,
)

_SCREENS = (
    home,
    importing,
    abstracts,
    full_texts,
    codings,
    merging,
    duplicates,
    screen,
    code,
    reconcile,
    take,
    activity,
    learn,
    accuracy,
    exercise,
    matrix,
    roles,
    flow,
    codebook,
    exports,
    records,
    settings,
    keys,
    sign_in,
    team,
    words,
    around,
    jobs,
)
ROUTES = [route for page in _SCREENS for route in page.ROUTES]
OPEN_ROUTES = sign_in.OPEN_ROUTES
