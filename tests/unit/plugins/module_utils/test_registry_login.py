# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The login of a pull: where it lies, who may read it, and that it goes away in every case."""

from __future__ import annotations

import base64
import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.llmops.nim.plugins.module_utils import _registry_login

LOGIN = ("nvcr.io", "$oauthtoken", "nvapi-0123456789")


def test_the_login_is_for_one_registry_and_for_its_owner_alone(tmp_path):
    with _registry_login.configuration(*LOGIN, place=tmp_path) as directory:
        file = Path(directory, "config.json")
        assert stat.S_IMODE(os.stat(directory).st_mode) == 0o700
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        (registry, entry), *others = json.loads(file.read_text())["auths"].items()
        assert (registry, others) == ("nvcr.io", [])
        assert base64.b64decode(entry["auth"]).decode() == "$oauthtoken:nvapi-0123456789"
    assert os.listdir(tmp_path) == []


def test_without_a_key_there_is_no_login(tmp_path):
    with _registry_login.configuration("nvcr.io", "$oauthtoken", "", place=tmp_path) as directory:
        assert json.loads(Path(directory, "config.json").read_text()) == {"auths": {}}


def test_it_goes_when_the_pull_fails(tmp_path):
    with pytest.raises(RuntimeError), _registry_login.configuration(*LOGIN, place=tmp_path):
        raise RuntimeError
    assert os.listdir(tmp_path) == []


# A process that holds a login and says so, then waits to be ended.
HOLDER = """
import signal, sys
from ansible_collections.llmops.nim.plugins.module_utils import _registry_login
with _registry_login.configuration("nvcr.io", "user", "nvapi-0123456789", place=sys.argv[1]):
    print("there", flush=True)
    signal.pause()
"""


def holder(place):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(place)],
        env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "there\n"
    assert len(os.listdir(place)) == 1
    return process


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_it_goes_when_the_connection_is_lost_or_somebody_ends_the_process(tmp_path, number):
    process = holder(tmp_path)
    process.send_signal(number)
    assert process.wait() == 128 + number
    assert os.listdir(tmp_path) == []


def test_what_a_killed_process_has_left_goes_with_the_next(tmp_path):
    process = holder(tmp_path)
    _registry_login.sweep(str(tmp_path))
    assert len(os.listdir(tmp_path)) == 1, "the login of a process that lives"
    process.kill()
    process.wait()
    with _registry_login.configuration(*LOGIN, place=tmp_path) as directory:
        assert os.listdir(tmp_path) == [os.path.basename(directory)]
