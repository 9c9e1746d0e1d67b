"""Kept connections: a live one is not asked whether it lives, a dead one is replaced; and no statement takes for ever."""

from __future__ import annotations

import select

import pytest
from django.db import OperationalError, connection, connections

from tenants.database.limits import statements_within

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def kept():
    """A connection of its own, as it is between two requests."""
    wrapper = connections.create_connection("default")
    wrapper.ensure_connection()
    wrapper.close_if_unusable_or_obsolete()
    yield wrapper
    wrapper.close()


def backend_pid(wrapper) -> int:
    with wrapper.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return cursor.fetchone()[0]


def test_a_live_connection_is_not_asked(kept, monkeypatch):
    asked = []
    monkeypatch.setattr(kept, "is_usable", lambda: asked.append(1) or True)
    pid = kept.connection.info.backend_pid
    assert backend_pid(kept) == pid
    assert asked == []


def test_a_connection_that_the_server_ended_is_replaced(kept):
    pid = kept.connection.info.backend_pid
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", [pid])
    poll = select.poll()
    poll.register(kept.connection.fileno(), select.POLLIN)
    assert poll.poll(5000), "the server did not end it"
    assert backend_pid(kept) != pid


def test_a_connection_on_which_something_came_is_asked_and_kept(kept):
    pid = kept.connection.info.backend_pid
    with kept.cursor() as cursor:
        cursor.execute("LISTEN something")
    kept.close_if_unusable_or_obsolete()
    with connection.cursor() as cursor:
        cursor.execute("NOTIFY something")
    poll = select.poll()
    poll.register(kept.connection.fileno(), select.POLLIN)
    assert poll.poll(5000), "nothing came"
    assert backend_pid(kept) == pid


def test_a_connection_closed_on_our_side_is_replaced(kept):
    kept.connection.close()
    assert backend_pid(kept)


def test_a_statement_that_takes_too_long_is_given_up_and_ended(kept):
    pid = kept.connection.info.backend_pid
    with statements_within(0.2), pytest.raises(OperationalError, match=r"within 0\.2 s"), kept.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(60)")
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND state = 'active'", [pid])
        assert cursor.fetchone() == (0,)
    kept.close_if_unusable_or_obsolete()
    assert backend_pid(kept) != pid


def test_a_statement_within_its_time_is_not_touched(kept):
    pid = kept.connection.info.backend_pid
    with statements_within(30):
        assert backend_pid(kept) == pid
