# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The explainer: each signature over a short text of its kind, and published logs where they are at hand."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from ansible_collections.llmops.nim.plugins.module_utils import _failures
from ansible_collections.llmops.nim.plugins.module_utils._failures import explain, told, unexplained
from ansible_collections.llmops.nim.plugins.module_utils._signature import WRAPPER

REPOSITORY = Path(__file__).parents[4]
PUBLISHED = Path(os.environ.get("NIM_PUBLISHED_FAILURES") or REPOSITORY.parent / "shared" / "nim" / "failures")

NO_PROFILE = (
    "ERROR utils.py:52] Could not find a profile that is currently runnable\nwith the detected hardware.\nSYSTEM INFO\n"
)

# A text as Docker, NIM or an engine writes it, the code, and words of the explanation: what was captured, what to do.
TEXTS = [
    ("Got permission denied while trying to connect to the Docker daemon socket at x", "docker_permission", "become"),
    ("permission denied while trying to connect to the docker API at unix:///x", "docker_permission", "become"),
    ("Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?", "docker_unreachable", "Start"),
    ("Error connecting: Error while fetching server API version: Not found", "docker_unreachable", "Start"),
    ('could not select device driver "cdi" with capabilities: [].', "cdi_off", "daemon.json"),
    ("CDI device injection failed: unresolvable CDI devices nvidia.com/gpu=7", "cdi_device_missing", "gpu=7"),
    ('could not select device driver "" with capabilities: [[gpu]].', "toolkit_missing", "nvidia-ctk"),
    ("Error response from daemon: unknown or invalid runtime name: nvidia.", "runtime_unknown", "named nvidia."),
    (
        "nvidia-container-cli: initialization error: nvml error: driver/library version mismatch",
        "driver_mismatch",
        "Reboot",
    ),
    ("Failed to initialize NVML: Driver/library version mismatch", "driver_mismatch", "Reboot"),
    (
        "nvidia-container-cli: initialization error: nvml error: driver not loaded: unknown",
        "driver_not_loaded",
        "modprobe",
    ),
    ("initialization error: load library failed: libnvidia-ml.so.1: cannot open", "driver_not_loaded", "snap"),
    ("requirement error:\nunsatisfied condition: cuda>=12.9, please update", "driver_too_old", "CUDA 12.9"),
    ("nvidia-container-cli: device error: 7: unknown device: unknown.", "gpu_unknown", "GPU 7"),
    ("Failed to initialize NVML: Unknown Error", "gpus_lost", "cgroupfs"),
    ("Bind for 0.0.0.0:8000 failed: port is already allocated.", "port_in_use", "8000 of 0.0.0.0"),
    (
        "Error starting userland proxy: listen tcp4 0.0.0.0:80: bind: address already in use",
        "port_in_use",
        "80 of 0.0.0.0",
    ),
    ("listen tcp4 192.0.2.1:8000: bind: cannot assign requested address", "address_not_here", "no address 192.0.2.1"),
    ('invalid mount config for type "bind": bind source path does not exist: /x/y', "mount_missing", "/x/y"),
    ('Conflict. The container name "/nim-x" is already in use by container "1"', "container_name_taken", "docker rm"),
    ('exec: "list-model-profiles": executable file not found in $PATH', "not_a_nim", "image"),
    ("no matching manifest for linux/arm64/v8 in the manifest list entries", "image_architecture", "linux/arm64/v8"),
    ("exec /opt/nim/start_server.sh: exec format error", "image_architecture", "uname"),
    ("failed to register layer: write /opt/x.so: no space left on device", "disk_full", "docker system df"),
    ('Head "https://nvcr.io/v2/x": unauthorized: authentication required', "registry_login", "$oauthtoken"),
    ("failed to fetch anonymous token: unexpected status: 401 Unauthorized", "registry_login", "$oauthtoken"),
    ("pull access denied for x, repository does not exist", "image_denied", "terms"),
    ("Error response from daemon: denied: requested access", "image_denied", "terms"),
    ("manifest for nvcr.io/nim/x:9 not found: manifest unknown", "image_unknown", "tag"),
    ("Error response from daemon: No such image: x", "image_missing", "docker pull"),
    ('Get "https://x/v2/": x509: certificate signed by unknown authority', "registry_tls", "unknown authority"),
    ('Get "https://x/v2/": dial tcp: lookup x on 1.1.1.1:53: no such host', "registry_unreachable", "DNS"),
    ('Get "https://x/v2/": net/http: TLS handshake timeout', "registry_unreachable", "firewall"),
    ("toomanyrequests: slow down", "registry_busy", "--forks"),
    (
        "NIM_MAX_MODEL_LEN=400000 causes profile filtering to reject all profiles",
        "length_rejects_profiles",
        "--context-length 400000",
    ),
    (
        NO_PROFILE
        + "- Free GPUs: <None>\n- Non-free GPUs:\n  -  [2191:10de] (1) NVIDIA GTX 1660 Ti[current utilization: 7%]",
        "gpu_busy",
        "7 % of GPU 1 (NVIDIA GTX 1660 Ti)",
    ),
    (NO_PROFILE + "- Free GPUs: <None>\n- Non-free GPUs: <None>\n", "gpu_none", "nvidia-smi"),
    (NO_PROFILE + "No GPUs found", "gpu_none", "nvidia-smi"),
    (
        NO_PROFILE + "- Free GPUs:\n  -  [2e12:10de] (0) NVIDIA GB10\n- Non-free GPUs: <None>",
        "profile_none",
        "(NVIDIA GB10)",
    ),
    (NO_PROFILE, "profile_none", "list-model-profiles"),
    (
        "NIM_MODEL_PROFILE is set to\nabcd (vllm), but no matching\nprofile_id or profile description is found",
        "profile_unknown",
        "no profile abcd (vllm)",
    ),
    ("ManifestDownloadError: I/O error Permission denied (os error 13)", "cache_not_writable", "0770"),
    ("ManifestDownloadError: Error downloading manifest: Authentication Error", "ngc_key_refused", "NGC_API_KEY"),
    ("error sending request for url (https://api.ngc.nvidia.com/v2/org)", "ngc_unreachable", "api.ngc.nvidia.com"),
    ("Error: couldn't find key NGC_API_KEY in Secret x/y", "secret_missing", "NGC_API_KEY"),
    ("[Errno 98] error while attempting to bind on address ('0.0.0.0', 8001): in use", "port_in_use", "port 8001"),
    ("Can't bind on address ('0.0.0.0', 8000): address already in use", "port_in_use", "port 8000"),
    ("Invalid repository ID or local directory specified: /models/x/. Missing", "weights_unusable", "in /models/x/."),
    ("Missing HuggingFace configuration file named config.json", "weights_unusable", "that can be read."),
    (
        "SafetensorError: Error while deserializing header: InvalidHeaderDeserialization",
        "safetensors_broken",
        "InvalidHeaderD",
    ),
    ("Error while deserializing header: MetadataIncompleteBuffer", "safetensors_broken", "MetadataIncompleteBuffer"),
    (
        "403 Client Error.\nCannot access gated repo for url https://huggingface.co/org/wren/resolve/main/config.json",
        "gated_no_access",
        "org/wren",
    ),
    ("GatedRepoError: 401 Client Error", "gated_no_token", "HF_TOKEN"),
    ("RepositoryNotFoundError: 401 Client Error.", "repo_unknown_or_gated", "HF_TOKEN"),
    ("Model architectures ['WrenForCausalLM'] are not supported for now", "architecture_unknown", "WrenForCausalLM"),
    ("Transformers does not recognize this architecture", "architecture_unknown", "newer image"),
    ("The repository contains custom code which must be executed", "custom_code", "NIM_TRUST_CUSTOM_CODE"),
    (
        "/opt/nim/.cache is read-only, application may fail if model is not already present in cache",
        "cache_read_only",
        "writing",
    ),
    ("start_server.sh received SIGTERM, attempting graceful shutdown...", "killed_before_ready", "30 to 60"),
    (
        "[TRT] [W] Requested amount of GPU memory (24793579520 bytes) could not be allocated.\n[TRT-LLM] [E] Engine "
        "building failed",
        "build_gpu_memory",
        "24793579520",
    ),
    ("[TRT] [E] 2: Error Code 2: OutOfMemory (no further information)", "build_gpu_memory", "NIM_LOW_MEMORY_MODE"),
    ("[TRT] [I] Building\nKilled", "build_host_memory", "NIM_LOW_MEMORY_MODE"),
    ("RuntimeError: Error 803: system has unsupported display driver", "driver_unsupported", "--gpus"),
    ("CUDA failed to initialize: error 803", "driver_unsupported", "--gpus"),
    ("CUDA error: no kernel image is available for execution on the device", "gpu_too_old", "compute"),
    (
        "Free memory on device (3.1/79.2 GiB) on startup is less than desired GPU memory utilization (0.9, 71.27 GiB).",
        "gpu_memory_taken",
        "3.1 of 79.2 GiB",
    ),
    (
        "The model's max seq len (131072) is larger than the maximum number of tokens that can be stored in KV cache "
        "(60000).",
        "kv_cache_too_small",
        "NIM_MAX_MODEL_LEN to 60000",
    ),
    (
        "max seq len (131072), (8.0 GiB KV cache is needed). Based on it, the estimated maximum model length is 98304.",
        "kv_cache_too_small",
        "NIM_MAX_MODEL_LEN to 98304",
    ),
    ("ValueError: No available memory for the cache blocks.", "kv_cache_none", "memory_share"),
    ("Please lower max_num_seqs to at most 160 or", "mamba_cache_too_small", "--max-num-seqs 160"),
    ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB", "gpu_memory", "smaller profile"),
    (
        "quantization method fp8 is not supported for the current GPU. Minimum capability: 89. Current capability: 80.",
        "quantization_unsupported",
        "80, wanted 89",
    ),
    (
        "Error while creating shared memory segment /dev/shm/nccl-F9 (size 9637888): No space left on device",
        "shared_memory",
        "16g",
    ),
    ("posix_fallocate failed", "shared_memory", "16g"),
    ("KeyError: 'getpwuid(): uid not found: 1234'", "uid_unknown", "uid 1234"),
    ("RuntimeError: UVA is not available", "uva_missing", "VLLM_USE_V2_MODEL_RUNNER"),
    ("max_num_batched_tokens must be <= 65528 when LoRA is enabled.", "lora_length", "65528"),
    ("setup(): incompatible function arguments.", "trtllm_arguments", "NIM_NUM_KV_CACHE_SEQ_LENS"),
    ("CUDA error: uncorrectable ECC error encountered", "gpu_hardware", "Xid"),
    ("loading\nKilled", "killed", "dmesg"),
    ("RuntimeError: Engine core initialization failed.", "engine_failed", "first error"),
    (
        "Model wren does not have a default chat template defined in the tokenizer.",
        "chat_template_missing",
        "completions",
    ),
    ('"auto" tool choice requires --enable-auto-tool-choice and', "tool_choice_off", "NIM_PASSTHROUGH_ARGS"),
    ("OSError: [Errno 28] No space left on device: '/opt/nim/.cache/x'", "disk_full", "prune"),
    ("batch response: Authorization error: https://h/x", "no_access", "terms"),
    (
        "fatal: could not read Username for 'https://h'",
        "repo_unknown_or_gated",
        "The repository does not exist on the hub",
    ),
    ("LFS: expected OID " + "a" * 64 + ", got " + "b" * 64, "object_corrupt", "proxy"),
    ("LFS: [" + "a" * 64 + "] does not exist", "object_missing", "lfs push"),
    ("fatal: unable to access 'https://h/': Could not resolve host: h", "hub_unreachable", "DNS"),
]


