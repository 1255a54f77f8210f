# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""docs/reference/ says what the code says, and of the playbooks it says what they do."""

from __future__ import annotations

import re

import pytest
import reference
import yaml

ROOT = reference.ROOT
# Parts of playbooks that nobody runs alone, and what is of the lab.
PARTS = {"activate", "reach_gateways", "lab_up", "lab_down"}
# Handed from one play to the next, and set by the playbooks themselves.
WITHIN = {"nim_gateways_configured", "nim_plan_preview"}
WITH_DEFAULT = re.compile(r"\b((?:nim|weights|bundle)_\w+) \| default\(")
ASKED_FOR = re.compile(r"\b((?:nim|weights|bundle)_\w+) is (?:not )?defined")
# What a playbook takes in.
TAKEN_IN = re.compile(
    r"^[ -]+(?:(?:ansible\.builtin\.)?(?:import_playbook|import_tasks|include_tasks|vars_files): |- )([\w/]+\.yml)",
    re.MULTILINE,
)


def text(path):
    return path.read_text(encoding="utf-8")


def files(playbook):
    """A playbook and what it takes in: list of Path."""
    found = [ROOT / f"playbooks/{playbook}.yml"]
    for path in found:  # which grows meanwhile
        for name in TAKEN_IN.findall(text(path)):
            taken = (path.parent / name).resolve()
            if taken not in found:
                found.append(taken)
    return found


def made_within():
    """The names that playbooks and roles set by themselves (set of str)."""
    found = set(WITHIN)
    for path in [
        *(ROOT / "playbooks").glob("*.yml"),
        *(ROOT / "playbooks/tasks").glob("*.yml"),
        *ROOT.glob("roles/*/tasks/*.yml"),
    ]:
        found |= set(re.findall(r"register: (\w+)", text(path)))
        found |= set(re.findall(r"^ +(nim_\w+):", text(path), re.MULTILINE))
    return found | set(yaml.safe_load(text(ROOT / "playbooks/vars/rollout.yml")))


def test_what_is_committed_is_what_would_be_made():
    made = reference.pages()
    assert {path.name for path in reference.REFERENCE.iterdir()} == set(made)
    for name, page in made.items():
        assert text(reference.REFERENCE / name) == page, f"{name} is not what the code says: run make reference"


def test_every_playbook_is_described():
    assert set(reference.playbooks()) == {path.stem for path in (ROOT / "playbooks").glob("*.yml")} - PARTS


@pytest.mark.parametrize("playbook", reference.playbooks())
def test_a_playbook_knows_what_is_said_of_it(playbook):
    # The gateways' addresses are read by a filter.
    known = "".join(map(text, [*files(playbook), ROOT / "plugins/filter/gateways.py"]))
    assert [name for name in reference.playbooks()[playbook]["options"] if name not in known] == []


@pytest.mark.parametrize("playbook", reference.playbooks())
def test_what_a_playbook_can_be_told_is_described(playbook):
    roles = {
        name for entries in reference.roles().values() for one in entries.values() for name in one.get("options", {})
    }
    described = {name for entry in reference.playbooks().values() for name in entry["options"]}
    own = set(ASKED_FOR.findall(text(files(playbook)[0]))) | set(WITH_DEFAULT.findall(text(files(playbook)[0])))
    assert own - made_within() - roles <= set(reference.playbooks()[playbook]["options"])
    all_of_it = "".join(map(text, files(playbook)))
    assert set(WITH_DEFAULT.findall(all_of_it)) - made_within() - roles <= described


def test_the_defaults_are_those_of_the_playbooks():
    found = "".join(text(path) for path in (ROOT / "playbooks").rglob("*.yml"))
    for entry in reference.playbooks().values():
        for name, option in entry["options"].items():
            for value in re.findall(rf"\b{name} \| default\((\[.*?\]|'[^']*'|\d+|true|false)\)", found):
                if name != "nim_output" and value != "[]" and value != "''":
                    assert yaml.safe_load(value) == option.get("default"), name


def test_markup_of_ansible_is_markdown():
    told = reference.markdown("C(a) of M(llmops.nim.nim_ready), V(b\\)), not O(c=1); P(llmops.nim.plan#filter)")
    assert told == ["`a` of [`nim_ready`](modules.md#nim_ready), `b)`, not `c=1`; [`plan`](plugins.md#plan)"]
    with pytest.raises(ValueError, match="parameter"):
        reference.markdown("V(never closed")
