# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What the role gateway refuses before it touches anything, by its own tasks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
KEY = "gateway-0123456789abcdef"
PLAY = """
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: llmops.nim.gateway, tasks_from: refuse}
"""
MODELS = [{"name": "a", "port": 9000, "servers": [{"host": "gpu1", "address": "192.0.2.11", "ports": [8000, 18000]}]}]


def refuses(tmp_path, **variables):
    """What the role says against these variables; empty where it lets them pass."""
    (tmp_path / "play.yml").write_text(PLAY)
    (tmp_path / "variables.json").write_text(json.dumps({"gateway_models": MODELS, **variables}))
    command = [Path(sys.executable).with_name("ansible-playbook"), tmp_path / "play.yml", "-i", "localhost,"]
    done = subprocess.run(
        [*map(str, command), "-e", f"@{tmp_path / 'variables.json'}"],
        cwd=ROOT,
        env=dict(os.environ, ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"), ANSIBLE_NOCOLOR="1"),
        capture_output=True,
        text=True,
    )
    return " ".join(done.stdout.split()) if done.returncode else ""


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({}, "ask nobody for a key"),
        ({"gateway_api_keys": [KEY + "\n"]}, "a character that a header does not carry"),
    ],
    ids=["open to all", "a line break in a key"],
)
def test_it_refuses(tmp_path, variables, words):
    said = refuses(tmp_path, **variables)
    assert words in said
    assert KEY not in said


@pytest.mark.parametrize(
    "variables",
    [{"gateway_api_keys": [KEY]}, {"gateway_bind": "192.0.2.1"}, {"gateway_allow": ["all_addresses"]}],
    ids=["keys", "one address", "allowed by name"],
)
def test_it_lets_pass(tmp_path, variables):
    assert refuses(tmp_path, **variables) == ""
