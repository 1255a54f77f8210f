"""What went wrong is named with what to do, in the run's own output and afterwards; what will go wrong, before."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "shared"))

from lab import changed, model, playbook, run

HOST = "gpu2"
NIM = "/var/lib/nim/capitals"


def said(name, **variables):
    """What a playbook says (one line of words), and its exit status."""
    done = playbook(name, limit=HOST, **variables)
    return " ".join(done.stdout.split()), done.returncode


@pytest.fixture(scope="module", autouse=True)
def deployed():
    assert playbook("deploy", limit=HOST).returncode == 0


def serves():
    return bool(run(HOST, "docker ps -q --filter label=llmops.nim.model=capitals").strip())


def test_a_release_that_gets_no_further_is_given_up_by_its_phase_s_budget():
    text, status = said(
        "deploy",
        nim_models=[model(env={"LAB_HANG": "before-ready"})],
        nim_container_ready_budgets={"start": 3, "download": 3, "load": 3},
    )
    assert status != 0
    assert "nothing has happened for" in text
    assert "nim_container_ready_budgets" in text
    assert serves()


def test_an_image_that_cannot_be_pulled():
    away = "cp /etc/hosts /root/hosts && echo 127.0.0.1 nvcr.lab >> /etc/hosts"
    with changed(HOST, away, "cat /root/hosts > /etc/hosts && rm /root/hosts"):
        image = "nvcr.lab/nim/meta/llama-3.2-1b-instruct:1.3.3"
        text, status = said("deploy", nim_models=[model(image=image)])
    assert status != 0
    assert "The image could not be pulled. The registry cannot be reached from this host." in text
    assert "connection refused" in text
    assert "firewall and proxy" in text
    assert serves()


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
        text, status = said("check", nim_check_keys=False)
        assert status != 0
        assert "Port 8000, which model capitals wants, is held by process python3" in text
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


AHEAD = {
    "cache of another user": (
        f"chown 0 {NIM}/cache && chmod 700 {NIM}/cache",
        f"chown 1000 {NIM}/cache && chmod 770 {NIM}/cache",
        "who may not read or write what it mounts",
    ),
    "key refused": (
        f"cp -p {NIM}/secrets.env /root/kept.env && echo NGC_API_KEY=nvapi-lab-wrong > {NIM}/secrets.env",
        f"cat /root/kept.env > {NIM}/secrets.env && rm /root/kept.env",
        "The registry nvcr.lab refuses the NGC key",
    ),
    "snapshot gone": (
        "mv /var/lib/nim/weights/lab--Llama-3.2-1B-capitals /root/weights",
        "mv /root/weights /var/lib/nim/weights/lab--Llama-3.2-1B-capitals",
        "cannot be started again: what it mounts is gone",
    ),
    "driver apart": (
        "mv /usr/bin/nvidia-smi /root/ && printf '%s\\n' '#!/bin/sh' "
        "'echo Failed to initialize NVML: Driver/library version mismatch; exit 18' > /usr/bin/nvidia-smi && "
        "chmod 755 /usr/bin/nvidia-smi",
        "mv /root/nvidia-smi /usr/bin/nvidia-smi",
        "The NVIDIA driver was updated and the host not rebooted since",
    ),
}


@pytest.mark.parametrize("case", sorted(AHEAD))
def test_what_breaks_at_the_next_restart_is_seen_while_it_serves(case):
    do, undo, words = AHEAD[case]
    with changed(HOST, do, undo):
        text, status = said("check")
        assert status != 0
        assert words in text
        assert serves()
    text, status = said("check")
    assert status == 0, text
