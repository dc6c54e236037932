"""The alerts that the built-in pipelines declare; a pipeline of a user's own writes its own.

One level of the traffic kinds is a feature of the reading: ``anomaly``, 0 to 1. The others are
computed by the corridor stage, larger is worse:

    congestion           1 less the share of free-flow speed that is left
    forecast_congestion  1 less the share of free-flow speed that is forecast, at its worst
    silent               how long a sensor said nothing, in its usual intervals between readings

That stage also knows of the worst forecast, for the texts: ``forecast_share`` of the free-flow
speed, ``forecast_speed`` and ``forecast_minutes``, how far ahead it is.
"""

from __future__ import annotations

from stream_infer.alerts.spec import (
    AlertKind,
    Alerts,
    EntityList,
    Reason,
    Storm,
    Usual,
    UsualConstant,
    UsualMean,
    UsualOf,
)

_CUSTOMER_COUNT = "CUSTOMER_ID_NB_TX_{}DAY_WINDOW"
_CUSTOMER_MEAN = "CUSTOMER_ID_AVG_AMOUNT_{}DAY_WINDOW"
_HOUR_COUNT = "CUSTOMER_ID_NB_TX_1HOUR_WINDOW"
_HOUR_AMOUNT = "CUSTOMER_ID_AMOUNT_1HOUR_WINDOW"
_TERMINAL_RISK = "TERMINAL_ID_RISK_{}DAY_WINDOW"
_OWN_AMOUNT = UsualMean(
    mean=_CUSTOMER_MEAN.format(30), count=_CUSTOMER_COUNT.format(30), value="TX_AMOUNT"
)

_FRAUD_USUAL: dict[str, Usual] = {
    "TX_AMOUNT": _OWN_AMOUNT,
    **{_CUSTOMER_MEAN.format(days): _OWN_AMOUNT for days in (1, 7)},
    **{
        _CUSTOMER_COUNT.format(days): UsualOf(of=_CUSTOMER_COUNT.format(30), times=days / 30)
        for days in (1, 7)
    },
    # An hour with a payment has one as a rule, and its amount is what the card usually pays.
    _HOUR_COUNT: UsualConstant(value=1.0),
    _HOUR_AMOUNT: _OWN_AMOUNT,
    **{_TERMINAL_RISK.format(days): UsualConstant() for days in (1, 7, 30)},
}

fraud_alerts = Alerts(
    topic="alerts-fraud",
    kinds=(
        AlertKind(
            name="card_fraud",
            entity="customer_id",
            open_at=2.0,
            keep_at=1.0,
            severities=((2.0, "high"), (2.9, "critical")),
            # A stolen card is used for days, a payment or two each: one alert, not one a payment.
            hold="1d",
            quiet="1d",
            # People work on each of these: a storm adds one alert and leaves them alone.
            storm=Storm(single_max=500, within="10m"),
            text="Payment of {amount:,.2f} at terminal {terminal_id}",
            facts=("amount", "terminal_id"),
        ),
        AlertKind(
            name="terminal_fraud",
            entity="terminal_id",
            other="customer_id",
            open_at=2.0,
            keep_at=1.0,
            # Two, for a town's terminal has few customers a day: three a day come too late for
            # nine in ten, and with payments to be looked at as well half of the alerts are wrong.
            distinct_min=2,
            within="1d",
            severities=((2.0, "high"), (2.9, "critical")),
            hold="3d",
            quiet="1d",
            storm=Storm(single_max=100, within="10m"),
            text="{members} customers hit at terminal {entity}",
        ),
    ),
    lists=(
        EntityList(name="blocked-customers", entity="customer_id", kind="block"),
        EntityList(name="blocked-terminals", entity="terminal_id", kind="block"),
        EntityList(name="allowed-customers", entity="customer_id", kind="allow"),
    ),
    usual=_FRAUD_USUAL,
    reasons=(
        Reason(
            feature="TX_AMOUNT",
            along=(*(_CUSTOMER_MEAN.format(days) for days in (1, 7)), _HOUR_AMOUNT),
            phrase="the amount is {times:,.1f} times this card's usual {usual:,.2f}",
        ),
        Reason(
            feature=_CUSTOMER_COUNT.format(1),
            along=(_CUSTOMER_COUNT.format(7), _HOUR_COUNT),
            phrase="{value:.0f} payments of this card within a day, usually {usual:.1f}",
        ),
        Reason(
            feature=_TERMINAL_RISK.format(7),
            along=tuple(_TERMINAL_RISK.format(days) for days in (1, 30)),
            phrase="a share of {value:.0%} of this terminal's payments in a known week was fraud",
        ),
    ),
)


def _road_storm(single_max: int) -> Storm:
    # One cause blocks a road or silences its sensors: what is open already belongs to it.
    return Storm(single_max=single_max, within="15m", absorb=True)


traffic_alerts = Alerts(
    topic="alerts-traffic",
    kinds=(
        AlertKind(
            name="congestion",
            entity="sensor_id",
            group="corridor",
            # Not by level of service: a motorway that carries all it can is dense and still quick,
            # and two alerts in three were about such roads.
            level="congestion",
            open_at=0.5,
            keep_at=0.35,
            severities=((0.5, "medium"), (0.7, "high")),
            count_min=2,
            within="15m",
            hold="15m",
            open_min="10m",
            quiet="1h",
            update_every="5m",
            storm=_road_storm(20),
            text="Slow traffic at sensor {entity}, {speed:.0f} km/h",
            facts=("speed",),
            tells=("now",),
        ),
        AlertKind(
            name="forecast_congestion",
            entity="sensor_id",
            group="corridor",
            level="forecast_congestion",
            open_at=0.55,
            keep_at=0.4,
            severities=((0.55, "low"), (0.7, "medium")),
            count_min=2,
            within="15m",
            hold="15m",
            quiet="1h",
            update_every="5m",
            storm=_road_storm(20),
            text="Slow traffic is expected at sensor {entity}, {forecast_speed:.0f} km/h in "
            "{forecast_minutes:.0f} minutes",
            facts=("forecast_speed", "forecast_minutes"),
            # Not the present share: it is as usual, and says the opposite of the alert.
            tells=("forecast_share",),
        ),
        AlertKind(
            name="anomaly",
            entity="sensor_id",
            group="corridor",
            level="anomaly",
            open_at=0.999,
            keep_at=0.99,
            severities=((0.999, "medium"), (0.9999, "high")),
            # On simulated roads 31 of 40 pairs within a quarter of an hour have a cause.
            count_min=2,
            within="15m",
            hold="30m",
            quiet="1h",
            update_every="5m",
            storm=_road_storm(20),
            text="Unusual readings at sensor {entity}",
            tells=("now",),
        ),
        AlertKind(
            name="sensor_silent",
            entity="sensor_id",
            group="corridor",
            level="silent",
            open_at=3.0,
            severities=((3.0, "medium"), (24.0, "high")),
            hold="15m",
            quiet="1h",
            update_every="5m",
            storm=_road_storm(3),
            text="Sensor {entity} says nothing",
        ),
    ),
    usual={"now": UsualOf(of="usual"), "forecast_share": UsualOf(of="usual")},
    reasons=(
        Reason(
            feature="now",
            phrase="{value:.0%} of the free-flow speed, usually {usual:.0%} at this hour",
        ),
        Reason(
            feature="forecast_share",
            phrase="{value:.0%} of the free-flow speed, while {usual:.0%} is usual at this hour",
        ),
    ),
)
