"""Fine-tune the encoder."""
