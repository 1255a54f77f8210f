# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import json
import multiprocessing
import os
import stat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.llmops.nim.plugins.module_utils import _files

LINES = st.lists(st.text(st.characters(blacklist_characters="\n", blacklist_categories=("Cs",))), max_size=4)


def test_json_is_replaced_whole(tmp_path):
    path = str(tmp_path / "state.json")
    assert _files.read_json(path) is None
    _files.write_json(path, {"a": 1})
    with open(path, encoding="utf-8") as before:
        _files.write_json(path, {"a": 2})
        assert json.load(before) == {"a": 1}
    assert _files.read_json(path) == {"a": 2}
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o640
    assert os.listdir(tmp_path) == ["state.json"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"null"])
def test_what_is_no_json_object_is_none(tmp_path, content):
    path = tmp_path / "state.json"
    path.write_bytes(content)
    assert _files.read_json(str(path)) is None


def test_a_document_that_cannot_be_written_leaves_the_old_one(tmp_path):
    path = str(tmp_path / "state.json")
    _files.write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        _files.write_json(path, {"a": object()})
    assert _files.read_json(path) == {"a": 1}
    assert os.listdir(tmp_path) == ["state.json"]


# Each line is flushed to the disk.
@settings(max_examples=15)
@given(LINES, st.text(min_size=1).map(lambda text: text.encode("utf-8", "replace").replace(b"\n", b"")), LINES)
def test_a_torn_line_spoils_no_other(tmp_path_factory, before, torn, after):
    path = str(tmp_path_factory.mktemp("ledger") / "lines")
    for line in before:
        _files.append_line(path, line)
    with open(path, "ab") as stream:
        stream.write(torn)
    for line in after:
        _files.append_line(path, line)
    with open(path, "rb") as stream:
        content = stream.read()
    left = [torn] if torn else []
    expected = [line.encode() for line in before] + left + [line.encode() for line in after]
    assert content.split(b"\n") == expected + ([] if torn and not after else [b""])


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path):
    path = str(tmp_path / "lines")
    _files.append_line(path, "whole")

    def child():
        import resource
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        try:
            _files.append_line(path, "x" * 1000)
        except OSError:
            os._exit(3)
        os._exit(0)

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join()
    assert process.exitcode == 3
    with open(path, encoding="utf-8") as stream:
        assert stream.read() == "whole\n"


def test_one_writer_at_a_time(tmp_path):
    """Eight processes that each read a number and write the next one back lose none."""
    path = str(tmp_path / "count.json")
    _files.write_json(path, {"count": 0})

    def child():
        for _step in range(10):
            with _files.guarded(str(tmp_path)):
                _files.write_json(path, {"count": _files.read_json(path)["count"] + 1})

    processes = [multiprocessing.get_context("fork").Process(target=child) for _number in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert _files.read_json(path) == {"count": 80}


def test_who_logged_in_is_let_into_what_is_closed_to_others(tmp_path, monkeypatch):
    closed = tmp_path / "closed"
    (closed / "open" / "private").mkdir(parents=True)
    modes = {closed: 0o750, closed / "open": 0o755, closed / "open" / "private": 0o750}
    for path, mode in modes.items():
        path.chmod(mode)
    given = []
    monkeypatch.setattr(_files.os, "chown", lambda path, uid, gid: given.append((path, uid, gid)))
    monkeypatch.setattr(_files, "reader", lambda: (4711, 4712))
    tmp_path.chmod(0o755)
    _files.admit_reader(str(closed / "open" / "private"))
    ours = [one for one in given if one[0].startswith(str(closed))]
    assert ours == [(str(closed / "open" / "private"), -1, 4712), (str(closed), -1, 4712)]
    assert {path: path.stat().st_mode & 0o777 for path in modes} == modes


def test_what_is_lent_is_given_to_who_logged_in_and_stays_in_its_group(tmp_path, monkeypatch):
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "object").write_text("")
    given = []
    monkeypatch.setattr(_files.os, "chown", lambda path, uid, gid: given.append((path, uid, gid)))
    monkeypatch.setattr(_files, "reader", lambda: (4711, 4712))
    _files.lend(str(tmp_path))
    for path in (tmp_path, tmp_path / "weights", tmp_path / "weights" / "object"):
        assert (str(path), 4711, -1) in given
        if path.is_file():
            assert [one for one in given if one[0] == str(path)] == [(str(path), 4711, -1)]
    given.clear()
    monkeypatch.setattr(_files, "reader", lambda: (os.getuid(), os.getgid()))
    _files.lend(str(tmp_path))
    assert given == []
