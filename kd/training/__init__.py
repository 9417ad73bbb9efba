"""One net trained: recipe, loop, optimizers, checkpoints. Knows no tracker, no teacher and no search."""
