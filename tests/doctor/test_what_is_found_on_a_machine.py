from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stream_infer.doctor import machine
from stream_infer.doctor.kernels import examine_kernels, judge_kernels

GIB = 1 << 30


@pytest.mark.parametrize(
    ("version", "status"),
    [((3, 10), "failed"), ((3, 11), "passed"), ((3, 13), "passed"), ((3, 14), "failed")],
)
def test_only_the_pythons_that_are_supported_pass(version: tuple[int, int], status: str) -> None:
    assert machine.examine_python(version, "X").status == status


INSTALLED = {"aiokafka": "0.14.0", "click": "8.4.0", "numpy": "2.1.0"}


@pytest.mark.parametrize(
    ("requirements", "status", "named"),
    [
        (["aiokafka>=0.14,<0.15", "numpy>=2.0"], "passed", "2 required"),
        (["click>=8.1,<8.4"], "failed", "click is 8.4.0"),
        (["msgspec>=0.19"], "failed", "msgspec is missing"),
        (['polars>=1.20; extra == "files"', "numpy"], "passed", "1 required"),
        (['numpy>=3; extra == "files"'], "failed", "numpy is 2.1.0"),
        (None, "skipped", "from its sources"),
    ],
)
def test_packages_are_compared_with_what_is_required(
    requirements: list[str] | None, status: str, named: str
) -> None:
    found = machine.examine_packages(requirements, INSTALLED.get)
    assert found.status == status
    assert named in found.detail
    assert bool(found.fix) is (status == "failed")


def test_packages_that_cannot_be_compared_are_no_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "find_spec", lambda _name: None)
    found = machine.examine_packages(["numpy>=2.0"], INSTALLED.get)
    assert (found.status, "packaging" in found.detail, bool(found.fix)) == ("failed", True, True)


def test_two_builds_of_onnx_runtime_fail_and_so_does_none() -> None:
    def status(*names: str) -> str:
        return machine.examine_onnxruntime(dict.fromkeys(names, "1.31").get).status

    assert status("onnxruntime") == "passed"
    assert status("onnxruntime-gpu") == "passed"
    assert status("onnxruntime", "onnxruntime-gpu") == "failed"
    assert status() == "failed"


def test_what_the_extra_brings_is_skipped_where_it_is_not_installed() -> None:
    assert machine.examine_embedded_kafka(lambda _name: True).status == "passed"
    assert machine.examine_embedded_kafka(lambda name: name != "jgo").status == "skipped"


@pytest.mark.parametrize(("quota", "status"), [(None, "passed"), (2.0, "passed"), (0.5, "warning")])
def test_less_than_a_core_is_a_warning(quota: float | None, status: str) -> None:
    found = machine.examine_processor(4, quota, "Some CPU", frozenset({"avx2", "fpu"}))
    assert found.status == status
    assert "4 cores, features: avx2." in found.detail


@pytest.mark.parametrize(
    ("available", "status"), [(2 * GIB, "passed"), (GIB - 1, "failed"), (None, "skipped")]
)
def test_memory_that_is_too_small_fails_and_unknown_is_not_passed(
    available: int | None, status: str
) -> None:
    assert machine.examine_memory(available).status == status


def test_a_full_disk_fails_and_is_named(tmp_path: Path) -> None:
    assert machine.examine_disk(tmp_path, 2 * GIB).status == "passed"
    full = machine.examine_disk(tmp_path, 1)
    assert (full.status, full.name) == ("failed", f"disk {tmp_path}")


def counts(path: str | None, misses: int) -> Any:
    return SimpleNamespace(cache_path=path, cache_hits={}, cache_misses={"form": misses})


def test_kernels_that_cannot_be_kept_fail_and_compiled_ones_are_counted() -> None:
    assert judge_kernels([counts("/c", 0), counts(None, 1)], 20.0).status == "failed"
    compiled = judge_kernels([counts("/c", 0), counts("/c", 1)], 20.0)
    assert compiled.status == "passed"
    assert "2 kernels in /c, 1 of them compiled now, in 20 s" in compiled.detail
    assert "all from there" in judge_kernels([counts("/c", 0)], 0.1).detail


def test_the_kernels_of_this_installation_are_found() -> None:
    found = examine_kernels()
    assert found.status == "passed"
    assert int(found.detail.split()[0]) >= 4


def test_every_finding_but_a_good_one_has_a_fix_or_a_reason() -> None:
    for found in machine.examine_all():
        assert found.detail
        assert bool(found.fix) is (found.status in {"failed", "warning"})
