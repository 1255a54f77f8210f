# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The commands that README.md, README.ja.md and docs/ show, and who runs each of them (commands.yml)."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
# What a line must not begin with outside of a block that is marked as sh: there nobody would look for it.
PROGRAMS = re.compile(r"^ *(?:ansible[\w-]*|make|git clone|pip|docker exec|curl|ssh) [\w./-]")


def pages():
    """The pages (list of Path) whose commands are looked at; some folders are made by programs."""
    made = {"reference", "recorded"}
    docs = [path for path in (ROOT / "docs").rglob("*.md") if path.parent.name not in made]
    return [path for path in (ROOT / "README.md", ROOT / "README.ja.md") if path.exists()] + sorted(docs)


def blocks(text):
    """The fenced blocks of a page (str): list of (language, text)."""
    return FENCE.findall(text)


def commands(text):
    """The commands that a page (str) shows in sh blocks, and whole playbook commands in its sentences: list of str."""
    found = []
    for language, block in blocks(text):
        if language == "sh":
            found += [one for line in block.replace("\\\n", " ").splitlines() if (one := without_comment(line))]
    sentences = FENCE.sub("", text)
    return found + [one for one in INLINE.findall(sentences) if one.startswith("ansible-playbook playbooks/")]


def without_comment(line):
    return re.sub(r"(^|\s+)# .*$", "", line).strip()


def shown():
    """All commands that are shown: {command: list of the pages' names}."""
    found = {}
    for path in pages():
        for command in commands(path.read_text(encoding="utf-8")):
            found.setdefault(command, []).append(str(path.relative_to(ROOT)))
    return found


def table():
    """Who runs each command: what commands.yml says, as dict."""
    return yaml.safe_load(Path(__file__).with_suffix(".yml").read_text(encoding="utf-8"))


def on_the_lab(command):
    """A command as it is run on the lab, in the place of an operator's servers: list of str."""
    for ours, theirs in table()["instead"].items():
        command = command.replace(ours, theirs)
    return shlex.split(command)
