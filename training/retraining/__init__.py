"""Train a model on new annotations, and compare it with the active model."""
