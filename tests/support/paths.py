"""Paths of files in the repository that tests read."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
UPDATE = ROOT / "data/raw/search_update.ris"
