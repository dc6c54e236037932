"""The traffic pipeline: what a sensor's last hour, usual day and neighbours say of the road.

The built-in `pipeline` knows the sensors of `stream-infer simulate traffic`. For a road of
one's own, a file with two lines:

    from stream_infer.pipelines.traffic import traffic_pipeline

    pipeline = traffic_pipeline("sensors.csv")
"""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files
from pathlib import Path

from stream_infer.alerts.defaults import traffic_alerts
from stream_infer.alerts.spec import Alerts
from stream_infer.events.contract import SensorReading
from stream_infer.features.spec import Custom
from stream_infer.pipeline import Conditions, Events, Pipeline, Silence
from stream_infer.traffic.known import MEASURES, known_sensors
from stream_infer.traffic.sensors import SensorTable, read_sensor_table
from stream_infer.traffic.step import NAMES, RECORD, VERSION, traffic_reading

DECIMALS = {"speed": 3, "flow": 1, "occupancy": 5}
"""A thousandth of a km/h, a tenth of a vehicle an hour, a thousandth of a percent."""
HORIZONS = ("15m", "30m", "60m")


def traffic_pipeline(
    sensors: SensorTable | Path | str,
    *,
    name: str = "traffic",
    topic: str = "sensor-readings",
    scored: str = "scored-readings",
    model: str | None = "traffic",
    alerts: Alerts | None = traffic_alerts,
) -> Pipeline:
    """Return the traffic pipeline for the sensors of a table, or of a file with one.

    alerts  None for no alerts; the built-in ones go to ``alerts-<name>``
    Raises  what `read_sensor_table` and `known_sensors` raise
    """
    table = sensors if isinstance(sensors, SensorTable) else read_sensor_table(sensors)
    return Pipeline(
        name=name,
        events=Events(
            topic=topic,
            type=SensorReading,
            id="sensor_id",
            time="event_time",
            key="sensor_id",
            entities=("sensor_id",),
            decimals=DECIMALS,
            measures=MEASURES,
            known=known_sensors(table),
        ),
        features=(
            Custom(
                by="sensor_id",
                names=NAMES,
                state=RECORD,
                step=traffic_reading,
                of=MEASURES,
                version=VERSION,
                # A sensor that was away for two weeks comes back to a road that has changed.
                forget_after="14d",
                linked=True,
            ),
        ),
        scored=scored,
        model=model,
        conditions=Conditions(
            horizons=HORIZONS,
            anomaly="anomaly",
            level="level_of_service",
            base="speed_now",
            scale="scale",
            of="speed",
        ),
        alerts=replace(alerts, topic=f"alerts-{name}") if alerts is traffic_alerts else alerts,
        silence=Silence(intervals=3.0, forget_after="7d"),
        # Longer than `future_max`: a fast clock moves its partition's, and what is further behind
        # that than this is not kept.
        lateness="1h",
        # A reading in the future moves its sensor's clock, which decides what is late.
        future_max="30m",
    )


def built_in_table() -> Path:
    """Return the table of the simulated roads, as it ships."""
    return Path(str(files("stream_infer.traffic"))) / "simulated-roads.csv"


pipeline = traffic_pipeline(built_in_table())
