# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A proven file at a second place: by hard link, by shared blocks, or as a copy that is proven."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess

import pytest

from ansible_collections.llmops.nim.plugins.module_utils import _lfs, _links
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

MKFS = shutil.which("mkfs.btrfs", path="/usr/sbin:/sbin")
SHA256 = hashlib.sha256(b"data").hexdigest()


@pytest.fixture
def pair(tmp_path):
    """A sealed file and a place for another one (str, str)."""
    (tmp_path / "source").write_bytes(b"data")
    _lfs.seal(str(tmp_path / "source"))
    return str(tmp_path / "source"), str(tmp_path / "target")


@pytest.fixture
def no_links(monkeypatch):
    def refuse(source, target):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)


@pytest.fixture
def blocks_shared(monkeypatch):
    """The file system shares blocks: what it is asked to clone is done by writing it. The requests (list)."""
    asked = []

    def clone(target, request, source):
        asked.append(request)
        os.write(target, os.pread(source, 100, 0))

    monkeypatch.setattr(fcntl, "ioctl", clone)
    return asked


def refuse_blocks(monkeypatch):
    def refuse(*_args):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "ioctl", refuse)


def test_a_hard_link_is_the_first_choice(pair):
    assert _links.place(*pair, SHA256) is True
    assert os.path.samefile(*pair)


def test_shared_blocks_come_before_a_copy(pair, no_links, blocks_shared):
    assert _links.place(*pair, SHA256) is True
    assert blocks_shared == [0x40049409]
    assert not os.path.samefile(*pair)
    assert _lfs.is_sealed(pair[1], 4)


def test_a_copy_is_the_last_choice(pair, no_links, monkeypatch):
    refuse_blocks(monkeypatch)
    assert _links.place(*pair, SHA256) is False
    assert _lfs.is_sealed(pair[1], 4)
    with open(pair[1], "rb") as stream:
        assert stream.read() == b"data"


@pytest.mark.parametrize("hard", [True, False])
def test_a_copy_that_went_wrong_is_noticed(pair, no_links, monkeypatch, hard):
    refuse_blocks(monkeypatch)
    monkeypatch.setattr(_links.shutil, "copyfile", lambda source, target: open(target, "wb").close())
    with pytest.raises(Problem, match="went wrong"):
        _links.place(*pair, SHA256, hard=hard)
    assert not os.path.exists(pair[1])


def test_what_others_may_write_to_is_no_hard_link_and_is_proven(pair, blocks_shared):
    assert _links.place(*pair, SHA256, hard=False) is True
    assert not os.path.samefile(*pair)
    os.remove(pair[1])
    with pytest.raises(Problem, match="went wrong"):
        _links.place(*pair, "0" * 64, hard=False)


@pytest.fixture
def btrfs(tmp_path):
    """A directory on a file system that can share blocks, for the kernel's own word on it (Path)."""
    image, place = tmp_path / "image", tmp_path / "btrfs"
    with image.open("wb") as stream:
        stream.truncate(256 * 2**20)
    place.mkdir()
    subprocess.run([MKFS, "--quiet", image], check=True)
    mounted = subprocess.run(["mount", "-o", "loop", image, place], stderr=subprocess.PIPE, text=True)
    if mounted.returncode:  # a container may not
        pytest.skip(mounted.stderr)
    yield place
    subprocess.run(["umount", place], check=True)


def used(place):
    """The bytes that are taken on the disk of place (Path)."""
    os.sync()
    disk = os.statvfs(place)
    return (disk.f_blocks - disk.f_bfree) * disk.f_frsize


@pytest.mark.skipif(os.geteuid() != 0 or MKFS is None, reason="needs root, and mkfs.btrfs")
def test_blocks_are_shared_where_the_file_system_can(btrfs, no_links):
    content, size = os.urandom(2**20), 2**24
    source, target = btrfs / "source", btrfs / "target"
    source.write_bytes(content * 16)
    before = used(btrfs)
    assert _links.shares(str(btrfs)) is True
    assert _links.place(str(source), str(target), hashlib.sha256(content * 16).hexdigest()) is True
    assert used(btrfs) - before < size / 4
    assert target.read_bytes() == content * 16
    source.write_bytes(b"altered")
    assert target.stat().st_size == size


def test_another_failure_is_no_reason_to_copy(pair):
    with pytest.raises(FileNotFoundError):
        _links.place(pair[0], os.path.join(pair[1], "none"), SHA256)


def test_space_is_asked_of_the_nearest_directory_there_is(tmp_path):
    place = str(tmp_path / "a" / "b")
    assert _links.need_space(place, 1, 1) == []
    [problem] = _links.need_space(place, 2**60, 2**61)
    assert problem.code == "disk_too_small"
    assert str(tmp_path) in problem.evidence
    assert str(2**30) + ".00 GiB" in problem.evidence


def test_whether_a_second_place_takes_space_is_tried(tmp_path):
    assert _links.shares(str(tmp_path)) is True
    assert os.listdir(str(tmp_path)) == []


def test_without_links_and_shared_blocks_it_takes_space(tmp_path, no_links, monkeypatch):
    refuse_blocks(monkeypatch)
    assert _links.shares(str(tmp_path)) is False
    assert os.listdir(str(tmp_path)) == []


def test_copies_are_part_of_the_arithmetic(tmp_path):
    assert _links.need_space(str(tmp_path), 1, 1, 1) == []
    [problem] = _links.need_space(str(tmp_path), 0, 2**30, 2**60)
    assert str(2**30 + 1) + ".00 GiB are needed" in problem.what
    assert str(2**30) + ".00 GiB for copies" in problem.evidence


@pytest.mark.parametrize(
    ("name", "lacking"),
    [
        ("symlink", lambda *_args, **_more: (_ for _ in ()).throw(OSError(38, "Function not implemented"))),
        ("fchmod", lambda *_args: None),
        ("utime", lambda *_args: None),
    ],
)
def test_a_file_system_that_does_not_keep_what_is_needed_is_refused(tmp_path, monkeypatch, name, lacking):
    """exFAT has no symbolic links, and says so; a share of Windows takes a mode, and forgets it."""
    monkeypatch.setattr(os, name, lacking)
    with pytest.raises(Problem) as caught:
        _links.shares(str(tmp_path))
    assert caught.value.code == "file_system_unfit"
    assert str(tmp_path) in caught.value.what
    assert os.listdir(str(tmp_path)) == []
