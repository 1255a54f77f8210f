# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Whether a repository's files are a model that NIM can load, and what is known of the model in it.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import json
import re

from ansible_collections.llmops.nim.plugins.module_utils import _checkpoint_doubts, _checkpoint_facts
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

CONFIG, INDEX, TOKENIZER_CONFIG = "config.json", "model.safetensors.index.json", "tokenizer_config.json"
GENERATION_CONFIG, QUANT_CONFIG = "generation_config.json", "hf_quant_config.json"
# The files whose text inspect() looks at.
TEXTS = (CONFIG, INDEX, TOKENIZER_CONFIG, GENERATION_CONFIG, QUANT_CONFIG)

FORMATS = ("huggingface", "trtllm_checkpoint", "trtllm_engine", "adapter")
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
# What a trainer leaves beside the weights, pickles as well.
_TRAINER = re.compile(r"(training_args|optimizer|scheduler|rng_state|scaler)\b")
_HUB_CACHE = re.compile(r"(?:models--[^/]+/)?(?:blobs|refs|snapshots)/")
_LAYOUT = (
    "https://docs.nvidia.com/nim/large-language-models/1.15.0/ft-support.html: config.json, tokenizer files and "
    "safetensors with their index are what a NIM reads"
)


def has_weights(paths):
    """Whether there are weights other than pickles among paths (iterable of str)."""
    return any(path.endswith((".safetensors", ".engine")) for path in paths)


def pickles(paths):
    """Those of paths (iterable of str) that hold weights as pickle (sorted list)."""
    return sorted(path for path in paths if _PICKLE.match(path) and not _TRAINER.match(path))


def inspect(files, texts, untracked=(), headers=None, pickle=False):
    """What stands in the way of serving a checkpoint (list of Problem), what is doubtful (list of Problem), and the
    facts (dict, see _checkpoint_facts.KEYS).

    files: path -> size in bytes; texts: the content (bytes) of those of TEXTS that are there and could be read;
    untracked: the paths that hold an LFS pointer but are not marked filter=lfs in .gitattributes; headers: path ->
    tensors (name -> Tensor), or the Problem with them, of the safetensors files whose headers were read; pickle:
    whether weights may be pickles.
    """
    problems = []
    documents = {name: _json(name, texts, problems) for name in TEXTS}
    kind = _kind(files)
    shards, missing = ([], []) if kind == "hub_cache" else _weights(files, documents[INDEX], kind == "adapter", pickle)
    problems += missing + _layout(files, kind)
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
    read = {path: headers[path] for path in shards if path in (headers or {})}
    problems += [found for _path, found in sorted(read.items()) if isinstance(found, Problem)]
    by_shard = {path: found for path, found in read.items() if not isinstance(found, Problem)}
    tensors = None
    if shards and not missing and len(by_shard) == len(shards):
        tensors = {name: tensor for found in by_shard.values() for name, tensor in found.items()}
    facts = _checkpoint_facts.gather(files, shards, kind if kind in FORMATS else None, documents, tensors)
    problems += _checkpoint_doubts.misfits(facts, documents[INDEX], by_shard)
    problems += _checkpoint_doubts.spaces(path for path in shards)
    warnings = []
    if kind in FORMATS and kind != "adapter":
        warnings = _checkpoint_doubts.doubts(files, shards, documents, facts, tensors)
    return problems, warnings, facts


def weight_paths(files, texts):
    """The paths (list of str) of those weights that are there; the arguments as in inspect()."""
    kind = _kind(files)
    return [] if kind == "hub_cache" else _weights(files, _json(INDEX, texts, []), kind == "adapter", True)[0]


def _kind(files):
    """One of FORMATS, "hub_cache", or None."""
    if "adapter_config.json" in files and CONFIG not in files:
        return "adapter"
    if INDEX in files or _SINGLE in files:
        return "huggingface"
    if CONFIG not in files and any(_HUB_CACHE.match(path) for path in files):
        return "hub_cache"
    for folder, kind in (("trtllm_engine/", "trtllm_engine"), ("trtllm_ckpt/", "trtllm_checkpoint")):
        if any(path.startswith(folder) for path in files):
            return kind
    return "huggingface" if any(map(_SHARD.match, files)) or pickles(files) else None


def _layout(files, kind):
    """The problems with which files there are, the weights left aside."""
    if kind == "adapter":
        return [
            Problem(
                "The repository holds a LoRA adapter, not a model.",
                "adapter_config.json is there, config.json is not",
                "Merge the adapter into its base model (peft: merge_and_unload) and publish the result.",
                "adapter_only",
            )
        ]
    if kind == "hub_cache":
        return [
            Problem(
                "The repository holds a hub's cache directory, not a model.",
                _listing(files),
                "Publish the files of snapshots/<commit> themselves, not the links: cp --recursive --dereference.",
                "hub_cache",
                "observed: links that lead out of their directory end in: Invalid repository ID or local directory",
            )
        ]
    problems = []
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
    return problems


def _json(name, texts, problems):
    """The JSON object (dict) called name, {} where there is none; what is wrong with it goes to problems."""
    if name not in texts:
        return {}
    if texts[name].startswith(b"version https://git-lfs"):
        problems.append(
            Problem(
                f"{name} holds the text of a git-lfs pointer: it was uploaded in the place of the file.",
                f"it begins with {texts[name][:40]!r}",
                "Publish the real file: run git lfs pull where it was uploaded from, then upload it again.",
                "pointer_instead_of_file",
            )
        )
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


def _weights(files, index, adapter_only, pickle):
    """The paths of the weights (list of str), and the problems with them. pickle: whether they may be pickles."""
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
    found = pickles(files)
    if found and pickle:
        return found, []
    if found:
        return [], [
            Problem(
                "The weights are there as pickle only.",
                ", ".join(found[:10]),
                "Publish them as safetensors (save_pretrained(safe_serialization=True)): a pickle runs code when read. "
                "If you trust its author and the NIM reads it, name the repository in weights_allow_pickle.",
                "pickle_only",
                _LAYOUT,
            )
        ]
    return [], [
        Problem(
            "There are no weights.",
            f"neither {_SINGLE} nor {INDEX}; " + _listing(files),
            "Publish the weights as safetensors; a TensorRT-LLM checkpoint belongs into the directory trtllm_ckpt.",
            "no_weights",
            _LAYOUT,
        )
    ]


def _listing(files):
    names = sorted(files)
    return f"{len(names)} files: " + ", ".join(names[:10]) + (", …" if len(names) > 10 else "")
