from deliveries.states import HANDED_OVER, OPEN, TRANSITIONS, Status, may_become, sources_of


def test_every_status_has_its_row():
    assert set(TRANSITIONS) == set(Status)


def test_a_receipt_moves_nothing_backwards():
    assert not may_become(Status.DELIVERED, Status.SENT)
    assert not may_become(Status.BOUNCED, Status.DELIVERED)


def test_final_states_are_final_but_for_replay():
    for status in set(Status) - OPEN - HANDED_OVER - {Status.FAILED}:
        assert TRANSITIONS[status] == frozenset()
    assert TRANSITIONS[Status.FAILED] == {Status.PENDING}


def test_sources_are_the_table_read_backwards():
    assert sources_of(Status.SENT) == [Status.SENDING.value]
