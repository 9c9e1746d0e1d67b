"""Expressions in the guard: what they come to, what ends them, and that nothing but the expression suffers. Real processes."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import cel
import psutil
import pytest

from notifications.expressions.evaluation import ExpressionError, evaluate
from notifications.expressions.guard import Guard, Killed, request_of
from notifications.expressions.ledger import REST_S, TENANT_S, Ledger

EVENT = {"id": "1", "type": "order.shipped", "priority": "normal", "metadata": {}}
NUMBERS = list(range(4000))


def variables(**payload):
    return {"payload": payload, "event": EVENT}


@pytest.fixture(scope="module")
def guard():
    guard = Guard()
    yield guard
    guard.close()


@pytest.fixture
def ask(guard):
    ledger = Ledger()

    def ask(expression, **payload):
        return evaluate(expression, variables(**payload), tenant_id=1, rule_id=1, guard=guard, ledger=ledger)

    return ask


def in_process(expression, payload):
    return cel.compile(expression).execute(variables(**payload))


@pytest.mark.parametrize(
    ("expression", "payload"),
    [
        ("payload.a.map(x, payload.b).size() > 0", {"a": NUMBERS, "b": NUMBERS}),
        ("payload.a.all(x, !((x + 10000000) in payload.a))", {"a": list(range(70_000))}),
        (r"""payload.a.map(x, r'\' == '' || payload.b.exists(y, y == -1)).size() > 0""", {"a": NUMBERS, "b": NUMBERS}),
        ("payload.a.all // a comment\n (x, payload.a.all // another\n (y, payload.a.all(z, z >= 0)))", {"a": NUMBERS}),
        ("payload.a.existsOne(x, payload.a.exists(y, y < 0))", {"a": list(range(70_000))}),
        ("payload.a.matches('((x{0,100}){0,100}){0,10}y')", {"a": "x" * 500_000}),
        ("payload.a.matches(payload.b)", {"a": "x" * 250_000, "b": "((x{0,100}){0,100}){0,10}y"}),
    ],
)
def test_what_would_take_minutes_is_ended(ask, expression, payload):
    with pytest.raises(ExpressionError, match=r"CPU time|memory"):
        ask(expression, **payload)
    assert ask("payload.a.exists(x, x == 1)", a=[1]) is True


@pytest.mark.parametrize(
    ("expression", "payload"),
    [
        ("+".join(["payload.a"] * 190) + " == [1]", {"a": [0] * 250_000}),
        ("[" + ",".join(["payload.a"] * 190) + "]", {"a": [0] * 250_000}),
        ("payload.a" + "".join([".map(x, [x, x])"] * 40), {"a": NUMBERS}),
    ],
)
def test_what_would_fill_the_memory_is_ended(ask, expression, payload):
    with pytest.raises(ExpressionError, match=r"CPU time|memory"):
        ask(expression, **payload)
    assert ask("payload.a.exists(x, x == 1)", a=[1]) is True


def test_a_structure_doubled_thirty_times_is_ended(ask):
    doubled = "payload.a"
    for _ in range(30):
        doubled = f"[{doubled}].map(v, v + v)[0]"
    with pytest.raises(ExpressionError, match=r"memory|CPU time"):
        ask(f"{doubled}.size() > 0", a="x" * 5000)


def test_a_value_too_large_to_carry_is_refused(ask):
    with pytest.raises(ExpressionError, match="value of"):
        ask("[payload.a, payload.a, payload.a, payload.a, payload.a, payload.a]", a="x" * 500_000)


@pytest.mark.parametrize(
    "value",
    [
        "true",
        "null",
        "'Grüße, 世界 🚀 \\u0007'",
        "['ada', 'bob', 7]",
        "9223372036854775807",
        "18446744073709551615u",
        "[1.5, -0.0, 1e300]",
        "b'\\xff\\x00'",
        "{'a': {'b': [null, {'c': true}]}, 1: 'one'}",
        "timestamp('2026-02-03T04:05:06.789Z')",
        "timestamp('2026-02-03T04:05:06+02:00')",
        "[duration('1h30m'), duration('-1ms')]",
        "payload.big",
        "payload.bigger",
        "payload.smaller",
        "payload.nested",
        "payload.text",
    ],
)
def test_values_come_back_as_they_are(guard, value):
    payload = {
        "big": 2**64 - 1,
        "bigger": 2**80,
        "smaller": -(2**63) - 1,
        "nested": {"ä": [None, {"b": [1, 2.0, False]}]},
        "text": "žluťoučký",
    }
    answer = guard.evaluate(request_of(value, variables(**payload)))
    expected = in_process(value, payload)
    assert answer.good
    assert (answer.value, type(answer.value)) == (expected, type(expected))


@pytest.mark.parametrize("expression", ["payload.missing.exists(x, x)", "payload.a.map(x, x / 0)", "payload.a.map(x, "])
def test_a_fault_reads_the_same(ask, expression):
    with pytest.raises(ExpressionError) as fault:
        ask(expression, a=[1])
    with pytest.raises(Exception) as expected:
        in_process(expression, {"a": [1]})
    assert str(fault.value) == str(expected.value)[:500]


def test_a_guard_killed_by_hand_is_started_again(guard):
    request = request_of("[1].map(x, x + 1)", {})
    assert guard.evaluate(request).value == [2]
    before = guard.pid
    os.kill(before, signal.SIGKILL)
    assert guard.evaluate(request).value == [2]
    assert guard.pid != before
    assert not psutil.pid_exists(before), "a zombie was left"


