"""What a person ticks, as preferences: it holds afterwards, nothing else changes, and a second time there is nothing to do."""

import datetime as dt

from hypothesis import given
from hypothesis import strategies as st

from preferences.centre.choices import Wish, end_silence, fulfil, is_silenced, silence, state_of
from preferences.centre.lines import EVERYTHING, MOST_FINE, groups_of, line_about, readable
from preferences.event_types import EventTypeFacts
from preferences.resolver import Ladder, Question, QuietHours, Rung, resolve
from tenants.vocabulary import Channel

CHANNELS = [Channel.EMAIL, Channel.SMS]
NIGHT = QuietHours(dt.time(22), dt.time(7))
DECLARED = {
    "bill": EventTypeFacts(category="money"),
    "refund": EventTypeFacts(category="money", default_enabled=False),
    "fraud": EventTypeFacts(category="money", required=True),
    "news": EventTypeFacts(category="offers"),
    "survey": EventTypeFacts(),
}
MANY = DECLARED | {f"offer.{number}": EventTypeFacts(category="offers") for number in range(MOST_FINE)}

places = st.one_of(
    st.tuples(st.sampled_from([None, 1, 2]), st.sampled_from(["", *DECLARED]), st.just("")),
    st.tuples(st.sampled_from([None, 1, 2]), st.just(""), st.sampled_from(["money", "offers"])),
)
rungs = st.builds(Rung, st.just("id"), st.booleans(), st.sampled_from([None, NIGHT]), st.sampled_from(["immediate", "digest"]))
ladders = st.builds(Ladder, st.dictionaries(places, rungs, max_size=8), st.dictionaries(places, rungs, max_size=4))
declarations = st.sampled_from([DECLARED, MANY])


def lines_of(declared):
    return [line for group in groups_of(declared) for line in group.lines]


def after(changes, ladder):
    user = {place: rung for place, rung in ladder.user.items() if place not in changes.drop}
    return Ladder({**user, **changes.put}, ladder.tenant)


def said(declared, ladder):
    """Everything that would be decided: (event type, channel) → whether, when, how."""
    found = {}
    for name, facts in declared.items():
        for channel in Channel:
            question = Question(
                channel=channel,
                event_type=name,
                category=facts.category,
                required=facts.required,
                default_enabled=facts.default_enabled,
            )
            decision = resolve(question, ladder)
            found[name, channel] = (decision.allowed, decision.quiet_hours, decision.delivery)
    return found


@given(declarations, ladders, st.data())
def test_a_wish_holds_and_touches_nothing_else(declared, ladder, data):
    line, channel = data.draw(st.sampled_from(lines_of(declared))), data.draw(st.sampled_from(CHANNELS))
    enabled = data.draw(st.none() | st.booleans())
    delivery = data.draw(st.sampled_from([None, "immediate", "digest"]))
    wish = Wish(line=line, channel=channel, enabled=enabled, delivery=delivery)
    before = said(declared, ladder)
    changed = after(changes := fulfil([wish], ladder), ladder)
    for (name, where), (was_allowed, hours, how) in before.items():
        allowed, hours_now, how_now = said(declared, changed)[name, where]
        if name not in line.members or where is not channel:
            assert (allowed, hours_now, how_now) == (was_allowed, hours, how)
            continue
        assert allowed == (was_allowed if enabled is None else enabled)
        if allowed:
            assert (hours_now, how_now) == (hours, delivery or how)
    assert not fulfil([wish], changed)
    assert not changes.drop


@given(declarations, ladders)
def test_everything_off_leaves_only_what_is_required(declared, ladder):
    changed = after(silence(ladder), ladder)
    on = {name for (name, _), (allowed, *_) in said(declared, changed).items() if allowed}
    assert on == {"fraud"}
    assert not any(resolve(Question(channel=channel, event_type="not.declared"), changed).allowed for channel in Channel)
    assert is_silenced(changed)
    assert not silence(changed)
    assert not is_silenced(after(end_silence(changed), changed))


def test_the_end_of_silence_turns_nothing_on_that_was_off_by_default():
    changed = after(silence(Ladder()), Ladder())
    assert said(DECLARED, after(end_silence(changed), changed)) == said(DECLARED, Ladder())
    assert not end_silence(Ladder())


def test_one_choice_is_one_preference():
    (line,) = [line for line in lines_of(MANY) if line.category == "offers"]
    assert set(fulfil([Wish(line=line, channel=Channel.EMAIL, enabled=False)], Ladder()).put) == {(1, "", "offers")}


def test_few_types_stand_alone_and_many_by_their_category():
    assert [line.key for line in lines_of(DECLARED)] == ["t:bill", "t:refund", "t:news", "t:survey"]
    assert [line.key for line in lines_of(MANY)] == ["c:money", "c:offers", "t:survey"]
    assert [group.category for group in groups_of(DECLARED)] == ["money", "offers", ""]
    assert list(groups_of(DECLARED)[0].required) == ["fraud"]
    assert lines_of({}) == [EVERYTHING]


def test_a_link_speaks_of_the_whole_category_if_there_is_one():
    assert line_about("bill", DECLARED).key == "c:money"
    assert set(line_about("bill", DECLARED).members) == {"bill", "refund"}
    assert line_about("survey", DECLARED).key == "t:survey"
    assert line_about("not.declared", DECLARED).key == "t:not.declared"


def test_of_a_category_half_of_which_is_on_that_is_said():
    line = line_about("bill", DECLARED)
    state = state_of(line, Channel.EMAIL, Ladder())
    assert (state.is_on, state.is_mixed) == (True, True)


def test_names_are_shown_as_words():
    assert readable("order.item_shipped") == "Order item shipped"
    assert readable("") == ""
