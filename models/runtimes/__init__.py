"""Ways to run the encoder: torch, the reference, and OpenVINO in three precisions."""
