"""Images with labels: loaded, cut into splits, augmented, put into batches."""
