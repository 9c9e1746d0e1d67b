"""Why a delivery is in its state, as a sentence for people."""

from __future__ import annotations

from typing import Final

from deliveries.models import Delivery
from deliveries.states import Status

_REASONS: Final = {
    "no_address": "the recipient has no address for this channel",
    "opted_out": "the recipient does not want it",
    "suppressed_address": "the address is on the suppression list",
    "expired": "it was too late to be of use",
    "no_template": "there is no template for this channel and event type",
    "not_configured": "no provider is configured for this channel",
    "retries_exhausted": "every attempt failed",
    "bounced": "the provider reported that it did not arrive",
    "rate_limited": "a limit is reached",
    "already_reached": "an earlier channel reached the recipient",
    "poison": "no worker came to an end with it",
}
_UNEXPLAINED: Final = {
    Status.PENDING: "Waits to be sent.",
    Status.SENDING: "Is being handed over to the provider.",
    Status.SENT: "Handed over to the provider.",
    Status.DELIVERED: "The provider reported that it arrived.",
    Status.CANCELED: "Canceled before it was sent.",
    Status.DIGESTED: "Went out with others in a digest.",
}


def sentence(delivery: Delivery) -> str:
    """`Suppressed because the user turned everything by email off.`"""
    status = Status(delivery.status)
    cause = _cause(delivery)
    if delivery.is_held and cause:
        return f"Held back: {cause}."
    if status is Status.PENDING and delivery.attempt_count:
        return f"Waits for another attempt; the last of {delivery.attempt_count} failed" + (f": {cause}." if cause else ".")
    if not cause:
        return _UNEXPLAINED.get(status, f"{status.label.capitalize()}.")
    return f"{status.label.capitalize()} because {cause}."


def _cause(delivery: Delivery) -> str:
    """What decided, in the words of whoever decided; else of its code; else the provider's."""
    explanation = delivery.explanation if isinstance(delivery.explanation, dict) else {}
    why = str(explanation.get("why", "")).rstrip(".")
    if why:
        return why[0].lower() + why[1:]
    known = _REASONS.get(delivery.reason, "")
    if delivery.status == Status.BOUNCED and not known:
        known = f"{_REASONS['bounced']} ({delivery.reason})"
    if delivery.error:
        return f"{known or delivery.reason.replace('_', ' ')}: {delivery.error.rstrip('.')}"
    return known or delivery.reason.replace("_", " ")
