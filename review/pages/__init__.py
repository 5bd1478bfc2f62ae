"""The pages, one module per screen. Each module has ``ROUTES``."""

from __future__ import annotations

from mechtag.review.pages import around, home, reconcile, screen

ROUTES = [*home.ROUTES, *screen.ROUTES, *reconcile.ROUTES, *around.ROUTES]
