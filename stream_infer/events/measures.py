"""Measurements in columns of fixed point: a value that is absent needs a number of its own."""

from __future__ import annotations

UNITS_MAX = 2**53
"""Largest magnitude of a value in fixed point: above, the JSON number itself was rounded."""

NO_VALUE = -UNITS_MAX
"""Stands in a column for a measurement that is absent; no real one lies so far below zero."""
