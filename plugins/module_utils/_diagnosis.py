# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What happened to the releases of a host, in a few lines. Pure.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

from ansible_collections.llmops.nim.plugins.module_utils import _clock
from ansible_collections.llmops.nim.plugins.module_utils._signature import WRAPPER

# Beside the first cause so many others are named.
_OTHERS = 2
# What is wrong with a service that is ready all the same.
_OF_A_READY_SERVICE = ("request",)


def choose(releases, ledgers, models=()):
    """The releases (of _host_docker.releases()) whose state tells how their model is.

    Those that run, the newest, the current one, and the one that failed last. ledgers: dict of model to what
    _ledger.read() says.
    models: only these (names), if there are any.
    """
    chosen = []
    for model in sorted({one["model"] for one in releases}):
        if models and model not in models:
            continue
        of_model = [one for one in releases if one["model"] == model]
        ledger = ledgers.get(model) or {}
        last, current = ledger.get("last") or {}, ledger.get("current") or {}
        named = {current.get("container")}
        if last.get("event") == "failed":
            named.add(last["release"].get("container"))
        newest = max(of_model, key=lambda one: one["created"])
        chosen += [one for one in of_model if one["running"] or one is newest or one["container"] in named]
    return chosen


def happened(state, ready, phase, now):
    """What a container does, one sentence (str).

    state: C(.State) of docker inspect with C(RestartCount). ready: whether the service says so. phase: how far it is.
    now: aware datetime.
    """
    status, restarts = state.get("Status"), state.get("RestartCount", 0)
    if status == "running" and ready:
        return f"it serves, since {_age(state.get('StartedAt'), now)}"
    if status == "running" and not restarts:
        return f"it runs, since {_age(state.get('StartedAt'), now)}, and is not ready (phase: {phase})"
    if status in ("running", "restarting"):
        return f"it ends again and again with exit status {state.get('ExitCode')}; Docker restarted it {restarts} times"
    if status == "created":
        return "it was made and did not start" if state.get("Error") else "it was made and not started yet"
    if status in ("exited", "dead"):
        return f"it ended with exit status {state.get('ExitCode')}, {_age(state.get('FinishedAt'), now)} ago"
    return f"it is {status}"


def _age(time, now):
    return _clock.age(_clock.seconds_since(time, now))


def relevant(causes, ready):
    """Those of causes (list of Cause) that matter for a service that is ready, or is not."""
    return [cause for cause in causes if not ready or cause.phase in _OF_A_READY_SERVICE]


def report(subject, causes, lines, well):
    """A few lines (str): what happened, the cause, the evidence, what to do.

    subject: what it is about and what happened (str). causes: list of Cause, the likeliest first. lines: those that
    tell most (str), where no cause is known. well: whether nothing is wrong.
    """
    told = [subject]
    if causes:
        first = causes[0].problem
        told += _labelled("cause", first.what) + _labelled("evidence", first.evidence) + _labelled("do", first.remedy)
        told += _labelled("source", first.source)
        for other in causes[1 : 1 + _OTHERS]:
            told += _labelled("perhaps also", f"{other.problem.what} {other.problem.remedy}")
    if lines and not well and (not causes or causes[0].weight == WRAPPER):
        told += _labelled("cause" if not causes else "more", "not a known one; these lines tell most:\n" + lines)
    return "\n".join(told)


def _labelled(label, text):
    return [f"  {label}: " + text.replace("\n", "\n    ")] if text else []
