# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Where the generations differ: variables, listings, choice, memory."""

from __future__ import annotations

import json
import os

import pytest
from lab_nim import checkpoint, contract, listing, manifest, memory, ngc, selection, settings
from lab_nim.console import Refusal
from lab_nim.gpus import Gpu
from lab_nim.profiles import Profile, grouped

VERSIONS = sorted(path.stem for path in contract.GENERATIONS.glob("*.profiles"))
NIM = {version: contract.load(version) for version in VERSIONS}
H100 = Gpu(0, "GPU-0", "NVIDIA H100 80GB HBM3", "2330:10de", 81559, 0, 9.0)
BUSY_H100 = Gpu(0, "GPU-0", "NVIDIA H100 80GB HBM3", "2330:10de", 81559, 8156, 9.0)
T4 = Gpu(0, "GPU-0", "Tesla T4", "1eb8:10de", 15360, 0, 7.5)
LLAMA_8B = {
    "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
    "num_key_value_heads": 8, "vocab_size": 128256, "max_position_embeddings": 131072, "torch_dtype": "bfloat16",
}  # fmt: skip
LLAMA_70B = {
    **LLAMA_8B, "hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80, "num_attention_heads": 64,
}  # fmt: skip


def read(version: str, *arguments: str, **environ: str) -> settings.Settings:
    return settings.read(environ, NIM[version].variables, arguments)


def profiles(version: str, config: settings.Settings, model=LLAMA_8B) -> list[Profile]:
    return manifest.profiles(NIM[version], config, model)


def listed(version: str, gpus: list[Gpu], *arguments: str, model=LLAMA_8B, **environ: str) -> list[str]:
    config = read(version, *arguments, **environ)
    groups = grouped(profiles(version, config, model), NIM[version], gpus, config)
    return listing.model_profiles(NIM[version], groups, config.budget_mib(gpus)).splitlines()


def choose(version: str, gpus: list[Gpu], model=LLAMA_8B, **environ: str) -> Profile:
    config = read(version, **environ)
    return selection.choose(config, profiles(version, config, model), NIM[version], gpus)


# --- variables ---


@pytest.mark.parametrize("version", VERSIONS)
def test_a_generation_takes_weights_by_its_own_variable_alone(version):
    nim = NIM[version]
    for variable in ("NIM_FT_MODEL", "NIM_MODEL_NAME", "NIM_MODEL_PATH"):
        config = read(version, **{variable: "/model"})
        assert config.weights(variable) == ("/model" if variable == nim.weights else "")


@pytest.mark.parametrize("version", VERSIONS)
def test_weights_that_are_not_there(version):
    nim = NIM[version]
    if nim.model_specific:
        assert checkpoint.mounted(read(version), nim) is None
    else:
        with pytest.raises(Refusal, match=f"{nim.weights} is not set"):
            checkpoint.mounted(read(version), nim)
    for wrong in ("hf://meta/llama", "model"):
        with pytest.raises(Refusal):
            checkpoint.mounted(read(version, **{nim.weights: wrong, **nim.weights_need}), nim)
    assert str(checkpoint.mounted(read(version, **{nim.weights: "/model", **nim.weights_need}), nim)) == "/model"


@pytest.mark.parametrize("missing", ["NIM_USE_TRTLLM_LEGACY_BACKEND", "NIM_DISABLE_TRTLLM_PYTORCH_RT"])
def test_late_1_x_wants_both_switches_for_a_fine_tune(missing):
    nim = NIM["1.15.5"]
    switches = {name: "0" if name == missing else "1" for name in nim.weights_need}
    with pytest.raises(Refusal, match=f"Set .*{missing}=1"):
        checkpoint.mounted(read("1.15.5", NIM_FT_MODEL="/model", **switches), nim)


def test_flags_win_over_passthrough_and_that_over_variables():
    environ = {"NIM_MAX_MODEL_LEN": "1", "NIM_SERVED_MODEL_NAME": "a"}
    flags = "--max-model-len 2 --served-model-name b c --gpu_memory_utilization=0.4"
    passed = {**environ, "NIM_PASSTHROUGH_ARGS": flags}
    command = ["--max-model-len=3"]
    seen = [read("2.0.2", **environ), read("2.0.2", **passed), read("2.0.2", *command, **passed)]
    assert [one.max_model_len for one in seen] == [1, 2, 3]
    assert [one.served_model_names for one in seen] == [("a",), ("b", "c"), ("b", "c")]
    assert [one.utilization for one in seen] == [0.9, 0.4, 0.4]
    assert read("1.8.4", **passed).max_model_len == 1, "1.x knows no NIM_PASSTHROUGH_ARGS"


def test_2_x_knows_nothing_of_engines_and_relaxing():
    config = read("2.0.2", NIM_CUSTOM_MODEL_NAME="x", NIM_RELAX_MEM_CONSTRAINTS="1", NIM_KVCACHE_PERCENT="0.1")
    assert config == read("2.0.2")


