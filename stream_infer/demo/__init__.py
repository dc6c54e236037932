"""Everything at work on one machine: Kafka, generated payments, a worker, an audit."""
