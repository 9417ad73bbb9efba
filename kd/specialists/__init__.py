"""Class groups, the dustbin, and generalist and specialists as one model by Eq. 5 (paper, section 5)."""
