"""From a connected server, by a directory, to one that reaches nothing; and what is said of a bundle that won't do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "shared"))

import lab

INVENTORY = "molecule/airgap/inventory"
SERVICES = {"registry": "10.83.0.2", "hub": "10.83.0.3"}
KEYS = ("NGC_API_KEY", "HF_TOKEN")
# All that a refusal must leave as it was, on a server that has nothing yet.
SEEN = "docker ps --all --quiet; docker image ls --all --quiet; find /var/lib/nim | sort"


def logs():
    """What hub and registry have been asked for, ever."""
    found = [subprocess.run(["docker", "logs", f"nim-lab-{name}"], capture_output=True, text=True) for name in SERVICES]
    return [one.stdout + one.stderr for one in found]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """What gpu2 serves, packed."""
    directory = tmp_path_factory.mktemp("carried") / "bundle"
    done = lab.playbook("bundle", nim_bundle_host="gpu2", nim_bundle=str(directory))
    assert done.returncode == 0, done.stdout
    return directory


@pytest.fixture(scope="module")
def gap(bundle):
    """gpu3, bare and with the way to hub and registry cut; yields what those had been asked until then."""
    lab.run("gpu3", (lab.ROOT / "molecule/shared/bare.sh").read_text())
    lab.run("gpu3", "".join(f"ip route replace blackhole {address}\n" for address in SERVICES.values()))
    yield logs()
    lab.run("gpu3", "".join(f"ip route del blackhole {address}\n" for address in SERVICES.values()))


def deploy(directory, **more):
    """Deploys the bundle behind the gap, with no key anywhere."""
    assert not any(os.environ.get(key) for key in KEYS)
    return lab.playbook("deploy", inventories=(INVENTORY,), nim_bundle=str(directory), **more)


def altered(bundle, directory, kind):
    """A copy of the bundle in which a byte of one file of that kind (the start of its path) is another."""
    subprocess.run(["cp", "-al", str(bundle), str(directory)], check=True)
    name = next(path for path in json.loads((bundle / "bundle.json").read_text())["files"] if path.startswith(kind))
    content = bytearray((bundle / name).read_bytes())
    content[len(content) // 2] ^= 1
    (directory / name).unlink()
    (directory / name).write_bytes(content)
    return name


def test_neither_hub_nor_registry_is_reached(gap):
    ask = "import socket; socket.create_connection(('{}', 443), 3)"
    for address in SERVICES.values():
        assert "Error" in lab.run("gpu3", f'python3 -c "{ask.format(address)}" 2>&1 || :')


@pytest.mark.parametrize("kind", ["images/", "weights/"])
def test_a_single_altered_byte_is_refused_and_nothing_changed(bundle, gap, tmp_path, kind):
    name = altered(bundle, tmp_path / "bundle", kind)
    before = lab.run("gpu3", SEEN)
    done = deploy(tmp_path / "bundle")
    assert done.returncode != 0
    assert "Files of the bundle were altered." in done.stdout
    assert name in "".join(done.stdout.split())
    assert lab.run("gpu3", SEEN) == before


def test_a_disk_that_is_too_small_is_refused_and_nothing_changed(bundle, gap):
    before = lab.run("gpu3", SEEN)
    done = deploy(bundle, bundle_reserve_bytes=1024**5)
    assert done.returncode != 0
    assert "The disk is too small" in done.stdout
    assert lab.run("gpu3", SEEN) == before


def test_it_is_deployed_and_answers(bundle, gap):
    done = deploy(bundle)
    assert done.returncode == 0, done.stdout
    assert "comes in the bundle: same weights, image, GPUs and settings" in " ".join(done.stdout.split())
    assert "Using the cached engine" in lab.run("gpu3", "docker logs $(docker ps --quiet) 2>&1")
    # A start without NGC must have no key, and nothing of the bundle takes space twice.
    assert lab.run("gpu3", "cat /var/lib/nim/capitals/secrets.env; ls /var/lib/nim/weights").split() == [
        "lab--Llama-3.2-1B-capitals",
        "objects",
    ]


def test_a_second_deployment_changes_nothing(bundle, gap):
    done = deploy(bundle)
    assert done.returncode == 0, done.stdout
    assert lab.recap(done.stdout)["gpu3"]["changed"] == 0


def test_the_status_tells_which_bytes(bundle, gap):
    held = json.loads((bundle / "bundle.json").read_text())
    (weights,) = held["weights"].values()
    (image,) = held["images"].values()
    shown = lab.playbook("status", inventories=(INVENTORY,), nim_output="json").stdout
    assert weights["manifest_sha256"] in shown
    assert image["id"] in shown
    table = lab.playbook("status", inventories=(INVENTORY,)).stdout
    row = next(line for line in table.splitlines() if line.strip().startswith("gpu3  capitals"))
    assert {"ready", "-"} <= set(row.split())
    # A cell that is too wide goes on in the next line.
    told = "".join(table.split())
    assert weights["manifest_sha256"][:12] in told
    assert "llama-3.2-1b-instruct:1.8.4" in told


def test_nothing_was_asked_of_hub_or_registry(gap):
    assert logs() == gap
