# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""nim_home in a directory of its own."""

from __future__ import annotations

import errno
import json
import os

import pytest
from ansible.module_utils import basic

from ansible_collections.llmops.nim.plugins.modules import nim_home

KEY = "nvapi-0123456789"
UID = os.getuid()


@pytest.fixture
def home(tmp_path):
    return tmp_path / "nim"


@pytest.fixture
def run(home, monkeypatch, capsys):
    """Run the module; its result (dict)."""
    # Only root can give files away.
    monkeypatch.setattr(nim_home, "ROOT", UID)

    def call(**params):
        params = {"models": {"wren": UID}, "api_key": KEY, "home": str(home), **params}
        monkeypatch.setattr(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": params}).encode())
        monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
        with pytest.raises(SystemExit):
            nim_home.main()
        return json.loads(capsys.readouterr().out)

    return call


def modes(home):
    return {str(path.relative_to(home.parent)): path.stat().st_mode & 0o7777 for path in [home, *home.rglob("*")]}


def test_all_is_made_and_a_second_run_changes_nothing(home, run):
    assert run()["changed"] is True
    assert modes(home) == {"nim": 0o750, "nim/wren": 0o750, "nim/wren/cache": 0o770, "nim/wren/secrets.env": 0o600}
    assert (home / "wren/secrets.env").read_text() == f"NGC_API_KEY={KEY}\n"
    assert run() == dict(run(), changed=False, paths=[])


def test_the_key_is_never_told(run):
    assert KEY not in json.dumps(run())


@pytest.mark.parametrize("key", ["", None])
def test_without_a_key_the_file_is_empty(home, run, key):
    run()
    assert run(api_key=key)["paths"] == [str(home / "wren/secrets.env")]
    assert (home / "wren/secrets.env").read_text() == ""


@pytest.mark.parametrize("path", ["", "wren", "wren/cache", "wren/secrets.env"])
def test_what_somebody_has_opened_is_closed_again(home, run, path):
    run()
    before = modes(home)
    (home / path).chmod(0o777)
    assert run()["paths"] == [str(home / path).rstrip("/")]
    assert modes(home) == before


def test_check_mode_makes_nothing(home, run):
    result = run(_ansible_check_mode=True)
    assert result["changed"] is True
    assert len(result["paths"]) == 4
    assert not home.exists()


def test_a_file_in_the_way(home, run):
    home.parent.mkdir(exist_ok=True)
    home.mkdir()
    (home / "wren").write_text("")
    result = run()
    assert result["failed"] is True
    assert result["problem"]["code"] == "home_unusable"
    assert str(home / "wren") in result["msg"]
    assert "do: See what is there" in result["msg"]


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, "disk_full"), (errno.EROFS, "disk_read_only")])
def test_a_disk_that_takes_nothing(home, run, monkeypatch, number, code):
    def refuse(path, mode):
        raise OSError(number, os.strerror(number), path)

    monkeypatch.setattr(nim_home.os, "mkdir", refuse)
    result = run()
    assert result["problem"]["code"] == code
    assert str(home) in result["msg"]
    assert "then run again" in result["msg"]
