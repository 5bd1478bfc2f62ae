"""Turn text into scores: encoder, features, tagger, calibration and the model folder.

The modules of this package do not depend on where records come from or how they are stored.
"""
