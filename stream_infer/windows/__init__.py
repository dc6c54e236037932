"""Exact sliding event-time windows: entries per key, sorted, with cumulative sums."""
