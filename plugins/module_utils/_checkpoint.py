# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What a repository's files say about the model in it, and whether they are a model that NIM can load.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import json
import re

from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

CONFIG, INDEX, TOKENIZER_CONFIG = "config.json", "model.safetensors.index.json", "tokenizer_config.json"
# The files whose text inspect() looks at.
TEXTS = (CONFIG, INDEX, TOKENIZER_CONFIG)

# As the names of profiles give it; what is quantised, or of another type, has no such word.
PRECISIONS = {"bfloat16": "bf16", "float16": "fp16"}
_SINGLE = "model.safetensors"
_TOKENIZERS = (
    ("tokenizer.json",),
    ("tokenizer.model",),
    ("tekken.json",),
    ("tiktoken.model",),
    ("vocab.json", "merges.txt"),
)
_SHARD = re.compile(r"model-(\d{5})-of-(\d{5})\.safetensors\Z")
_PICKLE = re.compile(r"[^/]+\.(bin|pt|pth|ckpt)\Z")
_LAYOUT = (
    "https://docs.nvidia.com/nim/large-language-models/1.15.0/ft-support.html: config.json, tokenizer files and "
    "safetensors with their index are what a NIM reads"
)


def inspect(files, texts, untracked=()):
    """The problems (list of Problem) and the facts (dict) of a checkpoint.

    files: path -> size in bytes; texts: the content (bytes) of those of TEXTS that are there and could be read;
    untracked: the paths that hold an LFS pointer but are not marked filter=lfs in .gitattributes.
    """
    problems = []
    config = _json(CONFIG, texts, problems)
    index = _json(INDEX, texts, problems)
    tokenizer_config = _json(TOKENIZER_CONFIG, texts, problems)
    adapter_only = "adapter_config.json" in files and CONFIG not in files
    shards, missing = _weights(files, index, adapter_only)
    problems += missing

    if adapter_only:
        problems.append(
            Problem(
                "The repository holds a LoRA adapter, not a model.",
                "adapter_config.json is there, config.json is not",
                "Merge the adapter into its base model (peft: merge_and_unload) and publish the result.",
                "adapter_only",
            )
        )
    else:
        if CONFIG not in files:
            problems.append(
                Problem(
                    "config.json is missing.", _listing(files), "Publish the model's config.json.", "no_config", _LAYOUT
                )
            )
        if not any(all(name in files for name in names) for names in _TOKENIZERS):
            problems.append(
                Problem(
                    "The tokenizer is missing.",
                    _listing(files),
                    "Publish tokenizer.json (or tokenizer.model) and tokenizer_config.json; "
                    "checkpoints exported from NeMo need them copied from the base model.",
                    "no_tokenizer",
                    _LAYOUT,
                )
            )
    needed = {*shards, *TEXTS, *(name for names in _TOKENIZERS for name in names)}
    problems += [
        Problem(
            f"{path} is the text of a git-lfs pointer, not the file itself.",
            f"its text names an LFS object of {files[path]} bytes, but .gitattributes does not give it filter=lfs",
            f"Publish it again with git-lfs on: git lfs track {path!r}, then add and commit the real file.",
            "pointer_instead_of_file",
        )
        for path in sorted(needed.intersection(untracked))
    ]
    return problems, _facts(files, shards, config, tokenizer_config, adapter_only)


def header_problem(path, head, size):
    """The Problem of a safetensors file of that size whose first bytes are head (bytes, 8 or more), or None."""
    if head.startswith(b"version "):
        return Problem(
            f"{path} holds the text of a git-lfs pointer: it was uploaded in the place of the weights.",
            f"{size} bytes that begin with {head[:40]!r}",
            "Publish the real file: run git lfs pull where it was uploaded from, then upload it again.",
            "pointer_instead_of_file",
        )
    length = int.from_bytes(head[:8], "little")
    if len(head) < 8 or length + 8 > size:
        return Problem(
            f"{path} is no complete safetensors file.",
            f"its header would be {length} bytes long, the file is {size}",
            "Publish the file again; the upload was cut or is of another format.",
            "safetensors_header",
            "NIM fails on it with SafetensorError: Error while deserializing header",
        )
    return None


