# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The module as it runs on a host, in a process of its own; what it asks Docker is proven where there is one."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from documented import options as documented_options

from ansible_collections.llmops.nim.plugins.module_utils import _ledger, _lock
from ansible_collections.llmops.nim.plugins.modules import nim_ledger

LOCK = {"state": "locked", "run": "r1", "who": "ada", "controller": "desk", "why": "deploy", "pid": 7}


@pytest.fixture
def run(tmp_path):
    """Run the module; its exit status and result (dict)."""

    def call(check=False, **params):
        params = dict({"home": str(tmp_path / "nim"), "docker": str(tmp_path / "docker")}, **params)
        arguments = json.dumps({"ANSIBLE_MODULE_ARGS": dict(params, _ansible_check_mode=check)})
        command = [sys.executable, "-m", nim_ledger.__name__]
        environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
        ended = subprocess.run(command, input=arguments, capture_output=True, text=True, env=environment)
        assert ended.stdout, ended.stderr
        return ended.returncode, json.loads(ended.stdout)

    return call


def test_a_lock_from_taking_to_giving_up(run):
    assert run(state="read")[1]["lock"] is None
    rc, result = run(check=True, **LOCK)
    assert (rc, result["changed"], result["lock"]["who"]) == (0, True, "ada")
    assert run(state="read")[1]["lock"] is None
    rc, result = run(**LOCK)
    assert (rc, result["changed"], result["broken"]) == (0, True, None)
    assert set(result["lock"]) == set(_lock.KEYS)
    assert run(**LOCK)[1]["changed"] is False
    rc, result = run(**dict(LOCK, run="r2"))
    assert (rc, result["problem"]["code"]) == (1, "locked")
    assert "ada" in result["msg"]
    rc, result = run(**dict(LOCK, run="r2", break_lock=True))
    assert (rc, result["broken"]["run"], result["lock"]["run"]) == (0, "r1", "r2")
    assert "run r1" in str(result["warnings"])
    assert run(state="unlocked", run="r1")[1]["problem"]["code"] == "locked"
    assert run(state="unlocked", run="r2", check=True)[1]["changed"] is True
    assert run(state="unlocked", run="r2")[1]["changed"] is True
    assert run(state="unlocked", run="r2")[1]["changed"] is False


def test_ledgers_are_read(run, tmp_path):
    home = str(tmp_path / "nim")
    for number in range(3):
        release = _ledger.unknown_release("m", f"nim-m-v{number}")
        _ledger.add(home, "m", _ledger.record("activated", release, run=str(number)), lambda identity: None)
    rc, result = run(last=2)
    assert (rc, result["changed"], list(result["models"])) == (0, False, ["m"])
    found = result["models"]["m"]
    assert [one["release"]["id"] for one in found["records"]] == ["v1", "v2"]
    assert (found["current"]["id"], found["previous"]["id"], found["last"]["run"]) == ("v2", "v1", "2")
    assert run(models=["other"])[1]["models"]["other"] == {
        "current": None,
        "previous": None,
        "last": None,
        "records": [],
    }
    assert run(last=0)[1]["models"]["m"]["records"] == []


def test_a_benchmark_befalls_no_release_and_is_read_apart(run, tmp_path):
    home = str(tmp_path / "nim")
    for event, details in (("activated", {}), ("failed", {}), ("benchmarked", {"measured": {"steps": [1]}})):
        release = _ledger.unknown_release("m", f"nim-m-{event}")
        _ledger.add(home, "m", _ledger.record(event, release, run=event, **details), lambda identity: None)
    found = run(event="benchmarked")[1]["models"]["m"]
    assert [one["measured"] for one in found["records"]] == [{"steps": [1]}]
    assert (found["current"]["id"], found["last"]["event"]) == ("activated", "failed")
    assert [one["event"] for one in run()[1]["models"]["m"]["records"]] == ["activated", "failed", "benchmarked"]


def test_without_docker_nothing_is_recorded(run, tmp_path):
    rc, result = run(state="recorded", model="m", container="nim-m-v1", event="activated", run="r1")
    assert (rc, result["problem"]["code"]) == (1, "docker_missing")
    assert not (tmp_path / "nim").exists()


@pytest.mark.parametrize("wanted", [{"state": "recorded", "model": "m"}, {"state": "locked"}, {"state": "unlocked"}])
def test_what_is_missing_is_named(run, wanted):
    rc, result = run(**wanted)
    assert rc == 1
    assert "run" in result["msg"]


def test_documented_options_are_those_of_the_module():
    documented = documented_options(nim_ledger)
    assert set(documented) == set(nim_ledger.ARGUMENTS)
    for name, option in nim_ledger.ARGUMENTS.items():
        for key in ("type", "default", "choices", "elements"):
            assert documented[name].get(key) == option.get(key), name
    assert sorted(nim_ledger.ARGUMENTS["event"]["choices"]) == sorted(_ledger.EVENTS)
