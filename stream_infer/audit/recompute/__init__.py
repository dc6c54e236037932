"""Fold the input logs again, offline, and compare every output bit for bit."""
