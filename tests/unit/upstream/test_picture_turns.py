"""Which pictures of a conversation are needed."""

from hypothesis import given
from hypothesis import strategies as st

from fittengate.core.conversation import Conversation, Image, Message, Text, ToolResult
from fittengate.prompting.render import newest_images, render
from fittengate.upstream.picture_turns import LEFT_OUT, MAX_REMOTE, carry_out, plan_pictures

PNG = "data:image/png;base64,iVBORw0KGgo="


def web(number, place=None):
    return Image(f"https://example.com/{number}.png", f"messages[{number if place is None else place}]")


def say(role, *parts):
    return Message(role, tuple(parts))


def test_a_conversation_without_pictures_has_no_plan():
    """None says that nothing is to be done."""
    assert plan_pictures((say("user", Text("hi")), say("user", ToolResult("1", (Text("a"),))))) is None


def test_only_the_newest_picture_of_a_turn_is_needed_and_the_others_are_not_even_read():
    """Adjacent messages of one role are one turn; a broken older picture harms nothing."""
    broken = Image("data:image/png;base64,!!", "messages[0]")
    messages = (
        say("user", broken, web(0)),
        say("user", web(1), Text("look")),
        say("assistant", Text("well")),
        say("user", web(2)),
    )
    plan = plan_pictures(messages)
    assert [image.url for image in plan.remote] == [web(2).url, web(1).url]
    swapped = carry_out(plan, messages, {web(1).url: PNG, web(2).url: PNG})
    assert swapped[0] is messages[0]
    assert swapped[1].parts == (Image(PNG, "messages[1]"), Text("look"))
    assert swapped[3].parts == (Image(PNG, "messages[2]"),)


def test_a_picture_in_a_tool_result_is_a_picture_of_its_turn():
    """What a tool shows is exchanged inside the result, and may be the newest of the turn."""
    result = ToolResult("call", (Text("shot"), web(1)), is_error=True)
    messages = (say("user", web(0), result),)
    plan = plan_pictures(messages)
    assert plan.remote == (web(1),)
    (message,) = carry_out(plan, messages, {web(1).url: PNG})
    assert message.parts == (web(0), ToolResult("call", (Text("shot"), Image(PNG, "messages[1]")), is_error=True))


def test_checked_data_urls_leave_the_messages_as_they_are():
    """Nothing is rebuilt for pictures that are in the right form."""
    messages = (say("user", Image(PNG, "messages[0]")),)
    assert carry_out(plan_pictures(messages), messages, {}) is messages


def test_a_data_url_in_another_spelling_is_exchanged():
    """What the prompt gets is the one spelling."""
    messages = (say("user", Image("data:image/jpg;base64,iVBOR w0KGgo", "messages[0]")),)
    assert carry_out(plan_pictures(messages), messages, {})[0].parts == (Image(PNG, "messages[0]"),)


def test_a_url_in_many_places_is_fetched_once_and_stands_for_its_newest_place():
    """The same picture in three turns is one fetch; each place gets it under its own name."""
    messages = tuple(
        message for place in range(3) for message in (say("user", web(7, place)), say("assistant", Text("ok")))
    )
    plan = plan_pictures(messages)
    assert plan.remote == (web(7, 2),)
    swapped = carry_out(plan, messages, {web(7).url: PNG})
    assert [message.parts[0] for message in swapped[::2]] == [Image(PNG, f"messages[{place}]") for place in range(3)]


def test_a_picture_that_is_fetched_anyway_is_shown_however_old_its_place():
    """The limit counts different URLs, not places."""
    numbers = [7, *range(MAX_REMOTE)]
    messages = tuple(
        message for n in numbers for message in (say("user", web(50), web(n)), say("assistant", Text("ok")))
    )
    plan = plan_pictures(messages)
    assert len(plan.remote) == MAX_REMOTE
    swapped = carry_out(plan, messages, {image.url: PNG for image in plan.remote})
    assert swapped[0].parts == (web(50), Image(PNG, "messages[7]"))


def test_a_long_history_has_a_note_for_what_is_not_fetched_and_never_an_error():
    """Beyond the newest eight different pictures, all pictures of a turn become a note in the text."""
    messages = tuple(
        message
        for number in range(MAX_REMOTE + 2)
        for message in (say("user", Text("see"), web(100 + number), web(number)), say("assistant", Text("ok")))
    )
    plan = plan_pictures(messages)
    assert [image.url for image in plan.remote] == [web(number).url for number in range(9, 1, -1)]
    swapped = carry_out(plan, messages, {image.url: PNG for image in plan.remote})
    assert swapped[0].parts == (Text("see"), Text(LEFT_OUT), Text(LEFT_OUT))
    assert swapped[4].parts == (Text("see"), web(102), Image(PNG, "messages[2]"))
    assert render(Conversation(swapped)).prompt.count("![Base64 Image](") == MAX_REMOTE


PARTS = st.lists(
    st.builds(Text, st.text(max_size=3))
    | st.integers(0, 30).map(web)
    | st.integers(0, 9).map(lambda place: Image(PNG, str(place))),
    max_size=3,
)
MESSAGES = st.lists(
    st.tuples(st.sampled_from(["system", "user", "assistant"]), PARTS).map(lambda pair: say(pair[0], *pair[1])),
    max_size=30,
)


@given(MESSAGES)
def test_what_was_carried_out_can_be_rendered(messages):
    """The prompt's idea of the newest picture of a turn is the same: it never meets one that was not fetched."""
    messages = tuple(messages)
    plan = plan_pictures(messages)
    if plan is None:
        assert not newest_images(Conversation(messages))
        return
    fetched = {image.url: PNG for image in plan.remote}
    swapped = carry_out(plan, messages, fetched)
    prompt = render(Conversation(swapped)).prompt
    kept = [turn for turn in plan.newest if not turn.url.startswith("https") or turn.url in fetched]
    assert prompt.count("![Base64 Image](") == len(kept)
