"""From predictions and human codings to figures. Imports neither models nor training."""
