"""The pages, one module per screen. Each module has ``ROUTES``."""

from __future__ import annotations

from mechtag.review.pages import around, home, reconcile, screen, sign_in, team

ROUTES = [*home.ROUTES, *screen.ROUTES, *reconcile.ROUTES, *team.ROUTES, *sign_in.ROUTES, *around.ROUTES]
OPEN_ROUTES = sign_in.OPEN_ROUTES
