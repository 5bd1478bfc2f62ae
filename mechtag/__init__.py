"""Tag the search exports of an evidence review with the labels of a codebook.

The public names are defined in `mechtag.api`. They are imported on first use, so that ``import mechtag`` is fast.
Importing mechtag switches off the usage statistics of the libraries that it uses; see `mechtag.core.telemetry`.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from mechtag.core.telemetry import disable_telemetry

if TYPE_CHECKING:
    from mechtag.api import Project, Records, Tagger, dedupe, evaluate, rank, read

__all__ = ["Project", "Records", "Tagger", "__version__", "dedupe", "evaluate", "rank", "read"]

try:
    __version__ = version("mechtag")
except PackageNotFoundError:  # A logged model contains this package and may run where it is not installed.
    __version__ = "unknown"

disable_telemetry()


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("mechtag.api"), name)
    raise AttributeError(f"module 'mechtag' has no attribute {name!r}")
