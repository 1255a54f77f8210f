# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""docs/reference/: made of DOCUMENTATION and argument_specs, never by hand.

python tests/docs/reference.py    writes it anew ("make reference")
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import yaml
from markup import OURS, anchor, markdown

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "reference"
MADE = "<!-- Made of the code by `make reference`. -->\n"
# What the playbooks hand from role to role; no inventory has to.
GIVEN = {"nim_models", "nim_container_plan"}


def documented(kind, names):
    """What ansible-doc says of plugins or roles: {name: dict}."""
    environment = dict(os.environ, ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"), ANSIBLE_FORCE_COLOR="0")
    command = [str(Path(sys.executable).with_name("ansible-doc")), "--json", "-t", kind]
    done = subprocess.run(
        [*command, *(OURS + name for name in names)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return {name[len(OURS) :]: found for name, found in json.loads(done.stdout).items()}


def names(pattern):
    return sorted({path.stem for path in ROOT.glob(pattern)})


def loaded(path):
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def playbooks():
    """What playbooks/meta/argument_specs.yml says: {playbook: dict}."""
    return loaded("playbooks/meta/argument_specs.yml")["argument_specs"]


@functools.cache
def roles():
    """What the roles say of their entry points: {role: {entry point: dict}}."""
    found = documented("role", sorted(path.name for path in (ROOT / "roles").iterdir()))
    return {name: role["entry_points"] for name, role in found.items()}


def set_by_playbooks():
    """The variables of roles that playbooks and roles give (set of str), of no use in an inventory."""
    given = set().union(*(loaded(path.relative_to(ROOT)) for path in (ROOT / "playbooks/vars").glob("*.yml")))

    def look(node):
        if isinstance(node, list):
            for one in node:
                look(one)
        if isinstance(node, dict):
            given.update(node.get("vars") or {})
            for one in node.values():
                look(one)

    for path in [*(ROOT / "playbooks").rglob("*.yml"), *ROOT.glob("roles/*/tasks/*.yml")]:
        look(yaml.safe_load(path.read_text(encoding="utf-8")))
    return given


def default(option):
    if option.get("required"):
        return "required"
    value = option.get("default")
    if value is None or value in ("", [], {}):
        return "none"
    return "`" + (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)) + "`"


def kind(option):
    of = option.get("elements")
    return f"{option.get('type', 'str')} of {of}" if of else option.get("type", "str")


def meaning(option, plugin=None, of="module"):
    """What an option means, in one line, with its choices."""
    told = markdown(option.get("description"), plugin, of)
    choices = option.get("choices")
    if choices:
        told.append("One of " + ", ".join(f"`{choice}`" for choice in choices) + ".")
    return " ".join(told)


def flat(options, key, prefix=""):
    """Options and theirs beneath them, each with its whole name: list of (str, dict)."""
    found = []
    for name, option in options.items():
        found.append((prefix + name, option))
        inner = option.get(key) or option.get("options") or {}
        beneath = prefix + name + ("[]." if option.get("elements") == "dict" else ".")
        found += flat(inner, key, beneath)
    return found


def table(headings, rows):
    # A bar ends a cell, even in code.
    lines = [headings, ["---"] * len(headings), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


def options_table(options, plugin=None, of="module"):
    rows = [
        [f"`{name}`", kind(option), default(option), meaning(option, plugin, of)]
        for name, option in flat(options, "suboptions")
    ]
    return table(["option", "type", "default", "meaning"], rows)


def page(title, introduction, sections):
    """A page (str) with a table of contents; sections are (heading, text)."""
    contents = "".join(f"- [{heading}](#{anchor(heading)})\n" for heading, _text in sections)
    body = "".join(f"\n## {heading}\n\n{text.strip()}\n" for heading, text in sections)
    return f"{MADE}# {title}\n\n{introduction}\n\n{contents}{body}"


def playbook_variables():
    """A row a variable of playbooks, more than one where playbooks mean different things by it."""
    told = []
    for playbook, entry in playbooks().items():
        for name, option in entry["options"].items():
            same = next((one for one in told if one[:2] == (name, option)), None)
            if same:
                same[2].append(playbook)
            else:
                told.append((name, option, [playbook]))
    told.sort(key=lambda one: one[0])
    return [[f"`{name}`", kind(one), default(one), meaning(one), ", ".join(of)] for name, one, of in told]


def inventory():
    # Every module with the option has it from the same fragment.
    models = documented("module", ["gpu_host_info"])["gpu_host_info"]["doc"]["options"]["models"]["suboptions"]
    sections = [
        ("nim_models", "What a host serves: a list, each with these keys.\n\n" + options_table(models)),
        (
            "Variables of the playbooks",
            "In the inventory, or with `-e` for one run of those [playbooks](playbooks.md).\n\n"
            + table(["variable", "type", "default", "meaning", "playbooks"], playbook_variables()),
        ),
    ]
    theirs = set_by_playbooks() | GIVEN
    for role, entries in roles().items():
        merged = {name: option for entry in entries.values() for name, option in entry.get("options", {}).items()}
        free = {name: option for name, option in merged.items() if name not in theirs}
        if free:
            sections.append((f"Variables of the role {role}", options_table(free, OURS + role, "role")))
    introduction = (
        "All that an inventory can say to the playbooks. What else a role takes, for who calls it alone: "
        "[roles](roles.md)."
    )
    return page("The inventory", introduction, sections)


def playbooks_page():
    sections = []
    for name, entry in playbooks().items():
        rows = [[f"`{one}`", default(option), meaning(option)] for one, option in entry["options"].items()]
        text = [entry["short_description"] + ".", *markdown(entry["description"])]
        sections.append((name, "\n\n".join(text) + "\n\n" + table(["variable", "default", "meaning"], rows)))
    introduction = (
        "Run from a clone as `playbooks/<name>.yml`, and of the installed collection as `llmops.nim.<name>`. "
        "`--limit` and `--check` mean what they always do; each variable can stand in the [inventory](inventory.md)."
    )
    return page("Playbooks", introduction, sections)


def roles_page():
    sections = []
    for role, entries in roles().items():
        text = []
        for name, entry in sorted(entries.items(), key=lambda one: one[0] != "main"):
            told = markdown(entry.get("description"), OURS + role, "role")
            text.append("\n\n".join([f"**{name}**: {entry['short_description']}.", *told]))
        merged = {name: option for entry in entries.values() for name, option in entry.get("options", {}).items()}
        sections.append((role, "\n\n".join(text) + "\n\n" + options_table(merged, OURS + role, "role")))
    introduction = (
        "An entry point is what `tasks_from` names; `main` is the one without it. How each is used: its own README."
    )
    return page("Roles", introduction, sections)


def plugin_text(name, found, of):
    doc = found["doc"]
    parts = [doc["short_description"] + ".", *markdown(doc["description"], OURS + name, of)]
    if doc.get("options"):
        parts.append(options_table(doc["options"], OURS + name, of))
    if doc.get("requirements"):
        parts.append("Needs " + "; ".join(markdown(doc["requirements"])) + ".")
    support = [
        f"{what} {one['support']}" for what, one in sorted((doc.get("attributes") or {}).items()) if "support" in one
    ]
    if support:
        parts.append("Supports: " + ", ".join(support).replace("_", " ") + ".")
    if found.get("examples"):
        parts.append("```yaml\n" + found["examples"].strip("\n") + "\n```")
    if found.get("return"):
        rows = [
            [
                f"`{one}`",
                kind(value),
                " ".join(markdown(value.get("returned", "always"), OURS + name, of)),
                meaning(value, OURS + name, of),
            ]
            for one, value in flat(found["return"], "contains")
        ]
        parts.append(table(["returns", "type", "when", "meaning"], rows))
    return "\n\n".join(part.strip() for part in parts)


def modules_page():
    found = documented("module", names("plugins/modules/*.py"))
    sections = [(name, plugin_text(name, one, "module")) for name, one in found.items()]
    introduction = (
        "Each goes by `llmops.nim.<name>`; the group `llmops.nim.nim` names all of them for `module_defaults`."
    )
    return page("Modules", introduction, sections)


def plugins_page():
    sections = []
    for of in ("filter", "callback"):
        found = documented(of, names(f"plugins/{of}/*.yml" if of == "filter" else f"plugins/{of}/*.py"))
        sections += [(name, plugin_text(name, one, of)) for name, one in found.items()]
    introduction = (
        "The filters decide, for the playbooks, and run on the control node. The callback `nim_progress` watches."
    )
    return page("Filters and the callback", introduction, sections)


def pages():
    """The whole reference: {file name: text}."""
    return {
        "inventory.md": inventory(),
        "modules.md": modules_page(),
        "playbooks.md": playbooks_page(),
        "plugins.md": plugins_page(),
        "roles.md": roles_page(),
    }


if __name__ == "__main__":
    REFERENCE.mkdir(exist_ok=True)
    for name, text in pages().items():
        (REFERENCE / name).write_text(text, encoding="utf-8")
