"""The compiler's code leaves memory when kernels are loaded, and comes back when it is needed."""

from __future__ import annotations

import subprocess
import sys

import numba
import numpy as np
import pytest

from stream_infer.windows.compiler_memory import _mappings, compiler_bytes, release_compiler
from stream_infer.windows.hashing import hash_ids
from stream_infer.windows.twins import hash_id

SMAPS = """\
7f00-8f00 r-xp 00012000 08:01 77    /lib/python/llvmlite/binding/libllvmlite.so
Size:               4 kB
Rss:               40 kB
Anonymous:          0 kB
9f00-af00 r--p 00012000 08:01 77    /lib/python/llvmlite/binding/libllvmlite.so
Rss:               12 kB
Anonymous:          4 kB
bf00-cf00 rw-p 00012000 08:01 77    /lib/python/llvmlite/binding/libllvmlite.so
Rss:               12 kB
Anonymous:          0 kB
df00-ef00 rw-p 00000000 00:00 0
Rss:               99 kB
Anonymous:         99 kB
ff00-ff80 r-xp 00012000 08:01 78    /lib/a folder/libother.so
Rss:               12 kB
Anonymous:          0 kB
"""

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone says what it holds")


def test_only_what_is_read_and_was_never_written_is_given_back() -> None:
    found = list(_mappings(SMAPS.splitlines(keepends=True)))
    assert [each.is_as_on_disk for each in found] == [True, False, False, False]
    assert (found[0].start, found[0].end, found[0].held_bytes) == (0x7F00, 0x8F00, 40 << 10)
    assert found[-1].path == "/lib/a folder/libother.so"


@on_linux
def test_loaded_kernels_need_no_compiler_and_new_ones_get_it_back() -> None:
    program = """
from stream_infer.precompile import precompile_pipeline
from stream_infer.pipelines.fraud import pipeline
from stream_infer.windows.compiler_memory import compiler_bytes
precompile_pipeline(pipeline)
print(compiler_bytes())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    # A page or two may be asked for by what ends the call.
    assert int(done.stdout) < 2 << 20


@on_linux
def test_what_was_given_back_is_read_again_when_it_is_needed() -> None:
    ids = ["a", "b", "é"]
    assert numba.njit(lambda x: x + 1)(1) == 2
    assert compiler_bytes() > 2 << 20
    assert release_compiler() > 2 << 20
    assert compiler_bytes() < 2 << 20
    assert hash_ids(ids).tolist() == [hash_id(text) for text in ids]
    assert numba.njit(lambda values: values * 2)(np.arange(3)).tolist() == [0, 2, 4]
    assert compiler_bytes() > 2 << 20


def test_where_the_system_says_nothing_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert release_compiler() == 0
