"""docker-compose.yml, Dockerfile and the rest of deploy/, as far as reading them tells."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from config.environment import KNOWN
from config.stack.paths import PROJECT_DIR, stack_paths
from config.stack.programs import QUICK_QUEUES, SLOW_QUEUES
from config.stack.servers import EmbeddedPostgres

COMPOSE = yaml.safe_load((PROJECT_DIR / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}


def test_there_is_every_service_and_no_other():
    assert set(OURS) == {"web", "websocket", "pipeline-worker", "send-worker", "scheduler", "migrate"}
    assert set(SERVICES) - set(OURS) == {"nginx", "postgres", "redis"}


def test_only_nginx_can_be_reached_from_outside():
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["nginx"]
    assert {name for name, service in SERVICES.items() if service["networks"] == ["inside"]} == {"postgres", "redis"}
    assert COMPOSE["networks"]["inside"] == {"internal": True}


@pytest.mark.parametrize("name", sorted(set(SERVICES) - {"migrate"}))
def test_what_runs_for_long_is_restarted_and_asked_for_its_health(name):
    assert SERVICES[name]["restart"] == "unless-stopped"
    dockerfile = (PROJECT_DIR / "Dockerfile").read_text()
    assert "healthcheck" in SERVICES[name] or (name in OURS and "HEALTHCHECK" in dockerfile)


@pytest.mark.parametrize("name", sorted(set(SERVICES) - {"postgres"}))
def test_containers_may_do_little(name):
    service = SERVICES[name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_the_image_does_not_run_as_root():
    users = re.findall(r"^USER (\S+)$", (PROJECT_DIR / "Dockerfile").read_text(), re.MULTILINE)
    assert users
    assert users[-1] not in {"root", "0"}
    assert "user" not in COMPOSE["x-service"]


def test_nothing_starts_before_what_it_needs():
    for service in SERVICES.values():
        assert set(service.get("depends_on", {})) <= set(SERVICES)
    for name in set(OURS) - {"migrate"}:
        needs = {other: terms["condition"] for other, terms in OURS[name]["depends_on"].items()}
        assert needs == {"migrate": "service_completed_successfully", "redis": "service_healthy"}
    assert OURS["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}


def test_settings_are_settings():
    for service in OURS.values():
        assert set(service["environment"]) <= KNOWN
        assert service["environment"]["DEBUG"] == "false"


def test_processes_of_all_containers_write_metrics_into_one_volume():
    for name in set(OURS) - {"migrate"}:
        folder = OURS[name]["environment"]["PROMETHEUS_MULTIPROC_DIR"]
        assert f"metrics:{folder}" in OURS[name]["volumes"]
        assert f" {folder}" in (PROJECT_DIR / "Dockerfile").read_text()


def test_volumes_are_declared():
    used = {volume.partition(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert {name for name in used if not name.startswith("./")} == set(COMPOSE["volumes"])
    for name in used:
        assert not name.startswith("./") or (PROJECT_DIR / name).exists()


def test_workers_share_the_queues_as_in_a_local_run():
    assert f"--queues={','.join(QUICK_QUEUES)}" in OURS["pipeline-worker"]["command"]
    assert f"--queues={','.join(SLOW_QUEUES)}" in OURS["send-worker"]["command"]


def test_images_name_their_version():
    images = [service["image"] for name, service in SERVICES.items() if name not in OURS]
    images += re.findall(r"^FROM (\S+)", (PROJECT_DIR / "Dockerfile").read_text(), re.MULTILINE)
    assert all(re.search(r":\d", image) for image in images)


def test_the_image_gets_every_room_and_nothing_private():
    allowed = {line[1:] for line in (PROJECT_DIR / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    rooms = {path.parent.name for path in PROJECT_DIR.glob("*/__init__.py")} - {"tests", "bench"}
    assert rooms | {"manage.py"} <= allowed
    assert not allowed & {".env", ".local", ".git", "tests"}
    assert all((PROJECT_DIR / Path(path)).exists() for path in allowed)


def test_postgresql_keeps_what_messages_say_out_of_its_log(tmp_path):
    embedded = EmbeddedPostgres(stack_paths(tmp_path)).command()
    for setting in ("log_min_error_statement=panic", "log_error_verbosity=terse"):
        assert setting in SERVICES["postgres"]["command"]
        assert f"--{setting}" in embedded