def codes(text):
    return [cause.problem.code for cause in explain(text)]


@pytest.mark.parametrize(
    ("text", "code", "words"), TEXTS, ids=[f"{number}-{one[1]}" for number, one in enumerate(TEXTS)]
)
def test_each_failure_is_explained(text, code, words):
    first = explain(f"INFO 2025-05-22 09:21:08.183 a.py:1] Hello\n{text}\nINFO 2025-05-22 09:21:09.183 b.py:1] Bye")[0]
    assert first.problem.code == code
    assert words in str(first.problem)
    assert "?" not in re.sub(r"https?://\S+", "", first.problem.what), "a value was not captured"
    assert not re.search(r"\{\w+\}", first.problem.what + first.problem.remedy)
    assert first.problem.source.startswith(("observed: ", "documented: "))
    assert first.problem.evidence.split("\n")[0] in text


def test_every_signature_has_its_text():
    tested = {code for _text, code, _words in TEXTS}
    others = {
        "token_invalid",
        "hub_tls",
        "revision_unknown",
        "hub_busy",
        "repo_unknown",
        "hub_error",
        "hub_odd",
    }  # see test_hub
    assert {one.code for one in (*_failures.SIGNATURES, *_failures.GIT_SIGNATURES)} == tested | others


def test_blanks_of_patterns_stand_alone():
    # A blank becomes white space of any kind, and a quantifier behind it would be that of the white space.
    for one in (*_failures.SIGNATURES, *_failures.GIT_SIGNATURES):
        for pattern in (one.pattern, one.given, one.unless):
            assert not re.search(r" [?*+{]", pattern), pattern


