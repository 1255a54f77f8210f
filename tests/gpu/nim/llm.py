# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A Llama checkpoint that is loaded onto the GPUs, and text that it goes on with: transformers and torch.

Takes the place of lab_nim/llm.py, which does the same on the CPU. As vLLM does, it takes its whole share of each GPU's
memory at once, what is left beside the weights as if for the KV cache, and does not start where that is not free.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import torch
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

from . import contract, settings
from .console import Refusal, log

MIB = 1024**2
# Of the share, for what answering takes beside weights and KV cache.
WORK_MIB = 1024


@dataclass(frozen=True)
class Sampling:
    max_tokens: int
    temperature: float = 0.0
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    ignore_eos: bool = False


@dataclass(frozen=True)
class Piece:
    """A bit of text; the last one says why it ends and how many tokens there were."""

    text: str
    finish_reason: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0


class NoChatTemplate(Exception):
    pass


class Llm:
    def __init__(self, folder: Path, chat_template_file: str = "") -> None:
        self._settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        if chat_template_file:
            self._settings["chat_template"] = Path(chat_template_file).read_text(encoding="utf-8")
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._one_at_a_time = threading.Lock()
        wished = settings.read(known=contract.installed().variables, arguments=sys.argv[1:])
        budgets = [budget(number, wished.utilization) for number in range(torch.cuda.device_count())]
        # On several GPUs layer by layer: the engine's equivalent of tensor parallelism, as far as memory goes.
        self._model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", device_map="balanced").eval()
        self._pool = [reserve(number, mib) for number, mib in enumerate(budgets)]
        self.max_model_len = self._model.config.max_position_embeddings

    def count(self, prompt: str) -> int:
        return len(self._tokenizer.encode(prompt).ids)

    def render_chat(self, messages: list[dict], chat_template: str | None = None) -> str:
        """Messages as the checkpoint's chat template writes them, ready for the answer to follow."""
        template = chat_template or self._settings.get("chat_template")
        if not template:
            raise NoChatTemplate
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        environment.globals["strftime_now"] = lambda form: datetime.now(timezone.utc).strftime(form)
        tokens = {name: value for name, value in self._settings.items() if name.endswith("_token")}
        return environment.from_string(template).render(messages=messages, add_generation_prompt=True, **tokens)

    def generate(self, prompt: str, sampling: Sampling) -> Iterator[Piece]:
        prompt_ids = self._tokenizer.encode(prompt).ids
        ids: list[int] = []
        told, reason = "", "length"
        for token in self._tokens(prompt_ids, sampling):
            if token in self._ends() and not sampling.ignore_eos:
                reason = "stop"
                break
            ids.append(token)
            text = self._tokenizer.decode(ids)
            cut = min((text.index(stop) for stop in sampling.stop if stop in text), default=None)
            if cut is not None:
                text, reason = text[:cut], "stop"
            if text[len(told) :] and not text.endswith("\ufffd"):
                yield Piece(text[len(told) :])
                told = text
            if cut is not None:
                break
        yield Piece("", reason, len(prompt_ids), len(ids))

    def _ends(self) -> set[int]:
        ends = self._model.generation_config.eos_token_id
        return set(ends) if isinstance(ends, list) else {ends}

    def _tokens(self, prompt_ids: list[int], sampling: Sampling) -> Iterator[int]:
        """Token by token, so that others get their turn between two."""
        step, cache = torch.tensor([prompt_ids], device=self._model.device), None
        for _number in range(sampling.max_tokens):
            with self._one_at_a_time, torch.inference_mode():
                out = self._model(input_ids=step, past_key_values=cache, use_cache=True, logits_to_keep=1)
            cache, logits = out.past_key_values, out.logits[0, -1]
            if sampling.temperature:
                token = int(torch.multinomial(torch.softmax(logits.float() / sampling.temperature, -1), 1))
            else:
                token = int(logits.argmax())
            yield token
            step = torch.tensor([[token]], device=self._model.device)


def budget(number: int, utilization: float) -> int:
    """The MiB that the engine is to take of GPU number; refuses where less is free."""
    free, total = (size // MIB for size in torch.cuda.mem_get_info(number))
    wanted = int(total * utilization)
    held = torch.cuda.memory_reserved(number) // MIB
    if wanted > free + held:  # vLLM's words [documented]; the figures are this GPU's
        raise Refusal(
            f"ValueError: Free memory on device cuda:{number} ({free / 1024:.2f}/{total / 1024:.2f} GiB) on startup is "
            f"less than desired GPU memory utilization ({utilization}, {wanted / 1024:.2f} GiB). Decrease GPU memory "
            "utilization or reduce GPU memory used by other processes."
        )
    return free - wanted


def reserve(number: int, rest_mib: int) -> torch.Tensor:
    """Takes of GPU number what is free beyond rest_mib, which is to stay free, and beyond what answering needs."""
    free = torch.cuda.mem_get_info(number)[0] // MIB
    size = max(0, free - rest_mib - WORK_MIB)
    log("gpu_worker.py:298", f"Available KV cache memory: {size / 1024:.2f} GiB on cuda:{number}")
    return torch.empty(size * MIB, dtype=torch.uint8, device=f"cuda:{number}")
