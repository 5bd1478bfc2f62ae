"""From text to scores: encoder, features, tagger, calibration and the model folder.

This package is independent of where records come from and how they are stored.
"""
