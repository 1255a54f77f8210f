# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import socket

import pytest
from nim_server import NimServer

from ansible_collections.llmops.nim.plugins.module_utils._health import (
    is_ready,
    url,
    why_no_completion,
    why_not_ready,
)

QUESTION = {"model": "wren", "prompt": "?", "max_tokens": 4}


@pytest.fixture
def nim():
    with NimServer() as server:
        yield server


@pytest.fixture
def nobody():
    """An address at which nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{free.getsockname()[1]}/v1/health/ready"


def test_the_address_of_all_is_asked_at_the_loopback():
    assert url(8000, "0.0.0.0") == "http://127.0.0.1:8000/v1/health/ready"
    assert url(8000, "10.0.0.1") == "http://10.0.0.1:8000/v1/health/ready"


def test_a_proxy_for_the_outside_is_not_asked(nim, nobody, monkeypatch):
    monkeypatch.setenv("http_proxy", nobody)
    assert is_ready(nim.url)


@pytest.mark.parametrize("status", [204, 404, 500, 503])
def test_only_200_is_ready(nim, status):
    assert why_not_ready(nim.url) is None
    nim.ready = status
    assert why_not_ready(nim.url) == f"HTTP {status}"
    assert not is_ready(nim.url)


def test_nobody_there(nobody):
    assert "refused" in why_not_ready(nobody)
    assert "refused" in why_no_completion(nobody, QUESTION, 5)


def test_something_that_speaks_no_http():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        # Nobody accepts, so nothing is answered.
        assert "timed out" in why_not_ready(f"http://127.0.0.1:{other.getsockname()[1]}/", timeout=0.1)


def test_a_completion(nim):
    assert why_no_completion(nim.url, QUESTION, 5) is None
    assert nim.asked("/v1/completions") == [dict(QUESTION, temperature=0)]


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        ((500, {"object": "error", "message": "CUDA error"}), "HTTP 500 {"),
        ((200, "<html>"), "no completion: <html>"),
        ((200, {"choices": []}), "no completion"),
        ((200, {"choices": [{"text": ""}]}), "an empty completion"),
    ],
)
def test_what_is_no_completion(nim, answer, word):
    nim.statuses["/v1/completions"] = answer
    assert word in why_no_completion(nim.url, QUESTION, 5)
