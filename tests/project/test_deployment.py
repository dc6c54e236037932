"""docker-compose.yml and the Dockerfile: what can be said about them without a container engine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from stream_infer.broker import KAFKA_VERSION
from support.documents import fault_of

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")


def test_compose_runs_the_kafka_version_that_is_embedded() -> None:
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{KAFKA_VERSION}"


@pytest.mark.parametrize("name", SERVICES)
def test_each_published_port_is_open_on_this_machine_only(name: str) -> None:
    assert [p for p in SERVICES[name].get("ports", []) if not p.startswith("127.0.0.1:")] == []


@pytest.mark.parametrize("name", OURS)
def test_each_command_is_one_that_the_command_line_has(name: str) -> None:
    assert fault_of(("stream-infer", *OURS[name]["command"])) is None


def test_two_workers_wait_for_topics_and_topics_wait_for_a_healthy_kafka() -> None:
    workers = [service for service in OURS.values() if service["command"][0] == "worker"]
    assert len(workers) == 2
    for worker in workers:
        assert worker["depends_on"] == {"topics": {"condition": "service_completed_successfully"}}
    assert SERVICES["topics"]["depends_on"] == {"kafka": {"condition": "service_healthy"}}
    assert SERVICES["kafka"]["healthcheck"]["test"][0] == "CMD"


def test_workers_are_told_the_address_that_kafka_advertises_to_containers() -> None:
    advertised = SERVICES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"].split(",")
    for service in OURS.values():
        assert f"INSIDE://{service['environment']['STREAM_INFER_BOOTSTRAP']}" in advertised


def test_each_volume_that_a_service_uses_is_declared() -> None:
    used = {
        volume.split(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", [])
    }
    assert used == set(COMPOSE["volumes"])


def test_the_image_runs_as_a_user_without_rights_on_a_python_that_we_support() -> None:
    stages = re.findall(r"^FROM python:(3\.\d+)-", DOCKERFILE, re.MULTILINE)
    assert len(stages) == 2
    assert set(stages) <= {"3.11", "3.12", "3.13"}
    users = re.findall(r"^USER (\S+)", DOCKERFILE, re.MULTILINE)
    assert users
    assert users[-1] not in {"0", "root"}


def test_the_image_compiles_kernels_by_a_module_that_exists_where_its_user_may_write() -> None:
    module = re.search(r"^RUN python -m (\S+)$", DOCKERFILE, re.MULTILINE)
    assert module
    assert fault_of(("python", "-m", module[1])) is None
    folder = re.search(r"NUMBA_CACHE_DIR=(\S+)", DOCKERFILE)
    assert folder
    assert f"install -d -o streaminfer {folder[1]}" in DOCKERFILE


def test_the_image_copies_only_files_that_exist() -> None:
    for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE):
        *sources, _ = line.split()
        assert [source for source in sources if not (ROOT / source).exists()] == []
