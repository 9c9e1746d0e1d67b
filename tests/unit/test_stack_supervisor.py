"""The supervisor and what it uses, with small processes in place of the service's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.stack import leftovers
from config.stack.logs import FollowedLog, last_words
from config.stack.parts import CommandPart, ForkedPart, wait_until
from config.stack.paths import PROJECT_DIR, stack_paths
from config.stack.signals import StopRequests
from config.stack.supervisor import StartError, StopRequested, Supervisor, restart_delay
from config.stack.welcome import welcome


@pytest.fixture
def stack(tmp_path):
    return stack_paths(tmp_path)


class Sleeper(CommandPart):
    """A program that waits, and takes no notice of SIGTERM if it is stubborn."""

    def __init__(self, paths, name="sleeper", *, stubborn=False, within_s=10.0):
        self.name = name
        self.stubborn = stubborn
        self.stop_within_s = within_s
        super().__init__(paths)

    def command(self):
        ignore = "signal.signal(signal.SIGTERM, signal.SIG_IGN); " if self.stubborn else ""
        return [sys.executable, "-c", f"import signal, time; {ignore}print('begun', flush=True); time.sleep(60)"]


class Leaver(CommandPart):
    """A program that, asked to stop, finishes its work and then notes that it ended."""

    def __init__(self, paths, name, note: Path, *, work_s=0.0):
        self.name = name
        self.note = note
        self.work_s = work_s
        super().__init__(paths)

    def command(self):
        leave = f"time.sleep({self.work_s}), open({str(self.note)!r}, 'a').write('{self.name} '), sys.exit()"
        program = f"import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: ({leave})); print('begun', flush=True)"
        return [sys.executable, "-c", f"{program}; time.sleep(60)"]


class Broken(CommandPart):
    name = "broken"

    def command(self):
        return [sys.executable, "-c", "print('what went wrong'); raise SystemExit(3)"]


class Flooded(CommandPart):
    name = "flooded"

    def command(self):
        line = json.dumps({"level": "info", "message": "attempt_failed", "provider": "smtp", "code": "421"})
        return [sys.executable, "-c", f"for _ in range(100): print({line!r})\nraise SystemExit(3)"]


class Watch:
    """A supervisor with its words and the requests to stop it in the test's hands."""

    def __init__(self):
        self.said: list[str] = []
        self.stops = 0
        self.supervisor = Supervisor(say=self.said.append, requests_to_stop=lambda: self.stops)

    def tick_until(self, condition, within_s=20):
        def step():
            self.supervisor.tick()
            return condition()

        assert wait_until(step, within_s), self.said


@pytest.fixture
def watch():
    watch = Watch()
    yield watch
    watch.stops = 2
    watch.supervisor.stop([])


def begun(part):
    return "begun" in part.log_tail()


@given(st.integers(min_value=0, max_value=200))
def test_each_death_in_a_row_waits_longer_up_to_half_a_minute(deaths):
    assert 0 <= restart_delay(deaths) <= restart_delay(deaths + 1) <= 30
    assert restart_delay(0) == 0


def test_a_part_that_dies_is_started_again(stack, watch):
    part = Sleeper(stack)
    watch.supervisor.start([part])
    first = part.process.pid
    os.kill(first, signal.SIGKILL)
    watch.tick_until(lambda: part.is_running() and part.process.pid != first)
    assert any("sleeper ended (signal 9); starting it again now" in line for line in watch.said)


def test_a_part_that_always_dies_does_not_spin(stack, watch):
    watch.supervisor.start([Broken(stack)])
    watch.tick_until(lambda: sum("broken ended (exit code 3)" in line for line in watch.said) == 2)
    assert any("starting it again in 1 s" in line for line in watch.said)
    assert any("what went wrong" in line for line in watch.said)


def test_the_last_lines_of_a_part_say_what_happened(stack, watch):
    watch.supervisor.start([Flooded(stack)])
    watch.tick_until(lambda: len(watch.said) > 1)
    assert watch.said[1] == "    100 × info: attempt_failed provider=smtp code=421"


