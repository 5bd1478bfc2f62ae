"""Provide the pages, one module per screen; each module lists its addresses in ``ROUTES``."""

from __future__ import annotations

from mechtag.review.pages import (
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
    reconcile,
    records,
    screen,
    settings,
    sign_in,
    take,
    team,
)

_SCREENS = (
    home,
    importing,
    full_texts,
    codings,
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
    flow,
    codebook,
    exports,
    records,
    settings,
    keys,
    sign_in,
    team,
    around,
    jobs,
)
ROUTES = [route for page in _SCREENS for route in page.ROUTES]
OPEN_ROUTES = sign_in.OPEN_ROUTES
