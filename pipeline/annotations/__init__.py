"""Read and store the codes that people assign to records, and import them from other tools."""
