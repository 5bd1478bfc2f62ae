"""Measure accuracy and agreement from predictions and human codings. Imports neither models nor training."""
