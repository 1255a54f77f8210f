"""What went wrong is named with what to do afterwards as well."""

from __future__ import annotations

import json
import re

import pytest

from lab import changed, model, playbook, run

HOST = "gpu2"


def said(name, **variables):
    """What a playbook says (one line of words), and its exit status."""
    done = playbook(name, limit=HOST, **variables)
    return " ".join(done.stdout.split()), done.returncode


@pytest.fixture(scope="module", autouse=True)
def deployed():
    assert playbook("deploy", limit=HOST).returncode == 0


def test_a_diagnosis_says_who_serves_and_why_the_last_release_does_not():
    playbook("deploy", limit=HOST, nim_models=[model(env={"LAB_CRASH": "oom"})])
    text, status = said("diagnose")
    assert status == 0
    assert "it serves, since" in text
    assert "it ended with exit status 137" in text
    assert "cause: The host's memory was exhausted while the engine was built" in text


def test_a_saved_log_needs_no_host(tmp_path):
    log = tmp_path / "nim.log"
    log.write_text("nim-1  | torch.OutOfMemoryError: CUDA out of memory\nnim-1  | Engine process failed to start\n")
    text = " ".join(playbook("diagnose", nim_log_file=str(log)).stdout.split())
    assert "cause: The GPU's memory is too small for what is loaded" in text


def test_a_port_that_somebody_else_has():
    stop = "docker stop $(docker ps -q --filter label=llmops.nim.model=capitals)"
    take = (
        "setsid python3 -m http.server 8000 >/dev/null 2>&1 </dev/null & "
        "until ss -Hltn sport = :8000 | grep -q .; do sleep 0.1; done"
    )
    with changed(HOST, f"{stop}; {take}", "pkill -f 'http.server 8000'"):
        assert "The port 8000 of the model is held by python3" in said("diagnose")[0]
    assert playbook("deploy", limit=HOST).returncode == 0


def test_a_check_of_a_server_in_order_is_green_and_leaves_data(tmp_path):
    file = tmp_path / "check.json"
    text, status = said("check", nim_check_file=str(file), nim_metrics_dir="/run")
    assert status == 0, text
    metrics = run(HOST, "cat /run/nim.prom; rm /run/nim.prom")
    assert re.search(r'^nim_release_ready\{model="capitals",release="\w+"\} 1$', metrics, re.MULTILINE)
    assert "nim_check_findings" not in metrics
    assert "nothing is wrong" in text
    found = json.loads(file.read_text())[HOST]
    assert found["problems"] == []
    assert found["disks"]
