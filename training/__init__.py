"""Train models from annotations."""
