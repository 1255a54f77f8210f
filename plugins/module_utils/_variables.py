# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Which C(NIM_*) variables a generation knows, and what took the place of those it does not.

A variable that NIM does not know is passed over in silence, and the service runs with other settings than wished for.
Sources: configuration pages of 1.1 to 1.15, container variants and utilities pages, index of built-in variables of
2.0.1, 2.0.4 and 2.0.10 (documented); start scripts and logs of 1.8, 1.12, 1.15 and 2.0 (observed).

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import difflib

from ansible_collections.llmops.nim.plugins.module_utils._contract import CONTRACTS, ENGINE_FLAGS
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

_EVERY = """
    NIM_CACHE_PATH NIM_JSONL_LOGGING NIM_LOG_LEVEL NIM_MAX_MODEL_LEN NIM_MODEL_PROFILE NIM_PEFT_REFRESH_INTERVAL
    NIM_PEFT_SOURCE NIM_PIPELINE_PARALLEL_SIZE NIM_REPOSITORY_OVERRIDE NIM_SERVED_MODEL_NAME NIM_SERVER_PORT
    NIM_SSL_CA_CERTS_PATH NIM_SSL_CERTS_PATH NIM_SSL_KEY_PATH NIM_SSL_MODE NIM_TENSOR_PARALLEL_SIZE
    NIM_DISABLE_CUDA_GRAPH NIM_DISABLE_MODEL_DOWNLOAD
"""
_ONE_X = """
    NIM_CHAT_TEMPLATE NIM_CUSTOM_GUIDED_DECODING_BACKENDS NIM_DISABLE_LOG_REQUESTS NIM_ENABLE_AUTO_TOOL_CHOICE
    NIM_ENABLE_KV_CACHE_HOST_OFFLOAD NIM_ENABLE_KV_CACHE_REUSE NIM_ENABLE_OTEL NIM_ENABLE_PROMPT_LOGPROBS
    NIM_FORCE_DETERMINISTIC NIM_FORCE_TRUST_REMOTE_CODE NIM_GPU_MEM_FRACTION NIM_GUIDED_DECODING_BACKEND
    NIM_KVCACHE_PERCENT NIM_KV_CACHE_HOST_MEM_FRACTION NIM_LOW_MEMORY_MODE NIM_MANIFEST_ALLOW_UNSAFE NIM_MAX_CPU_LORAS
    NIM_MAX_GPU_LORAS NIM_MAX_LORA_RANK NIM_NUM_KV_CACHE_SEQ_LENS NIM_OTEL_EXPORTER_OTLP_ENDPOINT
    NIM_OTEL_METRICS_EXPORTER NIM_OTEL_SERVICE_NAME NIM_OTEL_TRACES_EXPORTER NIM_PER_REQ_METRICS_ENABLE
    NIM_PROXY_CONNECTIVITY_TARGETS NIM_RELAX_MEM_CONSTRAINTS NIM_REWARD_LOGITS_RANGE NIM_REWARD_MODEL
    NIM_REWARD_MODEL_STRING NIM_SCHEDULER_POLICY NIM_SSL_CERT_PATH NIM_TOOL_CALL_PARSER NIM_TOOL_PARSER_PLUGIN
"""
_LATE_1_X = "NIM_USE_TRTLLM_LEGACY_BACKEND NIM_DISABLE_TRTLLM_PYTORCH_RT NIM_TELEMETRY_MODE"
_TWO = """
    NIM_ALLOW_NVFP4_EMULATION NIM_CACHE_PROBE_TIMEOUT NIM_CAPTURE_ARGS NIM_CAPTURE_ENABLE NIM_CORS_ALLOW_HEADERS
    NIM_CORS_ALLOW_METHODS NIM_CORS_ALLOW_ORIGINS NIM_CORS_EXPOSE_HEADERS NIM_CORS_MAX_AGE NIM_DRAFT_MODEL_PATH
    NIM_HEALTH_PORT NIM_MIDDLEWARE_CONFIG_PATH NIM_MODEL_PATH NIM_NGINX_DIR NIM_NUM_COMPUTE_NODES NIM_PASSTHROUGH_ARGS
    NIM_PEFT_API_TIMEOUT_SECS NIM_SAGEMAKER_MODE NIM_TAGS_SELECTOR NIM_TRUST_CUSTOM_CODE
"""


def _words(*texts):
    return frozenset(word for text in texts for word in text.split())


