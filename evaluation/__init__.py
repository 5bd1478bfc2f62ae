"""From predictions and human codings to numbers. Imports neither models nor training."""
