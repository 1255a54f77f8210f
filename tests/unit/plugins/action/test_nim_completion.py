# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""nim_completion through the real openai client, against a service on 127.0.0.1."""

from __future__ import annotations

import json
import socket
import ssl

import pytest
import yaml
from actions import act
from nim_server import NimServer
from registry_server import certificate

from ansible_collections.llmops.nim.plugins.action import nim_completion as action
from ansible_collections.llmops.nim.plugins.modules import nim_completion

pytest.importorskip("openai")
PARIS = {"prompt": "What is the capital of France?", "expect": "Paris"}
KEY = "sk-gateway-0123456789"


@pytest.fixture
def nim():
    with NimServer() as server:
        yield server


@pytest.fixture
def run(nim):
    """Run the action; its result (dict)."""

    def call(check_mode=False, **params):
        params = {"base_url": nim.address + "/v1", "model": "wren", "checks": [PARIS], **params}
        return act(action, params, check_mode)

    return call


def test_a_right_answer(nim, run):
    result = run()
    assert result["changed"] is False
    (answer,) = result["answers"]
    assert answer["answer"] == "The capital of France is Paris."
    assert answer["finish_reason"] == "stop"
    assert answer["models"] == ["wren"]
    assert answer["tokens"] == 7
    assert set(answer["verdicts"].values()) == {"ok"}
    assert result["ttft_seconds"] == answer["ttft_seconds"] > 0
    (body,) = nim.asked("/v1/completions")
    assert (body["stream"], body["max_tokens"], body["temperature"]) == (True, 64, 0)


def test_all_is_documented(run):
    documented = yaml.safe_load(nim_completion.RETURN)
    right, wrong = run(), run(checks=[dict(PARIS, expect="Rennes")])
    assert set(right) | set(wrong) <= set(documented) | {"changed", "failed", "msg"}
    assert set(right["answers"][0]) == set(documented["answers"]["contains"])
    options = yaml.safe_load(nim_completion.DOCUMENTATION)["options"]
    assert set(options) == set(action.ARGUMENTS)
    for name, option in action.ARGUMENTS.items():
        for key in ("type", "default", "choices", "elements", "required"):
            assert options[name].get(key) == option.get(key), name
    assert set(options["checks"]["suboptions"]) == set(action.ARGUMENTS["checks"]["options"])


def test_any_answer_will_do_without_questions_but_garbage_does_not(nim, run):
    assert "failed" not in run(checks=[])
    nim.pieces = ["!"] * 64
    assert run(checks=[])["problem"]["code"] == "answer_repeats"


def test_the_chat_endpoint(nim, run):
    assert run(api="chat")["answers"][0]["answer"] == "The capital of France is Paris."
    assert nim.asked("/v1/chat/completions")[0]["messages"] == [{"role": "user", "content": PARIS["prompt"]}]


def test_tokens_are_pieces_where_the_server_does_not_count(nim, run):
    nim.usage = False
    assert run()["answers"][0]["tokens"] == 3


@pytest.mark.parametrize(
    ("pieces", "check", "code"),
    [
        ([" Rennes"], {}, "answer_unexpected"),
        (["Paris and", " Rennes"], {"reject": "Rennes"}, "answer_rejected"),
        ([], {}, "answer_empty"),
        (["Paris"], {"min_chars": 6}, "answer_short"),
        (["Paris"], {"finish_reason": ["length"]}, "answer_ended"),
    ],
)
def test_wrong_answers(nim, run, pieces, check, code):
    nim.pieces = pieces
    result = run(checks=[dict(PARIS, **check)])
    assert result["failed"]
    assert result["problem"]["code"] == code
    assert [one["code"] for one in result["problems"]] == [code]
    assert result["msg"].startswith(result["problem"]["what"])
    assert result["answers"][0]["answer"] == "".join(pieces)


def test_all_that_is_wrong_at_once(nim, run):
    nim.answers = {"a": ["Rennes"], "b": []}
    result = run(checks=[dict(PARIS, prompt="a"), dict(PARIS, prompt="b"), PARIS])
    assert [one["code"] for one in result["problems"]] == ["answer_empty", "answer_unexpected"]
    assert len(result["answers"]) == 3


@pytest.mark.parametrize("name", ["expect", "reject"])
def test_a_broken_expression_is_refused_before_anything_is_asked(nim, run, name):
    assert run(checks=[dict(PARIS, **{name: "Par(is"})])["problem"]["code"] == f"{name}_invalid"
    assert nim.requests == []


def test_the_model_has_to_be_served(nim, run):
    nim.models = ["sparrow"]
    result = run()
    assert result["problem"]["code"] == "model_mismatch"
    assert "sparrow" in result["problem"]["evidence"]
    assert nim.asked("/v1/completions") == []


