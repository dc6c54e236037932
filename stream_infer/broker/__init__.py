"""A real Apache Kafka on this machine, without Docker and without an installed Java.

install     the JRE and the broker's jars, cached per user         (network, once)
config      server.properties and logging settings as text         (pure)
listeners   further listeners: TLS, SASL, ACLs                     (pure)
formatting  the first records of a new cluster, its users among them
failures    from an exit code and log lines to a named error       (pure)
supervisor  a script that owns the JVM and never lets it outlive its owner
process     talks to one supervisor
readiness   asks a broker whether it serves, on a bare socket
state       which broker the command line has started, and if it still lives
embedded    `EmbeddedBroker`, which joins these parts
"""

from __future__ import annotations

from stream_infer.broker.config import KAFKA_VERSION
from stream_infer.broker.embedded import EmbeddedBroker
from stream_infer.broker.listeners import Listener

__all__ = ["KAFKA_VERSION", "EmbeddedBroker", "Listener"]
