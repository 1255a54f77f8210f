# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The explainer: which known failures a text shows, told with the line that shows it. Pure.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import functools
import re
from typing import NamedTuple

from ansible_collections.llmops.nim.plugins.module_utils import _log_text
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem
from ansible_collections.llmops.nim.plugins.module_utils._secrets import masked
from ansible_collections.llmops.nim.plugins.module_utils._signature import WRAPPER
from ansible_collections.llmops.nim.plugins.module_utils._signatures_docker import DOCKER, PULL
from ansible_collections.llmops.nim.plugins.module_utils._signatures_hub import HUB, LFS
from ansible_collections.llmops.nim.plugins.module_utils._signatures_load import ANYWHERE, BUILD, LOAD
from ansible_collections.llmops.nim.plugins.module_utils._signatures_start import REQUEST, START

# Specific before general: a line that one has explained says nothing more to those after it.
SIGNATURES = (*DOCKER, *PULL, *START, *BUILD, *LOAD, *REQUEST, *ANYWHERE)
GIT_SIGNATURES = (*LFS, *HUB)

_GIT = re.compile(
    r"^(?:fatal|remote|batch response|LFS|error: (?:RPC|failed to (?:fetch|push)))\b|git-lfs|Smudge", re.M
)
# What the words of git alone do not tell.
_GIT_WORDS = {"endpoint": "the hub", "repo": "the repository", "url": "its page", "revision": "that revision"}
# A part of a sentence that falls away where the text does not tell it.
_OPTIONAL = re.compile(r"\[([^\[\]]*\{\w+\}[^\[\]]*)\]")
_QUOTED_LINES = 4
_QUOTED_LENGTH = 300


class Cause(NamedTuple):
    """A failure that a text shows. problem: a Problem with the line as its evidence. ends: as in Signature."""

    phase: str
    problem: Problem
    weight: int
    ends: bool

    def as_dict(self):
        """As modules return it: every key a str."""
        return dict(self.problem.as_dict(), phase=self.phase)


def explain(text):
    """The known failures that a text (str: a log, or what a command said) shows: list of Cause, the likeliest first."""
    return explain_lines(_log_text.lines(text))


def explain_lines(lines):
    """As explain(), of lines (list of str) in plain form."""
    text = "\n".join(line for line in lines if not _log_text.NOISE.search(line))
    signatures = (*SIGNATURES, *GIT_SIGNATURES) if _GIT.search(text) else SIGNATURES
    taken, found = [], []
    for signature in signatures:
        match = next((one for one in _matches(signature, text) if not _overlaps(_place(one, text), taken)), None)
        if match and signature.code not in {cause.problem.code for cause in found}:
            taken.append(_place(match, text))
            found.append(_cause(signature, match, text))
    return sorted(found, key=lambda cause: cause.weight)


def unexplained(text):
    """The lines (str) of a text without a known failure that are most likely to tell what is wrong."""
    return masked("\n".join(_log_text.telling(_log_text.lines(text))))


def told(what, text, code, remedy=""):
    """The Problem of what (str, a sentence) went wrong, explained by a text (str): with the likeliest cause if known.

    code, remedy: of the Problem, the latter where no cause is known.
    """
    return told_of(what, explain(text), unexplained(text), code, remedy)


def told_of(what, causes, otherwise, code, remedy=""):
    """As told(), of causes (list of Cause); otherwise: the evidence (str) where there are none."""
    if not causes:
        return Problem(what, otherwise, remedy, code)
    first, others = causes[0].problem, [one.problem for one in causes[1:3] if one.weight != WRAPPER]
    evidence = [first.evidence, *(f"perhaps also: {one.what} ({one.evidence})" for one in others)]
    if causes[0].weight == WRAPPER:
        evidence.append(otherwise)
    return Problem(f"{what}. {first.what}", "\n".join(evidence), first.remedy, code, first.source)


@functools.lru_cache(maxsize=None)
def _compiled(pattern):
    return re.compile(pattern.replace(" ", r"\s+"), re.IGNORECASE)


def _matches(signature, text):
    if signature.given and not _compiled(signature.given).search(text):
        return iter(())
    if signature.unless and _compiled(signature.unless).search(text):
        return iter(())
    return _compiled(signature.pattern).finditer(text)


def _place(match, text):
    """Where the lines in which the match stands begin and end."""
    # A pattern may begin with the end of the line before.
    start = match.start() + (text[match.start() : match.start() + 1] == "\n")
    end = text.find("\n", match.end())
    return text.rfind("\n", 0, start) + 1, end if end >= 0 else len(text)


def _overlaps(span, taken):
    return any(span[0] < end and begin < span[1] for begin, end in taken)


def _cause(signature, match, text):
    words = dict(_GIT_WORDS)
    for name, value in match.groupdict().items():
        if value is not None:
            # An alternative of a pattern cannot use a name again: name2 is name.
            words[name.rstrip("2")] = " ".join(masked(value).split())
    problem = Problem(
        _filled(signature.cause, words), _quoted(match, text), _filled(signature.remedy, words), signature.code
    )
    problem.source = signature.source
    return Cause(signature.phase, problem, signature.weight, signature.ends)


def _filled(template, words):
    def part(match):
        return match.group(1) if set(re.findall(r"\{(\w+)\}", match.group(1))) <= set(words) else ""

    text = re.sub(r"\{(\w+)\}", lambda one: words.get(one.group(1), "?"), _OPTIONAL.sub(part, template))
    return "The" + text[3:] if text.startswith("the ") else text


def _quoted(match, text):
    """The lines of the text in which the match stands, the first and the last of many, each cut around it."""
    begin, end = _place(match, text)
    first, *rest = text[begin:end].split("\n")
    if len(first) > _QUOTED_LENGTH:
        first = "…" + first[max(match.start() - begin - _QUOTED_LENGTH // 3, 0) :]
    lines = [first, *rest]
    if len(lines) > _QUOTED_LINES:
        lines = lines[: _QUOTED_LINES - 2] + ["…", lines[-1]]
    return masked("\n".join(line.strip()[:_QUOTED_LENGTH] for line in lines))
