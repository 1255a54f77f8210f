# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What stands in an inventory is refused, or goes as one word where it is meant to: nothing is read as a program."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from planned_host import COMMIT, IMAGE, model, observed, rollout

from ansible_collections.llmops.nim.plugins.module_utils import (
    _host_checks,
    _hub,
    _plan,
    _profile_run,
    _registry,
)
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem
from ansible_collections.llmops.nim.plugins.modules import nim_image_info

ROOT = Path(__file__).resolve().parents[2]

HOSTILE = [
    "it's",
    'a "quote"',
    "two words",
    "two\nlines",
    "$(touch /tmp/pwned)",
    "`touch /tmp/pwned`",
    "a; touch /tmp/pwned",
    "{{ lookup('pipe', 'touch /tmp/pwned') }}",
    "--privileged",
    "../../etc",
    "a\\b",
    "ü",
]
WEIGHTS = {"commits": {"acme/capitals@main": COMMIT}, "checkpoints": {}, "selection": ""}


def refused_by_the_host(one):
    """The codes of what gpu_host_info says against the model (dict)."""
    findings = _host_checks.Findings()
    _host_checks._check_models(findings, [one])
    return [problem.code for problem, _models in findings.problems]


def planned(one):
    images, weights = {one["image"]: IMAGE}, dict(WEIGHTS)
    weights["commits"] = {f"{one['weights']['repo']}@{one['weights']['revision']}": COMMIT}
    return _plan.plans(observed([one]), images, weights, "/weights", rollout())[0]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_model_s_name_is_plain_or_refused(text):
    assert "model_name" in refused_by_the_host(model(name=text))


@pytest.mark.parametrize("name", ["weights", "lock"])
def test_a_model_does_not_get_the_directory_of_something_else(name):
    assert "model_name" in refused_by_the_host(model(name=name))


@pytest.mark.parametrize("text", HOSTILE)
def test_a_repository_and_a_revision_are_plain_or_refused(text):
    with pytest.raises(Problem):
        _hub.check("https://huggingface.co", text, "main")
    with pytest.raises(Problem):
        _hub.check("https://huggingface.co", f"acme/{text}", "main")
    # git takes many names for a revision; what is none it must never take for an option.
    try:
        _hub.check("https://huggingface.co", "acme/capitals", text)
    except Problem:
        return
    assert not text.startswith("-")


@pytest.mark.parametrize("text", HOSTILE)
def test_an_image_is_a_reference_or_refused(text):
    with pytest.raises(Problem):
        _registry.Reference(f"nvcr.io/nim/{text}:1.8.4")
    with pytest.raises(Problem):
        _registry.Reference(f"nvcr.io/nim/meta/llama:{text}")


@pytest.mark.parametrize("text", [one for one in HOSTILE if re.search(r"[^!-~]", one)])
def test_a_key_cannot_bring_further_lines_into_the_env_file(text):
    with pytest.raises(Problem):
        nim_image_info.check_key(text)


@pytest.mark.parametrize("text", HOSTILE)
def test_an_address_is_one_or_refused(text):
    assert "address_invalid" in [problem["code"] for problem in planned(model(address=text))["problems"]]


# What may be any text: it goes to the container as a value, and to docker as one word.
@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("key", ["served_name", "env", "unchecked_env", "profile"])
def test_any_other_text_stays_one_value(key, text):
    keys = {"served_name": text, "profile": text, "env": {"NIM_LOG_LEVEL": text}, "unchecked_env": {"ANY": text}}
    item = planned(model(**{key: keys[key]}))
    release = item["release"]
    assert item["problems"] == []
    assert text not in json.dumps([release["container"], release["volumes"], release["env_file"], release["published"]])
    words = _profile_run.listing_command(
        "docker", "name", release["image"], ["0"], release["user"], release["env"], None, release["volumes"], "16g"
    )
    # Values go by the environment, so the command has none of them.
    assert not [word for word in words if text in word and text != "a"]


def test_a_variable_s_name_is_a_name():
    for text in HOSTILE:
        assert "env_name" in [problem["code"] for problem in planned(model(unchecked_env={text: "1"}))["problems"]]


def test_a_model_gets_no_other_gpus_by_a_variable():
    found = planned(model(unchecked_env={"NVIDIA_VISIBLE_DEVICES": "all"}))
    assert [problem["code"] for problem in found["problems"]] == ["env_reserved"]


def tasks(node):
    """All tasks (dict) of a YAML document, those in blocks included."""
    if isinstance(node, list):
        for one in node:
            yield from tasks(one)
    elif isinstance(node, dict):
        yield node
        for key in ("tasks", "pre_tasks", "post_tasks", "block", "rescue", "always"):
            yield from tasks(node.get(key) or [])


SHELLS = {"ansible.builtin.shell", "ansible.builtin.raw", "ansible.builtin.script", "ansible.builtin.expect"}
YAML = [*ROOT.glob("playbooks/**/*.yml"), *ROOT.glob("roles/*/tasks/*.yml"), *ROOT.glob("roles/*/handlers/*.yml")]


@pytest.mark.parametrize("path", YAML, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_playbook_and_no_role_builds_a_shell_command(path):
    for task in tasks(yaml.safe_load(path.read_text())):
        assert not SHELLS & set(task), task
        command = task.get("ansible.builtin.command")
        if isinstance(command, str):
            assert "{{" not in command, "its words would be parted at spaces: give argv"
        elif command and isinstance(command.get("argv"), list) and "-c" in command["argv"]:
            assert "{{" not in command["argv"][command["argv"].index("-c") + 1], task


@pytest.mark.parametrize("path", sorted(ROOT.glob("plugins/**/*.py")), ids=lambda path: path.name)
def test_no_module_asks_a_shell(path):
    assert not re.search(r"shell=True|use_unsafe_shell=True|os\.system\(|os\.popen\(|\beval\(", path.read_text())
