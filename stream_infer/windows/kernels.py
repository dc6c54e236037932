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


@part
def _fold_event(
    state: State,
    rules: Rules,
    rows: Rows,
    results: Results,
    i: Int64,
    clock: Int64,
    cuts: np.ndarray,
) -> bool:
    """Evaluate one event, decide what it is, and keep it if it is new and fits.

    Returns False, nothing being changed, when the store must make room first.
    """
    s, time, identity, values = rows.slot[i], rows.time[i], rows.ids[i], rows.values[i]
    row = state.slots[s]
    newest = row[NEWEST]
    floor = max(newest, time) - rules.horizon
    results.late[i] = rows.late[i]
    duplicate_of: Int64 = rows.duplicate_of[i]
    if rules.first:
        results.late[i] = time < newest - rules.lateness or time < clock - rules.horizon
    if rules.duplicates:
        original = find(state, s, time, identity, floor, False, True)
        duplicate_of = NO_POSITION if original < 0 else position_at(state, row[START] + original)
    results.duplicate_of[i] = duplicate_of
    is_new = duplicate_of == NO_POSITION
    cut(state, rules, s, time, floor, cuts)
    evaluate(state, rules, s, time, values, 1 if is_new else 0, cuts, results.features[i])
    kept = is_new and time > floor and time >= clock - rules.horizon
    results.before[i] = row[STEPPED]
    results.stepped[i] = 1 if kept else 2
    if not kept:
        return True
    if rules.keeps_entries and not _keep(state, rules, rows, i, floor):
        return False
    row[NEWEST] = max(newest, time)
    row[TOUCHED] = max(row[TOUCHED], time)
    row[STEPPED] = max(row[STEPPED], time)
    return True


@part
def _keep(state: State, rules: Rules, rows: Rows, i: Int64, floor: Int64) -> bool:
    """Insert an event; a label that waited for it becomes its label."""
    s, time, identity, position = rows.slot[i], rows.time[i], rows.ids[i], rows.position[i]
    if not event_fits(state, rules, s, time, rows.values[i], position, floor, 1):
        return False
    label, label_time = np.int64(UNLABELLED), np.int64(0)
    if rules.folds_labels:
        ghost = find(state, s, time, identity, floor, True, False)
        if ghost >= 0:
            row = state.slots[s]
            at = row[START] + ghost
            label, label_time = state.labels[at] - GHOST, label_time_at(state, row[BASE], at)
            if not fits_label_time(state, time, label_time):
                state.registers[WANTS] = WANTS_LABEL_TIMES
                return False
            remove_ghost(state, rules, s, ghost)
    insert(state, rules, s, time, identity, rows.values[i], position, label, label_time)
    return True


@part
def _fold_label(state: State, rules: Rules, rows: Rows, i: Int64, clock: Int64) -> bool:
    """Label the entry it speaks of, or let the label wait for its event; see `_fold_event`."""
    s, time, identity = rows.slot[i], rows.time[i], rows.ids[i]
    label, label_time = np.int64(rows.label[i]), rows.label_time[i]
    row = state.slots[s]
    floor = row[NEWEST] - rules.horizon
    j = find(state, s, time, identity, floor, False, True)
    if j < 0:
        j = find(state, s, time, identity, floor, True, False)
    if j >= 0:
        return _relabel(state, s, j, label, label_time)
    if time <= floor or time < clock - rules.horizon:
        return True
    if not make_room(state, rules, s, time, floor, 1):
        return False
    if not fits_label_time(state, time, label_time):
        state.registers[WANTS] = WANTS_LABEL_TIMES
        return False
    insert(state, rules, s, time, identity, rows.values[i], NO_POSITION, label + GHOST, label_time)
    row[TOUCHED] = max(row[TOUCHED], time)
    return True


@part
def _relabel(state: State, s: Int64, j: Int64, label: Int64, label_time: Int64) -> bool:
    """Replace an entry's label, if the new one became known no earlier; see `_fold_event`."""
    row = state.slots[s]
    at = row[START] + j
    held = np.int64(state.labels[at])
    if held != UNLABELLED and label_time < label_time_at(state, row[BASE], at):
        return True
    time = time_at(state, row[BASE], at)
    if not fits_label_time(state, time, label_time):
        state.registers[WANTS] = WANTS_LABEL_TIMES
        return False
    if held >= GHOST:
        put_label(state, at, time, label + GHOST, label_time)
        return True
    labelled = 1 if held == UNLABELLED else 0
    add_counts_behind(state, s, j, labelled, label - max(held, 0))
    put_label(state, at, time, label, label_time)
    return True


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


@part
def _fold_row(
    state: State,
    rules: Rules,
    rows: Rows,
    results: Results,
    i: Int64,
    clock: Int64,
    cuts: np.ndarray,
) -> bool:
    """Fold a row that concerns a key; return False when the store must make room first."""
    if _is_forgotten(state, rules, rows.slot[i], clock):
        drop_entries(state, rows.slot[i])
    if rows.kind[i] == EVENT:
        return _fold_event(state, rules, rows, results, i, clock, cuts)
    return _fold_label(state, rules, rows, i, clock)


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
        if _concerns(rules, rows.kind[i]) and not _fold_row(
            state, rules, rows, results, i, clock, cuts
        ):
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
