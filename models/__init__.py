"""What scores text: codebook, encoder, tagger, calibration and the model folder.

Nothing here knows where records come from or how they are stored.
"""
