"""Streaming inference on Kafka: exact windows, ONNX models, scored events and alerts."""

__version__ = "0.1.0"
