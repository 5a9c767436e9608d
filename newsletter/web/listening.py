"""The socket that the pages are served on."""

import socket

from newsletter.core.errors import ConfigError


def listen(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """Listen on an address; ConfigError naming it where that cannot be done.

    `shared` with others that share it: several daemons on one machine serve the same pages, and one may go.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, reuse_port=shared)
    except OSError as error:
        raise ConfigError(
            f"NEWSLETTER_WEB__HOST and NEWSLETTER_WEB__PORT: cannot listen on {host}, port {port}: {error.strerror}"
        ) from error
