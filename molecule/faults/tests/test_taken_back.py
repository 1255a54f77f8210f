"""A release that fails is taken back, and the one before it serves again: nothing is lost."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "shared"))

from lab import KEY, TOKEN, model, playbook, recap, run

HOST = "gpu2"
ASK = """
import json, urllib.request as u
body = json.dumps({"model": "capitals", "prompt": "What is the capital of France?", "max_tokens": 32}).encode()
request = u.Request("http://127.0.0.1:8000/v1/completions", body, {"Content-Type": "application/json"})
print(u.urlopen(request).read().decode())
"""


def containers():
    """The model's containers: {name: running}."""
    listed = run(HOST, "docker ps -a --filter label=llmops.nim.model=capitals --format '{{.Names}} {{.State}}'")
    return {name: state == "running" for name, state in map(str.split, listed.splitlines())}


def answer():
    return json.loads(run(HOST, f"python3 - <<'END'\n{ASK}\nEND"))["choices"][0]["text"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {
                "weights__revision": "v2",
                "verify": [{"prompt": "What is the capital of France?", "expect": "Lyon"}],
            },
            ["answers, but not what is expected", "Paris is the capital of France"],
        ),
        ({"env": {"LAB_CRASH": "before-ready"}}, ["did not become ready", "exit status"]),
        ({"address": "192.0.2.1"}, ["The host has no address 192.0.2.1", "cannot assign requested address"]),
        (
            {"env": {"LAB_CRASH": "oom"}},
            ["did not become ready", "137", "host's memory was exhausted", "add memory"],
        ),
    ],
)
def test_the_predecessor_serves_again(changes, words):
    before = {name for name, running in containers().items() if running}
    assert len(before) == 1

    done = playbook("deploy", limit=HOST, nim_models=[model(**changes)])

    flat = " ".join(done.stdout.split())
    assert recap(done.stdout)[HOST]["failed"] == 1, done.stdout
    assert f"{before.pop()} serves again" in flat, done.stdout
    assert all(word in flat for word in words), done.stdout
    after = containers()
    assert list(after.values()).count(True) == 1
    assert "The capital of France is Paris" in answer()


def test_the_next_weights_take_over_and_go_back():
    done = playbook("deploy", "-vvv", limit=HOST, nim_models=[model(weights__revision="v2")])
    assert done.returncode == 0, done.stdout
    assert not [secret for secret in (KEY, TOKEN) if secret in done.stdout], "a secret is shown at -vvv"
    assert "Paris is the capital of France" in answer()

    done = playbook("deploy", limit=HOST)
    assert done.returncode == 0, done.stdout
    assert "The capital of France is Paris" in answer()
    assert playbook("deploy", limit=HOST).stdout.count("changed: ") == 0


def test_weights_with_a_chat_template_are_asked_as_a_chat():
    uuid = run(HOST, "nvidia-smi --query-gpu=uuid --format=csv,noheader").splitlines()[0]
    chat = model(weights__repo="lab/Llama-3.2-1B-capitals-chat", gpus=[uuid])
    done = playbook("deploy", limit=HOST, nim_models=[chat])
    assert done.returncode == 0, done.stdout
    inspected = json.loads(run(HOST, "docker inspect $(docker ps -q --filter label=llmops.nim.model=capitals)"))[0]
    assert inspected["Config"]["Labels"]["llmops.nim.api"] == "chat"
    assert inspected["HostConfig"]["DeviceRequests"][0]["DeviceIDs"] == [uuid]
    assert playbook("deploy", limit=HOST, nim_models=[chat]).stdout.count("changed: ") == 0
