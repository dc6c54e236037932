"""From feature matrix to score and decision: manifest, model file, scorer. Knows no Kafka."""
