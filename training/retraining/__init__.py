"""Train a model on new annotations, and compare it with the model in use."""
