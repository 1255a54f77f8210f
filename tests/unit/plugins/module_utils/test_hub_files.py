# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A repository's files over HTTP: pages, parts, redirects, tokens, and a hub that is busy or odd."""

from __future__ import annotations

import hashlib
import time

import pytest
from hub_server import OUTSIDER, READER, Hub

from ansible_collections.llmops.nim.plugins.module_utils import _hub_files
from ansible_collections.llmops.nim.plugins.module_utils._hub_files import HubFiles, NoApi
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

BIG = bytes(range(256)) * 4


@pytest.fixture
def hub(tmp_path):
    with Hub(tmp_path) as server:
        yield server


@pytest.fixture
def files(hub):
    """The files of a repository with one large file, as seen with the reader's token."""
    commit = hub.commit("lab/a", {"config.json": b"{}", "big file.bin": hub.lfs(BIG), "b": b"bb", "c/d": b"ddd"})
    return HubFiles(hub.url, "lab/a", commit, READER)


def refusal(call, *args):
    with pytest.raises(Problem) as caught:
        call(*args)
    assert READER not in str(caught.value)
    return caught.value


def test_all_pages_and_the_sizes_of_the_files_themselves(hub, files):
    assert files.sizes() == {"config.json": 2, "big file.bin": len(BIG), "b": 2, "c/d": 3}
    assert len([path for _port, _method, path, *_rest in hub.requests if "/api/" in path]) == 3


def test_files_whole_and_in_part(hub, files):
    assert files.text("c/d") == b"ddd"
    assert files.part("big file.bin", 0, 10) == BIG[:10]
    assert files.part("big file.bin", 1000, 2000) == BIG[1000:]
    assert hub.downloads()[0][1] == "bytes=0-9"
    hub.ranges = False
    assert files.part("big file.bin", 1000, 1010) == BIG[1000:1010]
    assert files.part("c/d", 1, 2) == b"d"  # sent whole by this hub, whatever is asked for


def test_the_token_stays_at_home(hub, files):
    files.sizes()
    files.part("big file.bin", 0, 10)
    told = {(port, authorization) for port, _method, _path, authorization, _range in hub.requests}
    assert told == {("hub", f"Bearer {READER}"), ("storage", None)}


def test_a_hub_without_the_api(hub, files):
    hub.api = False
    with pytest.raises(NoApi):
        files.sizes()


@pytest.mark.parametrize(
    ("token", "code"), [(None, "repo_unknown_or_gated"), (OUTSIDER, "no_access"), ("hf_x", "token_invalid")]
)
def test_refusals_are_told_as_git_s_are(hub, files, token, code):
    hub.gated.add("lab/a")
    assert refusal(HubFiles(hub.url, *files._hub[1:3], token).sizes).code == code


def test_what_is_not_there(hub, files):
    assert refusal(HubFiles(hub.url, "lab/none", "1" * 40, READER).sizes).code == "repo_unknown"
    assert refusal(HubFiles(hub.url, "lab/a", "1" * 40, READER).sizes).code == "revision_unknown"
    assert "HTTP 404" in refusal(files.text, "nothing").evidence


def test_a_busy_hub_is_asked_again(hub, files):
    path = files._address("b")[len(hub.url) :]
    hub.failures[path] = [(429, {"Retry-After": "0"}), (503, {"Retry-After": "0"}), (500, {"Retry-After": "0"})]
    assert files.text("b") == b"bb"
    hub.failures[path] = [(429, {"Retry-After": "0"})] * 9
    assert refusal(files.text, "b").code == "hub_busy"
    assert len(hub.failures[path]) == 9 - _hub_files.ATTEMPTS


def test_a_hub_that_is_busy_for_long_is_not_waited_for(hub, files):
    hub.failures[files._address("b")[len(hub.url) :]] = [(429, {"Retry-After": "3600"})]
    begin = time.monotonic()
    assert refusal(files.text, "b").code == "hub_busy"
    assert time.monotonic() - begin < 5


def test_a_connection_that_breaks(hub, files):
    oid = hashlib.sha256(BIG).hexdigest()
    hub.cut[oid] = 5
    assert files.part("big file.bin", 0, 100) == BIG[:100]


def test_a_hub_that_is_not_there(hub, files):
    hub.__exit__()
    hub._servers.clear()
    assert refusal(files.sizes).code == "hub_unreachable"


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://localhost/x"])
def test_redirects_to_elsewhere(hub, files, target):
    hub.moved = target
    assert "which is no https address" in refusal(files.part, "big file.bin", 0, 10).evidence


def test_redirects_without_end(hub, files):
    path = files._address("b")[len(hub.url) :]
    hub.failures[path] = [(302, {"Location": path})] * 20
    problem = refusal(files.text, "b")
    assert problem.code == "hub_odd"
    assert "redirects more than" in problem.evidence


@pytest.mark.parametrize(
    "body", [b"<html>", b"{}", b'[{"type": "file"}]', b'[{"type": "file", "path": "a", "size": "x"}]']
)
def test_an_answer_that_is_no_listing(files, body):
    if body == b"{}":
        assert files._entries("u", body) == {}
    else:
        assert refusal(files._entries, "u", body).code == "hub_odd"


def test_a_text_beyond_reason(hub, files, monkeypatch):
    monkeypatch.setattr(_hub_files, "TEXT_LIMIT", 2)
    assert files.text("b") == b"bb"
    assert refusal(files.text, "c/d").code == "file_too_large"
