"""The kernel that folds a batch into a stage's state, row by row in offset order.

The rules it follows, `n` being the newest kept event of the row's key, `c` the
partition's clock with this row, `h` the horizon and `t` the row's event time:

    forgotten   the key, when n + h < c: everything it knew is gone before the row is looked at
    late        t < n - lateness, or t < c - h
    visible     entries with time <= t - delay, > t - delay - w, and > max(n, t) - h
    kept        t > max(n, t) - h and t >= c - h, and the row is no duplicate
    duplicate   a visible entry of the key has the same id hash

Each is a function of the log up to the row; when memory is really given back (blocks
full, sweeps) plays no part, so results do not depend on how rows are cut into batches.
"""

from __future__ import annotations

import numpy as np

from stream_infer.events.columns import EVENT, LABEL, NO_POSITION, TICK
from stream_infer.windows.blocks import drop_entries, event_fits, make_room
from stream_infer.windows.compiled import kernel, part
from stream_infer.windows.entries import find, insert, remove_ghost
from stream_infer.windows.evaluate import cut, evaluate
from stream_infer.windows.narrow import (
    fits_label_time,
    label_time_at,
    position_at,
    put_label,
    time_at,
)
from stream_infer.windows.state import (
    BASE,
    CLOCK,
    GHOST,
    NEWEST,
    NONE,
    START,
    STEPPED,
    TOUCHED,
    UNLABELLED,
    WANTS,
    WANTS_LABEL_TIMES,
    Int64,
    Results,
    Rows,
    Rules,
    State,
)
from stream_infer.windows.sums import add_counts_behind

# What is to be done with a row that was looked at.
_DONE = 0
_KEEP = 1
_WAIT = 2


@part
def _judge_event(
    state: State,
    rules: Rules,
    rows: Rows,
    results: Results,
    i: Int64,
    clock: Int64,
    cuts: np.ndarray,
) -> Int64:
    """Evaluate one event and decide what it is; keep it if it is new and fits."""
    s, time, identity, values = rows.slot[i], rows.time[i], rows.ids[i], rows.values[i]
    row = state.slots[s]
    newest = row[NEWEST]
    floor = max(newest, time) - rules.horizon
    results.late[i] = rows.late[i]
    duplicate_of: Int64 = rows.duplicate_of[i]
    if rules.first:
        results.late[i] = time < newest - rules.lateness or time < clock - rules.horizon
    if rules.duplicates:
        original = find(state, s, time, identity, floor, False)
        duplicate_of = NO_POSITION if original < 0 else position_at(state, row[START] + original)
    results.duplicate_of[i] = duplicate_of
    is_new = duplicate_of == NO_POSITION
    cut(state, rules, s, time, floor, cuts)
    evaluate(state, rules, s, time, values, 1 if is_new else 0, cuts, results.features[i])
    kept = is_new and time > floor and time >= clock - rules.horizon
    results.before[i] = row[STEPPED]
    results.stepped[i] = 1 if kept else 2
    return _KEEP if kept else _DONE


@part
def _judge_label(state: State, rules: Rules, rows: Rows, i: Int64, clock: Int64) -> Int64:
    """Label the entry it speaks of, or let the label wait for its event."""
    s, time, identity = rows.slot[i], rows.time[i], rows.ids[i]
    floor = state.slots[s][NEWEST] - rules.horizon
    j = find(state, s, time, identity, floor, False)
    if j < 0:
        j = find(state, s, time, identity, floor, True)
    if j >= 0:
        return _relabel(state, s, j, np.int64(rows.label[i]), rows.label_time[i])
    return _KEEP if time > floor and time >= clock - rules.horizon else _DONE


@part
def _keep(state: State, rules: Rules, rows: Rows, i: Int64) -> bool:
    """Keep an event, or a label that waits for one; return False when it must wait for memory."""
    s, time, is_event = rows.slot[i], rows.time[i], rows.kind[i] == EVENT
    row = state.slots[s]
    newest = max(row[NEWEST], time) if is_event else row[NEWEST]
    if rules.keeps_entries and not _enter(state, rules, rows, i, newest - rules.horizon):
        return False
    row[NEWEST] = newest
    row[TOUCHED] = max(row[TOUCHED], time)
    if is_event:
        row[STEPPED] = max(row[STEPPED], time)
    return True


