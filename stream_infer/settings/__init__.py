"""Frozen typed settings, one class per concern."""
