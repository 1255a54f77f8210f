# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Failures of NIM while it chooses a profile, downloads and reads what it is to serve. The specific come first.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

from ansible_collections.llmops.nim.plugins.module_utils._signature import HINT, Signature

_NO_PROFILE = r"Could not find a profile that is currently runnable"
_FREE = r"(?<!Non-)Free GPUs:"
# From the message to the GPUs that NIM lists below it.
_GAP = r"[\s\S]{0,3000}?"

START = (
    Signature(
        "length_rejects_profiles",
        "start",
        r"NIM_MAX_MODEL_LEN=(?P<length>\d{1,9})\b[^\n]{0,200}?\brejects? (?:all|every)\b",
        "With NIM_MAX_MODEL_LEN={length} every profile is rejected: an image with SGLang does not support it.",
        'Leave NIM_MAX_MODEL_LEN out, and set NIM_PASSTHROUGH_ARGS="--context-length {length}".',
        "documented: SGLang model-free NIM 2.1.2; observed: a 2.x image",
    ),
    Signature(
        "gpu_busy",
        "start",
        rf"{_NO_PROFILE}{_GAP}{_FREE} <None> - Non-free GPUs: - \[(?P<pci>[^\]\n]{{1,20}})\] \((?P<index>\d{{1,3}})\) "
        r"(?P<gpu>[^\n\[]{1,80}?)\s*\[current utilization: (?P<used>[\w/]{1,4})%\]",
        "No profile can run, since no GPU is free: {used} % of GPU {index} ({gpu}) is in use, and NIM 1.x wants nearly "
        "all of it.",
        "Stop what uses the GPU (nvidia-smi names it) or choose another; from NIM 1.8 on memory_share lets it start "
        "beside others (NIM_RELAX_MEM_CONSTRAINTS=1).",
        "observed: NIM 1.0, a desktop on 7 % of the memory was too much",
        ends=True,
    ),
    Signature(
        "gpu_none",
        "start",
        rf"{_NO_PROFILE}{_GAP}(?:{_FREE} <None>(?! - Non-free GPUs: - \[)|No GPUs found)",
        "No profile can run, since the container sees no GPU.",
        "Check that nvidia-smi works on the host and in a container (docker run --rm --gpus all IMAGE nvidia-smi).",
        "observed: NIM 1.x",
        ends=True,
    ),
    Signature(
        "profile_none",
        "start",
        rf"{_NO_PROFILE}{_GAP}{_FREE} - \[(?P<pci>[^\]\n]{{1,20}})\] \((?P<index>\d{{1,3}})\) (?P<gpu>[^\n\[]{{1,80}})",
        "The GPUs are free, but the image has no profile for them ({gpu}), or they are of several kinds.",
        "Hand over GPUs of one kind only; else take a newer image, one made for this GPU, or a model-free image.",
        "observed: an image with TRT-LLM profiles alone on a GB10; a mix of RTX 6000 Ada and T600",
        ends=True,
    ),
    Signature(
        "profile_none",
        "start",
        _NO_PROFILE,
        "No profile can run on the GPUs of the container.",
        "See why: docker run --rm --gpus … IMAGE list-model-profiles (nim_model_profiles reads the answer).",
        "observed: NIM 1.x and 2.x",
        ends=True,
    ),
    Signature(
        "profile_unknown",
        "start",
        r"NIM_MODEL_PROFILE is set to (?P<profile>[^\n,]{1,200}), but no matching profile_id or profile description",
        "The image has no profile {profile}.",
        "Pin the bare id of 64 hex digits, from a listing of this very image; not the id with its description, nor "
        "auto.",
        "observed: NIM 2.0.12",
        ends=True,
    ),
    Signature(
        "cache_not_writable",
        "start",
        r"I/O error Permission denied|Permission denied \(os error 13\)|ManifestDownloadError:[^\n]{0,200}Permission "
        r"denied"
        r"|PermissionError: \[Errno 13\][^\n]{0,200}/opt/nim/\.cache",
        "The container's user may not write to NIM's cache.",
        "Give the cache directory to the uid that the container runs as, group 0, mode 0770; a deploy does it.",
        "observed: published logs of NIM 1.x; documented: 2.x wants group 0",
        ends=True,
    ),
    Signature(
        "ngc_key_refused",
        "start",
        r"ManifestDownloadError[^\n]{0,300}Authentication Error|Authentication Error[^\n]{0,300}ngc"
        r"|HTTP status client error \(40[13]|api\.ngc\.nvidia\.com[^\n]{0,200}\b40[13]\b|Error: Authentication Error",
        "NGC refuses the key, or the container has none.",
        "Check NGC_API_KEY in the container's env file (a docker login is not enough): it must be valid, and its "
        "organisation entitled to the model. ngc_key: always gives it to containers that go without.",
        "observed: published log of NIM 1.x, the wording in part unverified",
    ),
    Signature(
        "ngc_unreachable",
        "start",
        r"error sending request for url \(https://(?P<host>[\w.-]{1,100})",
        "The container does not reach {host}.",
        "Check the network, DNS and proxy of the host (https_proxy in env; SSL_CERT_FILE for an intercepting proxy), "
        "or "
        "start from a filled cache without a key.",
        "observed: NIM 1.2, https://github.com/NVIDIA/nim-deploy/issues/92",
    ),
    Signature(
        "secret_missing",
        "start",
        r"couldn't find key (?P<key>\w{1,60})",
        "The secret has no key {key}.",
        "Put {key} into the secret, or into the container's env file.",
        "observed: NeMo microservices' troubleshooting",
    ),
    Signature(
        "port_in_use",
        "start",
        r"\[Errno 98\] error while attempting to bind on address \('(?P<address>[^'\n]{1,64})', (?P<port>\d{1,5})\)"
        r"|Can't bind on address \('(?P<address2>[^'\n]{1,64})', (?P<port2>\d{1,5})\)",
        "NIM's port {port} is taken inside the container, or on the host where it has the host's network.",
        "Give it another port (NIM_SERVER_PORT), leave VLLM_PORT unset, and let 2.x have 8001 as well.",
        "observed: NIM 1.8.4 with the host's network; documented: troubleshooting of 1.10",
        ends=True,
    ),
    Signature(
        "weights_unusable",
        "start",
        r"Invalid repository ID or local directory specified: (?P<path>\S{1,300}?)\.(?=\s|$)"
        r"|Missing HuggingFace configuration file named config\.json",
        "There are no weights where NIM looks for them: no config.json that can be read[ in {path}].",
        "See that config.json can be opened inside the container: the mount's path, an empty directory, or links of "
        "the "
        "hub's cache that point outside the mount.",
        "documented: troubleshooting of 1.11",
        ends=True,
    ),
    Signature(
        "safetensors_broken",
        "start",
        r"Error while deserializing header: (?P<why>HeaderTooLarge|InvalidHeader\w*|MetadataIncompleteBuffer)",
        "A weights file is broken ({why}): the pointer of git-lfs in its place, or cut short.",
        "Fetch the weights again with lfs_snapshot, which proves each file; of a pointer the first bytes are "
        "'version https://git-lfs'.",
        "observed: https://github.com/microsoft/OmniParser/issues/34",
        ends=True,
    ),
    Signature(
        "gated_no_access",
        "start",
        r"(?:403 Client Error|GatedRepoError: 403)[\s\S]{0,600}?Cannot access gated repo"
        r"(?: for url https?://[^/\s]{1,100}/(?P<repo>[\w.-]{1,100}/[\w.-]{1,100}))?",
        "The hub's token is valid but has no access to the gated repository[ {repo}].",
        "Accept the terms on its page with the token's account; a fine-grained token needs read access to gated repos.",
        "observed: https://github.com/IBM/unitxt/issues/837",
    ),
    Signature(
        "gated_no_token",
        "start",
        r"GatedRepoError: 401|Cannot access gated repo",
        "The repository on the hub is gated, and no token was given.",
        "Give HF_TOKEN in the container's environment, or serve weights that the collection has fetched.",
        "observed: published logs of huggingface_hub",
    ),
    Signature(
        "repo_unknown_or_gated",
        "start",
        r"RepositoryNotFoundError: 40[14]",
        "The repository on the hub does not exist, or it is private or gated and no token was given.",
        "Check its name; give HF_TOKEN with access.",
        "observed: published logs of huggingface_hub",
    ),
    Signature(
        "architecture_unknown",
        "start",
        r"Model architectures \[(?P<name>[^\]\n]{1,120})\] are not supported|does not recognize this architecture",
        "The engine in this image does not know the model's architecture[ {name}].",
        "Take a newer image, another back end, or a model-free image whose engine knows it.",
        "documented: model-free NIM, what vLLM does not support NIM does not",
        ends=True,
    ),
    Signature(
        "custom_code",
        "start",
        r"contains custom code which must be executed|requires you to execute the configuration file in that repo",
        "The weights want code of their own repository to be executed, which is not allowed.",
        "Read that code; then allow it: NIM_FORCE_TRUST_REMOTE_CODE=1 in multi-LLM images, NIM_TRUST_CUSTOM_CODE=1 "
        "in 2.x.",
        "observed: https://github.com/vllm-project/vllm/issues/6215; NIM's own deployer sets the variables",
        ends=True,
    ),
    Signature(
        "cache_read_only",
        "start",
        r"is read-only, application may fail if model is not already present in cache",
        "NIM's cache is mounted read-only: what is not in it cannot be downloaded.",
        "Mount it for writing, unless all that is needed is in it.",
        "observed: NIM 1.0, which only warns",
        weight=HINT,
    ),
    Signature(
        "killed_before_ready",
        "start",
        r"received SIGTERM, attempting graceful shutdown",
        "It was told to stop before it was ready: by whoever waited too short for it, or stopped it.",
        "Give it longer to start: 30 to 60 minutes where it downloads or builds (nim_container_ready_timeout).",
        "observed: https://github.com/microsoft/azure-container-apps/issues/1583",
        weight=HINT,
        unless=r"Application startup complete|Uvicorn running on",
    ),
)

REQUEST = (
    Signature(
        "chat_template_missing",
        "request",
        r"does not have a default chat template"
        r"|default chat template is no longer allowed|chat template is not set",
        "The weights have no chat template.",
        "Ask the completions endpoint, or add chat_template to tokenizer_config.json (or set NIM_CHAT_TEMPLATE).",
        "observed: NIM 1.8.4 answers with HTTP 500",
    ),
    Signature(
        "tool_choice_off",
        "request",
        r'"auto\\?" tool choice requires --enable-auto-tool-choice',
        "Tool calls are not switched on.",
        'Set NIM_PASSTHROUGH_ARGS="--enable-auto-tool-choice --tool-call-parser <parser>".',
        "documented: NVIDIA-AI-Blueprints/nemotron-voice-agent, NIM 2.x",
    ),
)