NOISE = [
    "WARNING Profile 6df50448 is not fully defined with checksums",
    "WARNING Profile 6df50448 supports LoRA, but LoRA is disabled. Skipping profile.",
    "WARNING Profile 6df50448 does not support LoRA, but LoRA is enabled. Skipping profile.",
    "first-level manifest validation skipped for version 1 schema",
    "Field 'port' not found in NimAsyncEngineArgs",
    "Logger level already set from environment",
    "This is a PLACEHOLDER LEGAL FILE. REPLACE WITH ACTUAL FILE.",
]
SUCCESS = [
    "INFO 2025-05-22 09:21:08.183 ngc_injector.py:315] Selected profile: ac34 "
    "(tensorrt_llm-trtllm_buildable-bf16-tp1-pp1)",
    "INFO 2025-05-22 09:21:35.961 build_utils.py:239] Total time of reading and converting rank0 checkpoint: 0.18 s",
    "INFO 2025-05-22 09:22:59.751 build_utils.py:247] Total time of building rank0 engine: 83.79 s",
    "INFO 2025-05-22 09:23:01.032 api_server.py:718] Custom model custom_1 successfully cached.",
    "INFO 2025-05-22 09:23:02.202 server.py:162] Uvicorn running on http://0.0.0.0:8000 (Press CTRL+C to quit)",
    'INFO 2025-05-22 09:28:45.91 httptools_impl.py:481] ::1:33148 - "POST /v1/completions HTTP/1.1" 200',
    "/opt/nim/start_server.sh received SIGTERM, attempting graceful shutdown...",
]


