"""What is not known of the service: found, counted, sampled without words, bounded, kept."""

import msgspec

from fittengate.upstream.fitten import catalogue, completion
from fittengate.upstream.fitten.decoder import MAX_STRANGE, ChatDecoder
from fittengate.upstream.fitten.drift import KNOWN_STATUSES, MAX_SAMPLES, Drift

USAGE = b'{"usage":{"input_tokens":94,"output_tokens":3,"status":"ok"}}\n'


def strange(body):
    decoder = ChatDecoder()
    events = decoder.feed(body) + decoder.close()
    return "".join(event.text for event in events), decoder


def test_a_reply_by_the_book_is_no_news():
    """Every line that was ever seen, keep-alives and trace included."""
    lines = (
        b'{"delta":"Hi"}\n{"reasoning_delta":"x"}\n{"tracedata":"t"}\n{"delta":"\\u0000\\u0000\\n\\n"}\n{"delta":""}\n'
    )
    _, decoder = strange(lines + USAGE)
    assert (decoder.strange, decoder.odd_lines) == ([], 0)


def test_an_unknown_field_is_told_by_its_name_and_the_text_goes_on():
    """What still works keeps working."""
    text, decoder = strange(b'{"delta":"Hi","mood":"HERON"}\n{"delta":" there","mood":"HERON"}\n' + USAGE)
    assert text == "Hi there"
    assert decoder.fault is None
    assert decoder.strange == [("field", "chat line: mood")]


def test_an_unknown_line_is_told_by_its_structure():
    """Names and types, and no word of it."""
    text, decoder = strange(b'{"delta":"Hi"}\n{"mood":{"name":"HERON"}}\nHERON\n[1]\n' + USAGE)
    assert text == "Hi"
    kinds = [kind for kind, _ in decoder.strange]
    assert kinds == ["line"] * 3
    assert decoder.strange[0][1] == "{mood: {name: text of 5}}"
    assert "HERON" not in str(decoder.strange)


def test_what_one_reply_tells_is_bounded():
    """A service that changed altogether must not fill the memory."""
    lines = b"".join(b'{"f%d":1}\n' % number for number in range(500))
    _, decoder = strange(b'{"delta":"Hi"}\n' + lines + USAGE)
    assert len(decoder.strange) == MAX_STRANGE
    assert decoder.odd_lines == 500


def test_an_error_object_is_known():
    """It is an answer of the service, however sad."""
    _, decoder = strange(b'{"detail":"no"}\n')
    assert decoder.strange == []


def test_equal_things_are_one_sample_with_a_count():
    """Numbers and lengths do not tell kinds apart."""
    drift = Drift()
    drift.note("line", "{mood: text of 5}", 1.0)
    drift.note("line", "{mood: text of 77}", 2.0)
    (seen,) = drift.seen()
    assert (seen.sample, seen.count, seen.first, seen.last) == ("{mood: text of #}", 2, 1.0, 2.0)
    assert drift.counts == {"line": 2}
    assert drift.told()["seen"][0]["count"] == 2


def test_kinds_are_bounded_and_all_are_counted():
    """What is beyond the bound is a number."""
    drift = Drift()
    for number in range(MAX_SAMPLES * 3):
        drift.note("field", "x" * (number + 1), 1.0)
    assert len(drift.seen()) == MAX_SAMPLES
    assert drift.counts["field"] == MAX_SAMPLES * 3
    assert max(len(one.sample) for one in drift.seen()) <= 300


def test_only_unknown_statuses_are_noted():
    """A 401 or a 502 is everyday business."""
    drift = Drift()
    for status in sorted(KNOWN_STATUSES):
        drift.note_status("chat", status, 1.0)
    assert not drift.counts
    drift.note_status("chat", 418, 1.0)
    drift.note_status("chat", 451, 1.0)
    assert {one.sample for one in drift.seen()} == {"chat: status 418", "chat: status 451"}


def test_what_is_new_is_told_once():
    """The log has a line for each kind, not for each reply."""
    drift = Drift()
    drift.note("field", "chat line: mood", 1.0)
    drift.note("field", "chat line: mood", 2.0)
    assert [one.sample for one in drift.news()] == ["chat line: mood"]
    assert drift.news() == []


class Store:
    """Keeps notes in memory."""

    def __init__(self, data=None):
        self.data = data
        self.saved = 0

    def load(self):
        if isinstance(self.data, Exception):
            raise self.data
        return self.data

    def save(self, data):
        self.data = data
        self.saved += 1


async def test_what_was_seen_outlives_the_process():
    """It is saved only where something was seen, and an old kind is no news."""
    store = Store()
    drift = Drift(store)
    assert await drift.settle() is None
    assert store.saved == 0
    drift.note("field", "chat line: mood", 1.0)
    await drift.settle()
    await drift.settle()
    assert store.saved == 1
    later = Drift(store)
    assert await later.load() is None
    later.note("field", "chat line: mood", 9.0)
    assert [(one.count, one.first, one.last) for one in later.seen()] == [(2, 1.0, 9.0)]
    assert later.news() == []


async def test_a_damaged_file_is_said_and_no_reason_to_stop():
    """What was in it is forgotten."""
    assert await Drift(Store(b"{")).load() is not None
    assert await Drift(Store(OSError("gone"))).load() == "gone"


def test_a_model_list_with_new_sections_or_fields_is_read_and_told():
    """The names of what is new; a list by the book is no news."""
    good = {"chat": [{"selection_name": "S1", "display_name": "D", "is_default": True, "order": 1}], "agent": []}
    assert catalogue.strange(msgspec.json.encode(good)) == []
    more = {**good, "vision": [], "chat": [{**good["chat"][0], "price": 1}]}
    assert catalogue.strange(msgspec.json.encode(more)) == [
        ("field", "model list: vision"),
        ("field", "model list: entry's price"),
    ]
    assert catalogue.read(msgspec.json.encode(more)) is not None
    assert catalogue.strange(b"<html>")[0][0] == "answer"
    assert catalogue.strange(b'{"other":1}')[0][0] == "answer"


def test_a_completion_with_a_new_field_is_read_and_told():
    """The text is inserted all the same."""
    answer = completion.read_answer(b'{"generated_text":"x","mood":"HERON"}')
    assert (answer.text, answer.strange) == ("x", ("mood",))
    assert completion.read_answer(b'{"generated_text":"x","ex_msg":"","delta_char":0}').strange == ()