@part
def _enter(state: State, rules: Rules, rows: Rows, i: Int64, floor: Int64) -> bool:
    """Insert an entry; a label that waited for an event becomes its label."""
    s, time, identity, position = rows.slot[i], rows.time[i], rows.ids[i], rows.position[i]
    is_event = rows.kind[i] == EVENT
    if not make_room(state, rules, s, time, floor, np.int64(1)):
        return False
    label: Int64 = np.int64(UNLABELLED)
    label_time: Int64 = np.int64(0)
    ghost = np.int64(-1)
    if not is_event:
        label, label_time = rows.label[i] + GHOST, rows.label_time[i]
    elif not event_fits(state, s, rows.values[i], position):
        return False
    elif rules.folds_labels:
        ghost = find(state, s, time, identity, floor, True)
        if ghost >= 0:
            row = state.slots[s]
            at = row[START] + ghost
            label, label_time = state.labels[at] - GHOST, label_time_at(state, row[BASE], at)
    if label != UNLABELLED and not fits_label_time(state, time, label_time):
        state.registers[WANTS] = WANTS_LABEL_TIMES
        return False
    if ghost >= 0:
        remove_ghost(state, rules, s, ghost)
    insert(state, rules, s, time, identity, rows.values[i], position, label, label_time)
    return True


@part
def _relabel(state: State, s: Int64, j: Int64, label: Int64, label_time: Int64) -> Int64:
    """Replace an entry's label, if the new one became known no earlier."""
    row = state.slots[s]
    at = row[START] + j
    held = np.int64(state.labels[at])
    if held != UNLABELLED and label_time < label_time_at(state, row[BASE], at):
        return _DONE
    time = time_at(state, row[BASE], at)
    if not fits_label_time(state, time, label_time):
        state.registers[WANTS] = WANTS_LABEL_TIMES
        return _WAIT
    if held >= GHOST:
        label += GHOST
    else:
        labelled = 1 if held == UNLABELLED else 0
        add_counts_behind(state, s, j, labelled, label - max(held, 0))
    put_label(state, at, time, label, label_time)
    return _DONE


@part
def _is_repeat(state: State, rows: Rows, i: Int64) -> bool:
    """Tell whether the row's upstream record was folded before (at least once doubles it)."""
    upstream = rows.upstream[i]
    return bool(upstream >= 0 and rows.upstream_offset[i] <= state.seen[upstream])


@part
def _concerns(rules: Rules, kind: Int64) -> bool:
    """Tell whether rows of this kind are folded into a key."""
    return bool(kind == EVENT or (kind == LABEL and rules.folds_labels != 0))


@part
def _advance(state: State, rows: Rows, i: Int64) -> Int64:
    """Return the partition's clock with this row."""
    moves = rows.kind[i] == EVENT or rows.kind[i] == TICK
    clock = state.registers[CLOCK]
    return max(clock, rows.time[i]) if moves else clock


@part
def _is_forgotten(state: State, rules: Rules, s: Int64, clock: Int64) -> bool:
    touched = state.slots[s][TOUCHED]
    return bool(touched != NONE and touched + rules.horizon < clock)


@kernel
def fold_rows(
    state: State,
    rules: Rules,
    rows: Rows,
    results: Results,
    cuts: np.ndarray,
    row: Int64,
    end: Int64,
) -> Int64:
    """Fold rows ``row..end-1``; return `end`, or the row for which the store must make room.

    cuts     (boundaries, CUT_WIDTH + v) int64, scratch
    A row that is returned has changed nothing yet but what memory holds it; what it needs stands
    in the registers WANTS and WANTED_ROWS.
    Cost  O(log entries) a row in time order, no allocation
    """
    for i in range(row, end):
        results.late[i], results.duplicate_of[i] = False, NO_POSITION
        results.stepped[i], results.before[i] = 0, NONE
        results.clock[i] = state.registers[CLOCK]
        results.accepted[i] = not _is_repeat(state, rows, i)
        if rows.kind[i] != EVENT or not results.accepted[i]:
            results.features[i, :] = np.nan
        if not results.accepted[i]:
            continue
        clock = _advance(state, rows, i)
        if _concerns(rules, rows.kind[i]):
            if _is_forgotten(state, rules, rows.slot[i], clock):
                drop_entries(state, rows.slot[i])
            if rows.kind[i] == EVENT:
                todo = _judge_event(state, rules, rows, results, i, clock, cuts)
            else:
                todo = _judge_label(state, rules, rows, i, clock)
            if todo == _WAIT or (todo == _KEEP and not _keep(state, rules, rows, i)):
                return i
        state.registers[CLOCK] = clock
        results.clock[i] = clock
        if rows.upstream[i] >= 0:
            state.seen[rows.upstream[i]] = rows.upstream_offset[i]
    return end


@kernel
def sweep(state: State, rules: Rules, forget_after: Int64, idle: np.ndarray) -> Int64:
    """Give back the blocks of forgotten keys; list the slots that nothing needs any more.

    forget_after  the longest of the stage's custom steps, or 0
    idle          (slots,) int64, written: slots whose key can be dropped
    Returns       how many there are
    """
    clock = state.registers[CLOCK]
    n = 0
    for s in range(state.slots.shape[0]):
        if _is_forgotten(state, rules, s, clock):
            drop_entries(state, s)
        row = state.slots[s]
        stepped = row[STEPPED]
        unused = stepped == NONE or stepped + forget_after < clock
        if row[TOUCHED] == NONE and unused:
            idle[n] = s
            n += 1
    return n
