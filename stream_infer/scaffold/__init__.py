"""What ``stream-infer init`` writes: a configuration, a pipeline and a few events to try them."""
