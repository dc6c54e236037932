"""The fraud pipeline: the customer's habits, then the terminal's delayed risk.

The first 15 features and their names are those of "Reproducible Machine Learning for
Credit Card Fraud Detection" (the handbook), chapter 3: counts and mean amounts of
the customer over (t - w, t], counts and fraud shares of the terminal over
(t - 7d - w, t - 7d], the seven days being the time a label takes to arrive.

Two more say what the customer did within the last hour: attacks take minutes, and a day's
count is mostly honest (docs/decisions/0015-an-hour-of-payments.md).
"""

from __future__ import annotations

from stream_infer.alerts.defaults import fraud_alerts
from stream_infer.events.contract import FraudLabel, Transaction
from stream_infer.features.spec import Count, Mean, Night, Rate, Sum, Value, Weekend
from stream_infer.pipeline import Events, Labels, Pipeline

WINDOWS = ("1d", "7d", "30d")
LABEL_DELAY = "7d"
HOUR = "1h"

pipeline = Pipeline(
    name="fraud",
    events=Events(
        topic="transactions",
        type=Transaction,
        id="transaction_id",
        time="event_time",
        key="customer_id",
        entities=("customer_id", "terminal_id"),
        decimals={"amount": 2},
    ),
    labels=Labels(
        topic="fraud-labels",
        type=FraudLabel,
        by="terminal_id",
        truth="is_fraud",
        time="label_time",
    ),
    features=(
        Value(of="amount", name="TX_AMOUNT"),
        Weekend(name="TX_DURING_WEEKEND"),
        Night(name="TX_DURING_NIGHT"),
        Count(by="customer_id", over=WINDOWS, name="CUSTOMER_ID_NB_TX_{days}DAY_WINDOW"),
        Mean(
            of="amount",
            by="customer_id",
            over=WINDOWS,
            name="CUSTOMER_ID_AVG_AMOUNT_{days}DAY_WINDOW",
        ),
        Count(
            by="terminal_id",
            over=WINDOWS,
            delay=LABEL_DELAY,
            name="TERMINAL_ID_NB_TX_{days}DAY_WINDOW",
        ),
        Rate(
            by="terminal_id",
            over=WINDOWS,
            delay=LABEL_DELAY,
            name="TERMINAL_ID_RISK_{days}DAY_WINDOW",
        ),
        Count(by="customer_id", over=(HOUR,), name="CUSTOMER_ID_NB_TX_1HOUR_WINDOW"),
        Sum(of="amount", by="customer_id", over=(HOUR,), name="CUSTOMER_ID_AMOUNT_1HOUR_WINDOW"),
    ),
    scored="scored-transactions",
    model="fraud",
    alerts=fraud_alerts,
)
