# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The memory that the plan predicts, beside what a GPU reports.

    memory.py                 the table, for every shape and length
    memory.py SHAPE           what one shape takes, measured in this process, as JSON

A model of each shape with random weights in bf16 is made on the GPU by transformers, with a KV cache of the whole
length, and answers a prompt of 2048 tokens with 64. It needs an NVIDIA GPU, torch and transformers.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "collections"))

from ansible_collections.llmops.nim.plugins.module_utils import _checkpoint_facts, _contract, _memory

ROOT = Path(__file__).resolve().parents[2]
MIB = 1024**2
LENGTHS = (2048, 16384, 65536, 131072)
PROMPT, ANSWER = 2048, 64

_LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "torch_dtype": "bfloat16",
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "rope_theta": 500000.0,
}
# What their config.json says of the memory.
SHAPES = {
    "Llama 3.2 1B": dict(
        _LLAMA,
        hidden_size=2048,
        intermediate_size=8192,
        num_hidden_layers=16,
        num_attention_heads=32,
        head_dim=64,
        tie_word_embeddings=True,
    ),
    "Llama 3.2 3B": dict(
        _LLAMA,
        hidden_size=3072,
        intermediate_size=8192,
        num_hidden_layers=28,
        num_attention_heads=24,
        head_dim=128,
        tie_word_embeddings=True,
    ),
    "Llama 3.1 8B": dict(
        _LLAMA,
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=32,
        num_attention_heads=32,
        head_dim=128,
        tie_word_embeddings=False,
    ),
}


def predicted(config, length):
    """What the plan reckons for the settings (dict) at a length: dict of _memory.need()."""
    facts = _checkpoint_facts.gather({}, [], "huggingface", {"config.json": config}, None)
    return _memory.need(facts, 1, _contract.CONTRACTS["model_free"].overhead, length)


def used_mib():
    """Memory in use on GPU 0 as nvidia-smi reports it (int)."""
    command = ["nvidia-smi", "--id=0", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    return int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


def measure(config):
    """What the settings (dict) take of GPU 0: dict of before, context, weights (MiB) and lengths, a list of dict."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache, StaticCache

    before = used_mib()
    torch.zeros(1, device="cuda")
    context = used_mib() - before
    about = AutoConfig.for_model(**config)
    with torch.device("cuda"), torch.inference_mode():
        model = AutoModelForCausalLM.from_config(about, dtype=torch.bfloat16).eval()
    found = {"before": before, "context": context, "weights": torch.cuda.memory_allocated() // MIB, "lengths": []}
    for length in LENGTHS:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        cache = StaticCache(config=about, max_cache_len=length)
        cache.early_initialization(1, about.num_key_value_heads, about.head_dim, torch.bfloat16, torch.device("cuda"))
        kv = (torch.cuda.memory_allocated() - held) // MIB
        with torch.inference_mode():
            answer(torch, model, DynamicCache(config=about))
        torch.cuda.synchronize()
        peak = torch.cuda.max_memory_allocated() // MIB
        found["lengths"].append({"length": length, "kv": kv, "peak": peak, "used": used_mib() - before})
        del cache
    return found


def answer(torch, model, cache):
    """Read a prompt and answer it, as an engine would."""
    tokens = torch.randint(1000, 100000, (1, PROMPT), device="cuda")
    for _number in range(ANSWER):
        logits = model(input_ids=tokens, past_key_values=cache, use_cache=True, logits_to_keep=1).logits
        tokens = logits[:, -1:].argmax(-1)


def table():
    """The lines (str) of predicted and measured, one for each shape and length."""
    yield "| shape | tokens | weights + KV: plan | allocated | differs | in all: plan | GPU reports | all else |"
    yield "|---|---|---|---|---|---|---|---|"
    for name, config in SHAPES.items():
        output = subprocess.run([sys.executable, __file__, name], check=True, stdout=subprocess.PIPE, text=True).stdout
        found = json.loads(output.splitlines()[-1])
        for one in found["lengths"]:
            plan = predicted(config, one["length"])
            core, there = plan["weights_mib"] + plan["kv_mib"], found["weights"] + one["kv"]
            yield (
                f"| {name} | {one['length']} | {core} | {there} | {(core - there) / there:+.1%} | {plan['total_mib']} "
                f"| {one['used']} | {one['used'] - there} |"
            )
        yield f"| | | | | | | CUDA context alone: {found['context']} | |"


def main(arguments):
    if arguments:
        print(json.dumps(measure(SHAPES[arguments[0]])))
        return
    for line in table():
        print(line, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
