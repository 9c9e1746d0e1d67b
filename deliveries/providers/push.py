"""One push message goes to all of a recipient's tokens; this is what the tokens' outcomes make of the message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from deliveries.providers.messages import Failed, Failure, Outcome, Receipt, Sent

NO_LIVE_TOKEN = "no_live_token"  # noqa: S105 - a code
_MOST_HOPEFUL_FIRST = (Failure.AMBIGUOUS, Failure.THROTTLED, Failure.TRANSIENT, Failure.PERMANENT)


def push_outcome(by_token: Mapping[str, Outcome]) -> Outcome:
    """Sent if any token took it; failed for good if all are dead; else the failure that leaves most hope.

    A token's outcome names that token in `dead_addresses` if the vendor says it is gone. `detail` has a line per token.
    """
    detail = {token: _line(outcome) for token, outcome in by_token.items()}
    dead = tuple(address for outcome in by_token.values() for address in outcome.dead_addresses)
    sent = [outcome for outcome in by_token.values() if isinstance(outcome, Sent)]
    if sent:
        receipts = {outcome.receipt for outcome in sent}
        receipt = next((one for one in (Receipt.DELIVERED, Receipt.BOUNCED) if one in receipts), None)
        return Sent(message_id=sent[0].message_id, code=sent[0].code, receipt=receipt, detail=detail, dead_addresses=dead)
    failed = [outcome for outcome in by_token.values() if isinstance(outcome, Failed)]
    if len(dead) == len(by_token):
        return Failed(
            failure=Failure.PERMANENT,
            code=NO_LIVE_TOKEN,
            message="None of the recipient's tokens is registered any more.",
            detail=detail,
            dead_addresses=dead,
        )
    return _foremost(failed, detail, dead)


def _foremost(failed: Sequence[Failed], detail: Mapping[str, Any], dead: tuple[str, ...]) -> Failed:
    first = min(failed, key=lambda outcome: (_MOST_HOPEFUL_FIRST.index(outcome.failure), not outcome.is_begun))
    waits = [outcome.retry_after_s for outcome in failed if outcome.retry_after_s is not None]
    return replace(first, retry_after_s=max(waits, default=None), detail=detail, dead_addresses=dead)


def _line(outcome: Outcome) -> dict[str, str]:
    if isinstance(outcome, Sent):
        return {"outcome": "sent", "messageId": outcome.message_id}
    return {"outcome": outcome.failure.value, "code": outcome.code, "message": outcome.message}
