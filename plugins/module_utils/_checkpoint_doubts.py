# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Where a checkpoint's settings, index, tokenizer and tensors do not fit each other, and what is doubtful about it.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

from ansible_collections.llmops.nim.plugins.module_utils import _checkpoint_facts
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem
from ansible_collections.llmops.nim.plugins.module_utils._safetensors import is_whole


def misfits(facts, index, by_shard):
    """The problems (list of Problem) that show once headers are read.

    index: the safetensors index (dict); by_shard: path -> tensors (name -> Tensor) of the shards that were read.
    """
    problems = []
    named = index.get("weight_map")
    gone = [
        f"{name} in {shard}"
        for name, shard in sorted((named if isinstance(named, dict) else {}).items(), key=str)
        if str(shard) in by_shard and name not in by_shard[str(shard)]
    ]
    if gone:
        problems.append(
            Problem(
                f"The index names {len(gone)} tensor{'' if len(gone) == 1 else 's'} that the shards do not have.",
                "missing: " + _few(gone),
                "Publish shards and index of one save_pretrained; these are of two.",
                "tensor_missing",
            )
        )
    rows, vocabulary = facts["embedding_rows"], facts["vocab_size"]
    if rows is not None and vocabulary and rows < vocabulary:
        problems.append(
            Problem(
                f"The embedding matrix has fewer rows than the vocabulary has tokens: {rows}, not {vocabulary}.",
                f"vocab_size in config.json is {vocabulary}; the safetensors header gives the embeddings {rows} rows",
                f"Set vocab_size to {rows} if the tokenizer has no more tokens; "
                "otherwise resize the embeddings (resize_token_embeddings) and publish the weights again.",
                "embedding_rows",
            )
        )
    return problems


def spaces(paths):
    """A Problem (in a list) if there are spaces in the paths of weights."""
    spaced = sorted(path for path in paths if " " in path)
    if not spaced:
        return []
    what = "The names of weight files have spaces."
    return [Problem(what, _few(map(repr, spaced)), _NO_SPACES, "file_name_space", _SPACES_SOURCE)]


def doubts(files, shards, documents, facts, tensors):
    """What may go wrong (list of Problem) with a checkpoint that can be served; the arguments as in facts.gather()."""
    found = []
    spaced = sorted(path for path in files if " " in path and path not in shards)
    if spaced:
        what = "Names of files have spaces."
        found.append(Problem(what, _few(map(repr, spaced)), _NO_SPACES, "file_name_space", _SPACES_SOURCE))
    if facts["custom_code"]:
        where = sorted(name for name, document in documents.items() if "auto_map" in document)
        found.append(
            Problem(
                "The checkpoint brings Python code of its own, which NIM runs only when told to.",
                "auto_map in " + ", ".join(where),
                "Read that code. If you trust it, set NIM_FORCE_TRUST_REMOTE_CODE=1 in 1.x, "
                "NIM_TRUST_CUSTOM_CODE=1 in 2.x, and allow: [remote_code].",
                "custom_code",
                "observed: the first in a multi-LLM image of 1.x; the model-free images of 2.x ignore it",
            )
        )
    found += _tokens_without_rows(documents, facts)
    if not facts["has_chat_template"]:
        found.append(
            Problem(
                "There is no chat template: the chat endpoint will answer HTTP 500.",
                "none in tokenizer_config.json, and neither chat_template.jinja nor chat_template.json is there",
                "Use /v1/completions, as the check after the start does; or add the template of the base model.",
                "no_chat_template",
                "observed with 1.8.4: Model … does not have a default chat template defined in the tokenizer.",
            )
        )
    if (_checkpoint_facts.stored_dtype(tensors) or facts["dtype"]) == "float32":
        found.append(
            Problem(
                "The weights are float32: twice the bytes to fetch and to hold for the same answers.",
                f"{facts['weight_bytes']} bytes of weights; config.json gives the dtype as {facts['dtype']}",
                "Publish them as bfloat16 (model.to(torch.bfloat16) before save_pretrained).",
                "float32",
            )
        )
    return found + _total_size(documents, files, shards, tensors) + _too_few_weights(documents, facts, tensors)


_NO_SPACES = "Rename them without spaces and publish again."
_SPACES_SOURCE = "documented: a known issue of NIM 1.5.0 with fine-tuned models"


def _tokens_without_rows(documents, facts):
    """Tokens of the tokenizer, or that end the generation, for which there is no embedding."""
    rows = facts["embedding_rows"] or facts["vocab_size"]
    added = documents.get("tokenizer_config.json", {}).get("added_tokens_decoder")
    tokens = {}
    for key, token in (added if isinstance(added, dict) else {}).items():
        if str(key).isdecimal():
            tokens[int(key[:9])] = str(token.get("content", "")) if isinstance(token, dict) else ""
    for name in ("config.json", "generation_config.json"):
        ends = documents.get(name, {}).get("eos_token_id")
        for end in ends if isinstance(ends, list) else [ends]:
            if is_whole(end):
                tokens.setdefault(end, f"eos_token_id of {name}")
    beyond = [f"{number} {tokens[number]}".strip() for number in sorted(tokens) if rows and number >= rows]
    if not beyond:
        return []
    return [
        Problem(
            f"The tokenizer has tokens that the model has no row for: there are {rows}, counted from 0.",
            _few(beyond),
            "Publish the tokenizer that the model was trained with, or resize the embeddings and train the new rows.",
            "tokens_without_rows",
        )
    ]


def _total_size(documents, files, shards, tensors):
    """Whether the index gives another size than its shards have."""
    metadata = documents.get("model.safetensors.index.json", {}).get("metadata")
    said = metadata.get("total_size") if isinstance(metadata, dict) else None
    if not is_whole(said) or not shards or not all(path in files for path in shards):
        return []
    if tensors is None:  # without the headers, the files are an upper bound
        there = sum(files[path] for path in shards)
        same = said <= there
    else:
        there = sum(tensor.bytes for tensor in tensors.values())
        same = said == there
    if same:
        return []
    return [
        Problem(
            "The index gives another size than the weights have.",
            f"total_size in model.safetensors.index.json is {said} bytes; the shards hold {there}",
            "Publish shards and index of one save_pretrained; tied weights that are counted twice do no harm.",
            "total_size",
        )
    ]


def _too_few_weights(documents, facts, tensors):
    config = _checkpoint_facts.Settings(documents.get("config.json", {}))
    factor = _checkpoint_facts.contradiction(config, facts, tensors)
    if not factor:
        return []
    implied, there = _checkpoint_facts.implied_parameters(config), _checkpoint_facts.elements(tensors)
    return [
        Problem(
            f"config.json describes a model {factor:.3g} times as large as the weights that are there.",
            f"its layers and sizes make {implied} parameters; the safetensors files hold {there} numbers "
            f"in {facts['weight_bytes']} bytes",
            "Publish config.json and weights of one model. The memory is estimated for the larger of the two.",
            "config_and_weights_differ",
        )
    ]


def _few(names):
    """The first ten, as one str."""
    names = list(names)
    return ", ".join(names[:10]) + (", …" if len(names) > 10 else "")
