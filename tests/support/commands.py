"""Run a command of the command line inside the test's own process."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import dataclass
from typing import Any

from stream_infer.cli import main
from support.logs_put_back import logs_put_back


@dataclass(frozen=True)
class Ran:
    """What a command did: exit code, stdout, stderr."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON value on stdout; fails when there is anything else."""
        return json.loads(self.out)


def run_command(*args: object) -> Ran:
    """Run ``stream-infer ARGS...`` and return what it did."""
    out, err = io.StringIO(), io.StringIO()
    with logs_put_back(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([str(arg) for arg in args])
        except SystemExit as end:
            code = end.code
        else:
            raise AssertionError("main() must end with an exit code")
    return Ran(int(code or 0), out.getvalue(), err.getvalue())
