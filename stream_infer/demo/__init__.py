"""Everything at work on one machine: Kafka, two simulated worlds, a worker for each, an audit."""
