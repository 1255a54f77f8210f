# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""One container, as the docker command tells of it.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import json
import time
from datetime import datetime, timezone

from ansible_collections.llmops.nim.plugins.module_utils import _log_text
from ansible_collections.llmops.nim.plugins.module_utils._contract import CACHE_MOUNT
from ansible_collections.llmops.nim.plugins.module_utils._failures import told
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

# Seconds by which Docker's note of a start may come after the first line.
_START_NOTED_LATE = 2


class Container:
    """A container by its name (str). run is C(AnsibleModule.run_command), docker the docker command (str)."""

    def __init__(self, run, docker, name):
        self.run = run
        self.docker = docker
        self.name = name

    def inspect(self):
        """What docker inspect tells of it (dict); raises Problem when there is none."""
        rc, out, err = self.run([self.docker, "inspect", "--type=container", self.name])
        if rc:
            raise Problem(
                f"There is no container {self.name}",
                err.strip(),
                "run the deploy again",
                "container_missing",
            )
        return json.loads(out)[0]

    def state(self):
        """C(.State) of the container with C(RestartCount) in it (dict); raises Problem when there is none."""
        found = self.inspect()
        return dict(found["State"], RestartCount=found.get("RestartCount", 0))

    def cache(self):
        """The directory of the host (str) that is NIM's cache in the container, or None."""
        mounts = self.inspect().get("Mounts") or []
        return next((one.get("Source") for one in mounts if one.get("Destination") == CACHE_MOUNT), None)

    def last_end(self):
        """How it ended last, also where Docker has started it again since (dict).

        C(ExitCode): the status (str), or C(unknown) if it did not end within the last hour. C(OOMKilled): whether the
        kernel killed it for memory (bool).
        """
        # By its fraction, since docker takes an until without one for the beginning of this second.
        window = ["--since", "1h", "--until", f"{time.time():.6f}", "--filter", f"container={self.name}"]
        told = ["--filter", "event=oom", "--filter", "event=die"]
        form = '{{.Action}} {{index .Actor.Attributes "exitCode"}}'
        _rc, out, _err = self.run([self.docker, "events", *window, *told, "--format", form])
        last, events = {"ExitCode": "unknown", "OOMKilled": False}, [line.split() for line in out.splitlines()]
        for before, event in zip([[], *events], events):
            if event[0] == "die":
                last = {"ExitCode": event[1], "OOMKilled": before[:1] == ["oom"]}
        return last

    def start(self):
        """Starts it where it does not run; raises Problem when it cannot start."""
        self._have("started", "start", self.name)

    def stop(self, patience):
        """Stops it where it runs, with patience (seconds, int) to end by itself; raises Problem when it can't."""
        self._have("stopped", "stop", "-t", str(patience), self.name)

    def _have(self, done, *words):
        rc, _out, err = self.run([self.docker, *words])
        if rc:
            remedy = f"look at the container and at Docker's own log: docker inspect {self.name}, journalctl -u docker"
            raise told(f"Container {self.name} could not be {done}", err, f"not_{done}", remedy)

    def log(self, lines, since=None):
        """The last lines (how many: int) of its log, stdout and stderr in one and in order, a list of str.

        since: a start as Docker prints it; lines of earlier runs are left out.
        """
        return [line for _time, line in self.dated_log(lines, since)]

    def dated_log(self, lines, since=None):
        """As log(), a list of (seconds since the epoch, line)."""
        _rc, out, err = self.run([self.docker, "logs", "--tail", str(lines), "--timestamps", self.name])
        # Docker notes the start when the process runs already and may have written.
        first = epoch(since) - _START_NOTED_LATE if since else 0.0
        return [one for one in _log_text.dated(out + "\n" + err) if not one[0] or one[0] >= first][-lines:]


def age(started, now):
    """Seconds (float) between a start as Docker prints it, in UTC, and now (datetime with a time zone)."""
    return now.timestamp() - epoch(started)


def epoch(text):
    """Seconds since the epoch (float) of a time as Docker prints it, in UTC."""
    # Docker prints nanoseconds or none at all, which no datetime takes.
    whole, _dot, fraction = text.rstrip("Z").partition(".")
    begin = datetime.strptime(whole, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
    return begin.timestamp() + float(f"0.{fraction or 0}")
