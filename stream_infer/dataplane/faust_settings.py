"""The settings of Faust that serve a data plane: what is set otherwise than Faust does, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stream_infer.dataplane.credentials import faust_options
from stream_infer.dataplane.prompt_tables import PromptTables
from stream_infer.kafka.connection import Connection

FAUST_DEFAULTS: dict[str, Any] = {
    # No reset: a partition without an offset gets a declared start, committed before use.
    "consumer_auto_offset_reset": "none",
    "store": "memory://",
    "TableManager": PromptTables,
    "topic_disable_leader": True,
    "table_standby_replicas": 0,
    "web_enabled": False,
    "web_host": "127.0.0.1",
    # ``faust worker`` turns the web server on, and Faust's own default is every address.
    "web_bind": "127.0.0.1",
    # Serves the contents of tables to anybody who asks.
    "web_tables_enabled": False,
    # Counted in record batches here; the bytes behind them are bounded by the data plane.
    "stream_buffer_maxsize": 64,
    "broker_session_timeout": 15.0,
    "broker_heartbeat_interval": 3.0,
    "broker_rebalance_timeout": 30.0,
    "broker_request_timeout": 40.0,
    # Faust's 1,000 s would let a hung worker keep its partitions for a quarter of an hour.
    "broker_max_poll_interval": 300.0,
    "producer_request_timeout": 40.0,
}


def faust_settings(connection: Connection, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a `faust.App` on a connection.

    options  any setting of `faust.App`; they go before ours
    Raises   ConfigError for an address or certificates that cannot be used
    """
    hosts = [f"kafka://{host}:{port}" for host, port in connection.addresses()]
    security = faust_options(connection)
    return {"broker": ";".join(hosts), **FAUST_DEFAULTS, **security, **options}
