"""Keys and the slots they have: nothing is mixed up, found anew or lost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_infer.errors import StateBudgetError
from stream_infer.windows import slots as slots_module
from stream_infer.windows.hashing import hash_ids
from stream_infer.windows.slots import SlotMap
from stream_infer.windows.twins import hash_id

_names = st.one_of(
    st.integers(0, 300).map(str),
    st.text(st.characters(), max_size=5),
    st.sampled_from(["", "\0", "\0\0", "a\0b", "\ud800", "é", "x" * 300]),
)
_steps = st.lists(
    st.one_of(
        st.lists(_names, max_size=40),
        st.tuples(st.integers(0, 10**6), st.integers(1, 20)),
    ),
    max_size=30,
)


@settings(deadline=None)  # the first example may compile the kernels
@given(_steps)
def test_keys_keep_their_slots_until_they_are_dropped(
    steps: list[list[str] | tuple[int, int]],
) -> None:
    keys, held = SlotMap(), dict[str, int]()
    for step in steps:
        if isinstance(step, list):
            for name, slot in zip(step, keys.look_up(step).tolist(), strict=True):
                assert held.setdefault(name, slot) == slot
        else:
            gone = [name for at, name in enumerate(sorted(held)) if (at + step[0]) % step[1] == 0]
            slots = np.array([held.pop(name) for name in gone], np.int64)
            keys.drop(slots)
            keys.drop(slots)
            assert keys.names(slots) == [""] * len(gone)
        assert len(set(held.values())) == len(held) == len(keys)
        names, slots = list(held), np.array(list(held.values()), np.int64)
        assert keys.names(slots) == names
        assert keys.hashes(slots).tolist() == hash_ids(names).tolist()


def test_slots_of_dropped_keys_are_given_out_again() -> None:
    keys, held = SlotMap(), list[int]()
    for generation in range(50):
        slots = keys.look_up([f"{generation}-{number}" for number in range(100)])
        assert keys.slots == 100
        held.append(keys.bytes)
        keys.drop(slots)
    assert held[-1] <= held[10]


def test_a_key_beyond_what_can_be_held_is_an_error_that_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(slots_module, "_TEXT_MAX", 5_000)
    keys = SlotMap()
    keys.look_up(["a" * 2_000])
    with pytest.raises(StateBudgetError) as caught:
        keys.look_up(["b", "c" * 4_000])
    assert "4,000 bytes" in str(caught.value)
    assert keys.look_up(["a" * 2_000, "b"]).tolist() == [0, 1]


def test_keys_that_stand_behind_a_dropped_one_are_found() -> None:
    #  90 keys at 128 places: many stand behind the place that their hash names
    keys = SlotMap()
    names = [f"key-{number}" for number in range(90)]
    slots = keys.look_up(names).tolist()
    keys.drop(np.array(slots[::3]))
    left = [at for at in range(90) if at % 3]
    assert keys.look_up([names[at] for at in left]).tolist() == [slots[at] for at in left]
    assert keys.slots == 90


@pytest.mark.parametrize("texts", [[], [""], ["", ""], ["\0"], ["a", "\0", "b"], ["\0"] * 5])
def test_ids_that_hold_the_byte_between_ids_have_their_own_hashes(texts: list[str]) -> None:
    assert hash_ids(texts).tolist() == [hash_id(text) for text in texts]