@pytest.mark.parametrize("lines", [NOISE, SUCCESS, [], ["\x00", "{", '{"a": 1}']])
def test_what_is_no_failure_is_explained_by_nothing(lines):
    assert codes("\n".join(lines)) == []


def test_words_of_git_count_in_the_words_of_git_alone():
    words = "HTTP 500 in a handler\nunexpected EOF\nconnection reset by peer\nerror: 404"
    assert codes(words) == []
    assert codes(f"fatal: the remote end hung up\n{words}") != []


def test_noise_is_not_telling():
    assert unexplained("\n".join([*NOISE, "something odd failed", *NOISE])) == "something odd failed"


LINES = [
    "INFO a.py:1] Selected profile",
    "torch.OutOfMemoryError: CUDA out of memory",
    "Engine process failed to start",
]
FORMS = {
    "plain": "\n".join(LINES),
    "windows": "\r\n".join(LINES),
    "coloured": "\n".join(f"\x1b[31;1m{line}\x1b[0m" for line in LINES),
    "compose": "\n".join(f"nim-1  | {line}" for line in LINES),
    "timestamps": "\n".join(f"2025-05-22T09:21:08.183000000Z {line}" for line in LINES),
    "coloured compose": "\n".join(f"\x1b[36mnim-1  | \x1b[0m{line}" for line in LINES),
    "jsonl": "\n".join(
        json.dumps({"level": "None", "message": line, "exc_info": "None", "line_number": "-1"}) for line in LINES
    ),
    "jsonl traceback": json.dumps({"level": "ERROR", "message": "", "exc_info": "Traceback:\n" + "\n".join(LINES)}),
    "Docker's file": "\n".join(json.dumps({"log": line + "\n", "stream": "stdout", "time": "x"}) for line in LINES),
    "JSON in Docker's file": "\n".join(
        json.dumps({"log": json.dumps({"message": line, "exc_info": "None"}) + "\n", "stream": "stderr"})
        for line in LINES
    ),
    "jsonl compose": "\n".join(f"nim-1  | {json.dumps({'message': line, 'exc_info': 'None'})}" for line in LINES),
}


