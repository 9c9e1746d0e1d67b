"""Quiet hours as people write and read them."""

import contextlib
import datetime as dt

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from preferences.quiet_hours import EVERY_DAY, InvalidQuietHoursError, QuietHours, covers_the_week, days_of
from preferences.quiet_text import as_text, parsed, shown

NIGHT = QuietHours(dt.time(22), dt.time(7))
clocks = st.builds(dt.time, st.integers(0, 23), st.integers(0, 59))
windows = st.builds(QuietHours, clocks, clocks, st.integers(1, EVERY_DAY))


@given(st.lists(windows, max_size=14))
def test_what_is_written_is_read_as_it_was(hours):
    assume(not covers_the_week(hours))
    assert parsed(as_text(hours)) == tuple(hours)


@given(st.text() | st.text("monfri 0123:,-–\n"))
def test_whatever_is_written_is_read_or_refused(text):
    with contextlib.suppress(InvalidQuietHoursError):
        assert parsed(as_text(parsed(text))) == parsed(text)


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("22:00-07:00", "mon tue wed thu fri sat sun"),
        ("mon-fri 22:00-07:00", "mon tue wed thu fri"),
        ("fri-mon 22:00 – 07:00", "fri sat sun mon"),
        ("Monday, WED 22:00 to 7:00", "mon wed"),
        ("sat sun, 22:00-07:00", "sat sun"),
        ("mon – wed,sun  22:00-07:00", "mon tue wed sun"),
        ("tue-tue 22:00-07:00", "tue"),
    ],
)
def test_days_are_written_in_several_ways(text, days):
    assert parsed(text) == (NIGHT._replace(days=days_of(days.split())),)


@pytest.mark.parametrize("text", ["mon-22:00-07:00", "mon,-fri 22:00-07:00", "22:00-7", "mon 22:00-07:00 x", "22-7"])
def test_a_line_that_is_none_is_refused_with_its_number(text):
    with pytest.raises(InvalidQuietHoursError, match=r"Line 2 is not written like mon-fri 22:00-07:00\."):
        parsed(f"12:00-13:00\n{text}")


@pytest.mark.parametrize(
    ("window", "text"),
    [
        (NIGHT, "22:00 – 07:00"),
        (NIGHT._replace(days=0b0011111), "Mon–Fri 22:00 – 07:00"),
        (NIGHT._replace(days=0b1100001), "Mon, Sat, Sun 22:00 – 07:00"),
        (NIGHT._replace(days=0), "none"),
        (QuietHours(dt.time(0), dt.time(0), 0b1100000), "Sat, Sun all day"),
        (QuietHours(dt.time(8), dt.time(8), 0b1), "Mon 08:00 – 08:00 (24 hours)"),
    ],
)
def test_a_window_is_shown_in_words(window, text):
    assert shown(window) == text
