import threading
import time
from itertools import pairwise

import pytest

from config.operations.checks import Check, NotServingError
from config.operations.health import BEAT_WITHIN_S, SERVED_WITHIN_S, Signs, State, judge_scheduler, judge_workers, worst
from config.operations.probes import Turn
from notifications.queues import PIPELINE, QUEUES

NOW = 1_800_000_000.0
LATE = SERVED_WITHIN_S + 1


def signs(ages: dict[str, float], beat_age: float | None = None) -> Signs:
    fields = {queue.encode(): f"{NOW - age} 0.25".encode() for queue, age in ages.items()}
    if beat_age is not None:
        fields[b"scheduler"] = str(NOW - beat_age).encode()
    return Signs(NOW, fields)


def test_workers_that_serve_every_queue_are_ok_and_their_latency_is_the_longest_wait():
    service = judge_workers(signs(dict.fromkeys(QUEUES, 1.0)))
    assert (service.status, service.latency_ms) == (State.OK, 250.0)


@pytest.mark.parametrize("queue", [queue for queue in QUEUES if queue != PIPELINE])
def test_one_send_queue_unserved_degrades_and_is_named(queue):
    service = judge_workers(signs(dict.fromkeys(QUEUES, 1.0) | {queue: LATE}))
    assert service.status is State.DEGRADED
    assert service.error == f"{queue} not served for 16 s"


def test_an_unserved_pipeline_is_down():
    assert judge_workers(signs(dict.fromkeys(QUEUES, 1.0) | {PIPELINE: LATE})).status is State.DOWN


def test_no_queue_ever_served_is_down():
    service = judge_workers(signs({}))
    assert service.status is State.DOWN
    assert f"{PIPELINE} never served" in service.error


def test_a_scheduler_is_ok_while_it_beats():
    assert judge_scheduler(signs({}, beat_age=1)).status is State.OK
    assert judge_scheduler(signs({}, beat_age=BEAT_WITHIN_S + 1)).status is State.DOWN
    assert judge_scheduler(signs({})).error == "never seen"


def test_without_redis_nothing_is_claimed_of_workers_and_scheduler():
    assert judge_workers(None).status is judge_scheduler(None).status is State.DOWN


def test_the_worst_state_wins():
    assert worst([State.OK, State.DEGRADED]) is State.DEGRADED
    assert worst([State.DEGRADED, State.DOWN, State.OK]) is State.DOWN
    assert worst([State.OK]) is State.OK


def test_a_check_that_hangs_is_given_up_and_not_asked_twice(monkeypatch):
    monkeypatch.setattr("config.operations.checks.ANSWER_WITHIN_S", 0.05)
    released, asked = threading.Event(), []

    def hang() -> str:
        asked.append(1)
        released.wait(30)
        return "at last"

    check = Check("test", hang)
    for _ in range(3):
        check.start()
        assert "no answer within" in check.verdict().error
    assert len(asked) == 1
    released.set()
    deadline = time.monotonic() + 10
    while check.verdict().error and time.monotonic() < deadline:
        pass
    assert check.verdict().answer == "at last"
    check.start()
    assert check.verdict().answer == "at last"
    assert len(asked) == 2


def test_a_checks_public_error_does_not_repeat_what_the_driver_said():
    def fail() -> None:
        raise ConnectionError('connection to "10.1.2.3" failed for user "secret"')

    def refuse() -> None:
        raise NotServingError("read-only")

    for ask, public in ((fail, "no connection, or refused"), (refuse, "read-only")):
        check = Check("test", ask)
        check.start()
        assert check.verdict().error == public


def test_a_served_queue_is_probed_every_two_seconds():
    turn = Turn()
    sent = [now for now in range(1000, 1020) if turn.comes(float(now), served_at=float(now))]
    assert sent == list(range(1000, 1020, 2))


def test_an_unserved_queue_is_probed_ever_more_rarely_until_it_is_served_again():
    turn = Turn()
    sent = [now for now in range(1000, 1000 + 3600) if turn.comes(float(now), served_at=0.0)]
    assert len(sent) < 70
    assert max(later - earlier for earlier, later in pairwise(sent)) == 60
    back = 1000.0 + 3600
    assert turn.comes(back, served_at=back)
    assert not turn.comes(back + 1, served_at=back)
    assert turn.comes(back + 2, served_at=back)