@pytest.mark.parametrize("form", sorted(FORMS))
def test_the_form_of_the_log_does_not_matter(form):
    found = explain(FORMS[form])
    assert [cause.problem.code for cause in found] == ["gpu_memory", "engine_failed"]
    assert found[0].problem.evidence == LINES[1]


def test_the_last_line_is_never_the_cause_while_there_is_another():
    assert explain("Engine process failed to start\nUVA is not available")[0].problem.code == "uva_missing"
    assert explain("Engine process failed to start\nOSError: [Errno 28] x")[0].problem.code == "disk_full"
    assert [cause.weight for cause in explain("Engine process failed to start")] == [WRAPPER]


def test_a_wrapper_alone_comes_with_what_else_is_telling():
    problem = told("It ended", "ValueError: odd\nEngine process failed to start", "x")
    assert "ValueError: odd" in problem.evidence


def test_what_a_specific_signature_has_explained_a_general_one_does_not():
    line = "Error while creating shared memory segment /dev/shm/nccl-F9 (size 9637888): No space left on device"
    assert codes(line) == ["shared_memory"]
    assert codes(f"{line}\n[Errno 28] No space left on device: '/opt/nim/.cache'") == ["shared_memory", "disk_full"]


def test_several_causes_are_ranked_and_named():
    problem = told("It ended", "UVA is not available\nNo available memory for the cache blocks", "container_ended")
    assert problem.code == "container_ended"
    assert problem.what.startswith("It ended. Nothing is left for the KV cache")
    assert "perhaps also: vLLM needs memory" in problem.evidence


def test_an_unknown_failure_stays_unknown_with_its_telling_lines():
    log = [f"INFO step {number}" for number in range(50)] + ["ERROR the flux is out of phase", "INFO bye"]
    problem = told("It ended", "\n".join(log), "container_ended", "see the log")
    assert (problem.what, problem.evidence, problem.remedy) == (
        "It ended",
        "ERROR the flux is out of phase",
        "see the log",
    )


def test_of_a_long_line_the_part_that_tells_is_quoted():
    evidence = explain("x" * 900 + " dial tcp: lookup h: no such host " + "y" * 900)[0].problem.evidence
    assert "no such host" in evidence
    assert len(evidence) <= 301


def test_no_secret_is_quoted():
    secrets = "nvapi-0123456789 hf_0123456789 Bearer abcdefgh12345"
    line = f"error sending request for url (https://api.ngc.nvidia.com/) {secrets}"
    told_ = str(told("It ended", line, "x"))
    assert not [secret for secret in ("nvapi-0", "hf_0", "abcdefgh") if secret in told_]


PAIRS = {
    "01": "gpu_busy", "03": "profile_none", "05": "profile_unknown", "07": "port_in_use", "08": "chat_template_missing",
    "09": "registry_login", "10": "runtime_unknown", "13": "docker_permission", "14": "driver_too_old",
    "16": "driver_not_loaded", "18": "driver_unsupported", "20": "build_gpu_memory", "22": "ngc_unreachable",
    "24": "safetensors_broken", "25": "gated_no_access", "27": "uva_missing", "28": "trtllm_arguments",
    "29": "killed_before_ready", "31": "kv_cache_none", "32": "secret_missing", "33": None, "34": None, "35": None,
    "36": None, "37": "weights_unusable", "39": "kv_cache_too_small", "40": "mamba_cache_too_small",
    "42": "port_in_use", "43": "lora_length", "45": "tool_choice_off", "48": "engine_failed",
    "49": "length_rejects_profiles", "50": "shared_memory", "52": "disk_full", "53": "uid_unknown",
}  # fmt: skip


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="no published logs are at hand")
def test_published_logs_are_explained():
    found = {}
    for path in sorted(PUBLISHED.glob("*.txt")):
        text = "\n".join(line for line in path.read_text().splitlines() if not line.startswith("#"))
        found[path.name[:2]] = (codes(text) or [None])[0]
    assert found == {number: PAIRS[number] for number in found}
    assert len(found) > 30
