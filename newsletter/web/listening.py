"""The socket that the pages are served on."""

import socket

from newsletter.core.errors import ConfigError


def listen(host: str, port: int) -> socket.socket:
    """Listen on an address; ConfigError naming it where that cannot be done."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise ConfigError(
            f"NEWSLETTER_WEB__HOST and NEWSLETTER_WEB__PORT: cannot listen on {host}, port {port}: {error.strerror}"
        ) from error