def test_2_x_wants_group_0_and_no_key(tmp_path, monkeypatch):
    config = read("2.0.2", NIM_CACHE_PATH=str(tmp_path))
    monkeypatch.setattr(os, "getegid", lambda: 1000)
    monkeypatch.setattr(os, "getgroups", lambda: [1000, 0])
    ngc.fetch_metadata(config, NIM["2.0.2"])
    monkeypatch.setattr(os, "getgroups", lambda: [1000])
    with pytest.raises(Refusal, match=r"I/O error Permission denied \(os error 13\)"):
        ngc.fetch_metadata(config, NIM["2.0.2"])
    ngc.check_cache(config, NIM["1.8.4"])


# --- listings ---


@pytest.mark.parametrize("version", VERSIONS)
def test_banner(version):
    nim, lines = NIM[version], listing.banner(NIM[version]).splitlines()
    assert f"{nim.title} Version {version}" in lines
    assert (f"Model: {nim.model}" in lines) is (version != "2.0.2")


def test_listing_of_1_3():
    lines = listed("1.3.3", [H100])
    ids = {profile.name: profile.id for profile in NIM["1.3.3"].manifest}
    assert lines[:9] == [
        "MODEL PROFILES",
        "- Compatible with system and runnable:",
        f"  - {ids['vllm-bf16-tp1']} (vllm-bf16-tp1)",
        f"  - {ids['tensorrt_llm-h100-fp8-tp1-pp1-throughput']} (tensorrt_llm-h100-fp8-tp1-pp1-throughput)",
        f"  - {ids['tensorrt_llm-h100-bf16-tp1-pp1-throughput']} (tensorrt_llm-h100-bf16-tp1-pp1-throughput)",
        "  - With LoRA support:",
        "- Compilable to TRT-LLM using just-in-time compilation of HF models to TRTLLM engines:",
        f"  - {ids['tensorrt_llm-trtllm_buildable-bf16-tp1']} (tensorrt_llm-trtllm_buildable-bf16-tp1)",
        "  - With LoRA support:",
    ]
    noise = listing.noise(NIM["1.3.3"], list(NIM["1.3.3"].manifest)).splitlines()
    assert noise[0] == f"Profile {ids['vllm-bf16-tp1']} is not fully defined with checksums"
    assert listing.noise(NIM["1.8.4"], list(NIM["1.8.4"].manifest)) == ""


def test_listing_of_the_multi_llm_image():
    assert [line.split("(")[-1] for line in listed("1.12.0", [H100])[1:5]] == [
        "- Compatible with system and runnable:", "vllm)", "tensorrt_llm)", "sglang)",
    ]  # fmt: skip
    two = listed("1.12.0", [H100], NIM_TENSOR_PARALLEL_SIZE="2")
    assert two[1] == "- Compatible with system and runnable: <None>"
    assert listed("1.12.0", [T4])[1].endswith("<None>"), "bf16 weights want compute capability 8.0"


def test_listing_of_the_model_free_image():
    lines = listed("2.0.2", [H100])
    assert lines[1] == "- Compatible with system and runnable:"
    assert lines[2].split("(vllm-tp1-pp1-")[1].endswith(") [requires >=33 GB/gpu]"), "as observed for an 8B model"
    assert lines[3] == "  - With LoRA support:"
    assert lines[4].split("(vllm-tp1-pp1-feat_lora-")[1].endswith(") [requires >=34 GB/gpu]")
    assert lines[5:9] == [
        "- Compatible with system but low memory: <None>",
        "- Compilable to TRT-LLM using just-in-time compilation of HF models to TRTLLM engines: <None>",
        "  - With LoRA support: <None>",
        "- Incompatible with system:",
    ]
    assert lines[9].startswith("    - ")
    assert lines[9].endswith(" [requires >=18 GB/gpu per 2 GPUs]")
    assert listed("2.0.2", [H100, H100])[-1] == "- Incompatible with system:", "nothing, but no <None>"


def test_memory_in_use_makes_every_model_free_profile_low_on_memory():
    lines = listed("2.0.2", [BUSY_H100])
    assert lines[1:4] == [
        "- Compatible with system and runnable: <None>",
        "  - With LoRA support: <None>",
        "- Compatible with system but low memory:",
    ]
    assert [line[:6] for line in lines[4:6]] == ["    - "] * 2
    assert "feat_lora" in lines[5]


