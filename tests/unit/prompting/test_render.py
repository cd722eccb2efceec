"""Prompts: turns and pictures. P13 (nobody forges a turn) stands in the property tests."""

import pytest

from fittengate.core.conversation import Conversation, Image, Message, Text, Thought
from fittengate.core.faults import Fault, FaultKind
from fittengate.prompting.render import LEFT_OUT, newest_images, render

PNG = "data:image/png;base64,iVBORw0KGgo="


def talk(*turns):
    """Return a conversation of (role, part, part …) with texts for text parts."""
    made = []
    for role, *parts in turns:
        made.append(Message(role, tuple(Text(part) if isinstance(part, str) else part for part in parts)))
    return Conversation(tuple(made))


def prompt(*turns):
    return render(talk(*turns)).prompt


def test_turns_are_rendered_in_the_documented_form():
    """System, user, assistant, user, and an open assistant tag at the end."""
    assert prompt(("system", "Be brief."), ("user", "Hello"), ("assistant", "Hi."), ("user", "Next?")) == (
        "<|system|>\nBe brief.\n<|end|>\n<|user|>\nHello\n<|end|>\n<|assistant|>\nHi.\n<|end|>\n<|user|>\nNext?\n<|end|>\n"
        "<|assistant|>"
    )


def test_messages_of_one_role_in_a_row_are_one_turn_and_parts_are_lines():
    """Messages are parted by a blank line, parts of a message by a line break."""
    assert prompt(("user", "a", "b"), ("user", "c")) == "<|user|>\na\nb\n\nc\n<|end|>\n<|assistant|>"


def test_an_empty_message_keeps_its_turn_and_thoughts_are_left_out():
    """Leaving an empty turn out would change who speaks next."""
    assert prompt(("user", ""), ("assistant", Thought("hm")), ("user", "x")) == (
        "<|user|>\n\n<|end|>\n<|assistant|>\n\n<|end|>\n<|user|>\nx\n<|end|>\n<|assistant|>"
    )


def test_the_text_of_a_user_is_not_trimmed():
    """Leading indentation and trailing line breaks are the user's."""
    assert "\n    indented\n\n\n<|end|>" in prompt(("user", "    indented\n\n"))


def test_a_picture_is_the_first_line_of_its_turn():
    """As Markdown with a data URL, then the text."""
    rendered = render(talk(("user", "what?", Image(PNG, "m"))))
    assert rendered.prompt == f"<|user|>\n![Base64 Image]({PNG})\nwhat?\n<|end|>\n<|assistant|>"
    assert rendered.images_left_out == 0


def test_of_several_pictures_in_a_turn_the_newest_is_sent_and_the_others_leave_a_note():
    """Each turn has its own; an older one needs no data at all."""
    old, new, other = Image("http://x.test/a.png", "a"), Image(PNG, "b"), Image(PNG + "AA==", "c")
    rendered = render(talk(("user", old, "one"), ("user", new, "two"), ("assistant", "ok"), ("user", other)))
    assert rendered.images_left_out == 1
    assert rendered.prompt.startswith(f"<|user|>\n![Base64 Image]({PNG})\n{LEFT_OUT}\none\n\ntwo\n<|end|>")
    assert PNG + "AA==" in rendered.prompt


def test_the_text_to_be_counted_is_the_prompt_without_its_pictures():
    """Base64 is no text; without pictures the two are one object."""
    rendered = render(talk(("user", Image(PNG, "a"), "what?"), ("assistant", "ok"), ("user", Image(PNG, "b"), "and?")))
    assert rendered.text == prompt(("user", "what?"), ("assistant", "ok"), ("user", "and?"))
    plain = render(talk(("user", "what?")))
    assert plain.text is plain.prompt


def test_the_newest_picture_of_each_turn_is_named():
    """What need not be fetched is known before the prompt is made."""
    first, second, third = Image("http://x.test/1", "1"), Image("http://x.test/2", "2"), Image("http://x.test/3", "3")
    spoken = talk(("user", first, "a"), ("user", second, "b"), ("assistant", "c"), ("user", third), ("assistant", "d"))
    assert newest_images(spoken) == [second, third]


def test_the_same_picture_twice_in_a_turn_is_sent_once():
    """Equal pictures are still two places."""
    same = Image(PNG, "a")
    rendered = render(talk(("user", same, "x", same)))
    assert rendered.prompt == f"<|user|>\n![Base64 Image]({PNG})\n{LEFT_OUT}\nx\n<|end|>\n<|assistant|>"
    assert rendered.images_left_out == 1


def test_a_picture_that_was_not_fetched_is_a_defect_of_ours():
    """A remote address never reaches the service; the log is told which place it was."""
    with pytest.raises(Fault) as caught:
        prompt(("user", Image("https://x.test/a.png", "messages[0].content[1].image_url.url")))
    assert caught.value.kind is FaultKind.GATEWAY_BROKEN
    assert caught.value.detail == "messages[0].content[1].image_url.url"


def test_a_conversation_that_ends_with_the_assistant_gets_a_new_turn():
    """Its words are closed: going on inside them was never seen to work."""
    assert prompt(("user", "a"), ("assistant", "b")).endswith("<|assistant|>\nb\n<|end|>\n<|assistant|>")


def test_no_system_turn_is_invented_and_a_late_one_keeps_its_place():
    """What the client did not say is not said."""
    assert prompt(("user", "a")).startswith("<|user|>")
    late = prompt(("user", "a"), ("system", "b"), ("user", "c"))
    assert late == "<|user|>\na\n<|end|>\n<|system|>\nb\n<|end|>\n<|user|>\nc\n<|end|>\n<|assistant|>"
