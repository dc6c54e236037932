"""Pipelines that the package brings; a pipeline of one's own is loaded by `loading`."""
