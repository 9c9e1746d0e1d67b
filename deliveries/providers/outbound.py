"""Requests to addresses that outsiders choose, without letting them reach the inside (server-side request forgery).

The check happens where the connection is made: the name is resolved once, each address is judged, and the socket connects to
an address that was judged, so there is no second look-up that could answer otherwise. Host header and TLS name stay the URL's.
OWASP's cheat sheet on SSRF prevention names the same cases.
"""

from __future__ import annotations

import contextlib
import contextvars
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from typing import Any

import httpcore
import httpx

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolver = Callable[[str, int], Sequence[str]]
"""(host, port) → addresses as text; raises OSError."""

_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
"""Everything else in IPv6 is local, multicast or reserved (IANA's IPv6 address space registry)."""
_NAT64 = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48"))
_NOT_PUBLIC = tuple(
    # Not for hosts of the internet (Teredo is in 2001::/23), though some releases of Python's ipaddress call them global.
    ipaddress.ip_network(network)
    for network in ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "2001:db8::/32", "3fff::/20")
)
_LOOPBACK = (ipaddress.IPv4Network("127.0.0.0/8"), ipaddress.IPv6Network("::1/128"))


class ForbiddenAddressError(Exception):
    """The host has no address that may be connected to."""


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """Which addresses may be connected to: the public ones, and those in `allowed`."""

    allowed: tuple[IpNetwork, ...] = ()

    @classmethod
    def of(cls, networks: Iterable[str], *, loopback: bool) -> AddressPolicy:
        return cls(tuple(ipaddress.ip_network(network) for network in networks) + (_LOOPBACK if loopback else ()))

    def permits(self, address: str) -> bool:
        """`address` is numeric, as getaddrinfo returns it; an IPv6 zone (`%eth0`) makes it local."""
        try:
            inner = _innermost(ipaddress.ip_address(address))
        except ValueError:
            return False
        return _is_in(inner, self.allowed) or _is_public(inner)


def _is_in(address: IpAddress, networks: Iterable[IpNetwork]) -> bool:
    return any(address in network for network in networks if network.version == address.version)


def _is_public(address: IpAddress) -> bool:
    if isinstance(address, ipaddress.IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or _is_in(address, _NOT_PUBLIC))


def _innermost(address: IpAddress) -> IpAddress:
    """The IPv4 address that an IPv6 one leads to, for every form that a router or the kernel would translate."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if any(address in network for network in _NAT64):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


# One thread per look-up under way: getaddrinfo knows no time limit.
_RESOLVERS = ThreadPoolExecutor(32, thread_name_prefix="resolve")


def resolve(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


_deadline: contextvars.ContextVar[float] = contextvars.ContextVar("outbound_deadline")


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Bounds everything that a guarded client does inside, however slowly the other side drips its answer."""
    token = _deadline.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _deadline.reset(token)


def _within_limit(timeout: float | None, error: type[Exception]) -> float | None:
    deadline = _deadline.get(None)
    if deadline is None:
        return timeout
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise error("the time limit is used up")
    return remaining if timeout is None else min(timeout, remaining)


def permitted_addresses(
    policy: AddressPolicy, host: str, port: int, *, timeout_s: float | None, resolver: Resolver = resolve
) -> list[str]:
    """Where `host` leads, as far as the policy permits. Raises ForbiddenAddressError if it leads nowhere else, httpcore's
    ConnectError if it cannot be looked up, ConnectTimeout if that takes longer than `timeout_s`.
    """
    try:
        addresses = _RESOLVERS.submit(resolver, host, port).result(timeout_s)
    except FutureTimeoutError as error:
        raise httpcore.ConnectTimeout(f"looking up {host} took too long") from error
    except UnicodeError as error:
        raise ForbiddenAddressError(f"{host} is not a host name") from error
    except OSError as error:
        raise httpcore.ConnectError(f"{host} cannot be looked up: {error}") from error
    permitted = [address for address in addresses if policy.permits(address)]
    if addresses and not permitted:
        raise ForbiddenAddressError(f"{host} is not a public address")
    return permitted


class GuardedTransport(httpx.HTTPTransport):
    """httpx's transport over a connection pool that connects as the policy permits. It knows no proxy."""

    def __init__(
        self,
        policy: AddressPolicy,
        *,
        connections: int,
        ssl_context: ssl.SSLContext,
        resolver: Resolver = resolve,
    ) -> None:
        super().__init__(verify=ssl_context, trust_env=False)
        # httpx offers no argument for its pool's network; httpcore, which it is built on, does.
        self._pool = httpcore.ConnectionPool(
            ssl_context=ssl_context,
            max_connections=connections,
            max_keepalive_connections=connections,
            keepalive_expiry=10,
            network_backend=_GuardedNetwork(policy, resolver),
        )


class _GuardedNetwork(httpcore.NetworkBackend):
    def __init__(self, policy: AddressPolicy, resolver: Resolver) -> None:
        self._policy = policy
        self._resolver = resolver
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        timeout = _within_limit(timeout, httpcore.ConnectTimeout)
        until = time.monotonic() + (timeout if timeout is not None else 60)
        error: Exception = httpcore.ConnectError("no address")
        for address in permitted_addresses(self._policy, host, port, timeout_s=timeout, resolver=self._resolver):
            remaining = until - time.monotonic()
            if remaining <= 0:
                raise httpcore.ConnectTimeout("the time limit is used up")
            try:
                stream = self._plain.connect_tcp(address, port, remaining, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as failed:
                error = failed
            else:
                return _LimitedStream(stream)
        raise error


class _LimitedStream(httpcore.NetworkStream):
    """A socket whose every operation also ends at the time limit of the request at hand."""

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _within_limit(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _within_limit(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        timeout = _within_limit(timeout, httpcore.ConnectTimeout)
        return _LimitedStream(self._inner.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
