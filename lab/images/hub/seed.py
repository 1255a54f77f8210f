# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Makes the hub's repositories from the weights in the checkout; the same weights give the same commit ids everywhere.

A repository is one commit a version, written by git fast-import. What .gitattributes gives to LFS is stored as an
object by its sha256 and committed as its pointer, byte for byte what git-lfs would commit.

seed.py NAME < FOLDER.tar    makes lab/NAME of a folder of an operator's own, in the place of what it was
"""

import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

GITATTRIBUTES = b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"
AUTHOR = b"The lab <lab@hub.lab>"
DATE = b"1735689600 +0000"

ABSURD_LENGTH = 1 << 50  # of a safetensors header, in bytes

CAPITALS = "Llama-3.2-1B-capitals"

# Repository: its versions (tag or None, folder of weights, damage done to the files); main stays at the first.
REPOSITORIES = {
    "Llama-3.2-1B": [(None, "Llama-3.2-1B", None)],
    CAPITALS: [("v1", CAPITALS, None), ("v2", CAPITALS + "-v2", None)],
    "Llama-3.2-1B-capitals-chat": [(None, "Llama-3.2-1B-capitals-chat", None)],
    "Llama-3.2-1B-gated": [(None, CAPITALS, None)],
    "too-big": [(None, "too-big", None)],
    "broken-no-config": [(None, CAPITALS, "no_config")],
    "broken-pointer": [(None, CAPITALS, "pointer")],
    "broken-object": [(None, CAPITALS, "object")],
    "broken-shard": [(None, CAPITALS, "shard")],
    "broken-header": [(None, CAPITALS, "header")],
}


def pointer(content):
    """The text git-lfs commits in place of content (bytes), and its oid."""
    oid = hashlib.sha256(content).hexdigest()
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(content)}\n".encode(), oid


def other_bytes(content):
    """Bytes of the same length that are not content: what a damaged store should have served."""
    return content[:-1] + bytes([content[-1] ^ 1])


def last_shard(files):
    """The name of the shard that damage is done to."""
    return max(name for name in files if name.endswith(".safetensors"))


def version(folder, damage, objects):
    """The files to commit: {name: bytes}, with LFS objects put into the folder objects."""
    files = {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}
    files.setdefault(".gitattributes", GITATTRIBUTES)
    if damage == "no_config":
        del files["config.json"]
    if damage == "shard":
        del files[last_shard(files)]
    if damage == "header":
        name = last_shard(files)
        files[name] = ABSURD_LENGTH.to_bytes(8, "little") + files[name][8:]

    plain = last_shard(files) if damage == "pointer" else None
    damaged = last_shard(files) if damage == "object" else None
    committed = {}
    for name, content in files.items():
        if not name.endswith(".safetensors"):
            committed[name] = content
            continue
        # The damage is in the pointer: were it in the bytes, a server that has the good object would never fetch them.
        committed[name], oid = pointer(other_bytes(content) if name == damaged else content)
        target = objects / oid
        if name != plain:
            target.write_bytes(content)
    if plain:
        # An exception from the LFS rule: the pointer is all there is.
        committed[".gitattributes"] += f"{plain} -filter -diff -merge text\n".encode()
    return committed


def fast_import(versions):
    """The stream that makes main and the tags; main stays at the first version."""
    stream = []
    for number, (tag, files) in enumerate(versions):
        branch = "refs/heads/main" if number == 0 else f"refs/tags/{tag}"
        message = f"Add {tag or 'weights'}\n".encode()
        stream.append(b"commit %s\nmark :%d\n" % (branch.encode(), number + 1))
        stream.append(b"committer %s %s\ndata %d\n%s" % (AUTHOR, DATE, len(message), message))
        if number:
            stream.append(b"from :%d\ndeleteall\n" % number)
        for name, content in sorted(files.items()):
            stream.append(b'M 100644 inline "%s"\ndata %d\n%s\n' % (name.encode(), len(content), content))
        if tag and number == 0:
            stream.append(b"reset refs/tags/%s\nfrom :1\n\n" % tag.encode())
    return b"".join(stream)


def make(repository, versions):
    """Make a bare repository of versions, each (tag or None, folder, damage or None), with LFS objects in its lfs."""
    objects = repository / "lfs"
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", repository], check=True)
    objects.mkdir()
    for key in ("uploadpack.allowFilter", "uploadpack.allowReachableSHA1InWant"):
        subprocess.run(["git", "-C", repository, "config", key, "true"], check=True)
    stream = fast_import([(tag, version(folder, damage, objects)) for tag, folder, damage in versions])
    subprocess.run(["git", "-C", repository, "fast-import", "--quiet"], input=stream, check=True)


def seed(weights, root):
    """Make every repository of REPOSITORIES from the folder weights in the folder root: root/lab/<name>.git.

    Each has its LFS objects in root/lab/<name>.git/lfs. A repository whose weights are not there is left out.
    """
    for name, versions in REPOSITORIES.items():
        if not all((weights / folder).is_dir() for _tag, folder, _damage in versions):
            print(f"no weights for lab/{name}", flush=True)
            continue
        make(root / "lab" / (name + ".git"), [(tag, weights / folder, damage) for tag, folder, damage in versions])


def main(name, root=Path("/srv/hub")):
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=sys.stdin.buffer, mode="r|") as archive:
            archive.extractall(folder)
        repository = root / "lab" / (name + ".git")
        shutil.rmtree(repository, ignore_errors=True)
        make(repository, [(None, Path(folder), None)])


if __name__ == "__main__":
    main(sys.argv[1])
