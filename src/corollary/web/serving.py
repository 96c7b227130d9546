"""The socket that the explorer listens on, and the server behind it."""

import socket

import uvicorn
from fastapi import FastAPI

from corollary.errors import StorageError

CONNECTIONS = 200
"""At a time; more are told to come again."""
_ADDRESS = 64 * 1024


def listen(host: str, port: int) -> socket.socket:
    """A socket on an address; port 0: a free one. Raises `StorageError` where it cannot be had.

    Answers leave at once: without TCP_NODELAY the second part of each waited 40 ms for the first to be confirmed
    (measured), and asyncio sets it only for sockets that it makes itself.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        found.bind((host, port))
        found.listen(CONNECTIONS)
    except OSError as error:
        found.close()
        raise StorageError(
            f"{host}:{port} cannot be served on ({error.strerror or error}): take another --host or --port"
        ) from None
    return found


def run(app: FastAPI, listening: socket.socket) -> None:
    """Serve until a signal ends it."""
    settings = uvicorn.Config(
        app,
        log_level="warning",
        server_header=False,
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=10,
        timeout_graceful_shutdown=2,
        h11_max_incomplete_event_size=_ADDRESS,
    )
    uvicorn.Server(settings).run(sockets=[listening])
