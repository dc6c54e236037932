"""Runs a pipeline's stages on record batches, inside a Faust app."""
