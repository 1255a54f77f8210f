# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Problems and warnings of a host, collected until all are known.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations


class Findings:
    """Problems and warnings, each with the models that it concerns."""

    def __init__(self):
        self.problems = []
        self.warnings = []

    def refuse(self, problem, models=()):
        self.problems.append((problem, tuple(models)))

    def warn(self, problem, models=()):
        self.warnings.append((problem, tuple(models)))

    def judged(self, verdict, problem, models=()):
        """Refuse, warn or pass, as the verdict says; its source becomes the problem's."""
        problem.source = verdict.source
        if verdict.severity != "ok":
            (self.refuse if verdict.severity == "problem" else self.warn)(problem, models)


def as_dicts(findings, host):
    """Findings (list of (Problem, models)) as the module returns them: every key a str, model and host null or str."""
    return [dict(problem.as_dict(), model=", ".join(models) or None, host=host) for problem, models in findings]
