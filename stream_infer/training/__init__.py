"""Training: rows of a file to a measured model, by the code that serves the stream."""
