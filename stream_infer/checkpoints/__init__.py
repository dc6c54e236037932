"""A stage's state of one partition at one offset, kept so that a restart need not fold the log."""
