"""Training of one net: recipe, loop, optimizers, checkpoints; without a tracker, a teacher or a search."""
