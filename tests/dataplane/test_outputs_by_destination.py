"""Many records at once reach the same destinations, in the same order, as one after the other."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.outputs import NO_HEADERS, Headers, Outputs
from stream_infer.records import KeyPartitioner
from stream_infer.records.placing import place_all


@settings(deadline=None)  # the first call may compile
@given(
    calls=st.lists(st.lists(st.text(max_size=2), min_size=1, max_size=60), max_size=3),
    partitions=st.integers(1, 9),
    has_headers=st.booleans(),
)
def test_many_at_once_are_added_as_one_by_one(
    *, calls: list[list[str]], partitions: int, has_headers: bool
) -> None:
    together, alone = Outputs(), Outputs()
    for keys in calls:
        rows = list(range(10, 10 + len(keys)))
        values = [f"{row}".encode() for row in rows]
        headers: list[Headers] | None = [[("h", b"%d" % row)] for row in rows]
        if not has_headers:
            headers = None
        together.add_many("t", place_all(keys, partitions), values, headers, rows)
        for at, (key, partition) in enumerate(KeyPartitioner(partitions).place(keys)):
            mine = NO_HEADERS if headers is None else headers[at]
            alone.add(Partition("t", partition), key, values[at], mine, rows[at])
    assert dict(together.items()) == dict(alone.items())
