"""Django's PostgreSQL backend; a kept connection is looked at by its socket before it is asked a question.

Every request and every task begins by making sure that its connection still lives. Django asks `SELECT 1`, a round trip. A
server that has gone, restarted or ended the session has closed its side, and then the idle socket is readable: the kernel
knows, without a word to the server. Only a socket with something to read is asked `SELECT 1` as before, and one on which
an error occurred.
"""

from __future__ import annotations

import select

from django.db.backends.postgresql import base


class DatabaseWrapper(base.DatabaseWrapper):
    health_check_enabled: bool
    health_check_done: bool

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
