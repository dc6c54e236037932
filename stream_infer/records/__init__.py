"""What Kafka's clients agree on about records, with no client in sight."""

from stream_infer.records.partitioner import KeyPartitioner, murmur2

__all__ = ["KeyPartitioner", "murmur2"]
