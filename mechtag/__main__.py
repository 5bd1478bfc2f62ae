"""Entry point of ``python -m mechtag``."""

from __future__ import annotations

from mechtag.cli.main import main

main()
