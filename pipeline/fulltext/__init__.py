"""Read the full texts of papers, and attach them to the records of a review."""
