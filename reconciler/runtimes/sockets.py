"""Where an engine's socket is: as its own command line finds it, less all that is not a socket of this machine.

Sources: docker(1) (DOCKER_HOST), podman(1) (CONTAINER_HOST), podman-system-service(1), https://docs.docker.com/engine/security/rootless/.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from reconciler.runtimes.engine import LABELS, EngineError

VARIABLES = {"docker": "DOCKER_HOST", "podman": "CONTAINER_HOST"}
_SYSTEM = {"docker": "/run/docker.sock", "podman": "/run/podman/podman.sock"}
_USER = {"docker": "docker.sock", "podman": "podman/podman.sock"}
"""Rootless ones, below $XDG_RUNTIME_DIR."""


def candidates(runtime: str, environment: Mapping[str, str]) -> tuple[str, ...]:
    """The paths at which the socket of `runtime` may be, the likeliest first.

    Raises EngineError if the environment names an engine that is not reached by a socket of this machine: the pids that such
    a one tells mean nothing here.
    """
    variable = VARIABLES[runtime]
    named = environment.get(variable, "")
    if named:
        path = named.removeprefix("unix://")
        if path == named or not path.startswith("/"):
            raise EngineError(
                f"{LABELS[runtime]} is looked for at {variable}={named}, and only containers of this machine can be attached "
                "(give unix:///PATH/TO/SOCKET, or unset it)"
            )
        return (path,)
    user = environment.get("XDG_RUNTIME_DIR", "")
    return (_SYSTEM[runtime], *([f"{user}/{_USER[runtime]}"] if user else []))


def find(runtime: str, environment: Mapping[str, str]) -> str:
    """The path of the socket: the first that may be written to, else the first that is there, else where it should be.

    Raises EngineError like `candidates`.
    """
    paths = candidates(runtime, environment)
    usable = (path for path in paths if os.access(path, os.W_OK))
    return next(usable, next(filter(os.path.exists, paths), paths[0]))
