# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What is known of a model from its settings, the names of its files and its safetensors headers.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

from ansible_collections.llmops.nim.plugins.module_utils._safetensors import is_whole

# All facts of a checkpoint; one that its files do not tell is None.
KEYS = (
    "architecture", "model_type", "dtype", "precision", "quantization", "parameters", "max_position_embeddings",
    "vocab_size", "embedding_rows", "layers", "attention_heads", "kv_heads", "head_dim", "hidden_size",
    "kv_bytes_per_token", "has_chat_template", "custom_code", "adapter_only", "format", "weight_files", "weight_bytes",
    "bytes",
)  # fmt: skip

# As the names of profiles give it.
PRECISIONS = {"bfloat16": "bf16", "float16": "fp16"}

# The names of types in safetensors headers, as config.json has them.
_STORED = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}

# Bytes that a parameter takes; of what is quantised otherwise, at least: two bits.
BYTES_PER_PARAMETER = {"bf16": 2, "fp16": 2, "fp8": 1}
LEAST_BYTES_PER_PARAMETER = 0.25

_KV_ELEMENT_BYTES = 2  # bf16 and fp16, which engines take for the cache unless told otherwise
_CHAT_TEMPLATES = {"chat_template.jinja", "chat_template.json"}
_EMBEDDINGS = (
    "embed_tokens.weight",
    "wte.weight",
    "word_embeddings.weight",
    "embed_in.weight",
    "tok_embeddings.weight",
)

# Dense models of Llama's build: attention with grouped heads, a gated MLP of three matrices, two norms a layer.
_LIKE_LLAMA = ("llama", "mistral", "qwen2", "qwen3", "phi3", "gemma")
# These leave the output matrix out of their files unless the settings say otherwise.
_TIED_BY_DEFAULT = ("gemma",)

# Settings of models whose cache is not the same for each layer and token.
_UNEVEN_CACHE = (
    "kv_lora_rank", "attention_chunk_size", "block_configs", "hybrid_override_pattern", "layers_block_type",
    "attn_layer_period", "full_attention_interval", "state_size", "mamba_num_heads", "cross_attention_layers",
)  # fmt: skip


