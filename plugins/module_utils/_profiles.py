# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The output of C(list-model-profiles) of the NIMs for LLMs, 1.0 to 2.x, as data.

The grammar, over the lines of C(_profile_lines); indents differ between versions and mean nothing here:

    banner     NVIDIA Inference Microservice LLM NIM Version 1.8.4 / LLM / VLM NIM Version 2.0.12; Model: org/name
    gpus       - Free GPUs:[ <None>] / - Non-free GPUs:[ <None>], below them
               - [pci:10de] (index) NAME[ (family)][current utilization: N%]
    profiles   MODEL PROFILES, then headings with entries below them
    heading    - Compatible with system and runnable[:][ <None>] and the others of _GROUPS
    sub-group  - With LoRA support:[ <None>]
    entry      - <64 hex> (<description>)[ [<hint>]]…

After SYSTEM INFO and MODEL PROFILES a line with a bullet is the listing's and has to be understood; every other
line is somebody's log. So noise is passed over, but no profile is ever lost in silence.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import re

from ansible_collections.llmops.nim.plugins.module_utils import _profile_errors as errors
from ansible_collections.llmops.nim.plugins.module_utils._profile_lines import BULLET, nim_lines
from ansible_collections.llmops.nim.plugins.module_utils._profile_name import read_name

GROUPS = ("runnable", "low_memory", "compilable", "incompatible")

_NONE = r"\s*:?\s*(?P<none><None>|&lt;None&gt;)?"  # web pages hold the latter
_GROUPS = tuple(
    (group, re.compile(words + _NONE, re.IGNORECASE))
    for group, words in (
        ("runnable", r"Compatible with (?:the )?system and runnable"),
        ("low_memory", r"Compatible with (?:the )?system but (?:not runnable due to )?low(?: GPU)?(?: free)? memory"),
        ("compilable", r"Compilable to TRT-LLM\b[^:<&]*"),
        ("incompatible", r"Incompatible with (?:the )?system"),
    )
)
_LORA = re.compile(r"With LoRA support" + _NONE, re.IGNORECASE)
# What a line cut short may be the beginning of.
_HEADINGS = (
    "Compatible with system and runnable:",
    "Compatible with system but low memory:",
    "Compatible with system but not runnable due to low GPU free memory",
    "Compilable to TRT-LLM",
    "Incompatible with system:",
    "With LoRA support:",
)
_ENTRY = re.compile(r"(?P<id>[0-9a-fA-F]{64})\s*\((?P<description>.+)\)(?P<hint>(?:\s*\[[^\[\]]*\])*)")
_LIKE_ENTRY = re.compile(r"[0-9a-fA-F]{4,}(?:\b|…|\.\.)")
_WHOLE_ID = re.compile(r"[0-9a-fA-F]{64}\b")
_MEMORY = re.compile(r"requires\s*(?:>=|≥|>|&gt;=)?\s*(\d+(?:\.\d+)?)\s*Gi?B", re.IGNORECASE)
_REDUCED = re.compile(r"to reduce to\s*(?:>=|≥|>|&gt;=)?\s*(\d+(?:\.\d+)?)\s*Gi?B", re.IGNORECASE)
_MAX_MODEL_LEN = re.compile(r"--max-model-len[=\s]\s*(\d{1,12})\b")

_BANNER = re.compile(r"NVIDIA Inference Microservice (?:LLM|VLM|LLM / VLM) NIM Version (\S+)")
_MODEL = re.compile(r"Model:\s*(\S+)")
_SYSTEM_INFO = re.compile(r"SYSTEM INFO\s*:?")
_GPU_GROUP = re.compile(r"(?P<non>Non-)?Free GPUs" + _NONE, re.IGNORECASE)
_GPU = re.compile(
    r"\[(?P<pci>[0-9a-fA-F]{4}:[0-9a-fA-F]{4})\]\s*\((?P<index>\d{1,4})\)\s*(?P<name>\S.*?)\s*(?:\((?P<family>[^()]*)\))?"
    r"\s*(?:\[current utilization:\s*(?:(?P<used>\d{1,3})(?:\.\d+)?|N/A)\s*%?\s*\])?"
)
# A terminal may have left its clock behind the heading.
_MODEL_PROFILES = re.compile(r"MODEL PROFILES\s*:?(?:\s{2,}.*)?")
_FENCE = re.compile(r"(?:```|~~~).*")
_ELISION = re.compile(r"(?:[-*]\s*)?\[?(?:\.{3,}|…).*")
_TRACEBACK = re.compile(r"Traceback \(most recent call last\):?")


def parse_listing(text):
    """The listing (str, stdout and stderr of list-model-profiles together) as a dict; raises Problem.

    nim: dict of version and model, each str or None.
    gpus: list of dict: index (int), name (str), family (str or None), pci_id (str, device:vendor), free (bool),
        utilization_percent (int or None: share of memory in use).
    profiles: list of dict in the order printed: id (64 hex digits, lower case), description, group (of GROUPS),
        lora, what C(_profile_name.read_name) finds, memory_gb_per_gpu (float or None),
        reduced_memory_gb_per_gpu (float or None), max_model_len_hint (int or None).
    notes: list of str: what the reader of the result should know about the listing.
    """
    lines = nim_lines(text)
    if not lines:
        raise errors.empty()
    head, body = _split(lines)
    errors.refuse_other_family(body)
    notes = []
    gpus = _read_gpus(head, notes)
    profiles = _read_profiles(body, notes)
    return {"nim": _read_banner(head), "gpus": gpus, "profiles": profiles, "notes": notes}


