"""Let other processes find the plugins that pyproject.toml declares, as if the package were installed."""

import tomllib
from pathlib import Path

from tests.support.paths import ROOT


def declare_plugins(folder: Path) -> None:
    """Write the entry points of pyproject.toml to a folder that is on ``PYTHONPATH``.

    The metadata of an editable installation may be older than pyproject.toml.
    """
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
    lines = [
        line
        for group, entries in groups.items()
        for line in (f"[{group}]", *(f"{name} = {target}" for name, target in entries.items()))
    ]
    installed = folder / "mechtag-0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: mechtag\nVersion: 0\n", encoding="utf-8")
    (installed / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