def _json(name, texts, problems):
    if name not in texts:
        return {}
    try:
        value = json.loads(texts[name].decode("utf-8"))
        if isinstance(value, dict):
            return value
        seen = f"it is a {type(value).__name__}, not an object"
    except (ValueError, RecursionError) as error:
        seen = f"{error}; it begins with {texts[name][:40]!r}"
    problems.append(Problem(f"{name} is not valid JSON.", seen, "Publish the file again.", "invalid_json"))
    return {}


def _weights(files, index, adapter_only):
    """The paths of the weights (list of str), and the problems with them."""
    engine = sorted(path for path in files if path.startswith(("trtllm_ckpt/", "trtllm_engine/")))
    if INDEX in files:
        named = index.get("weight_map")
        if not isinstance(named, dict) or not named:
            if not index:
                return [], []  # not read yet, or told as invalid JSON
            evidence = "it has no weight_map"
            return [], [
                Problem(f"{INDEX} names no shard.", evidence, "Publish the index again.", "no_weights", _LAYOUT)
            ]
        shards = sorted({str(name) for name in named.values()})
        gone = [name for name in shards if name not in files]
        if not gone:
            return shards, []
        return [name for name in shards if name in files], [
            Problem(
                f"{len(gone)} of the {len(shards)} shards that {INDEX} names "
                + ("is missing." if len(gone) == 1 else "are missing."),
                "missing: " + ", ".join(gone[:10]) + (", …" if len(gone) > 10 else ""),
                "Publish the missing shards; the upload was not complete.",
                "shard_missing",
            )
        ]
    if _SINGLE in files:
        return [_SINGLE], []
    if engine or adapter_only:
        return [path for path in engine if path.endswith((".safetensors", ".engine"))], []
    shards = sorted(path for path in files if _SHARD.match(path))
    if shards:
        return shards, [
            Problem(
                f"{INDEX} is missing.",
                f"there are {len(shards)} shards, such as {shards[0]}",
                "Publish the index that save_pretrained writes beside the shards.",
                "no_index",
                _LAYOUT,
            )
        ]
    pickles = sorted(path for path in files if _PICKLE.match(path))
    if pickles:
        return [], [
            Problem(
                "The weights are there as pickle only.",
                ", ".join(pickles[:10]),
                "Publish them as safetensors (save_pretrained(safe_serialization=True)); a pickle runs code when read.",
                "pickle_only",
                _LAYOUT,
            )
        ]
    return [], [
        Problem(
            "There are no weights.",
            f"neither {_SINGLE} nor {INDEX}; " + _listing(files),
            "Publish the weights as safetensors.",
            "no_weights",
            _LAYOUT,
        )
    ]


def _facts(files, shards, config, tokenizer_config, adapter_only):
    text = config.get("text_config")  # multimodal models keep the language model's settings there
    nested = text if isinstance(text, dict) else {}

    def said(name):
        return config.get(name) if config.get(name) is not None else nested.get(name)

    architectures = config.get("architectures")
    quantization = config.get("quantization_config")
    return {
        "architecture": str(architectures[0]) if isinstance(architectures, list) and architectures else None,
        "model_type": config.get("model_type"),
        "dtype": said("torch_dtype") or said("dtype"),
        "precision": None if quantization else PRECISIONS.get(str(said("torch_dtype") or said("dtype"))),
        "max_position_embeddings": said("max_position_embeddings"),
        "quantization": quantization.get("quant_method") if isinstance(quantization, dict) else None,
        "has_chat_template": bool(tokenizer_config.get("chat_template"))
        or "chat_template.jinja" in files
        or "chat_template.json" in files,
        "adapter_only": adapter_only,
        "weight_files": len(shards),
        "weight_bytes": sum(files[path] for path in shards),
    }


def _listing(files):
    names = sorted(files)
    return f"{len(names)} files: " + ", ".join(names[:10]) + (", …" if len(names) > 10 else "")
