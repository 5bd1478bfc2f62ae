"""Runtimes of the encoder: torch (the reference) and OpenVINO in three precisions."""
