# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Which profile of a listing to serve with, why, and why none of the others.

A pin (id or description) is obeyed or refused. Otherwise: a cached engine of exactly the wished key; then the rules
of C(_profile_rules) put profiles aside, the first that speaks giving the reason; then the PREFERENCES order what is
left, the first that differs deciding, and last the order in which NIM printed them. To know more, add a rule or
preference.

A profile whose memory only this model's own old release holds counts like one that is free, so that the choice is
the same while that release serves and after it is gone.

NIM's own automatic order is documented (model profiles of 1.0 to 1.8: runnable, LoRA or not, lower precision,
latency before throughput, more GPUs; optimised before generic) and not followed where it would change the
precision of the weights.

Fine-tuned weights: an engine that NVIDIA built holds the weights that the image was made for, so those come last.
A C(-pytorch) profile of 1.15 is no engine but settings for PyTorch, which load weights. It still comes after all
others for fine-tuned weights, because 1.15 is documented not to serve those by PyTorch (it wants its legacy back end
for NIM_FT_MODEL); for the image's own weights it counts as TensorRT-LLM made for this GPU, like an engine.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

from ansible_collections.llmops.nim.plugins.module_utils import _profile_wishes as wished
from ansible_collections.llmops.nim.plugins.module_utils._profile_memory import fit
from ansible_collections.llmops.nim.plugins.module_utils._profile_pin import pinned
from ansible_collections.llmops.nim.plugins.module_utils._profile_refusal import refusal
from ansible_collections.llmops.nim.plugins.module_utils._profile_rules import RULES, cannot_run, gpus_needed

KINDS = (
    "a TensorRT-LLM engine made for this GPU",
    "settings made for this GPU",
    "a TensorRT-LLM engine built on the host",
    "TensorRT-LLM, for any GPU",
    "vLLM or SGLang, for any GPU",
    "an engine the name does not tell",
)


def choose(profiles, gpus, wishes):
    """The choice among profiles (as parse_listing returns them, with its gpus) by the Wishes: a dict.

    selected: the profile, with reasons (list of str) and max_model_len (int: tokens to set as NIM_MAX_MODEL_LEN,
        without which its memory does not suffice; else None) added; or None.
    rejected: list of dict id, description, reason: all others, in the order printed.
    refusal: Problem that says why nothing is selected, else None.
    Raises Problem for a pin that cannot be obeyed and for wishes that contradict each other.
    """
    wished.check(wishes)
    if not wished.automatic(wishes):
        selected, reasons, held_to = pinned(profiles, wishes)
        if wishes.fine_tuned and _weights(selected, wishes, None)[0]:
            reasons.append(_weights(selected, wishes, None)[1])
        return _choice(profiles, selected, reasons, held_to, {}, "another profile is pinned")

    for profile in profiles:
        if profile["description"] == wishes.engine_name and not cannot_run(profile, wishes):
            reasons = [f"the engine cached as {wishes.engine_name} was built for exactly this release"]
            others = "the cached engine of exactly this release comes first"
            return _choice(profiles, profile, reasons, fit(profile, wishes).max_model_len, {}, others)

    aside, usable = {}, []
    for profile in profiles:
        stop = next(((name, why) for name, rule in RULES for why in [rule(profile, wishes)] if why), None)
        if stop:
            aside[profile["id"]] = stop
        else:
            usable.append(profile)
    reasons = {key: why for key, (_name, why) in aside.items()}
    if not usable:
        rules = [name for name, _rule in RULES]
        furthest = max((rules.index(name) for name, _why in aside.values()), default=0)
        stopped = [profile for profile in profiles if aside[profile["id"]][0] == rules[furthest]]
        choice = _choice(profiles, None, [], None, reasons, "")
        return dict(choice, refusal=refusal(rules[furthest], stopped, profiles, gpus, wishes))

    objective = wished.objective(wishes)
    selected = min(usable, key=lambda profile: _rank(profile, wishes, objective))  # min keeps the order printed
    for profile in usable:
        reasons.setdefault(profile["id"], _outranked(profile, selected, wishes, objective))
    why = _reasons(selected, usable, wishes, objective)
    return _choice(profiles, selected, why, fit(selected, wishes).max_model_len, reasons, "")