def gather(files, shards, kind, documents, tensors):
    """The facts (dict with the KEYS).

    files: path -> size in bytes; shards: the paths of the weights; kind: the format (str); documents: name -> dict, the
    JSON files; tensors: name -> Tensor of all shards, or None where not all headers were read.
    """
    config = Settings(documents.get("config.json", {}))
    method, precision = _quantization(config, documents.get("hf_quant_config.json", {}))
    dtype = config.text("torch_dtype") or config.text("dtype") or stored_dtype(tensors)
    adapter_only = kind == "adapter"
    heads, hidden = config.count("num_attention_heads"), config.count("hidden_size")
    tokenizer_config = documents.get("tokenizer_config.json", {})
    facts = {
        "architecture": config.architecture(),
        "model_type": config.outer("model_type"),
        "dtype": dtype,
        "precision": precision if method else PRECISIONS.get(dtype),
        "quantization": method,
        "max_position_embeddings": config.count("max_position_embeddings"),
        "vocab_size": config.count("vocab_size"),
        "embedding_rows": embedding_rows(tensors),
        "layers": config.count("num_hidden_layers"),
        "attention_heads": heads,
        "kv_heads": config.count("num_key_value_heads") or heads,
        "head_dim": config.count("head_dim") or (hidden // heads if hidden and heads else None),
        "hidden_size": hidden,
        "has_chat_template": bool(tokenizer_config.get("chat_template") or _CHAT_TEMPLATES.intersection(files)),
        "custom_code": any("auto_map" in document for document in documents.values()),
        "adapter_only": adapter_only,
        "format": kind,
        "weight_files": len(shards),
        "weight_bytes": sum(files[path] for path in shards),
        "bytes": sum(files.values()),
    }
    facts["kv_bytes_per_token"] = _kv_bytes_per_token(config, facts)
    facts["parameters"] = None if adapter_only else _parameters(config, facts, tensors)
    return facts


class Settings:
    """A config.json (dict), whose values are used only where they make sense."""

    def __init__(self, config):
        self._config = config
        text = config.get("text_config")  # multimodal models keep the language model's settings there
        self._nested = text if isinstance(text, dict) else {}

    def said(self, name):
        """The value as it is written, or None."""
        return self._config.get(name) if self._config.get(name) is not None else self._nested.get(name)

    def count(self, name):
        """A positive whole number, or None."""
        value = self.said(name)
        return value if is_whole(value) and value > 0 else None

    def text(self, name):
        """A str, or None."""
        value = self.said(name)
        return value if isinstance(value, str) else None

    def outer(self, name):
        """A str of the whole model, not of its language model alone; or None."""
        value = self._config.get(name)
        return value if isinstance(value, str) else None

    def architecture(self):
        named = self._config.get("architectures")
        return str(named[0]) if isinstance(named, list) and named else None


def embedding_rows(tensors):
    """How many tokens the embedding matrix has a row for (int); None where no header tells."""
    rows = [
        tensor.shape[0]
        for name, tensor in (tensors or {}).items()
        if len(tensor.shape) == 2 and name.endswith(_EMBEDDINGS) and "position" not in name and "visual" not in name
    ]
    return max(rows) if rows else None


def stored_dtype(tensors):
    """The type, as config.json would call it of most of the tensors' bytes; None for others than floats."""
    sizes = {}
    for tensor in (tensors or {}).values():
        sizes[tensor.dtype] = sizes.get(tensor.dtype, 0) + tensor.bytes
    return _STORED.get(max(sizes, key=sizes.get)) if sizes else None


def elements(tensors):
    """The number of numbers (int) in tensors (name -> Tensor)."""
    total = 0
    for tensor in tensors.values():
        count = 1
        for length in tensor.shape:
            count *= length
        total += count
    return total


def implied_parameters(config):
    """How many parameters a dense model of these Settings has (int); None for a build that is not known.

    Biases and further norms, less than a thousandth, are left out.
    """
    if config.outer("model_type") not in _LIKE_LLAMA:
        return None
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
    hidden, inner, layers, heads, vocabulary = (config.count(name) for name in names)
    if not all((hidden, inner, layers, heads, vocabulary)):
        return None
    head = config.count("head_dim") or hidden // heads
    kv_heads = config.count("num_key_value_heads") or heads
    layer = 2 * hidden * head * (heads + kv_heads) + 3 * hidden * inner + 2 * hidden
    tied = config.said("tie_word_embeddings")
    if tied is None:
        tied = config.outer("model_type") in _TIED_BY_DEFAULT
    return vocabulary * hidden * (1 if tied else 2) + layers * layer + hidden


def contradiction(config, facts, tensors):
    """By what factor the settings describe a larger model than there are weights for (float), or None.

    Half as large again is taken for a contradiction; less may be a build that differs in detail.
    """
    implied = implied_parameters(config)
    if not implied or tensors is None or facts["adapter_only"] or facts["format"] != "huggingface":
        return None
    # What is quantised is packed: only its bytes can be compared.
    there = facts["weight_bytes"] / LEAST_BYTES_PER_PARAMETER if facts["quantization"] else elements(tensors)
    factor = implied / max(there, 1)
    return factor if factor > 1.5 else None


def _parameters(config, facts, tensors):
    """From the tensors; from the settings where the tensors are packed, not read, or too few for them."""
    if tensors is not None and not facts["quantization"] and not contradiction(config, facts, tensors):
        return elements(tensors)
    return implied_parameters(config)


def _quantization(config, quant_config):
    """The method and the precision (each str or None) of quantised weights; (None, None) for others."""
    said = config.said("quantization_config")
    if isinstance(said, dict) and said:
        method = str(said.get("quant_method") or "unknown")
        if method == "compressed-tensors":
            return method, "fp8" if _all_float8(said.get("config_groups")) else None
        return method, "fp8" if "fp8" in f"{method} {said.get('quant_algo')}".lower() else None
    # What TensorRT Model Optimizer writes beside config.json.
    inner = quant_config.get("quantization")
    algorithm = inner.get("quant_algo") if isinstance(inner, dict) else None
    if isinstance(algorithm, str) and algorithm:
        return algorithm.lower(), "fp8" if algorithm.upper().startswith("FP8") else None
    return None, None


def _all_float8(groups):
    """Whether each group of a compressed-tensors checkpoint has weights of 8-bit floats."""
    groups = list(groups.values()) if isinstance(groups, dict) else []
    weights = [group.get("weights") if isinstance(group, dict) else None for group in groups]
    return bool(weights) and all(
        isinstance(one, dict) and one.get("num_bits") == 8 and one.get("type") == "float" for one in weights
    )


def _kv_bytes_per_token(config, facts):
    """Of the key-value cache, all GPUs together (int); None where a layer or a token may take less than another."""
    shape = (facts["layers"], facts["kv_heads"], facts["head_dim"])
    if not all(shape) or any(config.said(name) for name in _UNEVEN_CACHE) or _slides(config):
        return None
    return 2 * shape[0] * shape[1] * shape[2] * _KV_ELEMENT_BYTES


def _slides(config):
    """Whether some layers keep only the last tokens, or no cache at all."""
    kinds = config.said("layer_types")
    if isinstance(kinds, list) and kinds:
        return any(kind != "full_attention" for kind in kinds)
    return bool(config.said("sliding_window")) and config.said("use_sliding_window") is not False