def test_a_part_that_cannot_be_started_is_tried_again(stack, watch):
    part = Sleeper(stack)
    watch.supervisor.start([part])
    part.command = lambda: ["/no/such/program"]
    os.kill(part.process.pid, signal.SIGKILL)
    watch.tick_until(lambda: any("cannot be started" in line for line in watch.said))
    del part.command
    watch.tick_until(part.is_running)


def test_groups_stop_in_order(stack, watch):
    parts = [Sleeper(stack, name) for name in ("server", "worker", "other")]
    watch.supervisor.start(parts)
    order = []
    for part in parts:
        part.ask_to_stop = lambda part=part: (order.append(part.name), Sleeper.ask_to_stop(part))
    watch.supervisor.stop([("worker",), ("server",)])
    assert order == ["other", "worker", "server"]
    assert not any(part.is_running() for part in parts)
    assert list(stack.pids.iterdir()) == []


def test_what_does_not_stop_in_time_is_ended_and_said(stack, watch):
    part = Sleeper(stack, stubborn=True, within_s=0.2)
    watch.supervisor.start([part])
    wait_until(lambda: begun(part), 10)
    watch.supervisor.stop([])
    assert not part.is_running()
    assert any("sleeper did not stop in time" in line for line in watch.said)


def test_a_second_request_does_not_wait_for_the_stubborn(stack, watch):
    part = Sleeper(stack, stubborn=True, within_s=3600)
    watch.supervisor.start([part])
    wait_until(lambda: begun(part), 10)
    watch.stops = 2
    watch.supervisor.stop([])
    assert not part.is_running()


def test_a_request_to_stop_ends_the_watch(watch):
    watch.stops = 1
    with pytest.raises(StopRequested):
        watch.supervisor.keep_alive()


def test_a_condition_is_waited_for_no_longer_than_said(watch):
    assert watch.supervisor.wait_until(lambda: True, timeout_s=1)
    assert not watch.supervisor.wait_until(lambda: False, timeout_s=0.05)


def test_work_in_a_process_of_its_own_gives_its_answer(watch, tmp_path):
    assert watch.supervisor.run_to_end("adding", lambda: {"pid": os.getpid()}, log_file=tmp_path / "log")["pid"] != os.getpid()


def test_work_that_fails_says_why(watch, tmp_path):
    def fail():
        raise ValueError("no such thing")

    with pytest.raises(StartError, match=r"(?s)adding failed:.*ValueError: no such thing"):
        watch.supervisor.run_to_end("adding", fail, log_file=tmp_path / "log")


def test_work_is_left_when_someone_asks_to_stop(watch, tmp_path):
    watch.stops = 1
    with pytest.raises(StopRequested):
        watch.supervisor.run_to_end("waiting", lambda: time.sleep(60), log_file=tmp_path / "log")


def test_a_forked_part_logs_and_stops_like_a_program(stack):
    def work():
        os.write(1, b"from the fork\n")
        time.sleep(60)

    part = ForkedPart(stack, "fork", work)
    part.spawn()
    assert wait_until(lambda: "from the fork" in part.log_tail(), 10)
    part.stop()
    assert part.process.wait() == 128 + signal.SIGTERM


class TestLeftovers:
    """Parts of a supervisor that was killed."""

    def test_they_are_ended(self, stack):
        part = Sleeper(stack)
        part.spawn()
        leftovers.record(part)
        assert wait_until(lambda: begun(part), 10)
        assert leftovers.end_leftovers(stack) == ["sleeper"]
        assert not part.is_running()
        assert list(stack.pids.iterdir()) == []

    def test_servers_are_ended_when_those_who_need_them_are_gone(self, stack, tmp_path):
        ended = tmp_path / "ended"
        server, worker = Leaver(stack, "a-server", ended), Leaver(stack, "worker", ended, work_s=0.5)
        server.is_server = True
        for part in (server, worker):
            part.spawn()
            leftovers.record(part)
            assert wait_until(lambda: begun(part), 10)  # noqa: B023
        assert leftovers.end_leftovers(stack) == ["a-server", "worker"]
        assert not server.is_running()
        assert not worker.is_running()
        assert ended.read_text().split() == ["worker", "a-server"]

    @pytest.mark.parametrize("change", [{"started": 1.0}, {"command": ["other"]}])
    def test_another_program_with_the_same_pid_is_left_alone(self, stack, change):
        part = Sleeper(stack)
        part.spawn()
        leftovers.record(part)
        file = stack.pids / "sleeper.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | change))
        assert leftovers.end_leftovers(stack) == []
        assert part.is_running()
        part.kill()

    @pytest.mark.parametrize("content", ["", "{}", '{"pid": 999999999, "started": 0, "command": [], "signal": 15}'])
    def test_a_file_that_says_nothing_is_removed(self, stack, content):
        stack.pids.mkdir(parents=True)
        (stack.pids / "web.json").write_text(content)
        assert leftovers.end_leftovers(stack) == []
        assert list(stack.pids.iterdir()) == []

    def test_a_part_that_is_gone_leaves_no_file(self, stack):
        part = Broken(stack)
        part.spawn()
        part.process.wait()
        leftovers.record(part)
        assert list(stack.pids.iterdir()) == []


