"""Generated input by seed, for the demo, benchmarks and the models that ship. An edge."""
