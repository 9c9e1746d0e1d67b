"""A signed POST to a URL that the recipient gave, as Standard Webhooks describes it."""

from __future__ import annotations

import functools
import ssl
import threading
from datetime import UTC, datetime
from typing import ClassVar

import httpcore
import httpx
import msgspec
from django.conf import settings

from deliveries.providers.base import Provider
from deliveries.providers.credentials import Field
from deliveries.providers.excerpts import LONGEST_EXCERPT
from deliveries.providers.http import failure_of_status, retry_after
from deliveries.providers.messages import Failed, Failure, Message, Outcome, Receipt, Sent
from deliveries.providers.outbound import (
    AddressPolicy,
    ForbiddenAddressError,
    GuardedTransport,
    Resolver,
    permitted_addresses,
    resolve,
    time_limit,
)
from deliveries.providers.signing import signed_headers
from tenants.vocabulary import Channel

_LONGEST_ANSWER = 64 * 1024
"""Bytes read of an answer. A shorter one lets the connection be used again; a longer one is cut off."""
_USER_AGENT = "notifications-webhook/1"


class WebhookProvider(Provider):
    """`secret` has the `whsec_` form of the tenant's webhook secret."""

    name = "webhook"
    channel = Channel.WEBHOOK
    fields = (Field("secret", secret=True),)

    hopeless_after = None
    connect_limit_s: ClassVar[float] = 5
    time_limit_s: ClassVar[float] = 15
    """For all of it: look-up, connection, request, answer."""
    ssl_context: ClassVar[ssl.SSLContext | None] = None
    """None: the system's trusted authorities."""
    resolver: ClassVar[Resolver] = staticmethod(resolve)

    def __init__(self, *, secret: str) -> None:
        self._secret = secret
        self._schemes = _schemes()
        self._policy = _policy()
        self._lock = threading.Lock()
        self._client: httpx.Client | None = None

    def send(self, message: Message) -> Outcome:
        return self.post(message.address, message_id=str(message.delivery_id), body=webhook_body(message))

    def post(self, address: str, *, message_id: str, body: str, old_secret: str = "") -> Outcome:
        """Sign `body`, with a secret that is being replaced too, and post it. `message_id` becomes the `webhook-id`."""
        url = _checked(address, self._schemes)
        if isinstance(url, Failed):
            return url
        secrets = [secret for secret in (self._secret, old_secret) if secret]
        headers = signed_headers(*secrets, message_id=message_id, at=datetime.now(UTC), body=body)
        try:
            with time_limit(self.time_limit_s):
                return self._post(url, body, headers)
        except ForbiddenAddressError as error:
            return Failed(failure=Failure.PERMANENT, code="forbidden_address", message=str(error))
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            return Failed(failure=Failure.TRANSIENT, code="connect_failed", message=f"{type(error).__name__}: {error}")
        except httpx.TimeoutException as error:
            return Failed(failure=Failure.AMBIGUOUS, code="timeout", message=f"{type(error).__name__}: {error}")
        except httpx.HTTPError as error:
            return Failed(failure=Failure.AMBIGUOUS, code="connection_lost", message=f"{type(error).__name__}: {error}")

    def close(self) -> None:
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _post(self, url: httpx.URL, body: str, headers: dict[str, str]) -> Outcome:
        with self._open().stream("POST", url, content=body.encode(), headers=headers) as answer:
            excerpt = _excerpt(answer)
            if answer.is_success:
                return Sent(code=str(answer.status_code), response=excerpt, receipt=Receipt.DELIVERED)
            wait_s = retry_after(answer.headers.get("Retry-After"))
            return Failed(
                failure=failure_of_status(answer.status_code, wait_s),
                code=f"http_{answer.status_code}",
                message=f"The endpoint answered {answer.status_code} {answer.reason_phrase}".rstrip() + ".",
                retry_after_s=wait_s,
                response=excerpt,
            )

    def _open(self) -> httpx.Client:
        """One client for all threads; redirects are not followed, they would lead around the signature's receiver."""
        with self._lock:
            if self._client is None:
                context = self.ssl_context or _default_ssl_context()
                self._client = httpx.Client(
                    transport=GuardedTransport(
                        self._policy, connections=self.concurrency * 4, ssl_context=context, resolver=type(self).resolver
                    ),
                    timeout=httpx.Timeout(self.time_limit_s, connect=self.connect_limit_s),
                    headers={
                        "Content-Type": "application/json",
                        "User-Agent": _USER_AGENT,
                        # An answer is read for its status: nothing to unpack, nothing that swells when unpacked.
                        "Accept-Encoding": "identity",
                    },
                )
            return self._client


