# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""nim_verify through the real openai client, against services on 127.0.0.1."""

from __future__ import annotations

import json
import threading

import pytest
import yaml
from actions import act
from nim_server import NimServer

from ansible_collections.llmops.nim.plugins.action import nim_verify as action
from ansible_collections.llmops.nim.plugins.module_utils import _completion
from ansible_collections.llmops.nim.plugins.modules import nim_verify

pytest.importorskip("openai")
PARIS = {"prompt": "What is the capital of France?", "expect": "Paris"}
KEY = "sk-gateway-0123456789"


@pytest.fixture
def nim():
    with NimServer() as server:
        yield server


@pytest.fixture
def other():
    with NimServer() as server:
        yield server


def run(*endpoints, check_mode=False, **params):
    """Run the action; its result (dict)."""
    return act(action, dict(params, endpoints=list(endpoints)), check_mode)


def endpoint(server, host="gpu1", **more):
    return {"host": host, "base_url": server.address + "/v1", "model": "wren", "checks": [PARIS], **more}


def test_all_answer_right(nim, other):
    result = run(endpoint(nim), endpoint(other, "gpu2"))
    assert not result.get("failed")
    assert [(one["host"], one["msg"]) for one in result["results"]] == [("gpu1", ""), ("gpu2", "")]
    assert len(nim.asked("/v1/completions")) == len(other.asked("/v1/completions")) == 1
    documented = yaml.safe_load(nim_verify.RETURN)["results"]["contains"]
    assert set(result["results"][0]) == set(documented)


def test_certificates_are_read_once_for_all_endpoints(nim, monkeypatch):
    made, begin = [], threading.Barrier(8, timeout=60)
    make = _completion.openai.DefaultHttpxClient
    monkeypatch.setattr(_completion.openai, "DefaultHttpxClient", lambda **how: made.append(how) or make(**how))
    real = _completion.http_client

    def together(ca_path):
        begin.wait()
        return real(ca_path)

    monkeypatch.setattr(_completion, "http_client", together)
    _completion._http_client.cache_clear()
    assert not run(*[endpoint(nim, f"gpu{number}") for number in range(8)]).get("failed")
    assert len(made) == 1


def test_one_that_does_not_spares_the_others_no_question(nim, other):
    result = run(endpoint(nim, checks=[dict(PARIS, expect="Rennes")]), endpoint(other, "gpu2"))
    assert result["failed"]
    assert result["msg"].startswith("gpu1: ")
    assert "Rennes" in result["msg"]
    assert "gpu2" not in result["msg"]
    assert [one["problems"] != [] for one in result["results"]] == [True, False]
    assert other.asked("/v1/completions")


def test_the_key_is_for_gateways_alone_and_never_told(nim, other):
    result = run(endpoint(nim), endpoint(other, "edge", gateway=True), api_key=KEY)
    assert KEY not in json.dumps(result)
    assert KEY not in str(nim.requests)
    assert KEY in str(other.requests)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [({"model": None}, "model"), ({"checks": [{"prompt": "?"}]}, "expect"), ({"port": 8000}, "port")],
)
def test_an_endpoint_that_is_none(nim, wrong, words):
    one = {key: value for key, value in dict(endpoint(nim), **wrong).items() if value is not None}
    result = run(endpoint(nim), one)
    assert result["failed"]
    assert "endpoints[1]" in result["msg"]
    assert words in result["msg"]
    assert not nim.asked("/v1/completions")


def test_nothing_is_asked_in_check_mode(nim):
    assert not run(endpoint(nim), check_mode=True).get("failed")
    assert not nim.asked("/v1/completions")
