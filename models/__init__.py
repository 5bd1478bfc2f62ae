"""From text to scores: encoder, features, tagger, calibration and the model folder.

Nothing here knows where records come from or how they are stored.
"""
