"""The image, the compose file and the unit say what the command takes, and give it no rights that it does not need."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from denizen.cli import main
from denizen.serve.settings import Serving

HERE = Path(__file__).parents[2]
DOCKERFILE = (HERE / "Dockerfile").read_text()
UNIT = re.findall(r"```ini\n(.*?)```", (HERE / "docs/deploying.md").read_text(), re.DOTALL)[0]


@pytest.fixture(scope="module")
def service() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((HERE / "compose.yaml").read_text())["services"]["denizen"]
    return found


def image_command() -> list[str]:
    found: list[str] = json.loads(re.findall(r"^CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)[0])
    return found


def test_what_the_image_the_compose_file_and_the_unit_run_is_a_command_of_ours(
    service: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # a server of no model there is ends before it listens, and its message says how far it came
    monkeypatch.setenv("DENIZEN_API_KEYS", "mine:0123456789abcdef")
    unit = re.findall(r"^ExecStart=\S+/denizen (.*)$", UNIT, re.MULTILINE)[0].split()
    for command in (image_command(), service["command"], unit):
        monkeypatch.setattr("sys.argv", ["denizen", *command])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 2
        assert command[1] in capsys.readouterr().err
    assert image_command() == service["command"]


def test_they_run_without_rights(service: dict[str, Any]) -> None:
    assert re.findall(r"^USER (\d+)$", DOCKERFILE, re.MULTILINE) == ["10001"]
    assert service["read_only"] and service["cap_drop"] == ["ALL"] and service["volumes"][0].endswith(":ro")
    assert "no-new-privileges:true" in service["security_opt"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    for line in ("DynamicUser=yes", "ProtectSystem=strict", "NoNewPrivileges=yes", "CapabilityBoundingSet="):
        assert line in UNIT.splitlines()


def test_they_wait_for_what_has_begun(service: dict[str, Any]) -> None:
    deadline = Serving().deadline
    assert int(service["stop_grace_period"].removesuffix("s")) > deadline
    assert int(re.findall(r"^TimeoutStopSec=(\d+)$", UNIT, re.MULTILINE)[0]) > deadline


def test_they_fetch_nothing() -> None:
    assert "HF_HUB_OFFLINE=1" in DOCKERFILE and "HF_HUB_OFFLINE=1" in UNIT
    assert "://" not in DOCKERFILE.replace("http://127.0.0.1", "")


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not here")
def test_systemd_reads_the_unit(tmp_path: Path) -> None:
    # systemd looks for the program, too
    (tmp_path / "denizen.service").write_text(UNIT.replace("/opt/denizen/bin/denizen", "/bin/true"))
    found = subprocess.run(
        ["systemd-analyze", "verify", tmp_path / "denizen.service"], capture_output=True, text=True, check=False
    )
    assert "denizen.service" not in found.stderr and found.returncode == 0, found.stderr


@pytest.mark.skipif(not shutil.which("hadolint"), reason="hadolint is not here")
def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    found = subprocess.run(["hadolint", HERE / "Dockerfile"], capture_output=True, text=True, check=False)
    assert not found.stdout and found.returncode == 0, found.stdout