def refusal_of(address: str) -> Failed | None:
    """Why a webhook would not be posted to this URL, as far as that can be said beforehand: its form, and where its host
    leads now. It is looked at again at every post.
    """
    url = _checked(address, _schemes())
    if isinstance(url, Failed):
        return url
    limit_s, resolver = WebhookProvider.connect_limit_s, WebhookProvider.resolver
    host, port = url.raw_host.decode("ascii"), url.port or (443 if url.scheme == "https" else 80)
    try:
        permitted_addresses(_policy(), host, port, timeout_s=limit_s, resolver=resolver)
    except ForbiddenAddressError as error:
        return Failed(failure=Failure.PERMANENT, code="forbidden_address", message=f"{error}.")
    except (httpcore.ConnectError, httpcore.ConnectTimeout):
        return Failed(failure=Failure.TRANSIENT, code="connect_failed", message=f"{host} cannot be looked up.")
    return None


def _schemes() -> frozenset[str]:
    return frozenset({"https", "http"} if settings.DEBUG else {"https"})


def _policy() -> AddressPolicy:
    return AddressPolicy.of(settings.WEBHOOK_ALLOWED_NETWORKS, loopback=settings.DEBUG)


def _checked(address: str, schemes: frozenset[str]) -> httpx.URL | Failed:
    try:
        url = httpx.URL(address)
        host = url.host  # decoded only now: `xn--a` is a label that stands for nothing
    except (httpx.InvalidURL, ValueError) as error:
        return _invalid(f"This is not a URL: {error}")
    if url.scheme not in schemes or not host:
        return _invalid(f"A webhook's URL begins with {' or '.join(sorted(f'{one}://' for one in schemes))}.")
    if "%" in host or (url.port is not None and not 0 < url.port < 65536):
        return _invalid("The host or the port of this URL cannot exist.")
    if url.userinfo:
        return _invalid("A webhook's URL holds no user name or password: its signature says who sent it.")
    return url


@functools.cache
def _default_ssl_context() -> ssl.SSLContext:
    """Loading the authorities takes tens of milliseconds: once for all tenants."""
    return httpx.create_ssl_context(trust_env=False)


def webhook_body(message: Message) -> str:
    """The JSON text that is signed and posted: `{type, timestamp, data}`, the payload Standard Webhooks recommends."""
    payload = {
        "type": message.event_type,
        "timestamp": message.created_at.astimezone(UTC),
        "data": {
            "deliveryId": str(message.delivery_id),
            "eventId": message.event_id,
            "userId": message.user_id,
            "title": message.subject,
            "body": message.body,
            "data": dict(message.data),
        },
    }
    return msgspec.json.encode(payload).decode()


def _excerpt(answer: httpx.Response) -> str:
    """The answer's beginning. It has arrived, whatever happens to its end: what breaks from here on says nothing new."""
    read = bytearray()
    try:
        for part in answer.iter_raw():
            read += part
            if len(read) > _LONGEST_ANSWER:
                break
    except httpx.HTTPError:
        pass
    return bytes(read[: LONGEST_EXCERPT * 4]).decode(errors="replace").replace("\x00", "")[:LONGEST_EXCERPT]


def _invalid(message: str) -> Failed:
    return Failed(failure=Failure.PERMANENT, code="invalid_url", message=message)
