"""Optimising: smaller and quicker models of the same features, each with a verdict."""
