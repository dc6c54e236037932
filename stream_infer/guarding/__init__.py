"""Carries out what `stream_infer.guardrails` decides: evidence out, evidence in, an alias moved."""
