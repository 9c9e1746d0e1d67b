"""The benchmark's own arithmetic, and that a run which did not do its work is not taken for one that did."""

import json
from pathlib import Path

import msgspec
import pytest
from django.conf import settings
from django.utils.timezone import now
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import pyplot as plt

from bench import __main__ as command
from bench import report
from bench.measure import Check, Figure, Result, latency_figures, percentile
from bench.scenarios import SCENARIOS
from bench.workload import BULK, bulk_bodies
from notifications.intake import read_bulk, read_event


@given(values=st.lists(st.floats(0, 1e6), min_size=1), share=st.floats(0, 1))
def test_a_percentile_is_one_of_the_values_and_bounds_its_share(values, share):
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) * (1 - 1e-9)


def test_percentiles_of_a_hundred():
    values = list(range(1, 101))
    assert [percentile(values, share) for share in (0.5, 0.95, 0.99, 1)] == [50, 95, 99, 100]
    assert [figure.name for figure in latency_figures("x ", values, (0.5, 0.99, 1))] == ["x p50", "x p99", "x max"]


RESULTS = {
    "floor": Result(parameters={}, figures=[Figure("whole", 8000.0, "events/s")]),
    "bulk": Result(
        parameters={"events": 10},
        figures=[Figure("end to end", 2000.0, "events/s", floor="whole"), Figure("p99", 12.34, "ms")],
        checks=[Check("sent", 10, 10), Check("published", 10, 12, at_least=True)],
        samples_ms=(1.0, 2.0),
    ),
}


def test_figures_stand_beside_their_share_of_the_floor():
    lines = report.table(RESULTS).splitlines()
    assert lines[3].split() == ["bulk", "end", "to", "end", "2,000", "events/s", "25%"]
    assert lines[4].split() == ["p99", "12.3", "ms"]


def test_without_a_floor_there_is_no_share():
    assert "%" not in report.table({"bulk": RESULTS["bulk"]})


def test_a_check_that_does_not_hold_is_named():
    broken = Result(parameters={}, figures=[], checks=[Check("sent", 10, 9), Check("published", 10, 9, at_least=True)])
    assert report.failed_checks(RESULTS) == []
    assert report.failed_checks({"bulk": broken}) == [
        "bulk: sent: expected 10, found 9",
        "bulk: published: expected 10, found 9",
    ]


def test_what_is_written_can_be_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    path = report.write(RESULTS, {"machine": {"cores": 2}})
    document = json.loads(path.read_text())
    assert document["machine"] == {"cores": 2}
    assert document["scenarios"]["bulk"]["figures"]["end to end"] == {"value": 2000.0, "unit": "events/s", "ofFloor": 0.25}
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "samples",
    [[10 + n / 100 for n in range(600)], [13.0] * 600, [10 + n / 100 for n in range(590)] + [400.0] * 10],
    ids=["near one another", "all the same", "a long tail"],
)
def test_the_plot_says_in_words_what_can_be_read(samples, tmp_path, monkeypatch):
    monkeypatch.setattr(plt, "close", lambda _figure: None)
    report._plot(tmp_path / "plot.png", "latency", samples)
    axes = plt.gcf().axes[0]
    half, most = axes.texts
    assert half.get_text().strip().startswith("half within")
    assert most.get_text().strip().startswith("99 of 100 within")
    around_half, around_most = (label.get_window_extent() for label in (half, most))
    assert not around_half.overlaps(around_most)
    inside = axes.get_window_extent()
    for box in (around_half, around_most):
        assert inside.x0 <= box.x0 < box.x1 <= inside.x1
        assert inside.y0 <= box.y0 < box.y1 <= inside.y1


def test_bodies_are_what_intake_takes():
    bodies = bulk_bodies("run", ["ada", "bob"], BULK + 3)
    events = [read_event(raw, now=now()) for body in bodies for raw in read_bulk(body)]
    assert [len(msgspec.json.decode(body)["events"]) for body in bodies] == [BULK, 3]
    assert len({event.event_id for event in events}) == BULK + 3
    assert {event.user_id for event in events} == {"ada", "bob"}


@pytest.mark.parametrize("arguments", [["--only", "nothing"], ["--seconds", "0"], ["--events", "-1"], ["--events", "many"]])
def test_nonsense_on_the_command_line_is_refused(arguments, capsys):
    with pytest.raises(SystemExit):
        command._options(arguments)
    assert "usage:" in capsys.readouterr().err


def test_scenarios_are_chosen_by_name():
    assert command._options(["--only", "floor", "--only", "bulk_in_app"]).only == ["floor", "bulk_in_app"]
    assert command._options([]).only is None
    assert set(SCENARIOS) >= {"floor", "latency_20", "intake_single", "bulk_in_app"}


def test_the_table_in_the_documents_is_the_newest_run():
    page = (Path(settings.BASE_DIR) / "docs" / "performance.md").read_text()
    newest = report.newest()
    assert f"](../bench/results/{newest.name})" in page
    assert report.markdown(json.loads(newest.read_text())) in page
