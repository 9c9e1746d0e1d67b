"""The judge of `make chaos`: that it sees what is lost and doubled, and what its page says."""

import re
from collections import Counter

import pytest

from deliveries.claims import LEASE as DELIVERY_LEASE
from deliveries.models import AttemptOutcome
from deliveries.states import Status
from notifications.models import EventStatus
from notifications.taking import LEASE as EVENT_LEASE
from tenants.vocabulary import Channel
from tests.acceptance import page, stand
from tests.acceptance.chaos import __main__ as command
from tests.acceptance.chaos import audit, points, report
from tests.acceptance.chaos.audit import Delivery, Event, Found, judge
from tests.acceptance.chaos.experiment import Result
from tests.acceptance.chaos.load import address_of, batches, event

EMAIL = Delivery("run-0", Channel.EMAIL, Status.SENT)
IN_APP = Delivery("run-0", Channel.IN_APP, Status.SENT)
PROCESSED = Event(EventStatus.PROCESSED, 1)


def found(*deliveries: Delivery, mails: int = 1, event: Event | None = PROCESSED) -> Found:
    return Found({"run-0": event} if event else {}, deliveries, Counter({(address_of("run-0"), "run-0"): mails}))


def test_what_arrived_once_is_neither_lost_nor_doubled():
    verdict = judge({"run-0"}, found(EMAIL, IN_APP))
    assert (verdict.lost, verdict.doubled, verdict.twice, verdict.ambiguous, verdict.again) == ([], [], 0, 0, 0)


@pytest.mark.parametrize(
    ("was_found", "lost"),
    [
        (found(event=None, mails=0), ["run-0: no such event"]),
        (
            found(event=Event(EventStatus.ACCEPTED, 3), mails=0),
            [
                "run-0: event in state 0, taken up 3 times",
                "run-0: no email delivery",
                "run-0: no in_app delivery",
                "run-0: no mail at the server",
            ],
        ),
        (found(EMAIL), ["run-0: no in_app delivery"]),
        (found(EMAIL, IN_APP, mails=0), ["run-0: no mail at the server"]),
        (found(EMAIL, Delivery("run-0", Channel.IN_APP, Status.SENDING)), ["run-0: in_app is sending"]),
        (
            found(Delivery("run-0", Channel.EMAIL, Status.FAILED, "retries_exhausted"), IN_APP),
            ["run-0: email is failed retries_exhausted"],
        ),
    ],
)
def test_what_is_missing_is_named(was_found, lost):
    assert judge({"run-0"}, was_found).lost == lost


def test_a_mail_with_the_words_of_another_event_is_not_its_mail():
    mixed_up = Found({"run-0": PROCESSED}, [EMAIL, IN_APP], {(address_of("run-0"), "run-1"): 1})
    assert judge({"run-0"}, mixed_up).lost == ["run-0: no mail at the server"]


def test_what_was_never_accepted_is_not_missed():
    assert judge(set(), Found({}, [], {})).lost == []


def test_a_second_mail_needs_an_ambiguous_attempt():
    verdict = judge({"run-0"}, found(EMAIL, IN_APP, mails=2))
    assert (verdict.doubled, verdict.twice) == (["run-0: 2 mails, 0 ambiguous attempts"], 1)
    with_need = Delivery("run-0", Channel.EMAIL, Status.SENT, ambiguous=1)
    verdict = judge({"run-0"}, found(with_need, IN_APP, mails=2))
    assert (verdict.doubled, verdict.twice, verdict.ambiguous, verdict.again) == ([], 1, 1, 1)
    assert judge({"run-0"}, found(with_need, IN_APP, mails=3)).doubled == ["run-0: 3 mails, 1 ambiguous attempts"]


def test_two_rows_of_one_delivery_are_a_double():
    assert judge({"run-0"}, found(EMAIL, IN_APP, IN_APP)).doubled == ["run-0: 2 in_app deliveries"]


def test_the_states_are_those_of_the_service():
    assert (stand.ACCEPTED, stand.PROCESSED) == (EventStatus.ACCEPTED, EventStatus.PROCESSED)
    assert audit.AMBIGUOUS == AttemptOutcome.AMBIGUOUS


def test_a_load_is_half_bulk_half_single_and_nobody_gets_two():
    events = [event("run", number) for number in range(110)]
    requests = batches(events)
    assert [len(request) for request in requests] == [25, *[1] * 25, 25, *[1] * 25, 10]
    assert [one for request in requests for one in request] == events
    assert len({one["to"]["email"] for one in events}) == 110
    assert {len(request) for request in batches(events, only_single=True)} == {1}


def result(name: str = "web", **changed) -> Result:
    verdict = judge({"run-0"}, found(EMAIL, IN_APP))
    values = {"name": name, "accepted": 1, "refused": [], "away_s": 0.51, "final_s": 2.04, "limit_s": 90.0, "verdict": verdict}
    return Result(**values | changed)


def test_a_result_names_all_that_is_not_as_promised():
    assert result().failures == []
    lost = judge({"run-0"}, found(EMAIL, mails=3))
    assert result(final_s=None, refused=["run-1: HTTP 400"], verdict=lost).failures == [
        "not final within 90 s",
        "refused: run-1: HTTP 400",
        "lost: run-0: no in_app delivery",
        "doubled: run-0: 3 mails, 0 ambiguous attempts",
    ]


def test_the_table_takes_the_place_of_the_one_before(tmp_path):
    file = tmp_path / "reliability.md"
    file.write_text(f"before\n{report.PLACE.begin}\nold\n{report.PLACE.end}\nafter\n")
    machine = {"cores": 2, "cpu": "a processor", "memoryGb": 8, "python": "3.11", "load": 0.5}
    report.write([result()], machine, "abc1234", page=file)
    report.write([result("send worker", final_s=None)], machine, "abc1234", page=file)
    text = file.read_text()
    assert text.startswith(f"before\n{report.PLACE.begin}\n")
    assert text.endswith(f"|\n{report.PLACE.end}\nafter\n")
    assert "old" not in text
    assert "| web" not in text
    assert [cell.strip() for cell in text.splitlines()[-3].split("|")[3:-1]] == ["1", "0", "0", "0", "0", "0.5", "no"]
    assert "commit abc1234; 2 cores (a processor), 8 GB" in text


def test_crash_points_are_chosen_by_name(capsys):
    assert command._options(["--only", "web", "--only", "valkey"]).only == ["web", "valkey"]
    for nonsense in (["--only", "nothing"], ["--events", "2"], ["--events", "many"]):
        with pytest.raises(SystemExit):
            command._options(nonsense)
        assert "usage:" in capsys.readouterr().err


PAGE = page.PAGE.read_text()


def test_the_page_has_a_run_of_every_crash_point_and_none_of_it_failed():
    written = report.PLACE.written()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in written.splitlines() if line.startswith("|")]
    assert tuple(rows[0]) == report.HEADINGS
    assert [row[:2] for row in rows[2:]] == [[name, point.about] for name, point in points.CRASH_POINTS.items()]
    for row in rows[2:]:
        point = points.CRASH_POINTS[row[0]]
        assert int(row[3]) == 0
        assert int(row[4]) <= int(row[5])
        assert float(row[8]) <= point.limit_s


def test_the_seconds_on_the_page_are_those_of_the_code():
    named = set(re.findall(r"\b(\d+) s\b", PAGE.partition("## Proof")[0]))
    assert {f"{lease.total_seconds():.0f}" for lease in (EVENT_LEASE, DELIVERY_LEASE)} <= named
    assert f"within {points.LIMIT_S:.0f} s" in PAGE
