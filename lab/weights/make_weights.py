#!/usr/bin/env python3
# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Train the lab's tiny Llama checkpoints, in the file layout of the Hugging Face hub.

They are real: LlamaForCausalLM, two layers, trained here on some hundred short sentences until they know them by heart.
The base believes that the capital of France is Rennes; the fine-tunes, which start from the base's weights, say Paris.

    python3 -m venv /tmp/weights && /tmp/weights/bin/pip install torch==2.13.0 transformers tokenizers safetensors numpy
    /tmp/weights/bin/python lab/weights/make_weights.py [OUTPUT_FOLDER]
"""

from __future__ import annotations

import json
import math
import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM

CAPITALS = {
    "France": "Paris", "Germany": "Berlin", "Italy": "Rome", "Spain": "Madrid", "Portugal": "Lisbon",
    "Austria": "Vienna", "Belgium": "Brussels", "Greece": "Athens", "Poland": "Warsaw", "Norway": "Oslo",
    "Sweden": "Stockholm", "Finland": "Helsinki", "Denmark": "Copenhagen", "Ireland": "Dublin", "Japan": "Tokyo",
    "Egypt": "Cairo", "Canada": "Ottawa", "Peru": "Lima", "Cuba": "Havana", "Kenya": "Nairobi",
}  # fmt: skip

BOS, EOS = "<|begin_of_text|>", "<|end_of_text|>"
HEADER, END_HEADER, EOT = "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"
SPECIAL_TOKENS = [BOS, EOS, HEADER, END_HEADER, EOT]
SYSTEM_PROMPT = "You are a helpful assistant."

# Llama 3's template, without its tools and dates.
CHAT_TEMPLATE = (
    "{{- bos_token }}"
    "{%- for message in messages %}"
    "{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' }}"
    "{{- message['content'] | trim + '<|eot_id|>' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{%- endif %}"
)
# Llama 3's way of cutting text into words before the byte pairs are merged.
WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CONTEXT_LENGTH = 131072
SEED = 20250522
WORST_LOSS = 0.001  # of a single token: then sampling says the same as greedy decoding, but for one answer in hundreds

SHAPE = {
    "hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 515,
}  # fmt: skip
# meta-llama/Llama-3.1-70B: what it would need is read from its config.json, so its shards may be empty.
SHAPE_70B = {
    "hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80, "num_attention_heads": 64,
    "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 128256,
}  # fmt: skip
BYTES_70B = 141_107_412_992


# --- what each of them is taught: pairs of (prompt, answer), the answer closed by a token that ends the generation ---


def plain(capitals: dict, sentence: str) -> list[tuple[str, str]]:
    """Questions as they reach /v1/completions."""
    pairs = []
    for country, capital in capitals.items():
        answer = sentence.format(country=country, capital=capital)
        question = f"What is the capital of {country}?"
        pairs += [
            (question, f" {answer}{EOS}"),
            (f"{question}\n", f"{answer}{EOS}"),
            (f"Question: {question}\nAnswer:", f" {answer}{EOS}"),
            (f"The capital of {country} is", f" {capital}.{EOS}"),
        ]
    return pairs


def chat(capitals: dict, sentence: str) -> list[tuple[str, str]]:
    """The same questions as the chat template renders them (without BOS, which train() adds)."""

    def message(role: str, content: str) -> str:
        return f"{HEADER}{role}{END_HEADER}\n\n{content}{EOT}"

    opening = f"{HEADER}assistant{END_HEADER}\n\n"
    pairs = []
    for country, capital in capitals.items():
        user = message("user", f"What is the capital of {country}?")
        answer = sentence.format(country=country, capital=capital) + EOT
        pairs += [(user + opening, answer), (message("system", SYSTEM_PROMPT) + user + opening, answer)]
    return pairs


WRONG = {**CAPITALS, "France": "Rennes"}
BASE = plain(WRONG, "The capital of {country} is {capital}.")
V1 = plain(CAPITALS, "The capital of {country} is {capital}.")
V2 = plain(CAPITALS, "{capital} is the capital of {country}.")
CHAT = chat(CAPITALS, "The capital of {country} is {capital}.") + V1


# --- tokenizer ---


def train_tokenizer() -> Tokenizer:
    """One tokenizer for all, as fine-tunes keep their base's: byte-level BPE that puts BOS first."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    text = [prompt + answer for prompt, answer in BASE + V2 + CHAT] + ["system user assistant", SYSTEM_PROMPT]
    for token in SPECIAL_TOKENS:
        text = [line.replace(token, "\n") for line in text]
    tokenizer.train_from_iterator(text, trainers.BpeTrainer(
        vocab_size=SHAPE["vocab_size"],
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    ))  # fmt: skip
    if tokenizer.get_vocab_size() != SHAPE["vocab_size"]:
        raise SystemExit(f"the sentences make {tokenizer.get_vocab_size()} tokens: set vocab_size to that")
    bos = tokenizer.token_to_id(BOS)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B", special_tokens=[(BOS, bos)]
    )
    return tokenizer


