# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The entrypoint on a real GPU: writes down the GPUs that NVML sees, as the lab's hook does, and is the lab's NIM."""

import json
import os
import sys
from pathlib import Path

import pynvml
from lab_nim.__main__ import main

FILE = Path("/tmp/gpus.json")


def handed_over():
    """NVML's handles of them; it counts those of the server that this container may not open as well."""
    pynvml.nvmlInit()
    for index in range(pynvml.nvmlDeviceGetCount()):
        try:
            yield pynvml.nvmlDeviceGetHandleByIndex(index)
        except pynvml.NVMLError_NoPermission:
            continue


def seen():
    """The GPUs that were handed to this container, as lab_nim.gpus reads them."""
    for index, gpu in enumerate(handed_over()):
        memory = pynvml.nvmlDeviceGetMemoryInfo(gpu, version=pynvml.nvmlMemory_v2)
        device = pynvml.nvmlDeviceGetPciInfo(gpu).pciDeviceId
        major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(gpu)
        yield {
            "index": index,
            "uuid": pynvml.nvmlDeviceGetUUID(gpu),
            "name": pynvml.nvmlDeviceGetName(gpu),
            "pci_id": f"{device >> 16:04x}:{device & 0xFFFF:04x}",
            "memory_total_mib": memory.total // 1024**2,
            "memory_used_mib": memory.used // 1024**2,
            "utilization": pynvml.nvmlDeviceGetUtilizationRates(gpu).gpu,
            "compute_capability": f"{major}.{minor}",
        }


FILE.write_text(json.dumps(list(seen())), encoding="utf-8")
os.environ["LAB_GPUS_FILE"] = str(FILE)
sys.exit(main(sys.argv[1:]))
