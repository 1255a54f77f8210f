# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Puts the NIM image into the lab's registry, under every name in images/nim/tags.yml.

    registry.py IMAGE    its tag in the Docker Engine

Over HTTP, from "docker save": the machine's Docker Engine knows neither the registry's name nor its authority, and is
left as it is. Layers go up as they are, uncompressed: compressing them, and undoing it on two servers, would be most of
the time that a push and its pulls take. They go up once; for each name there is only a configuration of its own.
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
import yaml

ADDRESS, NAME = "10.83.0.2", "nvcr.lab"
USER, KEY = "$oauthtoken", "nvapi-lab-0123456789abcdef"  # a rehearsal value, no secret
NAMES = yaml.safe_load((images.SOURCES / "nim" / "tags.yml").read_text())

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

    def upload(self, repository, source, size):
        """Upload size bytes from the file source; returns how a manifest describes them, but for what a config is."""
        headers, _body = self.ask("POST", f"/v2/{repository}/blobs/uploads/", b"", expect=(202,))
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

    def mount(self, repository, digest, source):
        """Let the repository have a blob that another one has."""
        self.ask("POST", f"/v2/{repository}/blobs/uploads/?mount={digest}&from={source}", b"", expect=(201,))


def references():
    """(repository, tag) of every name."""
    return [(name["repository"], tag) for name in NAMES for tag in name["tags"]]


def pushed():
    """What the image in the registry was made of, name by name; None where there is none."""
    registry, found = Registry(), []
    for repository, tag in references():
        _headers, body = registry.ask("GET", f"/v2/{repository}/manifests/{tag}", expect=(200, 404), Accept=MANIFEST)
        config = json.loads(body).get("config")
        if config:
            _headers, body = registry.ask("GET", f"/v2/{repository}/blobs/{config['digest']}")
        found.append(json.loads(body)["config"]["Labels"].get(images.LABEL) if config else None)
    return found


def configuration(built, name):
    """The built image's configuration (bytes) with the labels and variables of a name."""
    whole = json.loads(built)
    env = {"LAB_NIM_VERSION": str(name["rehearses"]), **name["env"]}
    kept = [item for item in whole["config"]["Env"] if item.partition("=")[0] not in env]
    whole["config"]["Env"] = kept + [f"{key}={value}" for key, value in env.items()]
    whole["config"]["Labels"] = {**(whole["config"]["Labels"] or {}), **name["labels"]}
    return json.dumps(whole).encode()


def push(image):
    """Upload the image (its tag in the Docker Engine) under every name."""
    registry, home = Registry(), NAMES[0]["repository"]
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
                blobs[member.name] = registry.upload(home, archive.extractfile(member), member.size)
    if save.returncode:
        sys.exit(f"docker save {image} failed")

    def blob(name):
        name = links.get(name, name)
        if name not in blobs:
            blobs[name] = registry.upload(home, io.BytesIO(small[name]), len(small[name]))
        return blobs[name]

    (description,) = json.loads(small["manifest.json"])
    layers = [blob(name) for name in description["Layers"]]
    for repository in {name["repository"] for name in NAMES} - {home}:
        for layer in layers:
            registry.mount(repository, layer["digest"], home)
    for name in NAMES:
        repository, config = name["repository"], configuration(small[description["Config"]], name)
        described = {**registry.upload(repository, io.BytesIO(config), len(config)), "mediaType": CONFIG}
        whole = {"schemaVersion": 2, "mediaType": MANIFEST, "config": described, "layers": layers}
        for tag in name["tags"]:
            path, manifest = f"/v2/{repository}/manifests/{tag}", json.dumps(whole).encode()
            registry.ask("PUT", path, manifest, expect=(201,), Content_Type=MANIFEST)


def main():
    (image,) = sys.argv[1:]
    if set(pushed()) != {image}:
        push(image)
        print("\n".join(f"{NAME}/{repository}:{tag}" for repository, tag in references()))


if __name__ == "__main__":
    main()
