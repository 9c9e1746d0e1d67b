"""Array literals come back from PostgreSQL as what went in."""

from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import msgspec
import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenants.columns import bool_array, bytes_array, columns_of, int_array, text_array, time_array, uuid_array

storable = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]))
times = st.datetimes(
    datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))])
)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("dump", "kind", "values"),
    [
        (text_array, "text", storable),
        (uuid_array, "uuid", st.uuids()),
        (int_array, "bigint", st.integers(-(2**63), 2**63 - 1)),
        (bool_array, "bool", st.booleans()),
        (time_array, "timestamptz", times),
        (bytes_array, "bytea", st.binary()),
    ],
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(data=st.data())
def test_every_value_survives(dump, kind, values, data):
    given_values = data.draw(st.lists(values | st.none()))
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT %s::{kind}[]", [dump(given_values)])
        (back,) = cursor.fetchone()
    assert [bytes(value) if isinstance(value, memoryview) else value for value in back] == given_values


def test_a_struct_says_what_its_columns_hold():
    class Row(msgspec.Struct):
        id: UUID
        note: str | None

    assert columns_of(Row, [Row(UUID(int=1), 'a"b'), Row(UUID(int=2), None)]) == {
        "id": "{00000000000000000000000000000001,00000000000000000000000000000002}",
        "note": '{"a\\"b",NULL}',
    }
