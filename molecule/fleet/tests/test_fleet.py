"""What crosses the WAN, as the hub's log tells, and what is left when something is lost on the way."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "shared"))

import fleet
from fleet import HOSTS

import lab

REPO = "lab--Llama-3.2-1B-capitals"
OBJECTS, HEADERS = 2, 70_000
HELD = '{"status": 429, "retry_after": 1}'
FAULTS = "/srv/faults.json"
SNAPSHOTS = f"cd /var/lib/nim/weights/{REPO} && ls -d *.manifest.json 2>/dev/null | sort"
# The id of the process, whose command line bears nothing.
PART = "cat /var/lib/nim/weights/fleet/*/lock"
LISTENING = "ss -Hltn '( sport = :6881 or sport = :6882 )'"


def hub(script):
    return subprocess.run(["docker", "exec", "nim-lab-hub", "sh", "-c", script], check=True, capture_output=True)


class Wan:
    """What the hub has sent of large files since it was made: how often each object."""

    def __init__(self):
        self._before = len(self._log())

    @staticmethod
    def _log():
        done = subprocess.run(["docker", "logs", "nim-lab-hub"], check=True, capture_output=True, text=True)
        lines = re.findall(r"^GET /lfs/\S+/([0-9a-f]{64}) 20[06] (\d+)", done.stdout, re.MULTILINE)
        # The headers are read for the plan, 64 KiB at a time.
        return [oid for oid, sent in lines if int(sent) > HEADERS]

    @property
    def sent(self):
        return Counter(self._log()[self._before :])


@pytest.fixture
def wan():
    return Wan()


@pytest.fixture
def held():
    """The hub holds back all large files; yields what lets them go."""
    hub(f"echo '{HELD}' >{FAULTS}")
    yield lambda: hub(f"rm -f {FAULTS}")
    hub(f"rm -f {FAULTS}")


def wishes(revision, more):
    return dict(
        fleet.variables(revision), weights_source="fleet", weights_fleet_patience=10, weights_retries=20, **more
    )


def begin(revision, environment=None, **more):
    known = {"inventories": fleet.INVENTORIES, "environment": environment}
    return lab.begin("../molecule/fleet/carry", **known, **wishes(revision, more))


def carry(revision, **more):
    return lab.playbook("../molecule/fleet/carry", inventories=fleet.INVENTORIES, **wishes(revision, more))


def forget(*hosts):
    for host in hosts:
        lab.run(host, "find /var/lib/nim/weights -mindepth 1 -delete 2>/dev/null || :")


def ended(process):
    output = process.communicate()[0]
    assert process.returncode == 0, output
    return output


def all_have(revisions, hosts=HOSTS):
    seen = {host: lab.run(host, SNAPSHOTS) for host in hosts}
    assert len(set(seen.values())) == 1, seen
    assert len(seen[hosts[0]].split()) == revisions, seen
    assert not any(lab.run(host, LISTENING + "; ls -d /var/lib/nim/weights/fleet 2>/dev/null || :") for host in hosts)


def await_part(host):
    """Waits until a server listens; the id of the process that plays its part."""
    end = time.monotonic() + 60
    while not (seen := lab.run(host, f"{PART} 2>/dev/null || :").strip()) or not lab.run(host, LISTENING):
        assert time.monotonic() < end, seen
    return seen


def test_all_have_what_was_staged():
    all_have(revisions=1)


def test_nothing_crosses_where_one_has_it(wan):
    forget("gpu1", "gpu3")
    done = carry("v1")
    assert done.returncode == 0, done.stdout
    assert "gpu2 has it and hands it on to gpu1, gpu3." in " ".join(done.stdout.split())
    assert not wan.sent
    all_have(revisions=1)


def test_a_run_that_changes_nothing_says_so(wan):
    done = carry("v1")
    assert all(counts["changed"] == 0 for counts in lab.recap(done.stdout).values()), done.stdout
    assert not wan.sent


def test_a_server_that_vanishes_costs_the_others_time_alone(wan, held, tmp_path):
    """And meanwhile nobody is answered who does not belong to the fleet."""
    process = begin("v2", environment=fleet.impatient(tmp_path))
    await_part("gpu1")
    for port in (6881, 6882):
        ask = f"exec 3<>/dev/tcp/10.83.0.11/{port}; printf 'GET /offers/ HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3 | wc -c"
        heard = lab.run("gateway", f'timeout 10 bash -c "{ask}" 2>/dev/null || echo 0')
        assert heard.split()[-1] == "0"
    await_part("gpu3")
    with lab.vanished("gpu3"):
        held()
        output = process.communicate()[0]
    assert process.returncode != 0, output
    failed = {host: counts["failed"] + counts["unreachable"] for host, counts in lab.recap(output).items()}
    assert failed == {"gpu1": 0, "gpu2": 0, "gpu3": 1}, output
    assert list(wan.sent.values()) == [1] * OBJECTS
    all_have(revisions=2, hosts=("gpu1", "gpu2"))


FETCHING = "pgrep -f 'git-lfs fetch|lfs_snapshot'"


def await_seed(host):
    """Waits until a server is about to hand on what it fetches; what ends both, for sh on that server."""
    part = await_part(host)
    lab.run(host, f"until {FETCHING} >/dev/null; do sleep 0.1; done")
    return f"kill -9 {part} $({FETCHING}) 2>/dev/null || :"


def test_the_next_takes_over_from_a_seed_that_falls_silent(wan, held, tmp_path):
    """Its connections are closed by nobody, as where a cable is pulled."""
    forget(*HOSTS)
    process = begin("v2", environment=fleet.impatient(tmp_path))
    end = await_seed("gpu1")
    with fleet.unplugged("gpu1"):
        held()
        output = process.communicate()[0]
        assert process.returncode != 0, output
        failed = {host: counts["failed"] + counts["unreachable"] for host, counts in lab.recap(output).items()}
        assert (failed["gpu1"], failed["gpu2"], failed["gpu3"]) == (1, 0, 0), output
        assert "gpu2 fetches it and hands it on to gpu3." in " ".join(output.split())
        assert list(wan.sent.values()) == [1] * OBJECTS
        all_have(revisions=1, hosts=("gpu2", "gpu3"))
        lab.inside("gpu1", end)


def test_three_runs_at_once_and_one_that_lost_its_control_node_bring_each_byte_once(wan, held):
    """Two take up what was begun, the third brings another revision to the same servers; all in the same moment."""
    forget(*HOSTS)
    lost = begin("v2")
    await_seed("gpu1")
    lab.kill(lost)
    others = [begin("v2"), begin("v2"), begin("v1")]
    for process in others:
        lab.read_until(process, "wait for other runs")
    held()
    for process in others:
        ended(process)
    assert list(wan.sent.values()) == [1] * 2 * OBJECTS
    all_have(revisions=2)


def test_an_altered_object_is_refused_and_named():
    """Altered on the host that has it, with its seal kept: no quick check can see it."""
    forget("gpu2", "gpu3")
    lab.run(
        "gpu1",
        f"""set -e
        for file in /var/lib/nim/weights/{REPO}/*/model-00001-of-00002.safetensors; do
            chmod u+w "$file"
            printf altered | dd of="$file" bs=1 seek=5000 conv=notrunc status=none
            chmod u-w "$file"
            touch --date=@946684800 "$file"
        done""",
    )
    done = carry("v2")
    assert done.returncode != 0
    assert "other bytes than the repository promises: model-00001-of-00002.safetensors" in " ".join(done.stdout.split())
    assert not lab.run("gpu2", f"{SNAPSHOTS} || :")
    forget(*HOSTS)
