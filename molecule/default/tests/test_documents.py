"""What the documents tell an operator to type, typed."""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "shared"))
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tests/docs"))
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tests/unit"))

import commands
import report_browser

import lab
from lab import ROOT

COMMANDS = commands.table()["lab"]
OWN = ROOT / "lab/weights/Llama-3.2-1B-capitals"
QUESTIONS = {"What is the capital of France?": "Paris", "What is the capital of Japan?": "Tokyo"}
COLOURLESS = {"ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOLOR": "1"}
LISTING = ROOT / "tests/unit/fixtures/profiles/nim_1.8_h100.txt"
# What each is to have said, by the start of its name; the others, that nothing was changed.
SAYS = {
    "playbooks/diagnose.yml -i": "(model capitals): it serves",
    "playbooks/diagnose.yml -e": "The GPU's memory is too small",
    "playbooks/status.yml": "RELEASE",
    "playbooks/history.yml": "activated",
    "playbooks/history.yml -i gpu_hosts -e nim_output=json": '"event": "activated"',
    "playbooks/check.yml": "gpu1: nothing is wrong",
    "localhost": "profile",
}


@pytest.fixture(scope="module")
def rehearsal():
    """What `make demo` says of weights of one's own (a function): it goes on beside the others, on gpu3."""
    asked = {"WEIGHTS": str(OWN), "PROMPT": "\n".join(QUESTIONS), **COLOURLESS}
    said = {"env": dict(os.environ, **asked), "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    process = subprocess.Popen(["make", "--old-file=lab", "demo"], cwd=ROOT, **said)
    output = functools.cache(lambda: process.communicate()[0])
    yield output
    output()


@pytest.fixture(scope="module")
def runs(tmp_path_factory, rehearsal):
    """All of them, two at a time: {command: process that has ended}, in a folder that has what they read and write."""
    folder = tmp_path_factory.mktemp("operator")
    for name in ("playbooks", "roles", "deploy.yml", "inventories", "collections", ".lab"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "listing.txt").write_bytes(LISTING.read_bytes())
    (folder / "nim.log").write_text("torch.OutOfMemoryError: CUDA out of memory\nEngine process failed to start\n")
    plain = {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), **COLOURLESS}

    def run(command):
        program, *rest = [part.replace("$PWD", str(folder)) for part in commands.on_the_lab(command)]
        line = [str(Path(sys.executable).with_name(program)), *rest]
        environment = dict(os.environ, PWD=str(folder), **plain)
        return subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True)

    with ThreadPoolExecutor(2) as pool:
        yield dict(zip(COMMANDS, pool.map(run, COMMANDS))), folder


@pytest.mark.parametrize("command", COMMANDS)
def test_it_ends_green_changes_nothing_and_says_what_it_should(runs, command):
    done = runs[0][command]
    assert done.returncode == 0, done.stdout + done.stderr
    assert "changed: [" not in done.stdout
    for start, said in SAYS.items():
        if command.partition(" ")[2].startswith(start):
            assert said in " ".join(done.stdout.split()), done.stdout


def test_it_leaves_what_it_was_to_leave(runs):
    assert (runs[1] / "check.json").read_text().startswith("{")
    assert "NIM fleet" in (runs[1] / "fleet.html").read_text()


def test_the_lab_s_report_opens_in_a_browser_which_keeps_a_picture(runs):
    path = runs[1] / "fleet.html"
    page = report_browser.opened(runs[1], path.read_text(encoding="utf-8"))
    text = report_browser.Seen(page).text
    assert all(told in text["fleet"] for told in ("gpu1", "gpu2", "ready", "lab/Llama-3.2-1B-capitals"))
    assert "Paris" in text["answers"]
    assert "activated" in text["rollouts"]
    seen = report_browser.looked(page)
    assert seen["charts"] > 0
    assert seen["outside"] == []
    (ROOT / "build").mkdir(exist_ok=True)
    picture = ROOT / "build" / "report.png"
    report_browser.chromium(runs[1], path, "--window-size=1200,1940", f"--screenshot={picture}")
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_demo_ends_with_the_answers():
    environment = dict(os.environ, PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}", PROMPT="")
    shown = subprocess.run([sys.executable, "lab/show.py"], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    assert "The capital of France is Paris." in shown.stdout
    assert "The capital of France is Rennes." in shown.stdout


def test_weights_of_one_s_own_go_the_whole_way_and_answer_each_question(rehearsal):
    said = rehearsal()
    assert "gpu3" in lab.recap(said), said
    assert not lab.failures(said), lab.failures(said)
    for question, capital in QUESTIONS.items():
        assert re.search(rf"Question: {re.escape(question)}\n\n  gpu3 .*→ .*{capital}", said), said
