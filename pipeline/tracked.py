"""Data under DVC, where the project is a DVC repository."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import yaml

from pipeline.errors import MechtagError


def track(path: Path) -> str:
    """Put a file or folder under DVC, and give DVC's hash of it; empty where the project is no DVC repository.

    Raises
    ------
    MechtagError
        DVC fails. What was written stays, and may be put under DVC again.
    """
    if not any((parent / ".dvc").is_dir() for parent in path.resolve().parents):
        return ""
    # The command line, not the library: it is what DVC promises to keep.
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "add", "--quiet", str(path)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise MechtagError(f"dvc add {path}: {(done.stderr or done.stdout).strip()[:500]}; mend this and call again")
    note = yaml.safe_load(path.with_name(f"{path.name}.dvc").read_text(encoding="utf-8"))
    return str(note["outs"][0]["md5"])
