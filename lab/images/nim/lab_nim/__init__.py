# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The lab's NIM: a rehearsal of NVIDIA's container that needs no GPU and really generates from the weights it is given.

Written from the published contract alone; it shares no code with the collection that deploys it.
"""

import os
import tempfile
from pathlib import Path

# mistral.rs would look for a home directory, which a container that runs as any uid may not have, and log in a style of
# its own. It reads these when it is imported.
os.environ.setdefault("HF_HOME", str(Path(tempfile.gettempdir()) / "huggingface"))
os.environ.setdefault("RUST_LOG", "error")