def _choice(profiles, selected, why, held_to, reasons, otherwise):
    return {
        "selected": None if selected is None else dict(selected, max_model_len=held_to, reasons=why),
        "rejected": [
            {
                "id": profile["id"],
                "description": profile["description"],
                "reason": reasons.get(profile["id"]) or otherwise,
            }
            for profile in profiles
            if profile is not selected
        ],
        "refusal": None,
    }


# -- preferences: (profile, wishes, objective) -> a number, the lowest wins, and what stands behind it -------------

_SHIPPED_WEIGHTS = (
    "an engine built by NVIDIA holds the weights the image was made for; fine-tuned weights are documented to go "
    "through an engine built on the host (what NIM does with them and such a profile is not verified)"
)
_PYTORCH = "TensorRT-LLM by PyTorch is documented not to serve fine-tuned weights in 1.15"
_OTHER_ENGINES = "weights that are quantised, but not by ModelOpt, are documented to go through vLLM or SGLang"


def _kind(profile):
    engine, gpu = profile["engine"], profile["gpu"]
    if gpu and not profile["buildable"]:
        return 0 if engine == "tensorrt_llm" else 1
    if profile["buildable"]:
        return 2
    return {"tensorrt_llm": 3, None: 5}.get(engine, 4)


def _length(profile, wishes, objective):
    held_to = fit(profile, wishes).max_model_len
    return int(held_to is not None), f"fits with {held_to} tokens only" if held_to else "fits with any length"


def _weights(profile, wishes, objective):
    if wishes.fine_tuned and profile["pytorch"]:
        return 2, _PYTORCH
    if wishes.fine_tuned and _kind(profile) == 0:
        return 1, _SHIPPED_WEIGHTS
    return 0, "takes the fine-tuned weights"


def _quantised(profile, wishes, objective):
    if profile["engine"] == "tensorrt_llm" and "modelopt" not in (wishes.quantization or "modelopt").lower():
        return 1, _OTHER_ENGINES
    return 0, "is of an engine that takes the quantised weights"


def _told(profile, wishes, objective):
    told = profile["tensor_parallel"] is not None and not (wished.precision(wishes) and profile["precision"] is None)
    return int(not told), "its name tells what it is" if told else "its name does not tell whether it is what is wished"


def _wished_objective(profile, wishes, objective):
    order = ("throughput", "latency", None) if objective == "throughput" else ("latency", "throughput", None)
    return order.index(profile["objective"]), f"objective {profile['objective'] or 'unspecified'}"


def _engine(profile, wishes, objective):
    kind = _kind(profile)
    return kind, "TensorRT-LLM by PyTorch, set up for this GPU" if kind == 0 and profile["pytorch"] else KINDS[kind]


PREFERENCES = (_length, _weights, _quantised, _told, _wished_objective, _engine)


def _rank(profile, wishes, objective):
    return [prefer(profile, wishes, objective)[0] for prefer in PREFERENCES]


def _outranked(profile, selected, wishes, objective):
    for prefer in PREFERENCES:
        mine, best = prefer(profile, wishes, objective), prefer(selected, wishes, objective)
        if mine[0] != best[0]:
            return f"{mine[1]}; the selected one comes before it: {best[1]}"
    return "equal to the selected one, which is printed before it"


def _reasons(selected, usable, wishes, objective):
    if selected["group"] == "low_memory":
        reasons = [f"low memory: {fit(selected, wishes).why}"]
    else:
        compilable = selected["group"] == "compilable"
        reasons = ["can be compiled on these GPUs" if compilable else "runnable on these GPUs"]
    reasons.append("serves LoRA adapters" if selected["lora"] else "no LoRA adapters are wished for")
    needed = gpus_needed(selected)
    if needed and wishes.gpu_count:
        reasons.append(f"is for {wished.gpus(needed)}, as the service will have")
    if wished.precision(wishes) or wishes.quantization:
        known = selected["precision"]
        as_wished = " as the weights" if known == wished.precision(wishes) else ""
        reasons.append(f"precision {known}{as_wished}" if known else "its name does not tell a precision")
    deciding = (_weights, _wished_objective, _engine) if wishes.fine_tuned else (_wished_objective, _engine)
    reasons += [prefer(selected, wishes, objective)[1] for prefer in deciding]
    equals = sum(1 for other in usable if _rank(other, wishes, objective) == _rank(selected, wishes, objective))
    if equals > 1:
        reasons.append(f"printed first of {equals} that are equal in all this")
    return reasons
