"""Container engines: which process is the first one of a container, and when does that change?

Docker and Podman say both by the same HTTP API on a socket (https://docs.docker.com/reference/api/engine/,
https://docs.podman.io/en/latest/_static/api.html, "compat"), spoken by the `docker` SDK, the optional extra `runtimes`. Nothing of it is
imported before a file has a container of an engine.

    sockets.py      where an engine's socket is
    engine.py       one engine: asking for a container, listening
    containers.py   what the kernel asks: `docker:web` → a process, or why there is none
    events.py       starts and ends, as they come

A container keeps one name, `docker:web`, through all restarts. Which process it is at the moment is found out anew at every look at
the kernel, and what is then done goes to that very process or fails: never to another one that got its number.
"""
