from hypothesis import given
from hypothesis import strategies as st

from tenants.turns import Waiting, divide


def shares(waiting, limit):
    return {(pair.priority, pair.tenant_id): share for pair, share in divide(waiting, limit)}


def test_the_urgent_go_first():
    assert shares([Waiting(2, 1, 500), Waiting(0, 2, 3)], 100) == {(0, 2): 3, (2, 1): 97}


def test_a_small_tenant_is_not_crowded_out():
    assert shares([Waiting(2, 1, 100), Waiting(2, 2, 4)], 100) == {(2, 2): 4, (2, 1): 96}


def test_tenants_of_a_class_share_alike():
    assert shares([Waiting(2, 1, 100), Waiting(2, 2, 100)], 100) == {(2, 1): 50, (2, 2): 50}


@given(st.dictionaries(st.tuples(st.integers(0, 3), st.integers(1, 20)), st.integers(1, 500), max_size=40), st.integers(1, 500))
def test_nothing_is_wasted_and_nothing_is_overdrawn(counts, limit):
    waiting = [Waiting(priority, tenant, count) for (priority, tenant), count in counts.items()]
    chosen = divide(waiting, limit)
    assert sum(share for _, share in chosen) == min(limit, sum(counts.values()))
    assert all(0 < share <= pair.count for pair, share in chosen)