class TestLogs:
    @pytest.fixture
    def log(self, tmp_path):
        return tmp_path / "web.log"

    def write(self, log: Path, *entries: object) -> None:
        with log.open("a") as file:
            file.writelines((entry if isinstance(entry, str) else json.dumps(entry)) + "\n" for entry in entries)

    def test_only_new_errors_are_shown(self, log):
        self.write(log, {"level": "error", "message": "of yesterday"})
        followed = FollowedLog(log)
        self.write(log, {"level": "info", "message": "quiet"}, "no JSON", "[1]", {"level": "error", "message": "loud"})
        assert list(followed.important_lines()) == ["loud"]
        assert list(followed.important_lines()) == []

    def test_an_exception_shows_its_last_line(self, log):
        followed = FollowedLog(log)
        self.write(log, {"level": "critical", "message": "failed", "exception": "Traceback\n  …\nKeyError: 'x'"})
        assert list(followed.important_lines()) == ["failed · KeyError: 'x'"]

    def test_half_a_line_waits_for_its_end(self, log):
        followed = FollowedLog(log)
        log.write_text('{"level": "error", ')
        assert list(followed.important_lines()) == []
        self.write(log, '"message": "whole"}')
        assert list(followed.important_lines()) == ["whole"]

    def test_a_flood_is_cut_short(self, log):
        followed = FollowedLog(log)
        self.write(log, *({"level": "error", "message": f"m{n}"} for n in range(50)))
        assert list(followed.important_lines()) == ["m0", "m1", "m2"]
        followed._burst_ends = 0.0
        assert list(followed.important_lines()) == [f"… and 47 more, in {log}"]

    def test_a_large_log_moves_aside_and_is_followed_on(self, log):
        followed = FollowedLog(log)
        self.write(log, "x" * 11_000_000)
        list(followed.important_lines())
        followed.keep_small()
        assert log.stat().st_size == 0
        assert log.with_suffix(".log.1").stat().st_size > 11_000_000
        self.write(log, {"level": "error", "message": "afterwards"})
        assert list(followed.important_lines()) == ["afterwards"]