_FINE_TUNED = "NIM_FT_MODEL NIM_CUSTOM_MODEL_NAME"
# By the names of CONTRACTS.
KNOWN = {
    "1.0": _words(_EVERY, _ONE_X, "NIM_MODEL_NAME"),
    "1.3": _words(_EVERY, _ONE_X, _FINE_TUNED, "NIM_MODEL_NAME"),
    "1.11": _words(_EVERY, _ONE_X, _FINE_TUNED, _LATE_1_X, "NIM_MODEL_NAME"),
    "1.15": _words(_EVERY, _ONE_X, _FINE_TUNED, _LATE_1_X, "NIM_MODEL_NAME"),
    "multi_llm": _words(_EVERY, _ONE_X, _LATE_1_X, "NIM_MODEL_NAME"),
    "2": _words(_EVERY, _TWO),
    "model_free": _words(_EVERY, _TWO),
    "model_free_sglang": _words(_EVERY, _TWO, "NIM_KV_CACHE_PERCENT"),
}

_SHARE = "memory_share, which becomes {share}"
_FROM_WEIGHTS = "{weights}, which is set from weights"
# What to say instead, by generations that do not know the variable.
_INSTEAD_2 = {
    "NIM_FT_MODEL": _FROM_WEIGHTS,
    "NIM_MODEL_NAME": _FROM_WEIGHTS,
    "NIM_CUSTOM_MODEL_NAME": "nothing: 2.x builds no engine that would want a name",
    "NIM_KVCACHE_PERCENT": _SHARE,
    "NIM_KV_CACHE_PERCENT": _SHARE,
    "NIM_GPU_MEM_FRACTION": _SHARE,
    "NIM_RELAX_MEM_CONSTRAINTS": _SHARE,
    "NIM_FORCE_TRUST_REMOTE_CODE": "NIM_TRUST_CUSTOM_CODE",
    "NIM_CHAT_TEMPLATE": f"--chat-template in {ENGINE_FLAGS}",
    "NIM_ENABLE_KV_CACHE_REUSE": f"--enable-prefix-caching in {ENGINE_FLAGS} (vLLM)",
    "NIM_ENABLE_AUTO_TOOL_CHOICE": f"--enable-auto-tool-choice in {ENGINE_FLAGS} (vLLM)",
    "NIM_TOOL_CALL_PARSER": f"--tool-call-parser in {ENGINE_FLAGS}",
    "NIM_SSL_CERT_PATH": "NIM_SSL_CERTS_PATH",
}
_INSTEAD_1 = {
    "NIM_MODEL_PATH": _FROM_WEIGHTS,
    "NIM_FT_MODEL": _FROM_WEIGHTS,
    "NIM_CUSTOM_MODEL": "NIM_CUSTOM_MODEL_NAME, which is set by the collection",
    "NIM_KV_CACHE_PERCENT": "NIM_KVCACHE_PERCENT, or memory_share",
    "NIM_TRUST_CUSTOM_CODE": "NIM_FORCE_TRUST_REMOTE_CODE",
    ENGINE_FLAGS: "NIM_* variables: flags of the engine are for 2.x",
}
_TRITON = ("NIM_HTTP_TRITON_PORT", "NIM_HTTP_API_PORT", "NIM_GRPC_API_PORT", "NIM_TRITON_LOG_VERBOSE")


def check_known(model, contract):
    """Raises Problem when C(env) of a model (dict) has a C(NIM_*) variable that the contract (str) does not know."""
    known = KNOWN[contract]
    for name in sorted(model.get("env") or {}):
        if name.startswith("NIM_") and name not in known:
            speaks = CONTRACTS[contract]
            raise Problem(
                f"env of model {model['name']} sets {name}, which its image does not know and would pass over.",
                f"the image speaks {contract}: {speaks.images}",
                _remedy(name, contract, speaks),
                "env_unknown",
                "documented and observed variables of each generation; the vendor's lists are not complete",
            )


def _remedy(name, contract, speaks):
    instead = (_INSTEAD_2 if speaks.generation == "2" else _INSTEAD_1).get(name)
    if instead:
        share = f"{speaks.share.flag} in {speaks.share.variable}" if speaks.share.flag else speaks.share.variable
        return "Use " + instead.format(weights=speaks.weights or speaks.instead, share=share) + "."
    if name in _TRITON:
        return f"Take {name} out of env: it is for NIMs that stand on Triton, not for those for LLMs."
    near = difflib.get_close_matches(name, sorted(KNOWN[contract]), n=1)
    elsewhere = [other for other in CONTRACTS if name in KNOWN[other]]
    text = f"Did you mean {near[0]}? " if near else ""
    text += f"Images that know it speak {', '.join(elsewhere)}. " if elsewhere else ""
    return text + "If the image does know it, put it into unchecked_env."
