"""States that are made ahead of the workers that will begin with them: of a file, or of the log."""
