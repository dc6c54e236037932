"""``stream-infer``, but Kafka notices within two seconds that a worker was killed.

As a program of its own, since a supervisor starts it again for each of its children.
"""

from __future__ import annotations

import sys

from stream_infer import cli
from stream_infer.supervisor import backoff, processes

if __name__ == "__main__":
    if "--member" in sys.argv:  # the supervisor itself shall load as little as it does elsewhere
        from stream_infer import app

        app.FAUST_DEFAULTS.update(broker_session_timeout=1.5, broker_heartbeat_interval=0.3)
    processes.PROGRAM = (sys.executable, __file__)
    backoff.FIRST_DELAY_S = 0.05
    cli.main()
