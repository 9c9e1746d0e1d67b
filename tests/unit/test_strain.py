"""The table of `make strain`, and what its page says."""

import pytest

from tests.acceptance import page
from tests.acceptance.strain import __main__ as command
from tests.acceptance.strain import report
from tests.acceptance.strain.experiment import Felt, Result
from tests.acceptance.strain.figures import Latency
from tests.acceptance.strain.registry import STRAINS
from tests.acceptance.strain.strains.base import Outcome
from tests.acceptance.strain.world import BYSTANDER, address_of, chat_of


def result(name: str = "flood") -> Result:
    latency = Latency.of([1.0, 2.0, 3000.0])
    felt = [Felt(BYSTANDER, channel, 10, 0, latency, latency) for channel in ("in_app", "email")]
    return Result(name, felt, Outcome("all sent"), [])


def test_a_latency_is_its_median_its_99th_percentile_and_its_worst():
    assert str(Latency.of([float(number) for number in range(1, 1001)])) == "500 / 990 / 1,000"
    assert str(Latency.of([])) == "0 / 0 / 0"


def test_a_strain_is_named_once_and_has_a_row_for_each_channel():
    first, second = report.rows(result())
    assert first == [
        "flood",
        STRAINS["flood"].about,
        "bystander, in_app",
        "10",
        "0",
        "2 / 3,000 / 3,000",
        "2 / 3,000 / 3,000",
        "all sent",
    ]
    assert second[:3] == ["", "", "bystander, email"]


def test_the_table_takes_the_place_of_the_one_before(tmp_path):
    file = tmp_path / "reliability.md"
    file.write_text(f"before\n{report.PLACE.begin}\nold\n{report.PLACE.end}\nafter\n")
    machine = {"cores": 2, "cpu": "a processor", "memoryGb": 8, "python": "3.11", "load": 0.5}
    report.PLACE.write(report.table([result()]), machine, "abc1234", page=file)
    text = file.read_text()
    assert text.startswith(f"before\n{report.PLACE.begin}\n")
    assert text.endswith(f"|\n{report.PLACE.end}\nafter\n")
    assert "old" not in text


def test_no_two_bystanders_share_an_address():
    ids = [f"flood-0a1b2c-by-bystander-{number}" for number in range(2000)]
    assert len({chat_of(one) for one in ids}) == len({address_of(one) for one in ids}) == 2000


def test_strains_are_chosen_by_name(capsys):
    assert command._options(["--only", "flood", "--only", "stop"]).only == ["flood", "stop"]
    with pytest.raises(SystemExit):
        command._options(["--only", "nothing"])
    assert "usage:" in capsys.readouterr().err


def test_the_page_has_a_run_of_every_strain_and_nothing_was_lost():
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in report.PLACE.written().splitlines() if line.startswith("|")
    ]
    assert tuple(rows[0]) == report.HEADINGS
    assert [row[:2] for row in rows[2:] if row[0]] == [[name, strain.about] for name, strain in STRAINS.items()]
    for row in rows[2:]:
        assert int(row[4]) == 0
    assert page.PAGE.read_text().count(report.PLACE.begin) == 1
