"""Measure accuracy and agreement from predictions and human codings.

This package imports neither ``models`` nor ``training``.
"""
