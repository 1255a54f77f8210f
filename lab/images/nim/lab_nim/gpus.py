# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The GPUs that were handed to this container, as the lab's container hook wrote them down."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Gpu:
    index: int
    uuid: str
    name: str
    pci_id: str
    memory_total_mib: int
    memory_used_mib: int
    compute_capability: float

    @property
    def device(self) -> str:
        """The PCI device id without the vendor: 2330 of 2330:10de."""
        return self.pci_id.split(":")[0].lower()

    @property
    def used_percent(self) -> float:
        """What NIM prints (rounded) as "current utilization": memory in use, not work."""
        return 100 * self.memory_used_mib / self.memory_total_mib


def visible(file: Path) -> list[Gpu]:
    """No file: the container was given no GPU."""
    if not file.is_file():
        return []
    return [
        Gpu(
            index=int(entry["index"]),
            uuid=entry["uuid"],
            name=entry["name"],
            pci_id=entry["pci_id"],
            memory_total_mib=int(entry["memory_total_mib"]),
            memory_used_mib=int(entry.get("memory_used_mib", 0)),
            compute_capability=float(entry["compute_capability"]),
        )
        for entry in json.loads(file.read_text(encoding="utf-8"))
    ]
