"""How an event wants to be sent, beyond who and where: kept on its row as JSON, empty for most."""

from __future__ import annotations

from typing import Final

import msgspec

LONGEST_DELAY_S: Final = 7 * 24 * 3600
"""Of a rule's delay, and of an escalation."""


class Step(msgspec.Struct, array_like=True, frozen=True):
    """A channel of an escalation, and when its turn comes: seconds after the event began."""

    channel: int
    after_s: int


class Options(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    digest_key: str = ""
    """Sets digests of one recipient apart from one another."""
    escalation: tuple[Step, ...] = ()
    """Channels to be tried one after the other."""
    digest: str = ""
    """The id of the digest whose message the event is. What is in it was asked about item by item."""

    def as_posted(self) -> list[dict[str, int]]:
        """The steps as a client writes them: each counts from the one before."""
        before = (Step(0, 0), *self.escalation)
        return [
            {"channel": step.channel, "after_seconds": step.after_s - last.after_s}
            for last, step in zip(before, self.escalation, strict=False)
        ]

    def step_of(self, channel: int) -> int | None:
        """The place of a channel in the escalation, from 0."""
        return next((index for index, step in enumerate(self.escalation) if step.channel == channel), None)


NONE = Options()
_decoder = msgspec.json.Decoder(Options)


def read_options(text: str | None) -> Options:
    return NONE if text is None else _decoder.decode(text)


def written_options(options: Options) -> str | None:
    """JSON, or None for no wishes."""
    return None if options == NONE else msgspec.json.encode(options).decode()
