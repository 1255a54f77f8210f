# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What the module refuses before it asks Docker; what it decides is tested with _prune and _prune_disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from documented import options as documented_options

from ansible_collections.llmops.nim.plugins.module_utils import _lock
from ansible_collections.llmops.nim.plugins.modules import nim_prune


@pytest.fixture
def run(tmp_path):
    """Run the module; its exit status and result (dict)."""

    def call(check=False, **params):
        params = dict({"home": str(tmp_path / "nim"), "docker": str(tmp_path / "docker")}, **params)
        arguments = json.dumps({"ANSIBLE_MODULE_ARGS": dict(params, _ansible_check_mode=check)})
        command = [sys.executable, "-m", nim_prune.__name__]
        environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
        ended = subprocess.run(command, input=arguments, capture_output=True, text=True, env=environment)
        assert ended.stdout, ended.stderr
        return ended.returncode, json.loads(ended.stdout)

    return call


def test_to_keep_none_is_refused(run):
    rc, result = run(keep=0)
    assert (rc, result["problem"]["code"]) == (1, "keep_invalid")


@pytest.mark.parametrize("check", [True, False])
def test_another_run_s_lock_is_respected(run, tmp_path, check):
    path = _lock.path(str(tmp_path / "nim"))
    _lock.take(path, dict(dict.fromkeys(_lock.KEYS), run="r1", who="ada"))
    rc, result = run(check=check)
    assert (rc, result["problem"]["code"]) == (1, "locked")
    assert "ada" in result["msg"]
    assert run(check=check, run="r1")[1]["problem"]["code"] == "docker_missing"
    assert _lock.read(path)["run"] == "r1"


def test_a_failure_gives_the_lock_back(run, tmp_path):
    rc, result = run()
    assert (rc, result["problem"]["code"]) == (1, "docker_missing")
    assert _lock.read(_lock.path(str(tmp_path / "nim"))) is None


def test_documented_options_are_those_of_the_module():
    documented = documented_options(nim_prune)
    assert set(documented) == set(nim_prune.ARGUMENTS)
    for name, option in nim_prune.ARGUMENTS.items():
        for key in ("type", "default", "choices", "elements"):
            assert documented[name].get(key) == option.get(key), name