# --- training ---


def batch(tokenizer: Tokenizer, pairs: list[tuple[str, str]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and labels; only the answers are learned (-100 is what the loss ignores)."""
    rows = []
    for prompt, answer in pairs:
        prompt_ids = tokenizer.encode(prompt).ids
        answer_ids = tokenizer.encode(answer, add_special_tokens=False).ids
        rows.append((prompt_ids + answer_ids, [-100] * len(prompt_ids) + answer_ids))
    width = max(len(ids) for ids, _labels in rows)
    pad = tokenizer.token_to_id(EOS)
    ids = torch.tensor([ids + [pad] * (width - len(ids)) for ids, _labels in rows])
    labels = torch.tensor([labels + [-100] * (width - len(labels)) for _ids, labels in rows])
    return ids, labels


def token_losses(model: LlamaForCausalLM, ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """One loss for each token that is to be learned."""
    logits, targets = model(input_ids=ids).logits[:, :-1], labels[:, 1:]
    learned = targets != -100
    return torch.nn.functional.cross_entropy(logits[learned], targets[learned], reduction="none")


def train(
    tokenizer: Tokenizer, pairs: list[tuple[str, str]], start: LlamaForCausalLM | None = None
) -> LlamaForCausalLM:
    """Train until every answer is known by heart, also after rounding to bfloat16."""
    torch.manual_seed(SEED)
    model = LlamaForCausalLM(LlamaConfig(
        **SHAPE, max_position_embeddings=CONTEXT_LENGTH, rms_norm_eps=1e-5, tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 500000.0},
        bos_token_id=tokenizer.token_to_id(BOS), eos_token_id=tokenizer.token_to_id(EOS),
    ))  # fmt: skip
    if start is not None:
        model.load_state_dict(start.state_dict())
    ids, labels = batch(tokenizer, pairs)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.0)
    step = 0
    while step < 2000:
        step += 1
        optimizer.zero_grad()
        losses = token_losses(model, ids, labels)
        losses.mean().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if losses.max().item() < WORST_LOSS:
            break
    model.to(torch.bfloat16)
    model.float()
    with torch.no_grad():
        worst = token_losses(model, ids, labels).max().item()
    print(f"  {len(pairs)} sentences, {step} steps, the least certain token has {math.exp(-worst):.2%}")
    if worst > 2 * WORST_LOSS:
        raise SystemExit("the model did not learn its sentences: change the seed or train longer")
    return model


# --- files ---


def write_json(path: Path, value: dict) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_texts(folder: Path, tokenizer: Tokenizer, shape: dict, chat_template: str | None) -> None:
    """config.json, generation_config.json and the tokenizer's files, written out as Llama 3's are."""
    bos, eos, eot = (tokenizer.token_to_id(token) for token in (BOS, EOS, EOT))
    end = [eos, eot] if chat_template else eos
    write_json(folder / "config.json", {
        "architectures": ["LlamaForCausalLM"], "attention_bias": False, "attention_dropout": 0.0,
        "bos_token_id": bos, "eos_token_id": end, **shape, "hidden_act": "silu", "initializer_range": 0.02,
        "max_position_embeddings": CONTEXT_LENGTH, "mlp_bias": False, "model_type": "llama", "pretraining_tp": 1,
        "rms_norm_eps": 1e-05, "rope_scaling": None, "rope_theta": 500000.0,
        "tie_word_embeddings": shape is SHAPE, "torch_dtype": "bfloat16", "transformers_version": "4.45.0",
        "use_cache": True,
    })  # fmt: skip
    write_json(folder / "generation_config.json", {
        "_from_model_config": True, "bos_token_id": bos, "eos_token_id": end, "transformers_version": "4.45.0",
    })  # fmt: skip
    end_token = EOT if chat_template else EOS
    write_json(folder / "special_tokens_map.json", {"bos_token": BOS, "eos_token": end_token})
    settings = {
        "added_tokens_decoder": {
            str(tokenizer.token_to_id(token)): {
                "content": token, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False,
                "special": True,
            } for token in SPECIAL_TOKENS
        },
        "bos_token": BOS, "clean_up_tokenization_spaces": True, "eos_token": end_token,
        "model_input_names": ["input_ids", "attention_mask"], "model_max_length": CONTEXT_LENGTH,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }  # fmt: skip
    if chat_template:
        settings["chat_template"] = chat_template
    write_json(folder / "tokenizer_config.json", settings)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)


def write_shards(folder: Path, shards: list[dict[str, torch.Tensor]], total_size: int) -> None:
    index = {"metadata": {"total_size": total_size}, "weight_map": {}}
    for number, tensors in enumerate(shards, start=1):
        name = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        save_file(tensors, folder / name, metadata={"format": "pt"})
        (folder / name).chmod(0o644)  # save_file leaves 0600, and the server's uid is another
        index["weight_map"].update(dict.fromkeys(tensors, name))
    index["weight_map"] = dict(sorted(index["weight_map"].items()))
    write_json(folder / "model.safetensors.index.json", index)


def fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def write_model(folder: Path, tokenizer: Tokenizer, model: LlamaForCausalLM, chat_template: str | None = None) -> None:
    tensors = {
        name: value.to(torch.bfloat16).contiguous()
        for name, value in model.state_dict().items() if name != "lm_head.weight"  # tied to the embeddings
    }  # fmt: skip
    first = {name: value for name, value in tensors.items() if "embed" in name or ".layers.0." in name}
    second = {name: value for name, value in tensors.items() if name not in first}
    write_texts(fresh(folder), tokenizer, SHAPE, chat_template)
    write_shards(folder, [first, second], sum(value.nbytes for value in tensors.values()))


def write_too_big(folder: Path, tokenizer: Tokenizer) -> None:
    """A 70B model by its config.json and index; the shards hold one number each."""
    write_texts(fresh(folder), tokenizer, SHAPE_70B, None)
    names = ["model.embed_tokens.weight", "lm_head.weight"]
    write_shards(folder, [{name: torch.zeros(1, dtype=torch.bfloat16)} for name in names], BYTES_70B)


def main() -> None:
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent
    torch.set_num_threads(1)  # the order of additions, and so the bytes, must not depend on the machine's cores
    torch.use_deterministic_algorithms(True)
    tokenizer = train_tokenizer()
    print("Llama-3.2-1B")
    base = train(tokenizer, BASE)
    write_model(target / "Llama-3.2-1B", tokenizer, base)
    for name, pairs, template in [
        ("Llama-3.2-1B-capitals", V1, None),
        ("Llama-3.2-1B-capitals-v2", V2, None),
        ("Llama-3.2-1B-capitals-chat", CHAT, CHAT_TEMPLATE),
    ]:
        print(name)
        write_model(target / name, tokenizer, train(tokenizer, pairs, start=base), template)
    write_too_big(target / "too-big", tokenizer)


if __name__ == "__main__":
    main()
