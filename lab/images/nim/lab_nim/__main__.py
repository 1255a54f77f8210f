# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The image's entrypoint: no argument starts the service, a utility's name runs that, anything else is executed."""

from __future__ import annotations

import os
import signal
import sys

from . import contract, engine_cache, listing, ngc, settings, start
from .console import Refusal, say
from .gpus import visible
from .profiles import grouped
from .selection import candidates

NOT_REHEARSED = ("download-to-cache", "create-model-store")


def list_model_profiles(config: settings.Settings, generation: contract.Generation) -> None:
    """Ends with status 0 also where nothing is runnable [observed]."""
    gpus = visible(config.gpus_file)
    say(listing.system_info(generation, gpus))
    ngc.fetch_metadata(config, generation)
    profiles = candidates(engine_cache.cached(config.cache, generation), generation)
    say(listing.model_profiles(generation, grouped(profiles, generation, gpus, config.relax_memory)))


def stop(*_: object) -> None:
    """SIGTERM: at once, cutting the answers that are under way."""
    say("/opt/nim/start_server.sh received SIGTERM, attempting graceful shutdown...")
    start.end(settings.read().stop_exit_code)


def main(arguments: list[str]) -> int:
    if arguments and arguments[0] not in ("list-model-profiles", *NOT_REHEARSED):
        os.execvp(arguments[0], arguments)
    signal.signal(signal.SIGTERM, stop)  # without a handler the kernel keeps SIGTERM from a container's first process
    generation = contract.installed()
    say(listing.banner(generation))
    try:
        if not arguments:
            start.serve(settings.read(), generation)
        elif arguments[0] == "list-model-profiles":
            list_model_profiles(settings.read(), generation)
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
