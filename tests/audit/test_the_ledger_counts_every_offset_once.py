from __future__ import annotations

import itertools
import json
from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.audit.identity import scored_positions, split_event_id
from stream_infer.audit.ledger import Ledger, spans
from stream_infer.kafka.stretch import Stretch

positions = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 12)), max_size=60)


def arrays(pairs: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    table = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


@given(scored=positions, dead=positions, cut=st.integers(0, 60))
def test_books_equal_a_plain_count_however_outputs_are_cut_into_runs(
    scored: list[tuple[int, int]], dead: list[tuple[int, int]], cut: int
) -> None:
    # audited: partition 0 [2, 8), partition 1 [0, 10); partition 2 is not
    stretches = {0: Stretch(2, 8), 1: Stretch(0, 10)}
    audited = {
        (p, o) for p, stretch in stretches.items() for o in range(stretch.start, stretch.end)
    }
    ledger = Ledger.over("t", stretches)
    for run in (scored[:cut], scored[cut:]):
        ledger.add_scored(*arrays(run))
    ledger.add_dead(*arrays(dead))
    plain_scored, plain_dead = Counter(scored), Counter(dead)

    def found(offsets: dict[int, np.ndarray]) -> set[tuple[int, int]]:
        return {(p, int(o)) for p, some in offsets.items() for o in some}

    assert found(ledger.missing()) == audited - set(scored) - set(dead)
    doubled = {way: found(offsets) for way, offsets in ledger.doubled().items()}
    assert doubled.get("scored_twice", set()) == {x for x in audited if plain_scored[x] > 1}
    assert doubled.get("dead_letters_twice", set()) == {x for x in audited if plain_dead[x] > 1}
    assert doubled.get("scored_and_dead", set()) == audited & set(scored) & set(dead)
    assert ledger.scored() == len(audited & set(scored))
    assert ledger.dead() == len(audited & set(dead))
    assert ledger.beyond == sum(x not in audited for x in scored + dead)


def test_an_event_scored_256_times_is_still_scored_twice() -> None:
    ledger = Ledger.over("t", {0: Stretch(0, 1)})
    for _ in range(4):
        ledger.add_scored(*arrays([(0, 0)] * 64))
    assert list(ledger.doubled()) == ["scored_twice"]
    assert ledger.missing() == {}


def test_settling_counts_only_what_was_missing() -> None:
    ledger = Ledger.over("t", {0: Stretch(10, 14)})
    ledger.add_scored(*arrays([(0, 10)]))
    assert ledger.settle(0, np.array([9, 10, 11, 11, 14])) == 1
    assert ledger.settle(0, np.array([11])) == 0
    assert ledger.missing()[0].tolist() == [12, 13]


@given(offsets=st.sets(st.integers(0, 200)), gap=st.integers(0, 20))
def test_spans_hold_every_offset_and_no_gap_longer_than_allowed(
    offsets: set[int], gap: int
) -> None:
    ordered = np.array(sorted(offsets), dtype=np.int64)
    found = spans(ordered, gap)
    inside = [o for s in found for o in range(s.start, s.end)]
    assert offsets <= set(inside)
    assert len(inside) == len(set(inside))
    assert all(s.start in offsets and s.end - 1 in offsets for s in found)
    assert all(b.start - a.end + 1 > gap for a, b in itertools.pairwise(found))


def test_ids_are_cut_out_of_our_own_form_and_parsed_out_of_any_other() -> None:
    ours = [b'{"event_id":"a-b-%d-%d","score":1}' % (i % 3, i * 7) for i in range(50)]
    (partitions, offsets), unnamed = scored_positions("a-b", ours)
    assert (partitions.tolist(), offsets.tolist()) == (
        [i % 3 for i in range(50)],
        [i * 7 for i in range(50)],
    )
    assert unnamed == 0
    others = [
        json.dumps({"score": 1, "event_id": f"a-b-{i % 3}-{i * 7}"}).encode() for i in range(50)
    ]
    assert [x.tolist() for x in scored_positions("a-b", others)[0]] == [
        partitions.tolist(),
        offsets.tolist(),
    ]


def test_outputs_that_name_no_record_of_the_input_are_counted() -> None:
    values = [
        b'{"event_id":"a-0-1"}',
        None,
        b"",
        b"not json",
        b'{"event_id":"other-0-1"}',
        b'{"event_id":"a-0-1-2"}',
        b'{"event_id":"a-0--1"}',
        b'{"event_id":"a-0-1 2-3"}',
        b'{"event_id":17}',
        b"[" * 5_000,
    ]
    (partitions, offsets), unnamed = scored_positions("a", values)
    assert (partitions.tolist(), offsets.tolist(), unnamed) == ([0], [1], 9)


def test_a_topic_s_own_dashes_and_digits_do_not_confuse_its_ids() -> None:
    assert split_event_id("cards-2024-1-3-17", "cards-2024-1") == (3, 17)
    assert split_event_id("cards-2024-1-3-17", "cards-2024") is None
