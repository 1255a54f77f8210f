# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""One container, as the docker command tells of it.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import json
from datetime import datetime, timezone

from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem


class Container:
    """A container by its name (str). run is C(AnsibleModule.run_command), docker the docker command (str)."""

    def __init__(self, run, docker, name):
        self.run = run
        self.docker = docker
        self.name = name

    def state(self):
        """C(.State) of the container with C(RestartCount) in it (dict); raises Problem when there is none."""
        rc, out, err = self.run([self.docker, "inspect", "--type=container", self.name])
        if rc:
            raise Problem(
                f"There is no container {self.name}",
                err.strip(),
                "run the deploy again",
                "container_missing",
            )
        found = json.loads(out)[0]
        return dict(found["State"], RestartCount=found.get("RestartCount", 0))

    def last_exit(self):
        """The status (str) with which it ended last, also where Docker has started it again since; C(unknown) if it
        did not end within the last hour."""
        told = ["--since", "1h", "--until", "0s", "--filter", f"container={self.name}", "--filter", "event=die"]
        form = '{{index .Actor.Attributes "exitCode"}}'
        _rc, out, _err = self.run([self.docker, "events", *told, "--format", form])
        return (out.split() or ["unknown"])[-1]

    def log(self, lines):
        """The last lines (how many: int) of its log, stdout and stderr in one, a list of str."""
        _rc, out, err = self.run([self.docker, "logs", "--tail", str(lines), self.name])
        return (out + err).splitlines()


def age(started, now):
    """Seconds (float) between a start as Docker prints it, in UTC, and now (datetime with a time zone)."""
    # Docker prints nanoseconds or none at all, which no datetime takes.
    whole, _dot, fraction = started.rstrip("Z").partition(".")
    begin = datetime.strptime(whole, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
    return (now - begin).total_seconds() - float(f"0.{fraction or 0}")
