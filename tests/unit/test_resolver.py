"""The preference ladder, by property: whatever rungs there are, the most specific one decides."""

import dataclasses
import datetime as dt
import json

from hypothesis import assume, given
from hypothesis import strategies as st

from preferences.resolver import Ladder, Question, QuietHours, Rung, resolve, walk
from tenants.vocabulary import Channel

TYPE, CATEGORY = "order.shipped", "orders"
LEVELS = ("channel_type", "type", "channel_category", "category", "channel", "any")


def places(channel):
    """The rungs that speak of the question, the most specific first."""
    number = channel.value
    return [
        (number, TYPE, ""),
        (None, TYPE, ""),
        (number, "", CATEGORY),
        (None, "", CATEGORY),
        (number, "", ""),
        (None, "", ""),
    ]


rungs = st.builds(
    Rung,
    id=st.sampled_from("abc"),
    enabled=st.booleans(),
    quiet_hours=st.sampled_from([None, QuietHours(dt.time(22), dt.time(7))]),
    delivery=st.sampled_from(["immediate", "digest"]),
)
channels = st.sampled_from(list(Channel))
defaults = st.none() | st.booleans()


@st.composite
def chosen(draw, channel):
    """Any subset of the six rungs, among others that say nothing about the question."""
    other = channel.value % len(Channel) + 1
    beside = [(channel.value, "other.type", ""), (None, "", "other"), (other, "", ""), (other, TYPE, "")]
    return draw(st.dictionaries(st.sampled_from(places(channel) + beside), rungs))


@st.composite
def situations(draw):
    channel = draw(channels)
    ladder = Ladder(user=draw(chosen(channel)), tenant=draw(chosen(channel)))
    question = Question(channel=channel, event_type=TYPE, category=CATEGORY, default_enabled=draw(defaults))
    return question, ladder


def required(question):
    return dataclasses.replace(question, required=True)


def expected(question, ladder):
    """The rule again, in the plainest form: walk down, stop at the first."""
    for scope, rungs_of in (("user", ladder.user), ("tenant", ladder.tenant)):
        for level, place in zip(LEVELS, places(question.channel), strict=True):
            if place in rungs_of:
                return f"{scope}.{level}", rungs_of[place]
    return None


@given(situations())
def test_the_most_specific_rung_decides_and_the_users_own_goes_first(situation):
    question, ladder = situation
    decision = resolve(question, ladder)
    first = expected(question, ladder)
    if first is None:
        assert decision.rung is None
        assert decision.allowed == (question.default_enabled is not False)
        assert decision.level == ("default" if question.default_enabled is None else "event_type.default")
    else:
        assert (decision.level, decision.rung) == first
        assert decision.allowed == first[1].enabled
        assert (decision.quiet_hours, decision.delivery) == (first[1].quiet_hours, first[1].delivery)


@given(situations())
def test_a_required_event_type_ignores_every_choice(situation):
    question, ladder = situation
    decision = resolve(required(question), ladder)
    assert decision.allowed
    assert (decision.level, decision.quiet_hours, decision.delivery) == ("event_type.required", None, "immediate")


@given(situations(), st.integers(0, 5), st.booleans())
def test_turning_a_rung_on_never_takes_anything_away(situation, index, by_user):
    question, ladder = situation
    place = places(question.channel)[index]
    own, default = dict(ladder.user), dict(ladder.tenant)
    (own if by_user else default)[place] = Rung("new", enabled=True)
    assert resolve(question, Ladder(user=own, tenant=default)).allowed >= resolve(question, ladder).allowed


@given(situations(), st.integers(0, 5), st.booleans())
def test_what_is_below_the_deciding_rung_changes_nothing(situation, index, enabled):
    question, ladder = situation
    asked = places(question.channel)
    own = [asked.index(place) for place in asked if place in ladder.user]
    assume(own and index > own[0])
    more = dict(ladder.user) | {asked[index]: Rung("new", enabled=enabled)}
    assert resolve(question, Ladder(user=more, tenant={})) == resolve(question, ladder)


@given(situations())
def test_a_choice_for_another_channel_type_or_category_says_nothing(situation):
    question, ladder = situation
    asked = set(places(question.channel))
    only = Ladder(
        user={place: rung for place, rung in ladder.user.items() if place in asked},
        tenant={place: rung for place, rung in ladder.tenant.items() if place in asked},
    )
    assert resolve(question, only) == resolve(question, ladder)


@given(situations(), st.booleans())
def test_the_walk_has_one_deciding_step_and_it_is_the_answer(situation, is_required):
    question, ladder = situation
    question = required(question) if is_required else question
    decision = resolve(question, ladder)
    steps = list(walk(question, ladder))
    (deciding,) = [step for step in steps if step.decides]
    assert (deciding.level, deciding.rung) == (decision.level, decision.rung)
    before = steps[1 : steps.index(deciding)]
    assert is_required or all(step.rung is None for step in before)


@given(situations())
def test_the_explanation_is_json_and_names_the_rule(situation):
    question, ladder = situation
    decision = resolve(question, ladder)
    explanation = json.loads(json.dumps(decision.explanation))
    assert explanation == decision.explanation
    assert explanation["rule"] == (decision.rung.id if decision.rung else None)
    assert (explanation["level"], explanation["value"]) == (decision.level, decision.allowed)
    assert explanation["why"].endswith(".")
    assert "{" not in explanation["why"]


def test_without_a_category_the_rungs_of_categories_are_passed_by():
    ladder = Ladder(user={(None, "", ""): Rung("any", enabled=False)})
    question = Question(channel=Channel.EMAIL, event_type=TYPE)
    assert [step.level for step in walk(question, ladder) if "category" in step.level] == []
    assert resolve(question, ladder).level == "user.any"


def test_a_question_about_any_channel_asks_the_rungs_of_any_channel():
    ladder = Ladder(user={(Channel.EMAIL, TYPE, ""): Rung("e", enabled=False), (None, TYPE, ""): Rung("t", enabled=True)})
    decision = resolve(Question(channel=None, event_type=TYPE), ladder)
    assert (decision.level, decision.rung.id) == ("user.type", "t")


def test_the_sentence_says_who_chose_what():
    hours = QuietHours(dt.time(22), dt.time(7))
    ladder = Ladder(user={(Channel.EMAIL, TYPE, ""): Rung("e", enabled=False, quiet_hours=hours)})
    decision = resolve(Question(channel=Channel.EMAIL, event_type=TYPE), ladder)
    assert decision.explanation["why"] == "The user turned order.shipped by email off."
    assert decision.quiet_hours == hours
