"""From annotations to a model."""
