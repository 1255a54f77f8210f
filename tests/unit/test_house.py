# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What stands in two places says the same in both."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir())
# Given by the inventory, or by the role before.
GIVEN = {"nim_models", "nim_container_plan"}


def load(path):
    return yaml.safe_load((ROOT / path).read_text())


def options(role):
    """The options of all entry points of a role: name → specification."""
    merged = {}
    for entry in load(f"roles/{role}/meta/argument_specs.yml")["argument_specs"].values():
        merged.update(entry.get("options", {}))
    return merged


@pytest.mark.parametrize("role", ROLES)
def test_defaults_equal_the_argument_specs(role):
    defaults = load(f"roles/{role}/defaults/main.yml")
    specified = {name: spec.get("default") for name, spec in options(role).items() if name not in GIVEN}
    assert defaults == specified


@pytest.mark.parametrize("role", ROLES)
def test_a_role_s_variables_bear_its_name(role):
    assert all(name.startswith(f"{role}_") for name in set(options(role)) - {"nim_models"})


@pytest.mark.parametrize("role", ROLES)
def test_every_entry_point_has_its_tasks_and_is_described(role):
    entries = load(f"roles/{role}/meta/argument_specs.yml")["argument_specs"]
    for name, entry in entries.items():
        assert (ROOT / f"roles/{role}/tasks/{name}.yml").exists()
        assert entry["short_description"]


def test_the_action_group_holds_every_module():
    modules = sorted(path.stem for path in (ROOT / "plugins/modules").glob("*.py"))
    assert load("meta/runtime.yml")["action_groups"]["nim"] == modules


def test_every_filter_is_described():
    described = {path.stem for path in (ROOT / "plugins/filter").glob("*.yml")}
    names = set()
    for path in (ROOT / "plugins/filter").glob("*.py"):
        # Read and not imported: what filters stand on makes Ansible take this process for a control node, in which
        # modules return no warnings.
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef) and function.name == "filters":
                names |= {key.value for key in function.body[-1].value.keys}
    assert described == names


def test_the_links_of_the_clone_lead_home():
    link = ROOT / "collections/ansible_collections/llmops/nim"
    for name in ("galaxy.yml", "meta", "playbooks", "plugins", "roles"):
        assert (link / name).is_symlink()
        assert (link / name).resolve() == ROOT / name


def test_the_page_on_security_names_the_places_that_the_scenario_searches_for():
    rows = [line.strip("| ").split(" | ") for line in (ROOT / "docs/security.md").read_text().splitlines()]
    told = [row for row in rows if len(row) == 5 and row[0] in ("gpu2", "gateway")]
    places = json.loads((ROOT / "molecule/secrets/places.json").read_text())
    assert told == [
        [one["host"], f"`{one['path']}`", one["owner"], one["mode"], ", ".join(one["secrets"])] for one in places
    ]


def test_the_lab_s_nim_shares_no_code_with_the_collection():
    for path in (ROOT / "lab/images/nim").rglob("*.py"):
        assert "ansible_collections" not in path.read_text()


def options_of(*kinds):
    """The names (set of str) of all that is of these types, for a run, a host, or a role."""
    specified = [load("playbooks/meta/argument_specs.yml")["argument_specs"]]
    specified += [load(f"roles/{role}/meta/argument_specs.yml")["argument_specs"] for role in ROLES]
    entries = [entry.get("options", {}) for entries in specified for entry in entries.values()]
    return {name for options in entries for name, option in options.items() if option.get("type") in kinds}


def lines_with(pattern, but=None):
    """The lines of playbooks and roles, comments and defaults apart, with a pattern in them, and not the other."""
    return [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for folder in ("playbooks", "roles")
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in (".yml", ".j2") and not {"meta", "defaults"} & set(path.parts)
        for line in path.read_text().splitlines()
        if re.search(pattern, re.sub(r"(^|\s)#.*", "", line)) and not (but and re.search(but, line))
    ]


def test_no_is_no_also_where_it_is_text():
    """What -e NAME=false gives is the text false, which Jinja takes for true, and Ansible for no condition at all."""
    name = rf"\b(?:{'|'.join(sorted(options_of('bool')))})\b(?: \| default\((?:[^()]|\([^()]*\))*\))?"
    # A module reads its own options, and true has many names to it.
    assert lines_with(name, but=rf'^[\w ]+: "{{{{ {name} }}}}"$|{name} \| bool\b|^ *(?:- )?{name}:') == []


def test_a_number_is_one_also_where_it_is_text():
    """What -e NAME=2 gives is text, which is not compared with a number."""
    name = rf"\b(?:{'|'.join(sorted(options_of('int', 'float')))})\b"
    assert lines_with(rf"{name} (?:[<>]|[!=]=)") == []
