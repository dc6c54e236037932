"""Reconcile what a pipeline read with what it wrote, by event id."""
