"""Turn text into scores: encoder, features, tagger, calibration and the model folder.

Nothing in this package depends on where records come from or how they are stored.
"""
