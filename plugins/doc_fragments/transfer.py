# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The options of modules that begin transfers, or wait for them."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  transfers_dir:
    description:
      - The absolute path of the directory where transfers tell where they are. It holds no secret, and is best in
        memory.
    type: path
    default: /run/nim-transfers
"""

    # Of those that can begin one.
    BEGINS = r"""
options:
  wait:
    description:
      - Whether to wait for the end. If not, a process of its own does the work, and goes on when the connection of the
        control node ends; M(llmops.nim.nim_transfers) waits for it. While it is at work, no second one is begun.
    type: bool
    default: true
"""
