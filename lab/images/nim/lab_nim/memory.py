# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The memory that vLLM wants of a GPU for a checkpoint, as NIM 2.x reckons before it starts."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .console import Refusal

MIB, GIB = 2**20, 1024  # bytes of a MiB, MiB of a GiB
# Observed: 33 GB for an 8B model in bf16 at 131072 tokens, which are 15 of weights and 16 of KV cache; LoRA 1 more.
OVERHEAD_MIB, LORA_MIB = 2 * GIB, GIB
STEP = 256  # lengths that are proposed are multiples of it [observed]


@dataclass(frozen=True)
class Need:
    """Of each GPU."""

    weights: int  # bytes
    kv_per_token: int  # bytes
    tokens: int  # the length to serve
    overhead_mib: int

    def mib(self, tokens: int | None = None) -> float:
        length = self.tokens if tokens is None else tokens
        return (self.weights + self.kv_per_token * length) / MIB + self.overhead_mib

    def largest_length(self, budget_mib: float) -> int:
        """In tokens; 0 where not even the weights fit."""
        room = (budget_mib - self.mib(0)) * MIB
        return min(self.tokens, max(0, int(room / self.kv_per_token) // STEP * STEP))


def hint(need: Need, gpu_count: int, budget_mib: float) -> str:
    """What list-model-profiles prints behind a profile [its forms observed; the figures are the lab's]."""
    asked = gigabytes(need.mib())
    text = f"requires >={asked} GB/gpu"
    if gpu_count > 1:
        text += f" per {gpu_count} GPUs"
    length = need.largest_length(budget_mib) if need.mib() > budget_mib else 0
    if length:
        reduced = gigabytes(need.mib(length))
        text += f", try --max-model-len={length}"
        text += f" to reduce to >={reduced} GB/gpu" if reduced < asked else ""
    return f" [{text}]"


def gigabytes(mib: float) -> int:
    return math.ceil(mib / GIB)


def check(need: Need, total_mib: int, utilization: float) -> None:
    """Refuses to load what doesn't fit into the share of a GPU's whole memory that vLLM takes. Used memory isn't asked
    about: a profile that was listed as low on memory is known to have started when it was pinned [observed]."""
    budget = utilization * total_mib
    weights = need.weights / MIB
    if weights > total_mib:  # the words [documented]; the figures are the lab's
        raise Refusal(f"torch.OutOfMemoryError: CUDA out of memory. Tried to allocate {weights / GIB:.2f} GiB.")
    if need.mib(0) >= budget:  # [documented]
        raise Refusal("ValueError: No available memory for the cache blocks.")
    if need.mib() > budget:  # [observed]
        wanted, room = (need.mib() - need.mib(0)) / GIB, (budget - need.mib(0)) / GIB
        longest = need.largest_length(budget)
        raise Refusal(
            f"ValueError: To serve at least one request with the model's max seq len ({need.tokens}), "
            f"({wanted:.2f} GiB KV cache is needed, which is larger than the available KV cache memory "
            f"({room:.2f} GiB). Based on the available memory, the estimated maximum model length is {longest}."
        )
