# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The examples do what they say."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import documented
import pytest
import reference
import yaml
from nim_server import NimServer

ROOT = Path(__file__).resolve().parents[2]
AWX = yaml.safe_load((ROOT / "examples/awx.yml").read_text())[0]["vars"]["nim_awx_templates"]


@pytest.fixture
def nim(monkeypatch):
    with NimServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.address + "/v1")
        monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
        yield server


def example(name, *arguments):
    command = [sys.executable, str(ROOT / "examples" / name), "wren", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_an_application_shows_the_answer(nim):
    done = example("ask.py", "What is the capital of France?")
    assert (done.returncode, done.stdout) == (0, "The capital of France is Paris.\n"), done.stderr
    _path, headers, body = nim.requests[0]
    assert headers["authorization"] == "Bearer sk-1"
    assert body["stream"]


def test_an_application_begins_an_answer_again_that_broke_off(nim):
    def before(_path):
        nim.cut = len(nim.requests) == 1

    nim.before = before
    done = example("ask.py", "?")
    assert done.stdout == "The capital of France is Paris.\n(once more)\nThe capital of France is Paris.\n", done.stderr


def test_an_application_gives_up_an_answer_that_always_breaks_off(nim):
    nim.cut = True
    assert example("ask.py", "?").returncode != 0
    assert len(nim.requests) == 3


def test_an_application_repeats_what_a_gateway_could_not_hand_on(nim):
    nim.statuses["/v1/completions"] = (503, {"error": {"message": "no server"}})

    def before(path):
        if len(nim.requests) == 2:
            nim.statuses.pop(path)

    nim.before = before
    assert example("ask.py", "?").stdout == "The capital of France is Paris.\n"


def test_documents_are_read_for_the_answer(nim, tmp_path):
    (tmp_path / "birds.md").write_text("Wrens sing.\n\nAn owl hoots at night.\n", encoding="utf-8")
    (tmp_path / "fish.md").write_text("A carp is silent.\n", encoding="utf-8")
    nim.pieces = ["The owl", " does."]
    done = example("ask_documents.py", "Who hoots?", *tmp_path.iterdir())
    assert done.stdout == f"The owl does.\n\nFrom: {tmp_path}/birds.md\n", done.stderr
    (asked,) = nim.asked("/v1/completions")
    assert "An owl hoots at night." in asked["prompt"]
    assert "carp" not in asked["prompt"]


def test_documents_that_know_nothing_are_not_asked_about(nim, tmp_path):
    (tmp_path / "fish.md").write_text("A carp is silent.\n", encoding="utf-8")
    for question in ("Who hoots?", "?"):
        assert "None of the documents" in example("ask_documents.py", question, tmp_path / "fish.md").stderr
    assert not nim.requests


@pytest.mark.parametrize("template", AWX, ids=lambda template: template["name"])
def test_a_job_template_runs_a_playbook_that_knows_what_its_survey_asks(template):
    assert (ROOT / template["playbook"]).is_file()
    options = reference.playbooks()[Path(template["playbook"]).stem]["options"]
    for question in template.get("survey", []):
        option = options[question["variable"]]
        choices = {"bool": ["false", "true"]}.get(option["type"], option.get("choices", []))
        assert set(question.get("choices", [])) == set(choices)
        assert str(question.get("default", "")).lower() == str(option.get("default", "")).lower()


MODULES = [path.stem for path in sorted((ROOT / "plugins/modules").glob("*.py"))]


@pytest.mark.parametrize("name", MODULES)
def test_a_module_s_examples_give_it_what_it_knows(name):
    module = importlib.import_module(f"ansible_collections.llmops.nim.plugins.modules.{name}")
    options = documented.options(module)
    required = {key for key, option in options.items() if option.get("required")}
    shown = [
        task[f"llmops.nim.{name}"] or {} for task in yaml.safe_load(module.EXAMPLES) if f"llmops.nim.{name}" in task
    ]
    assert shown
    for given in shown:
        assert required <= set(given) <= set(options)
        for key in (key for key in given if "choices" in options[key]):
            assert given[key] in options[key]["choices"]


def test_a_key_in_a_vault_is_read(tmp_path):
    (tmp_path / "password").write_text("a password", encoding="utf-8")
    vault = ["--vault-password-file", str(tmp_path / "password")]
    name = ["ansible-vault", "encrypt_string", *vault, "--stdin-name", "ngc_api_key"]
    made = subprocess.run(name, input="nvapi-1", capture_output=True, text=True, check=True).stdout
    (tmp_path / "hosts.yml").write_text("all: {hosts: {gpu1: {}}}", encoding="utf-8")
    (tmp_path / "group_vars/all").mkdir(parents=True)
    (tmp_path / "group_vars/all/keys.yml").write_text(made, encoding="utf-8")
    read = ["ansible", "gpu1", "-i", str(tmp_path / "hosts.yml"), *vault, "-m", "ansible.builtin.debug"]
    done = subprocess.run([*read, "-a", "var=ngc_api_key"], capture_output=True, text=True, check=True)
    assert "nvapi-1" in done.stdout
    assert "nvapi-1" not in made
