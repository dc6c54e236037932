"""Small logs drawn by hypothesis, dense in ties, late rows, repeats and early labels."""

from __future__ import annotations

import msgspec
from hypothesis import strategies as st

from stream_infer.features.spec import Count, Last, Max, Mean, Rate, Since, Std, Sum
from stream_infer.pipeline import Events, Labels, Pipeline
from support.columns import Row, label_row, tick_row

ENTITIES = ("card", "shop")
VALUES = ("amount", "tip")
WINDOWS = ("3ms", "9ms", "27ms")


class Payment(msgspec.Struct):
    payment_id: str
    at: int
    card: str
    shop: str
    amount: float
    tip: float


class Verdict(msgspec.Struct):
    payment_id: str
    at: int
    card: str
    shop: str
    bad: bool
    known: int


def everything(by: str, *, rates: bool) -> tuple[Count | Rate | Last | Since, ...]:
    """Return every windowed word, by one entity."""
    features: list[Count | Rate | Last | Since | Sum | Mean | Std | Max] = [
        Count(by=by, over=WINDOWS, name=f"{by}_count_{{window}}"),
        Count(by=by, over=WINDOWS, delay="5ms", name=f"{by}_earlier_{{window}}"),
        Sum(of="amount", by=by, over=WINDOWS, current=False, name=f"{by}_sum_{{window}}"),
        Mean(of="tip", by=by, over=WINDOWS, name=f"{by}_mean_{{window}}"),
        Std(of="amount", by=by, over=WINDOWS, name=f"{by}_std_{{window}}"),
        Max(of="tip", by=by, over=("9ms",), delay="1ms", name=f"{by}_max"),
        Last(of="amount", by=by, name=f"{by}_last", within="20ms"),
        Since(by=by, name=f"{by}_since", within="30ms"),
    ]
    if rates:
        features += [
            Rate(by=by, over=WINDOWS, name=f"{by}_rate_{{window}}"),
            Rate(
                by=by,
                over=WINDOWS,
                delay="4ms",
                denominator="labelled",
                name=f"{by}_known_{{window}}",
            ),
        ]
    return tuple(features)  # type: ignore[arg-type]  # a list of words is a tuple of words


def pipeline(
    lateness: str = "6ms", *, duplicates: bool = True, labels_by: str = "shop"
) -> Pipeline:
    return Pipeline(
        name="payments",
        events=Events(
            topic="payments",
            type=Payment,
            id="payment_id",
            time="at",
            key="card",
            entities=ENTITIES,
            decimals={"amount": 2, "tip": 0},
        ),
        labels=Labels(topic="verdicts", type=Verdict, by=labels_by, truth="bad", time="known"),
        features=(
            *everything("card", rates=labels_by == "card"),
            *everything("shop", rates=labels_by == "shop"),
        ),
        scored="scored",
        lateness=lateness,
        duplicates=duplicates,
    )


_LARGEST = 2**53
_numbers = st.one_of(
    st.integers(-9, 9), st.integers(-_LARGEST, _LARGEST), st.sampled_from([_LARGEST, -_LARGEST])
)
_ids = st.integers(0, 25).map("p{}".format)
_keys = st.fixed_dictionaries({
    "card": st.sampled_from(["a", "b", "c"]),
    "shop": st.sampled_from(["x", "y"]),
})  # fmt: skip


@st.composite
def logs(draw: st.DrawFn, length_max: int = 60, *, repeats: bool = True) -> list[Row]:
    """Return a log whose time goes on by small steps, with rows that lag behind.

    repeats  whether an id may come again; labels, ticks and upstream repeats come anyway
    """
    rows: list[Row] = []
    now = 1_000
    offsets = {"up-0": 0, "up-1": 0}
    for i in range(draw(st.integers(0, length_max))):
        now += draw(st.sampled_from([0, 0, 0, 1, 1, 2, 3, 7, 20, 80]))
        time = now - draw(st.sampled_from([0, 0, 0, 0, 1, 2, 5, 9, 33, 50]))
        kind = draw(st.sampled_from("eeeeeellt"))
        name = draw(st.sampled_from(sorted(offsets)))
        upstream = (name, offsets[name] + draw(st.sampled_from([0, 0, 0, 0, -1])))
        offsets[name] = max(offsets[name], upstream[1] + 1)
        if kind == "t":
            rows.append(tick_row(time))
        elif kind == "l":
            row = label_row(
                time,
                draw(_ids),
                draw(_keys),
                draw(st.integers(0, 1)),
                now + draw(st.integers(0, 3)),
            )
            of = draw(st.one_of(st.none(), st.sampled_from(rows))) if rows else None
            if of is not None and of.id:
                row = label_row(of.time, of.id, of.keys, row.label, row.label_time)
            rows.append(row)
        else:
            values = {"amount": draw(_numbers), "tip": draw(_numbers)}
            identity = draw(_ids) if repeats else f"p{i}"
            rows.append(Row(time, identity, draw(_keys), values, upstream=upstream))
    return rows


def cuts(rows: int) -> st.SearchStrategy[list[int]]:
    """Return places at which to cut that many rows into batches."""
    return st.lists(st.integers(0, rows), max_size=6).map(lambda at: sorted({0, *at, rows}))
