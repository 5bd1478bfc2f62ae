"""The pages, one module per screen. Each module has ``ROUTES``."""

from __future__ import annotations

from mechtag.review.pages import (
    activity,
    around,
    codebook,
    exports,
    home,
    reconcile,
    records,
    screen,
    settings,
    sign_in,
    team,
)

_SCREENS = (home, screen, reconcile, records, activity, codebook, exports, team, settings, sign_in, around)
ROUTES = [route for page in _SCREENS for route in page.ROUTES]
OPEN_ROUTES = sign_in.OPEN_ROUTES
