# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The GPU memory that a checkpoint needs: estimated from its facts, before an image or weights are there.

Private to the collection: breaking changes at any time.

Facts are those of _checkpoint_facts. All memory is in MiB and for one GPU, unless it says bytes.
"""

from __future__ import annotations

import math

from ansible_collections.llmops.nim.plugins.module_utils import _checkpoint_facts
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

MIB = 1024 * 1024

# Lengths are told in whole multiples of this many tokens.
STEP = 256
# The most of a GPU's memory that an engine can be told to take: the rest is what the driver and the context hold.
LARGEST_SHARE = 0.95


def weight_bytes(facts):
    """The bytes (int) that the weights take on all GPUs together, or None where nothing tells.

    Files are the truth, but a config.json that describes more parameters than they hold is not let through.
    """
    if facts.get("precision") in _checkpoint_facts.BYTES_PER_PARAMETER:
        per_parameter = _checkpoint_facts.BYTES_PER_PARAMETER[facts["precision"]]
    else:
        per_parameter = _checkpoint_facts.LEAST_BYTES_PER_PARAMETER if facts.get("quantization") else 2
    implied = math.ceil((facts.get("parameters") or 0) * per_parameter)
    return max(facts.get("weight_bytes") or 0, implied) or None


def kv_bytes_per_token(facts, gpu_count):
    """The bytes (int) of KV cache that a token takes on each of gpu_count GPUs, or None where it is not known.

    A head is not divided: with fewer heads than GPUs, or a number that does not divide, some GPUs hold a copy.
    """
    together = facts.get("kv_bytes_per_token")
    if not together:
        return None
    heads = facts.get("kv_heads") or 1
    return together // heads * math.ceil(heads / gpu_count)


def need(facts, gpu_count, overhead, max_model_len=None, sequences=1):
    """What each of gpu_count GPUs must hold for sequences of max_model_len tokens (default: what the model can).

    overhead: of a Contract.

    A dict: weights_mib, kv_mib, overhead_mib, total_mib (int), max_model_len (int or None), known (bool): whether
    weights and KV cache are both known; what is not known counts as 0.
    """
    weights, per_token = weight_bytes(facts), kv_bytes_per_token(facts, gpu_count)
    length = max_model_len or facts.get("max_position_embeddings")
    weights_mib = math.ceil((weights or 0) / gpu_count / MIB)
    kv_mib = math.ceil((per_token or 0) * (length or 0) * sequences / MIB)
    return {
        "weights_mib": weights_mib,
        "kv_mib": kv_mib,
        "overhead_mib": overhead.mib,
        "total_mib": weights_mib + kv_mib + overhead.mib,
        "max_model_len": length,
        "known": bool(weights and per_token and length),
    }


def largest_length(facts, gpu_count, overhead, budget_mib):
    """The longest context (int, tokens, a multiple of 256) that fits into budget_mib on each GPU.

    0 if not even the weights fit. Never more than the model can; None where weights or KV cache are not known.
    """
    weights, per_token = weight_bytes(facts), kv_bytes_per_token(facts, gpu_count)
    if not weights or not per_token:
        return None
    room = (budget_mib - overhead.mib - math.ceil(weights / gpu_count / MIB)) * MIB
    length = max(0, room) // per_token
    limit = facts.get("max_position_embeddings")
    return min(length, limit or length) // STEP * STEP


def beside(need_mib, gpus_free_mib, gpus_total_mib=()):
    """Whether need_mib fits on each GPU beside what is there now, and the share of the GPU that it must then be given.

    gpus_free_mib, gpus_total_mib: list of int, in the same order. The share is a float of two decimals, rounded up;
    None where no totals are given.
    """
    fits = bool(gpus_free_mib) and all(need_mib <= free for free in gpus_free_mib)
    return fits, max((round_up(need_mib / total) for total in gpus_total_mib if total), default=None)


def round_up(share):
    """A share (float) with two decimals, never less than it was."""
    return math.ceil(share * 100 - 1e-9) / 100


def judge(model_name, facts, gpus, share, overhead, max_model_len=None, strict_length=False):
    """Whether the model fits on its GPUs: the problems and the warnings (two lists of Problem).

    gpus: list of dicts with index, name and memory_total_mib; share: the part (float) of a GPU's memory that the engine
    takes; overhead: of a Contract; max_model_len: tokens, or None for what the model can; strict_length: whether a
    length that does not fit keeps the model from starting, and is not merely lowered.
    """
    if not gpus:
        return [], []
    total = min(gpu["memory_total_mib"] for gpu in gpus)
    case = _Case(model_name, facts, gpus, total, share, overhead, need(facts, len(gpus), overhead, max_model_len))
    if not weight_bytes(facts):
        what = f"Whether {model_name} fits into the memory of its GPUs is not known."
        unread = "the size of the weights could not be read beforehand"
        return [], [Problem(what, unread, "Wait for the start, or compare the sizes yourself.", "memory_unknown")]
    if case.fixed > case.budget:
        what = f"{model_name} is too large for {_kinds(gpus)}: the weights alone do not fit."
        return [Problem(what, case.arithmetic(), case.remedies(), "memory_too_small", overhead.source)], []
    if not case.wanted["known"]:
        what = f"How much KV cache {model_name} needs is not known; its weights fit."
        told = case.arithmetic() + "\nits layers do not all keep the same for each token, or config.json does not tell"
        return [], [Problem(what, told, "Set NIM_MAX_MODEL_LEN if the start runs out of memory.", "memory_unknown")]
    if case.wanted["total_mib"] <= case.budget:
        return [], []
    found = Problem(
        f"{model_name} fits on {_kinds(gpus)}, but not with {case.wanted['max_model_len']} tokens of context.",
        case.arithmetic(),
        case.remedies(),
        "context_too_long",
        overhead.source,
    )
    return ([found], []) if strict_length else ([], [found])


class _Case:
    """A model that does not fit: the arithmetic, and what would help. total: MiB of the smallest of its gpus."""

    def __init__(self, model_name, facts, gpus, total, share, overhead, wanted):
        self.model_name, self.facts, self.gpus, self.total, self.share = model_name, facts, gpus, total, share
        self.overhead, self.wanted = overhead, wanted
        self.budget = int(total * share)
        self.fixed = wanted["weights_mib"] + wanted["overhead_mib"]

    def arithmetic(self):
        """Line by line (str), so that a reader can check it."""
        facts, count, wanted = self.facts, len(self.gpus), self.wanted
        each = " on each GPU" if count > 1 else ""
        lines = []
        if facts.get("parameters"):
            precision = facts.get("precision") or facts.get("quantization") or facts.get("dtype") or "unknown precision"
            lines.append(f"parameters: {facts['parameters'] / 1e9:.2f} billion, {precision}")
        total = weight_bytes(facts)
        lines.append(f"weights: {total} bytes{f' / {count} GPUs' if count > 1 else ''} = {wanted['weights_mib']} MiB")
        per_token = kv_bytes_per_token(facts, count)
        if per_token and wanted["max_model_len"]:
            lines.append(
                f"KV cache: {per_token} bytes a token{each} x {wanted['max_model_len']} tokens = {wanted['kv_mib']} MiB"
            )
            if per_token * count != facts["kv_bytes_per_token"]:
                lines.append(f"  ({facts['kv_heads']} KV heads do not divide by {count}: some are held more than once)")
        lines.append(f"overhead: {wanted['overhead_mib']} MiB (estimate)")
        lines.append(f"needed: {wanted['total_mib']} MiB{each}")
        lines.append(f"there: {self.total} MiB x {self.share:g} (the engine's share) = {self.budget} MiB")
        return "\n".join(lines)

    def remedies(self):
        """What would work (str), computed."""
        facts, count = self.facts, len(self.gpus)
        found = []
        length = largest_length(facts, count, self.overhead, self.budget)
        if length:
            found.append(f"NIM_MAX_MODEL_LEN={length} (the longest that fits) or less")
        for more in (number for number in (2, 4, 8) if number > count):
            if need(facts, more, self.overhead, self.wanted["max_model_len"])["total_mib"] <= self.budget:
                found.append(f"{more} GPUs like this instead of {count}")
                break
            longest = largest_length(facts, more, self.overhead, self.budget)
            if not length and longest:
                found.append(f"{more} GPUs like this instead of {count}, with NIM_MAX_MODEL_LEN={longest} or less")
                break
        target = self.wanted["total_mib"] if length else self.fixed
        share = round_up(target / self.total)
        if self.share < share <= LARGEST_SHARE:
            found.append(f"memory_share: {share:g} instead of {self.share:g}")
        for bits, factor in ((8, 2), (4, 4)):
            smaller = self.fixed - self.wanted["weights_mib"] + math.ceil(self.wanted["weights_mib"] / factor)
            if not length and facts.get("precision") in ("bf16", "fp16") and smaller <= self.budget:
                found.append(f"a checkpoint quantised to {bits} bits (about {smaller} MiB a GPU)")
                break
        found.append(f"{'a GPU' if count == 1 else 'GPUs'} with {math.ceil(target / self.share / 1024)} GiB or more")
        return "One of: " + "; ".join(found) + "."


def _kinds(gpus):
    """The GPUs for people: "2 x NVIDIA L40S (GPU 0, 1)"."""
    names = sorted({str(gpu["name"]) for gpu in gpus})
    count = f"{len(gpus)} x " if len(gpus) > 1 else ""
    return f"{count}{' and '.join(names)} (GPU {', '.join(str(gpu['index']) for gpu in gpus)})"