def test_hints_at_a_length_that_would_fit():
    low = listed("2.0.2", [H100], NIM_PASSTHROUGH_ARGS="--gpu-memory-utilization 0.34")
    assert low[3] == "- Compatible with system but low memory:"
    assert " [requires >=33 GB/gpu, try --max-model-len=" in low[4]
    need = next(profile.need for profile in profiles("2.0.2", read("2.0.2")) if profile.gpu_count == 1)
    budget = 27 * 1024
    length = need.largest_length(budget)
    assert length % 256 == 0
    assert need.mib(length) <= budget < need.mib(length + 256)
    proposal = f"try --max-model-len={length} to reduce to >=27 GB/gpu"
    assert memory.hint(need, 1, budget) == f" [requires >=33 GB/gpu, {proposal}]"
    assert memory.hint(need, 1, need.mib() - 100).endswith(f"--max-model-len={need.largest_length(need.mib() - 100)}]")
    assert memory.hint(need, 1, 10 * 1024) == " [requires >=33 GB/gpu]", "not even the weights fit"


# --- the choice ---


def test_a_fine_tune_is_no_business_of_the_pytorch_back_end():
    switches = {"NIM_FT_MODEL": "/model", **NIM["1.15.5"].weights_need}
    assert choose("1.15.5", [H100], **switches).name == "tensorrt_llm-trtllm_buildable-bf16-tp1-pp1"
    assert choose("1.15.5", [H100]).name == "tensorrt_llm-h100-fp8-tp1-pp1-latency-pytorch"
    with pytest.raises(Refusal, match="Could not find a profile"):
        choose("1.15.5", [H100], NIM_MODEL_PROFILE="tensorrt_llm-h100-bf16-tp1-pp1-latency-pytorch", **switches)


def test_the_multi_llm_image_goes_by_its_variables():
    assert choose("1.12.0", [H100]).name == "tensorrt_llm"
    assert choose("1.12.0", [H100, H100], NIM_TENSOR_PARALLEL_SIZE="2").tp == 2
    assert choose("1.12.0", [H100], NIM_MODEL_PROFILE="sglang").engine == "sglang"
    assert choose("1.12.0", [H100], NIM_MODEL_PROFILE="default").name == "tensorrt_llm"


def test_a_model_free_profile_low_on_memory_starts_when_it_is_pinned():
    low = next(profile for profile in profiles("2.0.2", read("2.0.2")) if profile.gpu_count == 1)
    for wanted in (low.id, low.name, "default"):
        assert choose("2.0.2", [BUSY_H100], NIM_MODEL_PROFILE=wanted) == low
    with pytest.raises(Refusal, match="Could not find a profile"):
        choose("2.0.2", [BUSY_H100])
    with pytest.raises(Refusal, match="Model download failed: .* but no matching profile_id"):
        choose("2.0.2", [BUSY_H100], NIM_MODEL_PROFILE=f"{low.id} ({low.name})")
    pinned = next(profile for profile in NIM["1.8.4"].manifest if profile.engine == "vllm")
    with pytest.raises(Refusal, match="Could not find a profile"):
        choose("1.8.4", [BUSY_H100], NIM_MODEL_PROFILE=pinned.id)


def test_profiles_of_other_models_have_other_ids():
    ids = [{profile.id for profile in profiles("2.0.2", read("2.0.2"), model)} for model in (LLAMA_8B, LLAMA_70B)]
    assert not ids[0] & ids[1]
    assert ids[0] == {profile.id for profile in profiles("2.0.2", read("2.0.2", NIM_MAX_MODEL_LEN="1024"))}


@pytest.mark.parametrize(
    ("flags", "model", "said"),
    [
        ("", LLAMA_8B, None),
        ("--gpu-memory-utilization 0.3", LLAMA_8B, r"estimated maximum model length is \d+\."),
        ("--gpu-memory-utilization 0.3 --max-model-len 4096", LLAMA_8B, None),
        ("--gpu-memory-utilization 0.1", LLAMA_8B, "No available memory for the cache blocks"),
        ("", LLAMA_70B, "CUDA out of memory"),
    ],
)
def test_what_a_gpu_takes_of_the_model_free_image(flags, model, said):
    environ = {"NIM_PASSTHROUGH_ARGS": flags}
    need = profiles("2.0.2", read("2.0.2", **environ), model)[0].need
    utilization = read("2.0.2", **environ).utilization
    if not said:
        memory.check(need, H100.memory_total_mib, utilization)
        return
    with pytest.raises(Refusal, match=said) as refused:
        memory.check(need, H100.memory_total_mib, utilization)
    if "estimated" in said:
        length = str(refused.value).rstrip(".").split()[-1]
        shorter = read("2.0.2", **{**environ, "NIM_MAX_MODEL_LEN": length})
        memory.check(profiles("2.0.2", shorter, model)[0].need, H100.memory_total_mib, utilization)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_health_answer_is_one(version):
    for state in NIM[version].health:
        assert json.loads(json.dumps(contract.health(NIM[version], state)))["object"] == "health.response"
    assert ("starting" in NIM[version].health) is bool(NIM[version].engine_port)
