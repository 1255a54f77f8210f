# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import hashlib
import json
import os
import stat

import pytest
from ansible.module_utils import basic

from ansible_collections.llmops.nim.plugins.modules import nim_engine

NAME = "capitals-0a1b2c3d4e5f"


class Host:
    """A cache, a place for the archive, and the module run in this process."""

    def __init__(self, folder, monkeypatch, capsys):
        self.folder, self.monkeypatch, self.capsys = folder, monkeypatch, capsys
        self.cache, self.archive = folder / "cache", folder / "engine.tar"
        self.cache.mkdir()

    def build(self, content=b"engine"):
        file = self.cache / "local_cache" / NAME / "trtllm_engine" / "rank0.engine"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)

    def run(self, state, check=False, **params):
        params = {"state": state, "name": NAME, "cache": str(self.cache), "archive": str(self.archive), **params}
        params.setdefault("reserve_bytes", 0)
        params["_ansible_check_mode"] = check
        load = json.dumps({"ANSIBLE_MODULE_ARGS": params}).encode()
        self.monkeypatch.setattr(basic, "_ANSIBLE_ARGS", load)
        if hasattr(basic, "_ANSIBLE_PROFILE"):
            self.monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy")
        self.capsys.readouterr()
        with pytest.raises(SystemExit):
            nim_engine.main()
        return json.loads(self.capsys.readouterr().out)


@pytest.fixture
def host(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("SUDO_UID", raising=False)
    (tmp_path / "here").mkdir()
    return Host(tmp_path / "here", monkeypatch, capsys)


@pytest.fixture
def other(tmp_path, monkeypatch, capsys):
    (tmp_path / "there").mkdir()
    return Host(tmp_path / "there", monkeypatch, capsys)


def refused(result, code):
    assert result["failed"], result
    assert result["problem"]["code"] == code
    assert result["problem"]["what"] in result["msg"]
    assert result["problem"]["evidence"]
    assert result["problem"]["remedy"]
    return result


def test_an_engine_goes_from_host_to_host(host, other):
    host.build()
    packed = host.run("packed")
    content = host.archive.read_bytes()
    assert packed["changed"]
    assert packed["sha256"] == hashlib.sha256(content).hexdigest()
    assert packed["bytes"] == len(content)
    assert stat.S_IMODE(host.archive.stat().st_mode) == 0o600
    other.archive.write_bytes(content)
    unpacked = other.run("unpacked", sha256=packed["sha256"])
    assert unpacked["changed"]
    assert unpacked["engine"] == str(other.cache / "local_cache" / NAME)
    assert (other.cache / "local_cache" / NAME / "trtllm_engine" / "rank0.engine").read_bytes() == b"engine"


def test_the_same_again_changes_nothing(host, other):
    host.build()
    packed = host.run("packed")
    before = host.archive.stat()
    assert host.run("packed") == dict(packed, changed=False)
    assert host.archive.stat() == before
    other.archive.write_bytes(host.archive.read_bytes())
    other.run("unpacked", sha256=packed["sha256"])
    other.archive.unlink()
    assert not other.run("unpacked", sha256=packed["sha256"])["changed"]


def test_an_archive_of_another_engine_is_replaced(host):
    host.build()
    first = host.run("packed")
    host.build(b"another")
    second = host.run("packed")
    assert second["changed"]
    assert second["sha256"] != first["sha256"]
    assert second["sha256"] == hashlib.sha256(host.archive.read_bytes()).hexdigest()


def test_the_archive_is_kept_from_others_again(host):
    host.build()
    packed = host.run("packed")
    host.archive.chmod(0o644)
    assert host.run("packed", check=True)["changed"]
    assert stat.S_IMODE(host.archive.stat().st_mode) == 0o644
    assert host.run("packed") == packed
    assert stat.S_IMODE(host.archive.stat().st_mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root was somebody else before")
def test_the_archive_is_for_who_logged_in(host, monkeypatch):
    host.build()
    monkeypatch.setenv("SUDO_UID", "1234")
    monkeypatch.setenv("SUDO_GID", "1235")
    host.run("packed")
    assert (host.archive.stat().st_uid, host.archive.stat().st_gid) == (1234, 1235)
    assert not host.run("packed")["changed"]


def test_check_mode_says_what_would_be_written_and_writes_nothing(host, other):
    host.build()
    told = host.run("packed", check=True)
    assert told["changed"]
    assert not host.archive.exists()
    assert host.run("packed") == told
    assert not host.run("packed", check=True)["changed"]
    other.archive.write_bytes(host.archive.read_bytes())
    assert other.run("unpacked", check=True, sha256=told["sha256"])["changed"]
    assert list(other.cache.iterdir()) == []
    refused(other.run("unpacked", check=True, sha256="0" * 64), "archive_altered")


def test_refusals(host, other):
    refused(host.run("packed"), "engine_missing")
    refused(host.run("packed", check=True), "engine_missing")
    refused(host.run("packed", archive="/nowhere/tar"), "engine_missing")
    refused(host.run("packed", name="../x"), "engine_name_invalid")
    refused(host.run("packed", cache="/nowhere"), "cache_missing")
    refused(host.run("unpacked", sha256="0" * 64), "archive_missing")
    assert os.listdir(host.folder) == ["cache"]
    host.build()
    refused(host.run("packed", archive="/nowhere/tar"), "not_carried")
    refused(host.run("packed", reserve_bytes=2**60), "disk_too_small")
    assert os.listdir(host.folder) == ["cache"]
    other.archive.write_bytes(b"cut")
    refused(other.run("unpacked", sha256="0" * 64), "archive_altered")
    assert "sha256" in other.run("unpacked")["msg"]


@pytest.mark.parametrize("kind", ["link", "directory", "pipe"])
def test_an_archive_that_is_no_file_is_not_read(host, kind):
    if kind == "link":
        host.archive.symlink_to("/etc/passwd")
    elif kind == "directory":
        host.archive.mkdir()
    else:
        os.mkfifo(host.archive)
    refused(host.run("unpacked", sha256="0" * 64), "archive_missing")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may")
def test_what_this_user_may_not_do_is_said(host):
    host.build()
    host.folder.chmod(0o500)
    refused(host.run("packed"), "not_permitted")
    host.folder.chmod(0o700)
