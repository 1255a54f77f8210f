# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What is wrong, the evidence for it, and what to do about it.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations


class Problem(Exception):
    """One thing that stands in the way, told so that the reader can act on it.

    what: one sentence naming what is wrong.
    evidence: what was seen, as near to verbatim as is safe (never a secret).
    remedy: what to do, in the imperative.
    code: a stable word for programs, e.g. C(driver_too_old).
    source: where a rule that is not self-evident comes from.
    """

    def __init__(self, what, evidence="", remedy="", code="", source=""):
        super().__init__(what)
        self.what = what
        self.evidence = evidence
        self.remedy = remedy
        self.code = code
        self.source = source

    def as_dict(self):
        """The problem as a module returns it: every key a str."""
        return {
            "code": self.code,
            "what": self.what,
            "evidence": self.evidence,
            "remedy": self.remedy,
            "source": self.source,
        }

    def __str__(self):
        lines = [self.what]
        for label, text in (("evidence", self.evidence), ("do", self.remedy), ("source", self.source)):
            if text:
                lines.append(f"  {label}: " + text.replace("\n", "\n    "))
        return "\n".join(lines)


def report(problems):
    """All problems (list of Problem) as one text, numbered when there are several."""
    if len(problems) == 1:
        return str(problems[0])
    return "\n".join(f"{number}. {problem}" for number, problem in enumerate(problems, 1))


class Refused(Exception):
    """Several problems (list of Problem) at once."""

    def __init__(self, problems):
        super().__init__(report(problems))
        self.problems = problems
