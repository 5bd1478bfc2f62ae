"""Read and suggest roles of evidence, such as context or outcome, and arrange them in tables."""