def test_a_guard_that_is_stopped_is_given_up():
    guard = Guard()
    try:
        request = request_of("payload.a.exists(x, x == 'y')", variables(a=["x" * 400_000]))
        guard.evaluate(request_of("1", {}))
        guard._wall_s = 0.2  # from here on: a start may take longer
        os.kill(guard.pid, signal.SIGSTOP)
        with pytest.raises(Killed, match="no answer"):
            guard.evaluate(request)
        assert guard.pid is None
    finally:
        guard.close()


def test_an_interrupted_caller_does_not_leave_its_answer_to_the_next(guard, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("notifications.expressions.guard._received", interrupt)
        with pytest.raises(KeyboardInterrupt):
            guard.evaluate(request_of("'first'", {}))
    assert guard.evaluate(request_of("'second'", {})).value == "second"


def test_threads_take_turns(guard):
    def work(number):
        if number % 10 == 0:
            with pytest.raises(Killed):
                guard.evaluate(request_of("payload.a.map(x, payload.a.map(y, y))", variables(a=NUMBERS)))
        return guard.evaluate(request_of("[payload.n].map(x, x)", variables(n=number))).value

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(work, range(1, 21))) == [[number] for number in range(1, 21)]


def test_a_forked_process_has_a_guard_of_its_own():
    from notifications.expressions.guard import guard as own

    own.evaluate(request_of("1", {}))
    ours = psutil.Process(own.pid)
    pid = os.fork()
    if pid == 0:
        forked_first = own.pid
        value = own.evaluate(request_of("[1].map(x, x)", {})).value
        os._exit(0 if forked_first is None and value == [1] and own.pid != ours.pid else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert own.evaluate(request_of("2", {})).value == 2
    assert own.pid == ours.pid


def test_the_child_goes_when_its_parent_does_and_inherits_nothing():
    secret, other = os.pipe()
    os.set_inheritable(secret, True)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        guard = Guard()
        guard.evaluate(request_of("1", {}))
        names = list(Path(f"/proc/{guard.pid}/fd").iterdir())
        os.write(writer, f"{guard.pid} {len(names)}".encode())
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    child, descriptors = map(int, os.read(reader, 100).split())
    assert descriptors == 3
    with suppress(psutil.NoSuchProcess):
        psutil.Process(child).wait(10)
    for descriptor in (secret, other, reader, writer):
        os.close(descriptor)


def test_no_descriptor_and_no_process_is_left():
    this = psutil.Process()
    before = this.num_fds(), len(this.children())
    guard = Guard(cpu_s=0.05)
    for _ in range(5):
        with pytest.raises(Killed):
            guard.evaluate(request_of("payload.a.map(x, payload.a.map(y, y))", variables(a=NUMBERS)))
    guard.evaluate(request_of("1", {}))
    guard.close()
    assert (this.num_fds(), len(this.children())) == before


def test_small_work_without_loops_needs_no_guard():
    guard = Guard()
    assert evaluate("payload.a + 1 > 2 && 'x' in payload.b", variables(a=2, b=["x"]), tenant_id=1, rule_id=1, guard=guard)
    assert guard.pid is None


@pytest.mark.parametrize(
    ("expression", "payload"),
    [
        ("payload.a == 'all'", {"a": "all"}),
        ("payload.a.matches('b')", {"a": "b"}),
        ("payload.a == payload.a", {"a": [0] * 10_000}),
    ],
)
def test_what_cannot_be_foretold_goes_to_the_guard(expression, payload):
    guard = Guard()
    try:
        assert evaluate(expression, variables(**payload), tenant_id=1, rule_id=1, guard=guard, ledger=Ledger()) is True
        assert guard.pid is not None
    finally:
        guard.close()


def test_a_killed_expression_is_left_out_for_a_minute():
    now = [0.0]
    ledger, guard = Ledger(clock=lambda: now[0]), Guard(cpu_s=0.05)
    poison = "payload.a.map(x, payload.a.map(y, y)).size() > 0"

    def ask(rule_id, expression=poison, a=NUMBERS):
        return evaluate(expression, variables(a=a), tenant_id=1, rule_id=rule_id, guard=guard, ledger=ledger)

    try:
        with pytest.raises(ExpressionError, match=r"^it took more"):
            ask(1)
        for _ in range(100):
            with pytest.raises(ExpressionError, match="left out for a minute: it took more"):
                ask(1, a=[1])
        assert guard.pid is None, "nobody was asked"
        assert ask(2, a=[1]) is True  # another rule
        assert ask(1, "payload.a.exists(x, x == 1)", a=[1]) is True  # the rule, mended
        now[0] = REST_S
        assert ask(1, a=[1]) is True
    finally:
        guard.close()


def test_a_tenants_slow_expressions_have_one_budget():
    now = [0.0]
    ledger = Ledger(clock=lambda: now[0])
    for _ in range(10_000):
        ledger.charge(1, 0.001)  # that is traffic
    assert ledger.objection(1, "any") is None
    for _ in range(int(TENANT_S / 0.5)):
        assert ledger.objection(1, "any") is None
        ledger.charge(1, 0.5)
    assert "tenant" in ledger.objection(1, "any")
    assert ledger.objection(2, "any") is None
    now[0] = REST_S
    assert ledger.objection(1, "any") is None


def test_a_guard_that_others_keep_busy_is_not_waited_for_without_end():
    guard, ledger = Guard(turn_s=0.01), Ledger()
    with guard._lock, pytest.raises(ExpressionError, match="busy with others"):
        evaluate("payload.a.all(x, x > 0)", variables(a=[1]), tenant_id=1, rule_id=1, guard=guard, ledger=ledger)
    assert ledger.objection(1, (1, "payload.a.all(x, x > 0)")) is None