def _split(lines):
    """The lines before and after MODEL PROFILES, up to the end of the Markdown block it stands in."""
    starts = [place for place, line in enumerate(lines) if _MODEL_PROFILES.fullmatch(line.text)]
    trace = next((place for place, line in enumerate(lines) if _TRACEBACK.fullmatch(line.text)), None)
    if trace is not None and (not starts or trace > starts[0]):
        raise errors.traceback(lines[trace], lines[-1])
    if not starts:
        raise errors.no_profiles(lines)
    if len(starts) > 1:
        raise errors.several([lines[place] for place in starts])
    head, body = lines[: starts[0]], lines[starts[0] + 1 :]
    end = next((place for place, line in enumerate(body) if _FENCE.fullmatch(line.text)), None)
    if end is None:
        return head, body
    for line in body[end + 1 :]:
        item = BULLET.sub("", line.text, count=1) if BULLET.match(line.text) else line.text
        if _ENTRY.fullmatch(item) or _heading(item):
            raise errors.after_the_fence(body[end], line)
    return head, body[:end]


def _read_banner(head):
    nim = {"version": None, "model": None}
    for line in head:
        for key, pattern in (("version", _BANNER), ("model", _MODEL)):
            match = pattern.fullmatch(line.text)
            nim[key] = match.group(1) if match else nim[key]
    return nim


def _read_gpus(head, notes):
    starts = [place for place, line in enumerate(head) if _SYSTEM_INFO.fullmatch(line.text)]
    if not starts:
        return []
    gpus, free = [], None
    for line in head[starts[-1] + 1 :]:
        bullet = BULLET.match(line.text)
        item = line.text[bullet.end() :] if bullet else line.text
        group, gpu = _GPU_GROUP.fullmatch(item), _GPU.fullmatch(item)
        if _ELISION.fullmatch(line.text):
            notes.append(f"The listing was shortened by whoever saved it: the list of GPUs may lack some ({line}).")
        elif group:
            free = not group.group("non")
        elif gpu and free is not None:
            used = gpu.group("used")
            gpus.append(
                {
                    "index": int(gpu.group("index")),
                    "name": gpu.group("name"),
                    "family": gpu.group("family"),
                    "pci_id": gpu.group("pci").lower(),
                    "free": free,
                    "utilization_percent": None if used is None else int(used),
                }
            )
        elif bullet:
            raise errors.unknown(line, "below SYSTEM INFO")
    if not gpus:
        notes.append("The container saw no GPU.")
    return gpus


def _read_profiles(body, notes):
    profiles, seen, bad = [], {}, []
    group, lora, last, last_opens = None, False, None, False
    for line in body:
        bullet = BULLET.match(line.text)
        item = line.text[bullet.end() :] if bullet else line.text
        if _ELISION.fullmatch(line.text):
            where = f"the group {group} may lack some" if group else "profiles may be missing"
            notes.append(f"The listing was shortened by whoever saved it: {where} ({line}).")
            last_opens = False
            continue
        heading, entry = _heading(item), _ENTRY.fullmatch(item)
        if heading:
            group, lora = heading[0], False
        elif _LORA.fullmatch(item) and group:
            lora = True
        elif entry and group:
            profile = _profile(entry, group, lora)
            if profile["id"] in seen:
                raise errors.duplicate(profile["id"], seen[profile["id"]], line)
            seen[profile["id"]] = line
            profiles.append(profile)
        elif _LIKE_ENTRY.match(item) and (bullet or _WHOLE_ID.match(item)):
            bad.append(line)
        elif bullet or item == "-":
            if any(heading.startswith(item.lstrip("-*")) for heading in _HEADINGS):
                raise errors.cut(line)
            raise errors.unknown(line, "below MODEL PROFILES")
        else:
            continue
        last, last_opens = line, bool(heading and not heading[1] and group != "incompatible")
    if bad:
        raise errors.broken(bad, last)
    if last is None or last_opens:
        raise errors.cut(last)
    if not any(_heading(BULLET.sub("", line.text, count=1), "incompatible") for line in body):
        notes.append("The listing has no group of incompatible profiles: it may have been shortened.")
    return profiles


def _heading(item, only=None):
    """(group, says <None>) where the item (str) is the heading of a group, else None."""
    for group, pattern in _GROUPS:
        match = pattern.fullmatch(item)
        if match and only in (None, group):
            return group, bool(match.group("none"))
    return None


def _profile(entry, group, in_lora_list):
    description, hint = entry.group("description"), entry.group("hint")
    says = read_name(description)
    memory, reduced, length = _MEMORY.search(hint), _REDUCED.search(hint), _MAX_MODEL_LEN.search(hint)
    return {
        "id": entry.group("id").lower(),
        "description": description,
        "group": group,
        "lora": in_lora_list or says["lora"],
        "engine": says["engine"],
        "buildable": True if group == "compilable" else says["buildable"],
        "gpu": says["gpu"],
        "precision": says["precision"],
        "tensor_parallel": says["tensor_parallel"],
        "pipeline_parallel": says["pipeline_parallel"],
        "objective": says["objective"],
        "pytorch": says["pytorch"],
        # The hint is what NIM worked out for this start; the number in the name is the manifest's.
        "memory_gb_per_gpu": float(memory.group(1)) if memory else says["memory_gb_per_gpu"],
        "reduced_memory_gb_per_gpu": float(reduced.group(1)) if reduced else None,
        "max_model_len_hint": int(length.group(1)) if length else None,
    }
