"""Registry and hub, asked before any server is looked at: here by each server itself, which can be cut off alone."""

from __future__ import annotations

from .fault import Fault, Step, away, blocked, changed_file

GATED = {"weights": {"repo": "lab/Llama-3.2-1B-gated", "revision": "main"}}


def image(name):
    return {"image": f"nvcr.lab/{name}"}


def weights(repo, revision="main"):
    return {"weights": {"repo": repo, "revision": revision}}


RESOLVE = Step(
    "Resolve: registry and hub are asked",
    "deploy",
    [
        Fault(
            "the registry is down", ("The registry nvcr.lab cannot be reached", "nothing was changed"), at="registry"
        ),
        Fault("the hub is down", ("The hub's name cannot be resolved: https://hub.lab.",), at="hub"),
        Fault("a firewall before the registry", ("The registry nvcr.lab cannot be reached",), *blocked("10.83.0.2")),
        Fault(
            "a firewall before the hub",
            ("The hub cannot be reached, or the connection broke: https://hub.lab.",),
            *blocked("10.83.0.3"),
        ),
        Fault(
            "no name server",
            (
                "The registry nvcr.lab cannot be reached",
                "DNS",
            ),
            *changed_file("/etc/resolv.conf", "echo nameserver 127.0.0.9 > $file"),
        ),
        Fault(
            "the certificate authority of registry and hub is unknown",
            ("The certificate of the registry nvcr.lab is not trusted",),
            *away("/etc/ssl/certs"),
        ),
        Fault(
            "a proxy that is not there",
            (
                "The registry nvcr.lab cannot be reached",
                "Connection refused",
                "proxy",
            ),
            wrong={"nim_resolver_environment": {"https_proxy": "http://127.0.0.1:9"}},
        ),
        Fault("no NGC key", ("There is no NGC key", "export NGC_API_KEY"), wrong={"ngc_api_key": ""}),
        Fault("a wrong NGC key", ("refuses the NGC key", "HTTP 401"), wrong={"ngc_api_key": "nvapi-lab-wrong"}),
        Fault(
            "an unknown tag",
            ("has no image nvcr.lab/nim/meta/llama-3.2-1b-instruct:9.9",),
            wish=image("nim/meta/llama-3.2-1b-instruct:9.9"),
        ),
        Fault("an unknown image", ("has no image nvcr.lab/nim/meta/lama:1.8.4",), wish=image("nim/meta/lama:1.8.4")),
        Fault("half an image's name", ("whole image reference",), wish={"image": "llama"}),
        Fault("an unknown repository", ("lab/nothing does not exist",), wish=weights("lab/nothing")),
        Fault("an unknown revision", ("no revision 'v9'", "tag v1"), wish=weights("lab/Llama-3.2-1B-capitals", "v9")),
        Fault(
            "a gated repository, no token",
            ("it is gated or private and no token was given",),
            wish=GATED,
            wrong={"weights_hf_token": ""},
        ),
        Fault(
            "a gated repository, a token without access",
            ("no access to lab/Llama-3.2-1B-gated", "Accept the terms"),
            wish=GATED,
            wrong={"weights_hf_token": "hf_lab_outsider"},
        ),
        Fault(
            "a token that was withdrawn",
            ("does not accept the token",),
            wish=GATED,
            wrong={"weights_hf_token": "hf_lab_nobody"},
        ),
        Fault("no config.json", ("config.json is missing",), wish=weights("lab/broken-no-config")),
        Fault("a shard that is a pointer", ("git-lfs pointer",), wish=weights("lab/broken-pointer")),
        Fault(
            "a shard that is missing",
            ("shards that model.safetensors.index.json names is missing",),
            wish=weights("lab/broken-shard"),
        ),
        Fault(
            "a shard whose header is absurd",
            (
                "header would be",
                "bytes long",
            ),
            wish=weights("lab/broken-header"),
        ),
    ],
    variables={"nim_resolver": "{{ inventory_hostname }}", "nim_resolver_environment": {}},
)
