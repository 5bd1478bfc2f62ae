"""Switch off the usage statistics of the libraries that mechtag uses."""

from __future__ import annotations

import os
import sys

# DVC has its own settings in `.dvc/config`, and OpenVINO reads no variable: see `models/runtimes/openvino_encoder.py`.
_SETTINGS = {
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def disable_telemetry() -> None:
    """Set the environment variables that switch off usage statistics, unless the user has set them differently."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)


class MlflowPlugin:
    """A plugin for MLflow that switches off the usage statistics of MLflow.

    When MLflow is imported, it loads this plugin. Loading the plugin imports mechtag, which calls `disable_telemetry`.
    Usage statistics are therefore also off in commands such as ``mlflow ui``. MLflow asks the plugin for tags of runs,
    but the plugin adds no tags.
    """

    def __init__(self) -> None:
        # A logged model brings its own copy of mechtag, which Python finds only if no other copy is loaded. So unload
        # what the import of this plugin has loaded, unless more of mechtag is in use.
        loaded = {name for name in sys.modules if name.split(".")[0] == "mechtag"}
        if loaded <= {"mechtag", "mechtag.core", "mechtag.core.telemetry"}:
            for name in loaded:
                del sys.modules[name]

    def in_context(self) -> bool:
        """Return ``False``, so that MLflow does not ask this plugin for tags."""
        return False

    def tags(self) -> dict[str, str]:
        """Return an empty mapping, because this plugin adds no tags to the runs of MLflow."""
        return {}
