"""A program: llama.cpp's server on a GGUF file, on this machine's loopback, until its standard input ends.

It reads what to serve as a line of JSON and prints its address as a line once it is ready. The other end of its input
is held by who has started it, and is closed by the system however that one ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sys

# llama.cpp's word for errors alone; what it says of every call would fill the log of a night
_ERRORS = 1


def main() -> None:
    """Serves."""
    asked = json.loads(sys.stdin.readline())
    _end_with_input()
    # the address is to stand there alone
    said = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = asked["path"]
    params.n_parallel = asked["slots"]
    params.n_ctx = asked["slots"] * asked["context"]
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = asked["threads"]
    # whoever else is on this machine, a page in a browser included, has no business here
    params.api_keys = [asked["key"]]
    params.cors_origins = ""
    params.ui = False
    params.endpoint_slots = False
    params.verbosity = _ERRORS
    try:
        server = xllamacpp.Server(params)
    except RuntimeError:
        # it has said more before, of its own
        sys.exit(1)
    print(server.listening_address, file=said, flush=True)
    sys.stdin.read()
    # it would wait for calls under way
    os._exit(0)


def _end_with_input() -> None:
    """Has the system end this program with its input, while a model is loaded, too, when no Python runs."""
    with contextlib.suppress(OSError):
        fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())
        # Linux then sends a signal that ends who does not listen to it; elsewhere the end is read after loading
        fcntl.fcntl(0, fcntl.F_SETFL, fcntl.fcntl(0, fcntl.F_GETFL) | os.O_ASYNC)


if __name__ == "__main__":
    main()
