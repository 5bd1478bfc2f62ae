"""A new model from new annotations, compared with the one in use."""
