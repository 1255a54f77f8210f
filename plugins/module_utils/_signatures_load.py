# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Failures of engines while they are built and loaded. The specific come first.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

from ansible_collections.llmops.nim.plugins.module_utils._signature import HINT, WRAPPER, Signature

_BUILD_MEMORY = (
    "Take a larger GPU or more of them, a smaller NIM_MAX_MODEL_LEN, NIM_LOW_MEMORY_MODE=1, or pin a vllm profile."
)
_TENSORRT = "observed: https://github.com/NVIDIA/TensorRT-LLM/issues/346"

BUILD = (
    # TensorRT says so of mere attempts too, and goes on.
    Signature(
        "build_gpu_memory",
        "build",
        r"Requested amount of GPU memory \((?P<bytes>\d{1,15}) bytes\) could not be allocated",
        "The GPU's memory is too small for building the engine: TensorRT asked for {bytes} bytes at once.",
        _BUILD_MEMORY,
        _TENSORRT,
        given=r"Engine building failed",
    ),
    Signature(
        "build_gpu_memory",
        "build",
        r"Engine building failed|OutOfMemory \(no further information\)",
        "Building the engine failed, as it does where the GPU's memory is too small for it.",
        _BUILD_MEMORY,
        _TENSORRT,
    ),
    Signature(
        "build_host_memory",
        "build",
        r"(?:^|\n)Killed(?=\n|$)",
        "The host's memory was exhausted while the engine was built: the kernel killed the builder.",
        "Building takes about as much host memory as GPU memory (Llama 3.3 70B: 400 GB or more): add memory or swap, "
        "set "
        "NIM_LOW_MEMORY_MODE=1, or pin a profile that is not built.",
        "documented: release notes of 1.6",
        given=r"\[TRT(?:-LLM)?\]|rank\d+ checkpoint",
    ),
)