class TestLastWords:
    """What is shown of a part's log when it died."""

    def said(self, *entries: object, most: int = 12) -> list[str]:
        return last_words([entry if isinstance(entry, str) else json.dumps(entry) for entry in entries], most)

    def failed(self, **fields: object) -> dict[str, object]:
        entry = {"channel": "email", "delivery_id": "d1", "provider": "smtp", "code": "421"}
        return {"level": "info", "message": "attempt_failed", **entry, "logger": "l", "timestamp": "t", **fields}

    def test_fields_are_shown_and_ids_last(self):
        entry = self.failed(attempt=2, error='try "later"', detail={"a": [1]}, empty="", none=None, task_id="t1")
        (line,) = self.said(entry)
        assert line.startswith("info: attempt_failed channel=email provider=smtp code=421 attempt=2 error=")
        assert line.endswith('error="try \\"later\\"" detail={"a": [1]} delivery_id=d1')

    def test_other_lines_are_shown_as_they_are(self):
        assert self.said("plain", "[1]", '{"level": "info"}') == ["plain", "[1]", '{"level": "info"}']

    def test_a_long_line_or_value_is_cut(self):
        (cut,) = self.said(self.failed(code="x" * 500))
        assert f"code={'x' * 79}… delivery_id=d1" in cut
        for entry in ("y" * 500, self.failed(**{f"key{n}": "z" * 70 for n in range(5)})):
            (line,) = self.said(entry)
            assert (len(line), line[-1]) == (160, "…")

    def test_repetitions_are_said_once_with_their_number(self):
        flood = [self.failed(delivery_id=f"d{number}") for number in range(50)]
        assert self.said({"level": "error", "message": "first"}, *flood[:25], self.failed(code="500"), *flood[25:]) == [
            "error: first",
            "info: attempt_failed channel=email provider=smtp code=500 delivery_id=d1",
            "50 × info: attempt_failed channel=email provider=smtp code=421",
        ]

    def test_ids_that_are_the_same_stay(self):
        assert self.said(self.failed(), self.failed())[0].endswith("delivery_id=d1")

    def test_a_traceback_keeps_its_order(self):
        assert self.said("in f", "^^", "in g", "^^", "in g", "in g", "end") == ["in f", "^^", "in g", "^^", "2 × in g", "end"]

    def test_an_exception_shows_where_it_was_raised(self):
        trace = "Traceback\n  File a\n    f()\n    ^^^\n  File b\n    g()\n    ^^^\nKeyError: 'x'"
        assert self.said({"level": "error", "message": "m", "exception": trace}) == [
            "error: m",
            "  File b",
            "    g()",
            "KeyError: 'x'",
        ]

    @given(
        st.lists(
            st.one_of(st.text(), st.fixed_dictionaries(dict.fromkeys(("level", "message", "exception", "error"), st.text())))
        )
    )
    def test_there_are_never_more_lines_than_asked_for(self, entries):
        log = "\n".join(entry if isinstance(entry, str) else json.dumps(entry) for entry in entries)
        said = last_words(log.splitlines(), 12)
        assert len(said) <= 12
        assert all(len(line) <= 160 and len(line.splitlines()) <= 1 for line in said)

    def test_the_newest_are_kept(self):
        assert self.said(*map(str, range(30))) == [str(number) for number in range(18, 30)]


MAKE = """
run:
\t@exec {python} -c "$$CODE"
"""
ASKED = """
import time
from config.stack.signals import StopRequests
requests = StopRequests()
print("ready", flush=True)
while not requests.count():
    time.sleep(0.05)
print("asked to stop", flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a process's signal handlers are looked up in /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_make_alone_is_enough(tmp_path, number):
    (tmp_path / "Makefile").write_text(MAKE.format(python=sys.executable))
    make = subprocess.Popen(
        ["make", "run"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "CODE": ASKED, "PYTHONPATH": str(PROJECT_DIR)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # Whoever runs the suite in the background has SIGINT ignored, and make would inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    with make.stdout:
        assert make.stdout.readline() == "ready\n"
        make.send_signal(number)
        assert "asked to stop" in make.stdout.read()
    make.wait(20)


def test_without_make_only_signals_count():
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        requests = StopRequests()
        assert requests.count() == 0
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        assert wait_until(lambda: requests.count() == 2, 5)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_the_welcome_shows_all_there_is():
    demo = {"demoUrl": "http://h/demo/", "apiKey": "nk_x", "adminUser": "admin"}
    text = welcome(base_url="http://h", demo=demo, logs="/logs")
    assert ["demo", "http://h/demo/"] in [line.split(maxsplit=1) for line in text.splitlines()]
    assert "API key" in text
    assert "X-API-Key: nk_x" in text
    assert "A first event" not in welcome(base_url="http://h", demo={}, logs="/logs")


PARENT = """
import sys, time
from config.stack.parts import ForkedPart, wait_until
from config.stack.paths import stack_paths
part = ForkedPart(stack_paths(sys.argv[1]), "part", lambda: (print("begun"), time.sleep(60)))
part.spawn()
if sys.argv[2] == "begun":
    wait_until(lambda: "begun" in part.log_tail(), 10)
print(part.process.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel is asked by prctl")
@pytest.mark.parametrize("when", ["begun", "at once"])
def test_a_part_dies_with_its_parent(tmp_path, when):
    command = [sys.executable, "-c", PARENT, str(tmp_path), when]
    with subprocess.Popen(command, cwd=PROJECT_DIR, stdout=subprocess.PIPE, text=True) as parent:
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
        parent.wait()
    assert wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, 10)
