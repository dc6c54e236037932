"""``stream-infer``, but Kafka notices within two seconds that a worker was killed.

As a program of its own, since a supervisor starts it again for each of its children.
"""

from __future__ import annotations

import os
import sys

from stream_infer import cli
from stream_infer.supervisor import backoff, processes

if __name__ == "__main__":
    for setting in ("SESSION_TIMEOUT", "TRANSACTION_TIMEOUT"):
        os.environ.setdefault(f"STREAM_INFER_WORKER__{setting}", "1500")
    processes.PROGRAM = (sys.executable, __file__)
    backoff.FIRST_DELAY_S = 0.05
    cli.main()
