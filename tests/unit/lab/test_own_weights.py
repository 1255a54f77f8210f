# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Weights of an operator's own on their way to the lab's hub, and the questions that they are asked."""

from __future__ import annotations

import importlib
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

LAB = Path(__file__).resolve().parents[3] / "lab"
DOCKER = """#!/bin/sh
echo "$@" >{folder}/asked
cat >{folder}/taken.tar
exit {code}
"""


@pytest.fixture
def own(monkeypatch):
    monkeypatch.syspath_prepend(str(LAB))
    return importlib.import_module("own")


@pytest.fixture
def weights(tmp_path):
    """A folder as a hub's client keeps it: links to bytes that lie elsewhere, and folders beneath."""
    folder = tmp_path / "weights"
    (folder / "original").mkdir(parents=True)
    (folder / "original/consolidated.pth").write_text("x")
    (folder / "config.json").write_text("{}")
    (tmp_path / "blob").write_text("bytes")
    (folder / "model.safetensors").symlink_to(tmp_path / "blob")
    return folder


def hub(folder, monkeypatch, code=0):
    """A docker in the place of the hub's, that keeps in folder what it is given and ends with code (int)."""
    program = folder / "bin/docker"
    program.parent.mkdir()
    program.write_text(DOCKER.format(folder=folder, code=code))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


def test_the_files_of_a_folder_reach_the_hub_and_links_as_their_bytes(own, weights, tmp_path, monkeypatch):
    hub(tmp_path, monkeypatch)
    own.main(str(weights))
    with tarfile.open(fileobj=io.BytesIO((tmp_path / "taken.tar").read_bytes())) as archive:
        assert archive.getnames() == ["config.json", "model.safetensors"]
        assert archive.extractfile("model.safetensors").read() == b"bytes"
    assert (tmp_path / "asked").read_text().endswith("seed.py own\n")


def test_a_hub_that_does_not_take_them_is_told(own, weights, tmp_path, monkeypatch):
    hub(tmp_path, monkeypatch, code=1)
    with pytest.raises(SystemExit, match="Is the lab up"):
        own.main(str(weights))


def test_a_repository_of_a_hub_is_fetched_as_a_server_does(own, weights, tmp_path, monkeypatch):
    hub(tmp_path, monkeypatch)
    asked = []

    def ansible(command, **_options):
        asked.append(command)
        return subprocess.CompletedProcess(command, 0, stdout=f'localhost | CHANGED => {{"path": "{weights}"}}')

    monkeypatch.setattr(own.subprocess, "run", ansible)
    own.main("acme/capitals@v2")
    assert asked[0][:4] == ["ansible", "localhost", "-m", "llmops.nim.lfs_snapshot"]
    assert '"repo": "acme/capitals", "revision": "v2"' in asked[0][-1]
    assert (tmp_path / "taken.tar").exists()


def test_what_is_neither_a_folder_nor_to_be_had_is_told(own, monkeypatch):
    failed = subprocess.CompletedProcess([], 2, stdout="localhost | FAILED! => {}")
    monkeypatch.setattr(own.subprocess, "run", lambda *_arguments, **_options: failed)
    with pytest.raises(SystemExit, match="is no folder with a config.json"):
        own.main("/nowhere")


@pytest.mark.parametrize(
    ("given", "questions"),
    [("", ["What is the capital of France?"]), ("Where?\n日本の首都は?", ["Where?", "日本の首都は?"])],
)
def test_each_line_of_what_is_asked_is_a_question(given, questions):
    command = [Path(sys.executable).with_name("ansible"), "gpu3", "-i", "inventories/lab_own", "-m", "debug"]
    plain = {"ANSIBLE_CALLBACK_RESULT_FORMAT": "json", "ANSIBLE_NOCOLOR": "1", "PROMPT": given}
    done = subprocess.run(
        [*command, "-a", "var=nim_models[0].verify"], cwd=LAB.parent, env={**os.environ, **plain}, capture_output=True
    )
    (told,) = json.loads(done.stdout.partition(b"=>")[2]).values()
    assert told == [{"prompt": question, "expect": r"\S"} for question in questions]


def test_the_demo_shows_the_answer_to_each(monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(LAB))
    monkeypatch.setenv("PROMPT", "Where was it?\n日本の首都は?")
    show = importlib.reload(importlib.import_module("show"))
    model = {"name": "own", "port": 8010, "weights": {"repo": "lab/own"}}
    monkeypatch.setattr(show, "models", lambda _own: iter([("gpu3", "192.0.2.13", model)]))
    monkeypatch.setattr(show, "ask", lambda address, _model, question: f"{address} says of {question}")
    show.main(own=True)
    told = capsys.readouterr().out
    for question in ("Where was it?", "日本の首都は?"):
        assert f"Question: {question}" in told
        assert f"→ 192.0.2.13 says of {question}" in told
    assert "--limit gpu3" in told
