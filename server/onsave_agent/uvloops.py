"""uvloop binds and listens in C, where nobody can take part. So we make the sockets for it."""

import os
import socket
import stat

from onsave_agent import crash

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_OURS = ("family", "flags", "reuse_address", "reuse_port")


def after_uvloop(module):
    # type: (Any) -> None
    """Let ``uvloop.Loop`` be given sockets that went through Python's bind and listen."""
    crash.watch_loop(module.Loop)
    real_tcp = module.Loop.create_server
    real_unix = module.Loop.create_unix_server

    async def create_server(self, protocol_factory, host=None, port=None, **options):
        # type: (Any, Any, Any, Any, **Any) -> Any
        given = options.get("sock") is not None
        if not given and (host is not None or port is not None):
            addresses = await _addresses(self, host, port, options)
            if len(addresses) == 1:  # For more, uvloop's server can't be given sockets.
                options["sock"] = _bound(addresses[0], options)
                host = port = None
                for name in _OURS:
                    options.pop(name, None)
        _listen(options, given)
        return await real_tcp(self, protocol_factory, host, port, **options)

    async def create_unix_server(self, protocol_factory, path=None, **options):
        # type: (Any, Any, Any, **Any) -> Any
        given = options.get("sock") is not None
        if not given and path is not None:
            options["sock"] = _bound_unix(os.fspath(path))
            path = None
        _listen(options, given)
        return await real_unix(self, protocol_factory, path, **options)

    create_server.__doc__ = real_tcp.__doc__
    create_unix_server.__doc__ = real_unix.__doc__
    module.Loop.create_server = create_server
    module.Loop.create_unix_server = create_unix_server


async def _addresses(loop, host, port, options):
    # type: (Any, Any, Any, dict[str, Any]) -> list[Any]
    """As asyncio and uvloop resolve them."""
    if host == "":
        host = None
    if host is not None and not isinstance(host, str):
        return []
    found = await loop.getaddrinfo(
        host,
        port,
        family=options.get("family", socket.AF_UNSPEC),
        type=socket.SOCK_STREAM,
        flags=options.get("flags", socket.AI_PASSIVE),
    )
    return sorted(set(found))


def _bound(address, options):
    # type: (Any, dict[str, Any]) -> socket.socket
    family, kind, protocol, _, where = address
    sock = socket.socket(family, kind, protocol)
    try:
        if options.get("reuse_address") is not False:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if options.get("reuse_port"):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(where)
    except OSError as error:
        sock.close()
        # The words of uvloop and asyncio, which people know and programs look for.
        reason = str(error.strerror).lower()
        text = "error while attempting to bind on address %r: %s" % (where, reason)
        raise OSError(error.errno, text) from None
    except BaseException:
        sock.close()
        raise
    return sock


def _bound_unix(path):
    # type: (Any) -> socket.socket
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path[:1] not in ("\0", b"\0"):
            try:
                if stat.S_ISSOCK(os.stat(path).st_mode):
                    os.remove(path)
            except FileNotFoundError:
                pass
        sock.bind(path)
    except BaseException:
        sock.close()
        raise
    return sock


def _listen(options, given):
    # type: (dict[str, Any], bool) -> None
    """Listen here, and so wait here: uvloop's own listen, which follows, changes nothing."""
    sock = options.get("sock")
    if sock is not None and options.get("start_serving", True):
        sock.setblocking(False)
        sock.listen(options.get("backlog", 100))
