"""The first records of a new cluster, written by Kafka's own tool.

They hold the feature levels (transaction.version among them) and the users of SCRAM, and
nothing of one cluster. Without users the file is made once and copied into each new data
folder: 0.7 s less a start than to run the tool each time.
"""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
import subprocess
from collections.abc import Mapping
from pathlib import Path

from stream_infer.errors import EmbeddedBrokerError

FORMAT_TIMEOUT_S = 60.0
CHECKPOINT = "bootstrap.checkpoint"
ITERATIONS = 4096
"""The least that Kafka takes; enough for users that live as long as a test."""
_HASHES = {"SCRAM-SHA-256": "sha256", "SCRAM-SHA-512": "sha512"}
# Any valid id does: the checkpoint holds no cluster id.
_CLUSTER_ID = "MkU3OEVBNTcwNTJENDM2Qg"


def format_checkpoint(
    java: Path,
    jars: Path,
    work: Path,
    properties: str,
    scram_users: Mapping[str, str] | None = None,
) -> Path:
    """Run the storage tool in the empty folder `work`; return the checkpoint's path.

    properties   ``server.properties`` of any broker of this version
    scram_users  user -> password; each gets both SCRAM mechanisms
    Raises       EmbeddedBrokerError format_failed
    """
    (work / "server.properties").write_text(properties)
    tool = ["kafka.tools.StorageTool", "format", "-t", _CLUSTER_ID, "-c", "server.properties"]
    for user, password in (scram_users or {}).items():
        for mechanism in _HASHES:
            tool += ["--add-scram", scram_argument(mechanism, user, password)]
    result = subprocess.run(
        [str(java), "-cp", f"{jars}{os.sep}*", *tool],
        check=False,
        cwd=work,
        capture_output=True,
        text=True,
        timeout=FORMAT_TIMEOUT_S,
    )
    found = sorted(work.rglob(CHECKPOINT))
    if result.returncode != 0 or not found:
        raise EmbeddedBrokerError(
            "format_failed",
            f"Kafka's storage tool failed: {result.stderr.strip() or result.stdout.strip()}",
            f"Remove {jars.parent} and retry.",
        )
    return found[0]


def scram_argument(mechanism: str, user: str, password: str) -> str:
    """Return a user as the storage tool takes it, without the password itself.

    A command line can be read by everybody on the machine.
    Source: RFC 5802, section 3 (SaltedPassword); KIP-900
    """
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac(_HASHES[mechanism], password.encode(), salt, ITERATIONS)
    fields = (
        f"name={user}",
        f"iterations={ITERATIONS}",
        f'salt="{base64.b64encode(salt).decode()}"',
        f'saltedpassword="{base64.b64encode(salted).decode()}"',
    )
    return f"{mechanism}=[{','.join(fields)}]"
