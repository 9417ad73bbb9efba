"""Seeds of further nets of one replicate."""

import numpy as np


def derived_seed(seed: int, number: int) -> int:
    """Return the seed of a replicate's net of some number: one that no other replicate of the usual few seeds has."""
    return int(np.random.SeedSequence([seed % 2**64, number]).generate_state(1)[0])