LOAD = (
    Signature(
        "driver_unsupported",
        "load",
        r"\berror 803\b",
        "CUDA does not start (error 803): driver and the image's CUDA libraries do not go together.",
        "Install a newer driver. With an image on vLLM 0.15 or newer and driver 580 or newer hand out GPUs by "
        "--gpus, not "
        "by --runtime nvidia or CDI, or set LD_LIBRARY_PATH=/usr/local/nvidia/lib64.",
        "observed: https://github.com/gpustack/gpustack/issues/4678",
        ends=True,
    ),
    Signature(
        "gpu_too_old",
        "load",
        r"no kernel image is available for execution on the device",
        "The image has no code for this GPU: it is too old or too new for it.",
        "Take an image made for this GPU's compute capability (nvidia-smi --query-gpu=compute_cap).",
        "observed: https://github.com/vllm-project/vllm/issues/5547",
        ends=True,
    ),
    Signature(
        "gpu_memory_taken",
        "load",
        r"Free memory on device[^\n]{0,60}\((?P<free>[\d.]{1,12})/(?P<total>[\d.]{1,12}) GiB\) on startup is less than "
        r"desired GPU memory utilization \((?P<share>[\d.]{1,8}), (?P<wanted>[\d.]{1,12}) GiB\)",
        "Others hold the GPU's memory: {free} of {total} GiB are free, and {wanted} GiB ({share} of all) are to be "
        "taken.",
        "Stop what uses the GPU (nvidia-smi names it), or take less of it by memory_share.",
        "observed: https://github.com/vllm-project/vllm/issues/20305",
        ends=True,
    ),
    Signature(
        "kv_cache_too_small",
        "load",
        r"max seq len \((?P<wanted>\d{1,9})\) is larger than the maximum number of tokens that can be stored in KV "
        r"cache "
        r"\((?P<length>\d{1,9})\)",
        "The GPU's memory is too small for the context length {wanted}: its KV cache holds {length} tokens.",
        "Set NIM_MAX_MODEL_LEN to {length} or less (in env), or take a larger share of the GPU or a larger GPU.",
        "observed: vLLM's first engine",
        ends=True,
    ),
    Signature(
        "kv_cache_too_small",
        "load",
        r"max seq len \((?P<wanted>\d{1,9})\)[\s\S]{0,600}?estimated maximum model length is (?P<length>\d{1,9})",
        "The GPU's memory is too small for the context length {wanted}: it is enough for {length}.",
        "Set NIM_MAX_MODEL_LEN to {length} or less (in env), or take a larger share of the GPU or a larger GPU.",
        "observed: vLLM's second engine, in NIM 2.x",
        ends=True,
    ),
    Signature(
        "kv_cache_none",
        "load",
        r"No available memory for the cache blocks",
        "Nothing is left for the KV cache: the share of the GPU's memory is too low for the weights.",
        "Raise memory_share (NIM_KVCACHE_PERCENT in 1.x, --gpu-memory-utilization in 2.x), or take a larger GPU.",
        "documented: NVIDIA-AI-Blueprints/nemotron-voice-agent, troubleshooting",
        ends=True,
    ),
    Signature(
        "mamba_cache_too_small",
        "load",
        r"lower max_num_seqs to at most (?P<most>\d{1,6})",
        "The cache of this hybrid model is too small for as many sequences at a time; it has room for {most}.",
        'Set NIM_PASSTHROUGH_ARGS="--max-num-seqs {most}", or take a larger share of the GPU.',
        "observed: vLLM",
        ends=True,
    ),
    Signature(
        "gpu_memory",
        "load",
        r"torch\.(?:cuda\.)?OutOfMemoryError|CUDA out of memory",
        "The GPU's memory is too small for what is loaded: the profile is too large, or others hold a part of it.",
        "Pin a smaller profile, set a smaller NIM_MAX_MODEL_LEN, free the GPU (nvidia-smi) or take another.",
        "documented: NVIDIA-AI-Blueprints/nemotron-voice-agent, troubleshooting",
        ends=True,
    ),
    Signature(
        "quantization_unsupported",
        "load",
        r"quantization method (?P<method>\S{1,60}) is not supported[\s\S]{0,200}?Minimum capability: "
        r"(?P<wanted>\d{1,4})\. "
        r"Current capability: (?P<found>\d{1,4})",
        "The GPU is too old for weights quantised by {method}: compute capability {found}, wanted {wanted}.",
        "Take weights in bf16 and a bf16 profile, or a newer GPU.",
        "documented: NVIDIA-AI-Blueprints/nemotron-voice-agent, troubleshooting",
        ends=True,
    ),
    Signature(
        "shared_memory",
        "load",
        r"Error while creating shared memory segment /dev/shm/nccl|posix_fallocate failed",
        "The container's shared memory is too small for several GPUs: Docker's default is 64 MB.",
        "Set shm_size to 16g.",
        "observed: https://github.com/vllm-project/production-stack/issues/276; documented: --shm-size=16GB",
        ends=True,
    ),
    Signature(
        "uid_unknown",
        "load",
        r"getpwuid\(\): uid not found: (?P<uid>\d{1,12})",
        "The container has no user of uid {uid}, and PyTorch asks for the user's name.",
        "Set USER=nim and TORCHINDUCTOR_CACHE_DIR=/opt/nim/.cache/inductor (unchecked_env), or take uid 1000.",
        "observed: https://github.com/vllm-project/vllm/issues/44548",
        ends=True,
    ),
    Signature(
        "uva_missing",
        "load",
        r"UVA is not available",
        "vLLM needs memory that CPU and GPU share, which this host (WSL2) does not offer.",
        "Serve on native Linux, or set VLLM_WSL2_ENABLE_PIN_MEMORY=1 or VLLM_USE_V2_MODEL_RUNNER=0 (unchecked_env).",
        "observed: NIM 2.0.12 under WSL2",
        ends=True,
    ),
    Signature(
        "lora_length",
        "load",
        r"max_num_batched_tokens must be <= (?P<limit>\d{1,9}) when LoRA is enabled",
        "With LoRA the context can be no longer than {limit} tokens.",
        "Set NIM_MAX_MODEL_LEN to 65525 or less.",
        "documented: release notes of 1.2",
        ends=True,
    ),
    Signature(
        "trtllm_arguments",
        "load",
        r"setup\(\): incompatible function arguments",
        "TensorRT-LLM is called with arguments that it does not know; seen with NIM_NUM_KV_CACHE_SEQ_LENS.",
        "Leave that variable out, or take a newer image.",
        "observed: a published recipe for NIM on Kubernetes",
        ends=True,
    ),
    Signature(
        "gpu_hardware",
        "load",
        r"uncorrectable ECC error|GPU has fallen off the bus|CUDA error: unspecified launch failure",
        "The GPU itself fails.",
        "Look into dmesg for NVRM and Xid lines; reset or reboot, and have the GPU exchanged if it comes again.",
        "documented: NVIDIA's Xid errors, https://docs.nvidia.com/deploy/xid-errors/",
    ),
    Signature(
        "killed",
        "load",
        r"(?:^|\n)Killed(?=\n|$)",
        "The kernel killed a process of the service, most likely for want of memory.",
        "Look into dmesg (Out of memory); add memory or stop what else needs it.",
        "documented: release notes of 1.6",
        weight=HINT,
    ),
    Signature(
        "engine_failed",
        "load",
        r"Engine process failed to start|Engine core initialization failed",
        "The engine did not start, and this line does not say why.",
        "Look further up in the log for the first error; with NIM_LOG_LEVEL=DEBUG (in env) it says more.",
        "observed: NIM 1.12.2, the line hides the cause",
        weight=WRAPPER,
        ends=True,
    ),
)

# What any phase may say; where a more specific one says it too, that counts.
ANYWHERE = (
    Signature(
        "disk_full",
        "start",
        r"no space left on device|\[Errno 28\]|os error 28",
        "The disk is full.",
        "Free space where Docker keeps its data and beneath /var/lib/nim (df; docker system df; playbooks/prune.yml).",
        "documented: errno 28 of Linux",
    ),
)
