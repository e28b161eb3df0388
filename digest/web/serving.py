"""The web server: the only place that listens for the pages."""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network

import uvicorn
from fastapi import FastAPI


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
            lifespan="off",
            access_log=False,
            log_level="warning",
            server_header=False,
            proxy_headers=bool(trusted_proxies),
            forwarded_allow_ips=[str(network) for network in trusted_proxies],
        )
    )


def serve(
    app: FastAPI, host: str, port: int, trusted_proxies: Sequence[IPv4Network | IPv6Network] = ()
) -> None:
    """Serves *app* until the process is told to stop."""
    server(app, host, port, trusted_proxies).run()
