"""The pages, one module per screen. Each module has ``ROUTES``."""

from __future__ import annotations

from mechtag.review.pages import around, home, screen

ROUTES = [*home.ROUTES, *screen.ROUTES, *around.ROUTES]
