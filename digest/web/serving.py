"""The web server: the only place that listens for the pages."""

import socket
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network

import uvicorn
from fastapi import FastAPI

from digest.errors import DigestError


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there; DigestError where somebody else does."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise DigestError(
            f"cannot listen on {host}:{port}: {error.strerror}; take another with --host and --port"
        ) from error


def server(
    app: FastAPI, host: str, port: int, trusted_proxies: Sequence[IPv4Network | IPv6Network] = ()
) -> uvicorn.Server:
    """A server that is not started yet.

    No line is written per request: the paths hold tokens (T-7). A client's address is taken from
    X-Forwarded-For only where one of *trusted_proxies* sent it (S-20).
    """
    return uvicorn.Server(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            http="h11",
            ws="none",
            lifespan="on",
            access_log=False,
            log_level="warning",
            server_header=False,
            proxy_headers=bool(trusted_proxies),
            forwarded_allow_ips=[str(network) for network in trusted_proxies],
        )
    )


def serve(
    app: FastAPI, listening: socket.socket, trusted_proxies: Sequence[IPv4Network | IPv6Network] = ()
) -> None:
    """Serves *app* on a socket of `listen` until the process is told to stop."""
    host, port = listening.getsockname()[:2]
    server(app, host, port, trusted_proxies).run(sockets=[listening])
