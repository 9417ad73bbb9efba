"""The paper's experiments: each a function of images, settings and a seed, that returns what came out."""
