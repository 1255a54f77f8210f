"""A server that reboots or cannot be reached, before and in the middle of a rollout."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import fleet
import pytest
import yaml

import lab

NEXT_BATCH = "PLAY [Activate, on the first host before the others]"


@pytest.fixture(scope="module", autouse=True)
def v1():
    return fleet.bring_to("v1")


@pytest.fixture
def impatient(tmp_path):
    return fleet.impatient(tmp_path)


def test_nothing_begins_while_a_server_cannot_be_reached(v1, impatient, load_with_losses):
    with fleet.unplugged("gpu2"):
        done = fleet.begin("deploy", "v2", environment=impatient)
        output = done.communicate()[0]
        assert done.returncode != 0, output
        assert lab.recap(output)["gpu2"]["unreachable"] == 1, output
    assert fleet.current() == v1
    assert set(load_with_losses.next()) == {"v1"}


def test_all_go_back_when_a_server_vanishes_in_the_middle(v1, impatient, load_with_losses):
    running = fleet.begin("deploy", "v2", environment=impatient)
    output = lab.read_until(running, "Watch it", times=2)
    with fleet.unplugged("gpu2"):
        output += running.communicate()[0]
        assert running.returncode != 0, output
        rest = ("gpu1", "gpu3")
        assert fleet.current(rest) == {host: v1[host] for host in rest}, output
        assert "gpu3  capitals" in output
        assert "gpu2 cannot be reached any more" in output, output
        assert "not touched" in output, output
    assert fleet.bring_to("v1") == v1
    assert set(load_with_losses.next()) == {"v1"}


def test_a_server_that_reboots_comes_back_with_its_new_release(v1, load_with_losses):
    running = fleet.begin("deploy", "v2")
    output = lab.read_until(running, NEXT_BATCH, times=2)
    lab.docker("restart", "nim-lab-gpu1")
    output += running.communicate()[0]
    after = fleet.bring_to("v2")
    assert all(after[host] != v1[host] for host in fleet.HOSTS)
    assert set(load_with_losses.next()) == {"v2"}


def at_the_gateway(words):
    """What an operator's own command tells of gpu1 at the gateway (dict)."""
    command = [str(Path(sys.executable).with_name("ansible")), "nim_gateways", "--become"]
    command += [word for inventory in fleet.INVENTORIES for word in ("-i", inventory)]
    command += ["-m", "llmops.nim.nim_gateway", "-a", f"model=capitals host=gpu1 {words}"]
    plain = dict(os.environ, ANSIBLE_CONFIG=str(lab.ROOT / "ansible.cfg"), ANSIBLE_FORCE_COLOR="0")
    done = subprocess.run(command, cwd=lab.ROOT, env=plain, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return yaml.safe_load(done.stdout.partition("=>")[2])


def test_a_server_that_is_taken_out_reboots_and_nobody_notices(v1, load):
    seen = at_the_gateway("state=read")
    (slot,) = [one["name"][-1] for one in seen["servers"] if one["up"]]
    out = at_the_gateway("state=drained")
    assert (out["cut"], out["serving"]) == (0, len(fleet.HOSTS) - 1)
    lab.docker("restart", "nim-lab-gpu1")
    back = at_the_gateway(f"state=admitted slot={slot} up_timeout=120")
    assert back["serving"] == len(fleet.HOSTS)
    load.next()
