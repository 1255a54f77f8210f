# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Puts the NIM image into the lab's registry.

    registry.py IMAGE    its tag in the Docker Engine

Over HTTP, from "docker save": the machine's Docker Engine knows neither the registry's name nor its authority, and is
left as it is. Layers go up as they are, uncompressed: compressing them, and undoing it on two servers, would be most of
the time that a push and its pulls take.
"""

import base64
import hashlib
import http.client
import io
import json
import posixpath
import socket
import ssl
import subprocess
import sys
import tarfile

import images

ADDRESS, NAME = "10.83.0.2", "nvcr.lab"
USER, KEY = "$oauthtoken", "nvapi-lab-0123456789abcdef"  # a rehearsal value, no secret
REPOSITORY, TAGS = "nim/meta/llama-3.2-1b-instruct", ("1.8.4", "1")

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar"
GZIP = b"\x1f\x8b"
IN_MEMORY = 1 << 20


class Registry(http.client.HTTPSConnection):
    """A connection to nvcr.lab, checked against the lab's authority."""

    def __init__(self):
        context = ssl.create_default_context(cafile=images.STATE / "keys" / "ca.crt")
        super().__init__(NAME, timeout=60, context=context)

    def connect(self):
        connection = socket.create_connection((ADDRESS, 443), self.timeout)
        self.sock = self._context.wrap_socket(connection, server_hostname=NAME)

    def ask(self, method, path, body=None, expect=(200,), **headers):
        """The response's headers and body; a status other than those expected is an error."""
        headers["Authorization"] = "Basic " + base64.b64encode(f"{USER}:{KEY}".encode()).decode()
        self.request(method, path, body, {key.replace("_", "-"): value for key, value in headers.items()})
        response = self.getresponse()
        content = response.read()
        if response.status not in expect:
            raise OSError(f"{method} {NAME}{path}: {response.status} {content[:500].decode(errors='replace')}")
        return response.headers, content

    def upload(self, source, size):
        """Upload size bytes from the file source; returns how a manifest describes them, but for what a config is."""
        headers, _body = self.ask("POST", f"/v2/{REPOSITORY}/blobs/uploads/", b"", expect=(202,))
        total = hashlib.sha256()
        head = source.read(2)

        def read():
            data = head
            while data:
                total.update(data)
                yield data
                data = source.read(1 << 20)

        location = headers["Location"].partition(NAME)[2]
        headers, _body = self.ask("PATCH", location, read(), expect=(202,), Content_Length=str(size))
        digest = "sha256:" + total.hexdigest()
        location = headers["Location"].partition(NAME)[2]
        self.ask("PUT", f"{location}&digest={digest}", b"", expect=(201,))
        return {"mediaType": LAYER + ".gzip" if head == GZIP else LAYER, "size": size, "digest": digest}


def pushed():
    """What the image in the registry was made of, tag by tag; None where there is none."""
    registry, found = Registry(), []
    for tag in TAGS:
        _headers, body = registry.ask("GET", f"/v2/{REPOSITORY}/manifests/{tag}", expect=(200, 404), Accept=MANIFEST)
        config = json.loads(body).get("config")
        if config:
            _headers, body = registry.ask("GET", f"/v2/{REPOSITORY}/blobs/{config['digest']}")
        found.append(json.loads(body)["config"]["Labels"].get(images.LABEL) if config else None)
    return found


def push(image):
    """Upload the image (its tag in the Docker Engine) under TAGS."""
    registry = Registry()
    small, blobs, links = {}, {}, {}
    save = subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE)
    with save, tarfile.open(fileobj=save.stdout, mode="r|") as archive:
        for member in archive:
            if member.issym():
                target = posixpath.join(posixpath.dirname(member.name), member.linkname)
                links[member.name] = posixpath.normpath(target)
            elif member.isfile() and member.size < IN_MEMORY:
                small[member.name] = archive.extractfile(member).read()
            elif member.isfile():
                blobs[member.name] = registry.upload(archive.extractfile(member), member.size)
    if save.returncode:
        sys.exit(f"docker save {image} failed")

    def blob(name):
        name = links.get(name, name)
        if name not in blobs:
            blobs[name] = registry.upload(io.BytesIO(small[name]), len(small[name]))
        return blobs[name]

    (description,) = json.loads(small["manifest.json"])
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {**blob(description["Config"]), "mediaType": CONFIG},
            "layers": [blob(name) for name in description["Layers"]],
        }
    ).encode()
    for tag in TAGS:
        registry.ask("PUT", f"/v2/{REPOSITORY}/manifests/{tag}", manifest, expect=(201,), Content_Type=MANIFEST)


def main():
    (image,) = sys.argv[1:]
    if set(pushed()) != {image}:
        push(image)
        print(f"{NAME}/{REPOSITORY}: {', '.join(TAGS)}")


if __name__ == "__main__":
    main()
