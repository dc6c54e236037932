"""Alerts: what a person should look at, with a life, reasons and a text. Pure: no Kafka."""
