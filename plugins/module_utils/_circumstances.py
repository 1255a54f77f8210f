# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What the end of a container and its settings tell of a failure, beside its log.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

from ansible_collections.llmops.nim.plugins.module_utils import _log_text
from ansible_collections.llmops.nim.plugins.module_utils._contract import MAX_LENGTH
from ansible_collections.llmops.nim.plugins.module_utils._failures import Cause, explain_lines, told_of, unexplained
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem
from ansible_collections.llmops.nim.plugins.module_utils._signature import CAUSE, HINT

# So many of a log's last lines are looked through.
LOG_LINES = 2000

_MEMORY = "Look into dmesg (Out of memory); add memory or swap, or stop what else needs it."
_DOCKER = "documented: exit status of docker run"
_SIGNALS = "documented: a status over 128 is 128 and the number of the signal"
# Exit status → code, what it says, remedy, source, weight.
_STATUSES = {
    126: ("entrypoint", "The command of the container cannot be executed.", "Check the image.", _DOCKER, CAUSE),
    127: ("entrypoint", "The command of the container is not in the image.", "Check the image.", _DOCKER, CAUSE),
    132: ("cpu", "An instruction that this CPU does not know (SIGILL).", "Take another image or host.", _SIGNALS, HINT),
    134: ("abort", "It gave up by itself (SIGABRT).", "See the log above that.", _SIGNALS, HINT),
    135: ("shared_memory", "It lacked shared memory (SIGBUS).", "Set shm_size to 16g.", _SIGNALS, HINT),
    137: ("killed", "It was killed (SIGKILL): by the kernel for memory, or by somebody.", _MEMORY, _SIGNALS, HINT),
    139: ("crash", "It crashed (SIGSEGV).", "Take another image or profile; see dmesg for the GPU.", _SIGNALS, HINT),
    143: ("stopped", "It was told to stop (SIGTERM).", "Find out who did: docker events.", _SIGNALS, HINT),
}


def of_end(state):
    """What a container's end says (list of Cause, one at most); state: C(.State) of docker inspect."""
    status = state.get("ExitCode")
    if state.get("OOMKilled"):
        what = "The container ran out of memory, and the kernel killed it."
        problem = Problem(what, f"Docker: OOMKilled, exit status {status}", _MEMORY, "container_oom", _DOCKER)
        return [Cause("load", problem, CAUSE, True)]
    known = _STATUSES.get(int(status)) if str(status).isdigit() and state.get("Status") != "running" else None
    if not known:
        return []
    code, what, remedy, source, weight = known
    return [Cause("load", Problem(what, f"exit status {status}", remedy, code, source), weight, True)]


def of_settings(causes, env):
    """What a container's variables (dict) add to the causes (list of Cause) that its log shows: list of Cause."""
    length = env.get(MAX_LENGTH)
    if not length or "profile_none" not in {cause.problem.code for cause in causes}:
        return []
    problem = Problem(
        f"With {MAX_LENGTH} every profile may be rejected: images with SGLang do not support it.",
        f"{MAX_LENGTH}={length}",
        f'Leave {MAX_LENGTH} out; with SGLang set NIM_PASSTHROUGH_ARGS="--context-length {length}".',
        "length_rejects_profiles",
        "documented: SGLang model-free NIM 2.1.2; observed: a 2.x image",
    )
    return [Cause("start", problem, HINT, False)]


def causes(lines, state, env=None):
    """All that is known of why a service does not serve, the likeliest first: list of Cause.

    lines: its log (list of str). state: C(.State) of docker inspect. env: its variables (dict).
    """
    found = explain_lines(lines)
    found += of_settings(found, env or {})
    known = any(cause.weight == CAUSE for cause in found)
    codes = {cause.problem.code for cause in found}
    # Beside a cause in the log a signal says nothing more.
    found += [one for one in of_end(state) if one.problem.code not in codes and (one.weight == CAUSE or not known)]
    return sorted(found, key=lambda cause: cause.weight)


def ended(what, container, state, since, code, said=()):
    """The Problem of a container that no longer does what it should, explained; and its causes (list of Cause).

    what: one sentence (str). container: Container. state: as for causes(). since: the start (as Docker prints it) from
    which on its log counts. code: of the Problem. said: what the service has answered (list of str).
    """
    log = _log_text.lines("\n".join(container.log(LOG_LINES, since)))
    known = causes([*log, *said], state)
    remedy = f"the cause is not a known one; see the whole log: docker logs {container.name}"
    problem = told_of(what, known, unexplained("\n".join(log)), code, remedy)
    problem.evidence = "\n".join([*said, problem.evidence])
    return problem, known
