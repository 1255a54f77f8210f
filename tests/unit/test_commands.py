# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What the documents tell an operator to type is what the tests run, and what the programs understand."""

from __future__ import annotations

import re
import shlex

import commands
import pytest
import reference
from ansible.cli.playbook import PlaybookCLI

ROOT = commands.ROOT
SHOWN = commands.shown()
TABLE = commands.table()
PLAYBOOKS = sorted(command for command in SHOWN if command.startswith("ansible-playbook "))
ENGLISH, JAPANESE = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.ja.md"))


def known():
    return {*TABLE["lab"], *TABLE["as_above"], *TABLE["tests"], *TABLE["nobody"]}


def test_every_command_is_run_by_somebody():
    assert {command: pages for command, pages in SHOWN.items() if command not in known()} == {}


def test_nothing_is_run_that_is_not_shown():
    assert known() - set(SHOWN) == set()


def test_who_is_said_to_run_a_command_does():
    for command, runs in TABLE["tests"].items():
        for file, words in runs.items():
            assert words in (ROOT / file).read_text(encoding="utf-8"), command


def test_a_command_as_above_is_one_above():
    def bare(command):
        return re.sub(r" (--limit|-e) \S+", "", command)

    assert {bare(command) for command in TABLE["as_above"]} <= {bare(command) for command in TABLE["lab"]}


@pytest.mark.parametrize("path", commands.pages(), ids=lambda path: path.name)
def test_commands_stand_in_blocks_for_the_shell(path):
    text = commands.FENCE.sub(lambda found: found[0] if found[1] == "text" else "", path.read_text(encoding="utf-8"))
    assert [line for line in text.splitlines() if re.match(r"^ {4}", line) and commands.PROGRAMS.match(line)] == []


@pytest.mark.parametrize("command", PLAYBOOKS)
def test_a_playbook_knows_the_options_and_variables_that_it_is_given(command):
    cli = PlaybookCLI(shlex.split(command))
    options = cli.init_parser() or cli.parser
    given = options.parse_args(shlex.split(command)[1:])
    (playbook,) = given.args
    assert (ROOT / playbook).is_file()
    name = playbook.rpartition("/")[2].removesuffix(".yml")
    # The lab's own inventories ask for one.
    described = {*reference.playbooks()[name]["options"], "lab_revision"}
    assert {variable.partition("=")[0] for variable in given.extra_vars} <= described


def headings(text):
    return [len(marks) for marks in re.findall(r"^(#+) ", commands.FENCE.sub("", text), re.MULTILINE)]


def links(text):
    return sorted(re.findall(r"\]\(([^)#]+)", commands.FENCE.sub("", text)))


@pytest.mark.parametrize("part", [commands.commands, headings, links], ids=["commands", "headings", "links"])
def test_both_readmes_say_the_same(part):
    other = {"README.md", "README.ja.md"}
    theirs = [[one for one in part(text) if one not in other] for text in (ENGLISH, JAPANESE)]
    assert theirs[0] == theirs[1]


@pytest.mark.parametrize("path", commands.pages(), ids=lambda path: path.name)
def test_what_a_page_links_to_is_there(path):
    for target in links(path.read_text(encoding="utf-8")):
        assert target.startswith("http") or (path.parent / target).exists(), target


def test_commands_are_read_as_a_shell_would():
    page = "```sh\nmake a    # why\n# alone\nansible b \\\n  -c\n```\n`ansible-playbook playbooks/d.yml`, `make`\n"
    assert commands.commands(page + "```text\nmake e\n```\n") == [
        "make a",
        "ansible b    -c",
        "ansible-playbook playbooks/d.yml",
    ]


def test_on_the_lab_servers_are_the_lab_s():
    there = commands.on_the_lab("ansible-playbook playbooks/status.yml -i gpu_hosts --limit gpu7")
    assert there[2:] == ["-i", "inventories/lab", "--limit", "gpu2"]
