# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What a playbook printed, less the tasks that did nothing and said nothing, for docs/.

script --quiet --command "ansible-playbook …" run.txt && python tests/docs/recorded.py run.txt
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

WIDTH = 120
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")
# The rows of nim_progress are drawn over each other: in a file they would stand one after the other.
ROWS = re.compile(r"^ (?:\S+ {3,}\S.*? \d+s\s+)+")
NOTHING = re.compile(r"(ok|skipping|included):( |$)|Script (started|done) ")
HEADING = re.compile(r"(PLAY|TASK|RUNNING HANDLER) ")


def cut(line):
    return line if len(line) <= WIDTH else line[: WIDTH - 1] + "…"


def parts(text):
    """The output (str) by its headings: list of list of lines."""
    found = [[]]
    for raw in ESCAPES.sub("", text).splitlines():
        line = ROWS.sub("", raw).rstrip()
        if HEADING.match(line):
            found.append([])
        if line:
            found[-1].append(line)
    return [part for part in found if part]


def recorded(text):
    """What is worth reading of a playbook's output (str)."""
    kept = []
    for heading, *lines in parts(text):
        shown = []
        hidden = False
        for line in lines:
            host = re.match(r"ok: (\[.+?\])", line)
            # What a host said stands below it, indented.
            hidden = bool(NOTHING.match(line)) or (hidden and not line.startswith("    "))
            if host:
                shown.append(host[0] + " =>")
            elif not hidden or line.startswith("    "):
                shown.append(line)
        # A host that said nothing has no line.
        said = [
            line for line, after in zip(shown, [*shown[1:], ""]) if not line.endswith("=>") or after.startswith("    ")
        ]
        if said or heading.startswith("PLAY ["):
            kept.append([heading.rstrip("* "), *said])
    # A play in which nothing was said is none.
    told = [
        part
        for part, after in zip(kept, [*kept[1:], ["PLAY"]])
        if len(part) > 1 or not part[0].startswith("PLAY [") or not after[0].startswith("PLAY")
    ]
    return "\n\n".join("\n".join(map(cut, part)) for part in told) + "\n"


if __name__ == "__main__":
    sys.stdout.write(recorded(Path(sys.argv[1]).read_text(encoding="utf-8")))
