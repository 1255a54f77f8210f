# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The image's entrypoint: no argument starts the service, a utility's name runs that, anything else is executed.

In 2.x nim-serve starts the service as well, and engine flags may follow it or stand alone [documented].
"""

from __future__ import annotations

import os
import signal
import sys

from . import checkpoint, contract, engine_cache, listing, manifest, ngc, settings, start
from .console import Refusal, log, say
from .gpus import visible
from .profiles import grouped

NOT_REHEARSED = ("download-to-cache", "create-model-store")


def list_model_profiles(config: settings.Settings, generation: contract.Generation) -> None:
    """Ends with status 0 also where nothing is runnable [observed]."""
    gpus = visible(config.gpus_file)
    # What a model-specific image was given to serve is of no account here.
    weights = None if generation.model_specific else checkpoint.mounted(config, generation)
    engines = [engine.profile for engine in engine_cache.cached(config.cache, generation)]
    profiles = manifest.profiles(generation, config, weights and checkpoint.read_config(weights))
    print(listing.noise(generation, engines), end="")
    if generation.noise["beginning"]:
        log("arg_utils.py:1699", generation.noise["beginning"], level="WARNING")
    say(listing.system_info(generation, gpus))
    ngc.fetch_metadata(config, generation)
    print(listing.noise(generation, [profile for profile in profiles if profile.gpu]), end="")
    groups = grouped(engines + profiles, generation, gpus, config)
    say(listing.model_profiles(generation, groups, config.budget_mib(gpus) if gpus else 0))


def stop(*_: object) -> None:
    """SIGTERM: at once, cutting the answers that are under way."""
    say("/opt/nim/start_server.sh received SIGTERM, attempting graceful shutdown...")
    start.end(settings.read(known=contract.installed().variables).stop_exit_code)


def main(arguments: list[str]) -> int:
    generation = contract.installed()
    flags = arguments[arguments[:1] == ["nim-serve"] :]
    serves = not arguments or (generation.engine_port and (flags != arguments or flags[0].startswith("--")))
    if not serves and arguments[0] not in ("list-model-profiles", *NOT_REHEARSED):
        os.execvp(arguments[0], arguments)
    signal.signal(signal.SIGTERM, stop)  # without a handler the kernel keeps SIGTERM from a container's first process
    say(listing.banner(generation))
    try:
        if serves:
            start.serve(settings.read(known=generation.variables, arguments=flags), generation)
        elif arguments[0] == "list-model-profiles":
            list_model_profiles(settings.read(known=generation.variables), generation)
        else:
            raise Refusal(f"The lab's NIM does not rehearse {arguments[0]}.")
    except Refusal as refusal:
        refusal.show()
        return 1
    except PermissionError as error:
        Refusal(f"I/O error {error.strerror} (os error {error.errno})").show()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
