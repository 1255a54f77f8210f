# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The options of modules that work on a snapshot of weights."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  repo:
    description: The repository, as C(organisation/name).
    type: str
    required: true
  weights_dir:
    description: The absolute path of the directory that holds objects and snapshots.
    type: path
    default: /var/lib/nim/weights
  reserve_bytes:
    description: The free space in bytes that must be left on the disk.
    type: int
    default: 1073741824
"""

    # Of those that publish one.
    PUBLISHED = r"""
options:
  allow_pickle:
    description: Whether the weights may be pickles, where there are no others. A pickle runs code when it is read.
    type: bool
    default: false
  lock_timeout:
    description: How many seconds to wait for another run that works on the same repository and makes no progress.
    type: int
    default: 600
"""
