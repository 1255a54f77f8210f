# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What C(nvidia-smi -q -x) says, and what it means when it fails.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

# By product name, first match wins: is this a data-centre GPU? CUDA compatibility and the driver's long-lived
# branches are offered to those only. A name that no rule knows counts as another GPU: the stricter floor.
DATA_CENTER_RULES = (
    (re.compile(r"\bServer Edition\b"), True),
    (re.compile(r"\b(GeForce|Quadro|TITAN|RTX)\b|\bActive\b", re.IGNORECASE), False),
    (re.compile(r"\b(Tesla|GRID)\b", re.IGNORECASE), True),
    (re.compile(r"\b(G?[HB][0-9]{2,3}(?<!GB10)|A(2|10G?|16|30X?|40|100X?|800)|L(2|4|20|40[SG]?))\b"), True),
)

_NO_VALUE = ("", "N/A", "[N/A]", "None", "Unknown Error")


def parse(text):
    """What the XML (str) says: dict of driver_version, cuda_version (str or None) and gpus (list of dicts).

    A GPU's index is its place in the output: nvidia-smi and Docker count that way, in the order of the PCI bus.
    Its processes are those that compute. There may be more: run in a container, nvidia-smi may print none.
    """
    # Without entities there is nothing in XML that grows when read.
    if "<!ENTITY" in text:
        raise _unreadable(text, "it defines entities")
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise _unreadable(text, str(error)) from error
    if root.tag != "nvidia_smi_log":
        raise _unreadable(text, f"its root is {root.tag}, not nvidia_smi_log")
    return {
        "driver_version": _text(root, "driver_version"),
        "cuda_version": _text(root, "cuda_version"),
        "gpus": [_gpu(index, element) for index, element in enumerate(root.findall("gpu"))],
    }


def _gpu(index, element):
    name = _text(element, "product_name") or "unknown"
    return {
        "index": index,
        "uuid": _text(element, "uuid"),
        "name": name,
        "pci_bus_id": _text(element, "pci/pci_bus_id") or element.get("id"),
        "pci_device_id": pci_device_id(_text(element, "pci/pci_device_id")),
        "memory_total_mib": _number(element, "fb_memory_usage/total", "MiB"),
        "memory_used_mib": _number(element, "fb_memory_usage/used", "MiB"),
        "compute_capability": None,
        "architecture": _text(element, "product_architecture"),
        "data_center": data_center(name),
        "mig": _text(element, "mig_mode/current_mig") == "Enabled",
        "utilization_percent": _number(element, "utilization/gpu_util", "%"),
        "processes": [
            _process(process)
            for process in element.findall("processes/process_info")
            # What only draws is a desktop's.
            if _text(process, "type") != "G"
        ],
    }


def _process(element):
    pid, name = _text(element, "pid") or "", _text(element, "process_name")
    return {
        "pid": int(pid) if re.fullmatch(r"[0-9]{1,10}", pid) else None,
        # Without the arguments that may follow it: one of them may be a secret.
        "name": name.split()[0] if name else None,
        "used_memory_mib": _number(element, "used_memory", "MiB"),
    }


def pci_device_id(text):
    """C(233010DE), device and vendor as nvidia-smi prints them, as NIM prints them: C(2330:10de). None stays None."""
    match = re.fullmatch(r"(?:0x)?([0-9A-Fa-f]{4})([0-9A-Fa-f]{4})", text or "")
    return f"{match.group(1)}:{match.group(2)}".lower() if match else None


def data_center(name):
    """Is a GPU with this product name (str) made for data centres?"""
    for rule, verdict in DATA_CENTER_RULES:
        if rule.search(name):
            return verdict
    return False


def compute_capabilities(text):
    """From C(--query-gpu=uuid,compute_cap --format=csv,noheader): dict of UUID to capability such as C(9.0)."""
    return dict(re.findall(r"^(GPU-[0-9a-fA-F-]+), *([0-9]+\.[0-9]+)\s*$", text, re.MULTILINE))


def failure(result, module_version=None, pci_devices=()):
    """The Problem behind an nvidia-smi that failed.

    result: what came of it (rc, out, err, missing). module_version: version (str) of the loaded kernel module, if any.
    pci_devices: NVIDIA display devices on the PCI bus (list of str).
    """
    said = "\n".join(part.strip() for part in (result.out, result.err) if part.strip())[:1000]
    on_bus = f"NVIDIA GPUs on the PCI bus: {', '.join(pci_devices) or 'none'}"
    loaded = f"kernel module: {module_version or 'not loaded'}"
    evidence = f"nvidia-smi ended with {result.rc}: {said}\n{loaded}; {on_bus}"
    if result.missing:
        return Problem(
            "There is no NVIDIA driver: the command nvidia-smi is missing.",
            evidence=f"{result.err.strip()}\n{loaded}; {on_bus}",
            remedy="Install the NVIDIA driver (the server packages of the distribution, or NVIDIA's) and reboot.",
            code="driver_missing",
        )
    if "version mismatch" in said:
        library = re.search(r"NVML library version:\s*([0-9.]+)", said)
        return Problem(
            "The NVIDIA driver was updated and the host not rebooted since: "
            f"kernel module {module_version or 'of another version'}, "
            f"user-space libraries {library.group(1) if library else 'newer or older'}.",
            evidence=evidence,
            remedy="Reboot the host (or unload and load the nvidia kernel modules while nothing uses a GPU).",
            code="driver_mismatch",
        )
    if "couldn't communicate with the NVIDIA driver" in said or "Driver Not Loaded" in said:
        return Problem(
            "The NVIDIA driver's kernel module is not loaded.",
            evidence=evidence,
            remedy="Load it (modprobe nvidia) or reboot; if that fails, the module was not built for the running "
            "kernel (dkms status) or Secure Boot refuses it (dmesg).",
            code="driver_not_loaded",
        )
    if "No devices were found" in said:
        return no_gpus(evidence)
    return Problem(
        "nvidia-smi fails.",
        evidence=evidence,
        remedy="Run nvidia-smi on the host and look into dmesg for NVRM and Xid lines; a lost GPU needs a reboot.",
        code="nvidia_smi_failed",
    )


def no_gpus(evidence):
    """The Problem of a driver that sees no GPU."""
    return Problem(
        "The NVIDIA driver works but finds no GPU.",
        evidence=evidence,
        remedy="Check that the host has a GPU (lspci -d 10de:), that it is handed through to this virtual machine, and "
        "dmesg for NVRM lines.",
        code="gpu_none",
    )


def _unreadable(text, why):
    first = next((line for line in text.splitlines() if line.strip()), "")
    return Problem(
        "What nvidia-smi -q -x printed is not readable.",
        evidence=f"{why}; it begins: {first.strip()[:200]!r}",
        remedy="Run nvidia-smi -q -x on the host; it must print XML with the root nvidia_smi_log.",
        code="nvidia_smi_unreadable",
    )


def _text(element, path):
    text = (element.findtext(path) or "").strip()
    return None if text in _NO_VALUE else text


def _number(element, path, unit):
    match = re.fullmatch(r"([0-9]{1,12}) ?" + re.escape(unit), _text(element, path) or "")
    return int(match.group(1)) if match else None