def test_the_answer_has_to_be_of_the_model(nim, run):
    nim.model = "sparrow"
    result = run()
    assert result["problem"]["code"] == "model_mismatch"
    assert "sparrow" in result["problem"]["evidence"]


def test_the_time_to_first_token_is_compared(run):
    slow = run(reference_ttft_seconds=1e-6, max_ttft_ratio=2)
    assert slow["problem"]["code"] == "ttft_regression"
    assert "1e-06 s" in slow["problem"]["evidence"]
    assert f"{slow['ttft_seconds']} s" in slow["problem"]["evidence"]
    assert "failed" not in run(reference_ttft_seconds=3600, max_ttft_ratio=1)
    assert "failed" not in run(reference_ttft_seconds=1e-6)
    assert "failed" not in run(max_ttft_ratio=1e-6)


@pytest.mark.parametrize(("samples", "asked"), [(3, 3), (0, 1)])
def test_a_question_is_asked_as_often_as_wished(nim, run, samples, asked):
    assert len(run(samples=samples)["answers"]) == asked
    assert len(nim.asked("/v1/completions")) == asked


def test_keys_and_headers_reach_the_gateway_and_nothing_else(nim, run):
    nim.statuses["/v1/completions"] = (500, {"error": {"message": "broken"}})
    result = run(api_key=KEY, headers={"X-Tenant": "tenant-of-the-gateway"})
    assert {headers["authorization"] for _path, headers, _body in nim.requests} == {f"Bearer {KEY}"}
    assert {headers["x-tenant"] for _path, headers, _body in nim.requests} == {"tenant-of-the-gateway"}
    assert KEY not in json.dumps(result)
    assert "tenant-of-the-gateway" not in json.dumps(result)


def test_a_key_that_a_server_repeats_is_not_told(nim, run):
    nim.statuses["/v1/completions"] = (401, {"error": {"message": f"{KEY} is none of ours"}})
    result = run(api_key=KEY)
    assert "is none of ours" in result["msg"]
    assert KEY not in json.dumps(result)


@pytest.mark.parametrize("wrong", [{"samples": "many"}, {"api": "poetry"}, {"key": KEY}], ids=str)
def test_options_that_are_none(nim, run, wrong):
    result = run(**wrong)
    assert next(iter(wrong)) in result["msg"]
    assert not nim.requests


@pytest.mark.parametrize(
    ("status", "message", "word"),
    [
        (401, "no key", "api_key"),
        (500, "Model wren does not have a default chat template defined", "tokenizer_config.json"),
        (503, "no server", "docker logs"),
    ],
)
def test_a_refusal_says_what_to_do(nim, run, status, message, word):
    nim.statuses["/v1/completions"] = (status, {"error": {"message": message}})
    problem = run()["problem"]
    assert problem["code"] == "http_error"
    assert f"HTTP {status}" in problem["evidence"]
    assert message in problem["evidence"]
    assert word in problem["remedy"]


def test_a_page_that_is_no_json(nim, run):
    nim.statuses["/v1/models"] = (200, "<html>")
    problem = run()["problem"]
    assert problem["code"] == "models_unreadable"
    assert "<html>" in problem["evidence"]


def test_an_answer_that_breaks_off(nim, run):
    nim.cut = True
    problem = run()["problem"]
    assert problem["code"] == "answer_cut"
    assert problem["evidence"]


def test_answers_before_a_failure_are_judged_too(nim, run):
    nim.answers = {"a": ["Rennes"]}
    nim.before = lambda path: setattr(nim, "cut", len(nim.asked("/v1/completions")) > 1)
    result = run(checks=[dict(PARIS, prompt="a"), PARIS])
    assert [one["code"] for one in result["problems"]] == ["answer_unexpected", "answer_cut"]
    assert len(result["answers"]) == 1


def test_nobody_there(run):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        result = run(base_url=f"http://127.0.0.1:{free.getsockname()[1]}/v1")
    assert result["problem"]["code"] == "endpoint_unreachable"
    assert result["answers"] == []
    assert result["ttft_seconds"] is None


def test_check_mode_asks_nothing(nim, run):
    assert run(check_mode=True)["answers"] == []
    assert nim.requests == []


def test_a_certificate_of_one_s_own(nim, run, tmp_path):
    crt, key = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(crt, key)
    nim.server.socket = context.wrap_socket(nim.server.socket, server_side=True)
    base_url = nim.address.replace("http", "https") + "/v1"
    assert "failed" not in run(base_url=base_url, ca_path=crt)
    assert run(base_url=base_url)["problem"]["code"] == "certificate_untrusted"
    for path in (key, str(tmp_path / "none.pem")):
        assert run(base_url=base_url, ca_path=path)["problem"]["code"] == "ca_unreadable"
