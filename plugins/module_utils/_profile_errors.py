# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What can be wrong with a listing of model profiles, told with the line that shows it.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import re

from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

COMMAND = "docker run --rm --gpus … IMAGE list-model-profiles > FILE 2>&1"

_SHORTENED = re.compile(r"\.\.|…")
_OF_A_LISTING = re.compile(r"SYSTEM INFO\s*:?|NVIDIA Inference Microservice .*")

# Told by the form of their lines in NVIDIA's documents of those NIMs, the telling form first.
_OTHER_FAMILIES = (
    ("a speech NIM (Riva: ASR, TTS, NMT)", re.compile(r"(?:[-*]\s+)?[0-9a-fA-F]{64}\s+-\s+(?:\{|[\w.]+:).*")),
    ("another kind of NIM", re.compile(r"[-*]\s+(?:All profiles|Compatible with system)\s*:.*", re.I)),
)
_TRITON = (
    "a Triton NIM (embedding, reranking, GenMol and others)",
    re.compile(r"[-*]\s+\S+\s+\(type=[^()]*\).*", re.I),
)
_ENTRY = re.compile(r"(?:[-*]\s+)?[0-9a-fA-F]{64}\s*\(.*")


def empty():
    return Problem(
        "The listing of model profiles is empty.",
        remedy=f"Take it again, with errors included: {COMMAND}",
        code="listing_empty",
    )


def no_profiles(lines):
    """The Problem of lines (list of Line) without the heading MODEL PROFILES."""
    for line in lines:
        if "Could not find a profile that is currently runnable" in line.text:
            return Problem(
                "This is the log of a NIM that did not start, not a listing of model profiles.",
                evidence=str(line),
                remedy=f"Take the listing, which says why no profile can run: {COMMAND}",
                code="listing_unknown_dialect",
            )
    if any(_OF_A_LISTING.fullmatch(line.text) for line in lines):
        return Problem(
            "The listing of model profiles is cut: it ends before the heading MODEL PROFILES.",
            evidence=f"its last line is {lines[-1]}",
            remedy=f"Take it again, to its end: {COMMAND}",
            code="listing_cut",
        )
    return Problem(
        "This is not a listing of model profiles that is known here: there is no heading MODEL PROFILES.",
        evidence=f"{lines[0]}\n{lines[-1]}" if len(lines) > 1 else str(lines[0]),
        remedy=f"Give the output of list-model-profiles of a NIM for LLMs: {COMMAND}",
        code="listing_unknown_dialect",
    )


def several(lines):
    return Problem(
        f"The text holds {len(lines)} listings of model profiles, and they may differ.",
        evidence="\n".join(str(line) for line in lines),
        remedy="Keep one of them.",
        code="listing_several",
    )


def traceback(first, last):
    return Problem(
        "The listing of model profiles broke off with a Python traceback.",
        evidence=f"{first}\n{last}",
        remedy="Mend what the last line names, then take the listing again.",
        code="listing_traceback",
    )


def after_the_fence(fence, line):
    return Problem(
        "The listing of model profiles goes on after the Markdown block it stands in was closed.",
        evidence=f"{fence}\n{line}",
        remedy="Save the listing as plain text, without the marks of Markdown inside it.",
        code="listing_malformed",
    )


def duplicate(profile_id, first, second):
    return Problem(
        f"The listing of model profiles names the profile {profile_id} twice.",
        evidence=f"{first}\n{second}",
        remedy="Keep one listing only, as NIM printed it.",
        code="listing_duplicate_id",
    )


def malformed(lines):
    """The Problem of lines (list of Line) that are no whole entries; also where the listing ends in one."""
    shortened = any(_SHORTENED.search(line.text) for line in lines)
    why = "ids are shortened" if shortened else "an entry is: - <64 hex digits> (description) [hint]"
    return Problem(
        f"{len(lines)} malformed line{'s' * (len(lines) > 1)} in the listing of model profiles: {why}.",
        evidence="\n".join(str(line) for line in lines[:20]) + ("\n…" if len(lines) > 20 else ""),
        remedy=f"Take the listing again and save it whole: {COMMAND}",
        code="listing_malformed",
    )


def broken(lines, last):
    """The Problem of lines (list of Line) that are no whole entries, last being the last line of the listing."""
    return cut(last) if lines == [last] and not _SHORTENED.search(last.text) else malformed(lines)


def cut(line):
    return Problem(
        "The listing of model profiles is cut: it ends in the middle.",
        evidence=f"its last line is {line}" if line else "nothing follows the heading MODEL PROFILES",
        remedy=f"Take it again, to its end: {COMMAND}",
        code="listing_cut",
    )


def unknown(line, where):
    return Problem(
        f"The listing of model profiles is in an unknown dialect: a line {where} is not understood.",
        evidence=str(line),
        remedy="Check that the image is a NIM for LLMs. If it is, it is newer than this collection: report the line.",
        code="listing_unknown_dialect",
    )


def refuse_other_family(lines):
    """Raise Problem where lines (list of Line) below MODEL PROFILES are those of another kind of NIM."""
    family, pattern = _TRITON
    entries = [line for line in lines if pattern.fullmatch(line.text) or _ENTRY.fullmatch(line.text)]
    # Its headings are those of a NIM for LLMs, in which one cached engine may be called type=… as well.
    if entries and all(pattern.fullmatch(line.text) for line in entries):
        raise _other_family(family, entries[0])
    for family, pattern in _OTHER_FAMILIES:
        for line in lines:
            if pattern.fullmatch(line.text):
                raise _other_family(family, line)


def _other_family(family, line):
    return Problem(
        f"This is the listing of {family}: its profiles are not those of a NIM for LLMs.",
        evidence=str(line),
        remedy="Use the image of a NIM for LLMs: nvcr.io/nim/<org>/<language model>:<version>",
        code="listing_other_family",
    )
