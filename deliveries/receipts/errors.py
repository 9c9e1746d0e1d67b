"""Why a request is not taken for a vendor's."""

from __future__ import annotations


class UnsignedError(Exception):
    """No signature or secret, or the wrong one; or the account has none to compare it with."""


class StaleError(UnsignedError):
    """Signed, but longer ago than the vendor goes on sending it."""


class MalformedError(Exception):
    """Signed, but not what the vendor's documents describe; the message may be shown."""
