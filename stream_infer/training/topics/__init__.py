"""The same rows as from files, from a pipeline's own topics."""
