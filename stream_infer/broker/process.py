"""Talk to one supervisor: start, stop and kill the JVM that it owns.

`BrokerProcess` owns the supervisor's process and both pipes. It knows whether the JVM
runs from the supervisor's reports alone, so no pid is ever signalled from here and a
reused pid cannot be hit.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from stream_infer.broker import supervisor
from stream_infer.broker.failures import java_cannot_run
from stream_infer.errors import EmbeddedBrokerError

STOP_GRACE_S = 15.0
REPORT_TIMEOUT_S = 10.0
JVM_LOG_FILE = "logs/jvm.log"
# Options from the environment would change heap or agents of our JVM behind our back.
_JAVA_OPTION_NAMES = ("CLASSPATH", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS")


class BrokerProcess:
    """One supervisor and the JVM below it, if it runs.

    command  the JVM's command line
    folder   where it runs; ``jvm.log`` there takes its stdout and stderr
    remove   whether the supervisor removes the folder at its end, whatever ended it
    lock     descriptor of the folder's lock, which the supervisor holds on
    """

    def __init__(
        self, command: list[str], folder: Path, *, remove: bool, lock: int | None = None
    ) -> None:
        self.removes_folder = remove
        self._folder = folder
        self.pid: int | None = None
        self.exit_code: int | None = None
        self._unread = b""
        spec = {
            "command": command,
            "cwd": str(folder),
            "output": str(folder / JVM_LOG_FILE),
            "remove": str(folder) if remove else None,
            "grace_s": STOP_GRACE_S,
        }
        environment = {k: v for k, v in os.environ.items() if k not in _JAVA_OPTION_NAMES}
        # Its stderr goes to the log: a detached supervisor must not keep our terminal or a
        # pipe of our caller open.
        with (folder / JVM_LOG_FILE).open("ab") as output:
            self._supervisor = subprocess.Popen(
                [sys.executable, "-I", "-S", supervisor.__file__, json.dumps(spec)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                bufsize=0,
                env=environment,
                cwd="/",
                pass_fds=() if lock is None else (lock,),
                # Ctrl-C in a terminal goes to its whole process group; the broker must
                # outlive it until the owner has closed its clients.
                start_new_session=True,
            )

    @property
    def supervisor_pid(self) -> int:
        """Pid of the supervisor, which lives as long as this object is open."""
        return self._supervisor.pid

    def start(self) -> None:
        """Run the JVM; it must not run already."""
        self.exit_code = None
        report = self._ask("start", ("started", "failed"), REPORT_TIMEOUT_S)
        word, _, rest = report.partition(" ")
        if word == "failed":
            raise java_cannot_run("java", rest.partition(" ")[2])
        self.pid = int(rest)

    def poll(self) -> int | None:
        """Return the JVM's exit code when it has ended, None while it runs."""
        if self.pid is not None and self._next_line(0.0) is None and self._lost():
            self._note_exit(-signal.SIGKILL)
        return self.exit_code

    def stop(self, grace_s: float = STOP_GRACE_S) -> None:
        """Let the JVM shut down, by force after the grace; again does nothing."""
        self._end_jvm(f"stop {grace_s}", grace_s + REPORT_TIMEOUT_S)

    def kill(self) -> None:
        """Kill the JVM with SIGKILL, as a crash would; again does nothing."""
        self._end_jvm("kill", REPORT_TIMEOUT_S)

    def detach(self) -> None:
        """Let the JVM live on when this process ends."""
        self._ask("detach", ("detached",), REPORT_TIMEOUT_S)
        self._close_pipes()

    def close(self) -> None:
        """End the JVM if it runs, and the supervisor, which removes a temporary folder."""
        self._close_pipes()
        self._supervisor.wait(STOP_GRACE_S + REPORT_TIMEOUT_S)
        if self.removes_folder:  # when the supervisor itself was killed
            shutil.rmtree(self._folder, ignore_errors=True)

    def _end_jvm(self, command: str, timeout_s: float) -> None:
        if self.poll() is None and self.pid is not None:
            self._ask(command, ("exited",), timeout_s)

    def _ask(self, command: str, answers: tuple[str, ...], timeout_s: float) -> str:
        stdin = self._supervisor.stdin
        if stdin is None or stdin.closed:
            raise EmbeddedBrokerError("closed", "This embedded Kafka was closed.", "")
        with contextlib.suppress(BrokenPipeError):  # the wait below tells that it is gone
            stdin.write(command.encode() + b"\n")
        deadline = time.monotonic() + timeout_s
        while (left_s := deadline - time.monotonic()) > 0:
            line = self._next_line(left_s)
            if line is not None and line.partition(" ")[0] in answers:
                return line
            if line is None and self._lost():
                break
        if answers == ("exited",) and self._lost():
            self._note_exit(-signal.SIGKILL)
            return f"exited {-signal.SIGKILL}"
        raise EmbeddedBrokerError(
            "supervisor_lost",
            f"The process that owns the embedded Kafka did not answer '{command}'.",
            "Start the broker again.",
        )

    def _next_line(self, timeout_s: float) -> str | None:
        """Return the supervisor's next report and note what it says of the JVM."""
        stdout = self._supervisor.stdout
        while b"\n" not in self._unread:
            if stdout is None or stdout.closed:
                return None
            # `select.select` refuses descriptors above 1023, which a long test run has.
            poll = select.poll()
            poll.register(stdout, select.POLLIN)
            data = os.read(stdout.fileno(), 4096) if poll.poll(timeout_s * 1000) else b""
            if not data:
                return None
            self._unread += data
        raw, _, self._unread = self._unread.partition(b"\n")
        line = raw.decode()
        if line.startswith("exited "):
            self._note_exit(int(line.split()[1]))
        return line

    def _note_exit(self, code: int) -> None:
        self.pid, self.exit_code = None, code

    def _lost(self) -> bool:
        return self._supervisor.poll() is not None

    def _close_pipes(self) -> None:
        for pipe in (self._supervisor.stdin, self._supervisor.stdout):
            if pipe is not None:
                pipe.close()
