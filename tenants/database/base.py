"""The wrapper that Django loads, and psycopg's connection with a limit on each wait."""

from __future__ import annotations

import select
from typing import Any

import psycopg
from django.db.backends.postgresql import base
from psycopg import IsolationLevel, errors

from tenants.database.limits import statement_limit_s

_CANCEL_S = 1.0


class Connection(psycopg.Connection[Any]):
    """Gives up a statement after `statement_limit_s`: asks the server to cancel it, and closes."""

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        limit_s = statement_limit_s() if timeout is None else timeout
        try:
            return super().wait(gen, interval, limit_s)
        except errors._WaitTimeout:
            if timeout is None:
                self._try_cancel(timeout=_CANCEL_S)
                self.close()
                raise errors.OperationalError(f"PostgreSQL did not answer within {limit_s:g} s") from None
            raise


class DatabaseWrapper(base.DatabaseWrapper):
    """Looks at a kept connection by its socket before it asks it a question.

    Every request and every task begins by making sure that its connection still lives. Django asks `SELECT 1`, a round trip.
    A server that has gone, restarted or ended the session has closed its side, and then the idle socket is readable: the
    kernel knows, without a word to the server. Only a socket with something to read is asked `SELECT 1` as before, and one on
    which an error occurred.
    """

    health_check_enabled: bool
    health_check_done: bool

    def get_new_connection(self, conn_params: dict[str, Any]) -> Connection:
        self.isolation_level = IsolationLevel.READ_COMMITTED
        return Connection.connect(**conn_params)

    def close_if_health_check_failed(self) -> None:
        if self.health_check_enabled and not self.health_check_done and self._is_silent():
            self.health_check_done = True
        super().close_if_health_check_failed()

    def _is_silent(self) -> bool:
        """Whether the connection is open and nothing has come from the server since the last answer."""
        if self.connection is None or self.connection.closed:
            return False
        poll = select.poll()
        poll.register(self.connection.fileno(), select.POLLIN)
        return not poll.poll(0)
