"""What a variable without a value is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from liquid import Token
from liquid.exceptions import LiquidError
from liquid.undefined import Undefined


class MissingVariableError(LiquidError):
    """A variable without a value was about to be written. `name` is its whole path, e.g. `order.id`."""

    def __init__(self, name: str, token: Token | None) -> None:
        super().__init__(f"{name} is missing", token=token)
        self.name = name


class Missing(Undefined):
    """Stands for a variable that has no value. Asking whether it is there (`if`, `default`, `==`) is fine; writing it,
    looping over it or passing it through any other filter raises MissingVariableError.
    """

    __slots__ = ()
    force_liquid_default = True

    def missing(self) -> MissingVariableError:
        return MissingVariableError(self.name, self.token)

    def poke(self) -> bool:
        raise self.missing()

    def __str__(self) -> str:
        raise self.missing()

    def __len__(self) -> int:
        raise self.missing()

    def __iter__(self) -> Iterator[Any]:
        raise self.missing()

    def __getitem__(self, key: str) -> object:
        raise self.missing()

    def __int__(self) -> int:
        raise self.missing()

    def __hash__(self) -> int:
        raise self.missing()

    def __eq__(self, other: object) -> bool:
        return other is None or isinstance(other, Undefined)


class Absent(Undefined):
    """Stands for an optional variable that was not given: empty, false, and so is whatever is asked of it."""

    __slots__ = ()


ABSENT = Absent("absent")
