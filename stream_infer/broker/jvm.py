"""The command line of the broker's JVM. Pure.

Measured on 4 cores with Kafka 4.3.1 on Java 25, from exec to the first answer, and
resident memory then (with the log cleaner's usual buffer, which is 110 MB of it):

    as is                          2.1 to 2.5 s   345 MB   G1 is what two cores or more get
    -XX:+UseSerialGC               2.1 to 2.7 s   412 MB   more memory, no gain
    -XX:TieredStopAtLevel=1        1.8 s          303 MB   quicker to start, but the broker
                                                           never gets its best machine code
    -XX:AOTCache (JEP 483, 514)    1.1 s          348 MB   chosen: see `quickstart`
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

HEAP_MB = 512


def java_command(
    java: Path, jars: Path, folder: Path, heap_mb: int = HEAP_MB, aot: Sequence[str] = ()
) -> list[str]:
    """Return the command that runs the broker of `folder`, inside `folder`.

    jars     folder of the jars, nothing else in it
    heap_mb  the largest heap, MiB
    aot      flags for the ahead-of-time cache
    """
    return [
        str(java),
        f"-Xmx{heap_mb}m",
        *aot,
        # A broker that is out of memory must end and say so, not limp on.
        "-XX:+ExitOnOutOfMemoryError",
        # A crash of the JVM would write its report of some MB where we stand.
        "-XX:ErrorFile=logs/jvm-crash.log",
        "-Djava.awt.headless=true",
        "-Djava.net.preferIPv4Stack=true",
        # /tmp may forbid execution, and what a killed JVM unpacks there stays.
        f"-Djava.io.tmpdir={folder / 'tmp'}",
        "-Dlog4j2.configurationFile=log4j2.properties",
        "-Dlog4j2.disableJmx=true",
        # Kafka and its compression libraries use both; Java 25 warns of each.
        "--sun-misc-unsafe-memory-access=allow",
        "--enable-native-access=ALL-UNNAMED",
        "-cp",
        f"{jars}{os.sep}*",
        "kafka.Kafka",
        "server.properties",
    ]
