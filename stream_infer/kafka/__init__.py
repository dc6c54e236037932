"""What talks to Kafka besides the data plane: connection, topics, reading and sending."""
