"""The lab's hub on plain HTTP, with one repository of random weights, and what `hf download` asks for besides git.

    hub.py FOLDER MEBIBYTES OBJECTS

Addresses of objects lead to whom the client has asked, so that a cache in between stays in between.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socketserver
import subprocess
import sys
import threading
from http.server import ThreadingHTTPServer
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "lab" / "images" / "hub"))

import hub
import seed

NAME = "lab/random"
STORAGE_PORT = 81
MODEL_API = re.compile(rf"/api/models/{NAME}(?:/revision/[^/?]+)?")
FILE = re.compile(rf"/{NAME}/resolve/(?P<revision>[^/]+)/(?P<path>[^?]+)")
CONFIG = {"architectures": ["LlamaForCausalLM"], "torch_dtype": "bfloat16", "max_position_embeddings": 2048}


def weights(size, tensor):
    """A safetensors file (bytes) of size bytes with one tensor of random bytes."""
    room = size - 8 - 192
    header = json.dumps({tensor: {"dtype": "U8", "shape": [room], "data_offsets": [0, room]}}).encode().ljust(192)
    return len(header).to_bytes(8, "little") + header + os.urandom(room)


def make(root, mebibytes, objects):
    """The bare repository beneath root; writes SHA256SUMS of its large files beside it."""
    folder = root / "files"
    folder.mkdir(parents=True)
    names = [f"model-{number:05}-of-{objects:05}.safetensors" for number in range(1, objects + 1)]
    for number, name in enumerate(names):
        (folder / name).write_bytes(weights(mebibytes * 2**20 // objects, f"t{number}"))
    index = {"weight_map": {f"t{number}": name for number, name in enumerate(names)}}
    texts = {"config.json": CONFIG, "model.safetensors.index.json": index, "tokenizer.json": {}}
    for name, content in texts.items():
        (folder / name).write_text(json.dumps(content))
    sums = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    repository = root / f"{NAME}.git"
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", repository], check=True)
    (repository / "lfs").mkdir()
    for key in ("uploadpack.allowFilter", "uploadpack.allowReachableSHA1InWant"):
        subprocess.run(["git", "-C", repository, "config", key, "true"], check=True)
    stream = seed.fast_import([(None, seed.version(folder, None, repository / "lfs"))])
    subprocess.run(["git", "-C", repository, "fast-import", "--quiet"], input=stream, check=True)
    (root / "SHA256SUMS").write_text("".join(sums))


class Handler(hub.Handler):
    def route(self, body):
        commit = subprocess.check_output(
            ["git", "-C", hub.ROOT / f"{NAME}.git", "rev-parse", "main"], text=True
        ).strip()
        path = self.path.partition("?")[0]
        if MODEL_API.fullmatch(path):
            return self.model(commit)
        if path.startswith(f"/api/models/{NAME}/tree/main"):
            self.path = self.path.replace("/tree/main", f"/tree/{commit}")
        if match := FILE.fullmatch(path):
            return self.file(commit, match["path"])
        return super().route(body)

    def model(self, commit):
        files = self.files(hub.ROOT / f"{NAME}.git", commit)
        siblings = [{"rfilename": path} for path in files]
        document = {"_id": "0", "id": NAME, "modelId": NAME, "sha": commit, "private": False, "gated": False}
        self.reply(200, json.dumps({**document, "siblings": siblings, "tags": []}).encode(), "application/json")

    def file(self, commit, path):
        blob, oid, pointer = self.files(hub.ROOT / f"{NAME}.git", commit)[path]
        if pointer:
            size, oid = pointer[2].decode(), pointer[1].decode()
            linked = {"X_Linked_Size": size, "X_Linked_ETag": f'"{oid}"', "X_Repo_Commit": commit}
            # As at Hugging Face, from another origin: huggingface_hub would follow any other redirect.
            place = self.here(hub.signed(NAME, oid)).replace("/lfs/", f":{STORAGE_PORT}/lfs/", 1)
            return self.reply(302, Location=place, ETag=f'"{oid}"', **linked)
        return self.reply(200, blob, ETag=f'"{oid}"', X_Repo_Commit=commit)

    def reply(self, status, body=b"", content_type="text/plain; charset=utf-8", **headers):
        if content_type == hub.LFS_JSON:
            body = self.here(body.decode()).encode()
        super().reply(status, body, content_type, **headers)

    def here(self, text):
        return text.replace(hub.SITE, f"http://{self.headers['Host']}")


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def server_bind(self):  # without the question for its own name, for which there is nobody to ask
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def main():
    root, mebibytes, objects = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    hub.ROOT = root
    hub.FAULTS = root / "faults.json"
    make(root, mebibytes, objects)
    servers = [Server(("", port), Handler) for port in (80, STORAGE_PORT)]
    print("ready", flush=True)
    for server in servers:
        threading.Thread(target=server.serve_forever).start()


if __name__ == "__main__":
    main()
