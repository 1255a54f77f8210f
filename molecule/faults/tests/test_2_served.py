"""What a run that goes well leaves, and what it does not show."""

from __future__ import annotations

import json

from lab import KEY, TOKEN, model, playbook, run

HOST = "gpu2"
ASK = """
import json, urllib.request as u
body = json.dumps({"model": "capitals", "prompt": "What is the capital of France?", "max_tokens": 32}).encode()
request = u.Request("http://127.0.0.1:8000/v1/completions", body, {"Content-Type": "application/json"})
print(u.urlopen(request).read().decode())
"""


def answer():
    return json.loads(run(HOST, f"python3 - <<'END'\n{ASK}\nEND"))["choices"][0]["text"]


def test_the_next_weights_take_over_and_go_back():
    done = playbook("deploy", "-vvv", limit=HOST, nim_models=[model(weights__revision="v2")])
    assert done.returncode == 0, done.stdout
    assert not [secret for secret in (KEY, TOKEN) if secret in done.stdout], "a secret is shown at -vvv"
    assert "Paris is the capital of France" in answer()

    done = playbook("deploy", limit=HOST)
    assert done.returncode == 0, done.stdout
    assert "The capital of France is Paris" in answer()
    assert playbook("deploy", limit=HOST).stdout.count("changed: ") == 0


def test_no_secret_is_shown_however_much_is_printed():
    done = playbook("deploy", "-vvv", limit=HOST, ngc_api_key="nvapi-lab-wrong")
    assert done.returncode != 0
    secret = done.stdout.replace('"ngc_api_key": "nvapi-lab-wrong"', "")  # our own command line
    assert KEY not in secret
    assert TOKEN not in secret


def test_weights_with_a_chat_template_are_asked_as_a_chat():
    uuid = run(HOST, "nvidia-smi --query-gpu=uuid --format=csv,noheader").splitlines()[0]
    chat = model(weights__repo="lab/Llama-3.2-1B-capitals-chat", gpus=[uuid])
    done = playbook("deploy", limit=HOST, nim_models=[chat])
    assert done.returncode == 0, done.stdout
    inspected = json.loads(run(HOST, "docker inspect $(docker ps -q --filter label=llmops.nim.model=capitals)"))[0]
    assert inspected["Config"]["Labels"]["llmops.nim.api"] == "chat"
    assert inspected["HostConfig"]["DeviceRequests"][0]["DeviceIDs"] == [uuid]
    assert playbook("deploy", limit=HOST, nim_models=[chat]).stdout.count("changed: ") == 0
