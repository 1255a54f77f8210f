# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The result of a task that failed, explained.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

from ansible_collections.llmops.nim.plugins.module_utils._failures import explain, told_of
from ansible_collections.llmops.nim.plugins.module_utils._secrets import masked


def explained(result, what):
    """What to tell of a failed task: its own Problem, else the known cause of what it said, else its words (str).

    result: as Ansible keeps it (dict), that of a loop included. what: what went wrong, one sentence (str).
    """
    failed = [one for one in result.get("results") or [] if _has_failed(one)] or [result]
    return "\n".join(dict.fromkeys(_one(one, what) for one in failed))


def _has_failed(result):
    # With failed_when false a failure shows by what is missing, which the caller has looked for.
    return result.get("failed", True) or "msg" in result


def _one(result, what):
    said = str(result.get("stderr") or result.get("msg") or "")
    causes = [] if result.get("problem") else explain(said)
    if not causes:
        return masked(said) or f"{what}, and the task did not say why"
    return str(told_of(what, causes, masked(said), causes[0].problem.code))
