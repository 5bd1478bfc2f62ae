"""Tag search exports for evidence reviews with the mechanisms of a codebook."""
