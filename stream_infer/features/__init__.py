"""Declarations and columns to a feature matrix."""
