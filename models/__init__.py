"""Turn text into scores: encoder, features, tagger, calibration and the model folder.

This package does not depend on the source or storage of records.
"""
