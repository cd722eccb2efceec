"""What is read from requests for text and code: OpenAI's, Tabby's, Mistral's and llama.cpp's, and what is refused."""

import json

import pytest

from fittengate.core.ask import Ask, FillAsk, Sampling, Several
from fittengate.core.events import Began, Ended, TextDelta, fold
from fittengate.core.faults import Fault, FaultKind
from fittengate.core.reply import StopReason, Usage
from fittengate.dialects import DIALECTS
from fittengate.dialects.base import Head

BY_NAME = {dialect.name: dialect for dialect in DIALECTS}
BAD, UNSUPPORTED = FaultKind.CALLER_BAD_REQUEST, FaultKind.CALLER_UNSUPPORTED


def read(name, **fields):
    return BY_NAME[name].read(json.dumps(fields).encode())


def text(**fields):
    return read("openai_completions", **{"prompt": "x"} | fields)


def tabby(segments, **fields):
    return read("openai_completions", segments=segments, **fields)


def fim(**fields):
    return read("mistral_fim", **{"prompt": "x"} | fields)


def infill(**fields):
    return read("llama_infill", **{"input_prefix": "x"} | fields)


@pytest.mark.parametrize(
    ("form", "fields", "kind", "place"),
    [
        (text, {"prompt": None}, BAD, "prompt"),
        (text, {"prompt": ""}, BAD, "prompt"),
        (text, {"prompt": []}, BAD, "prompt"),
        (text, {"prompt": {"text": "x"}}, BAD, "prompt"),
        (text, {"prompt": ["x", ""]}, BAD, "prompt[1]"),
        (text, {"prompt": ["x", None]}, BAD, "prompt[1]"),
        (text, {"prompt": ["x", True]}, BAD, "prompt[1]"),
        (text, {"prompt": [1, 2]}, UNSUPPORTED, "prompt[0]"),
        (text, {"prompt": [[1], [2]]}, UNSUPPORTED, "prompt[0]"),
        (text, {"prompt": ["x"] * 5}, UNSUPPORTED, "prompt"),
        (text, {"prompt": ["x"] * 3, "n": 2}, UNSUPPORTED, "prompt"),
        (text, {"n": 5}, UNSUPPORTED, "n"),
        (text, {"n": 0}, BAD, "n"),
        (text, {"best_of": 2}, UNSUPPORTED, "best_of"),
        (text, {"best_of": "2"}, BAD, "best_of"),
        (text, {"max_tokens": 0}, BAD, "max_tokens"),
        (text, {"stop": ["a"] * 5}, BAD, "stop"),
        (text, {"stop": [""]}, BAD, "stop[0]"),
        (text, {"echo": True}, UNSUPPORTED, "echo"),
        (text, {"echo": 1}, BAD, "echo"),
        (text, {"logprobs": 0}, UNSUPPORTED, "logprobs"),
        (text, {"logprobs": True}, BAD, "logprobs"),
        (text, {"logit_bias": {"1": 5}}, UNSUPPORTED, "logit_bias"),
        (text, {"logit_bias": []}, BAD, "logit_bias"),
        (text, {"suffix": 5}, BAD, "suffix"),
        (text, {"stream_options": True}, BAD, "stream_options"),
        (text, {"stream_options": {"include_usage": 1}}, BAD, "stream_options.include_usage"),
        (text, {"segments": "x"}, BAD, "segments"),
        (text, {"segments": {}}, BAD, "segments.prefix"),
        (text, {"segments": {"prefix": "x", "suffix": 5}}, BAD, "segments.suffix"),
        (text, {"segments": {"prefix": "x"}, "language": 5}, BAD, "language"),
        (text, {"segments": {"prefix": "x"}, "mode": "next_edit_suggestion"}, UNSUPPORTED, "mode"),
        (fim, {"prompt": None}, BAD, "prompt"),
        (fim, {"prompt": ["x"]}, BAD, "prompt"),
        (fim, {"suffix": 5}, BAD, "suffix"),
        (fim, {"n": 2}, UNSUPPORTED, "n"),
        (fim, {"n": "1"}, BAD, "n"),
        (fim, {"min_tokens": -1}, BAD, "min_tokens"),
        (fim, {"max_tokens": 0}, BAD, "max_tokens"),
        (fim, {"stop": {}}, BAD, "stop"),
        (fim, {"stop": False}, BAD, "stop"),
        (infill, {"input_prefix": None}, BAD, "input_prefix"),
        (infill, {"input_suffix": 5}, BAD, "input_suffix"),
        (infill, {"prompt": [1]}, BAD, "prompt"),
        (infill, {"n_predict": 1.5}, BAD, "n_predict"),
        (infill, {"input_extra": {}}, BAD, "input_extra"),
        (infill, {"stop": 0}, BAD, "stop"),
        (infill, {"response_fields": "content"}, BAD, "response_fields"),
        (infill, {"response_fields": ["content", 5]}, BAD, "response_fields[1]"),
        (infill, {"stream": 1}, BAD, "stream"),
    ],
)
def test_what_can_never_work_is_refused(form, fields, kind, place):
    """The fault names the place."""
    with pytest.raises(Fault) as caught:
        form(**fields)
    assert (caught.value.kind, caught.value.param) == (kind, place)


def test_every_prompt_has_as_many_answers_as_n_says():
    """OpenAI's order: all answers to the first prompt, then those to the second."""
    ask = text(prompt=["a", "b"], n=2, best_of=2)
    assert isinstance(ask, Several)
    assert [one.conversation.messages[0].parts[0].text for one in ask.asks] == ["a", "a", "b", "b"]
    assert isinstance(text(prompt=["a"], n=1.0), Ask)


def test_what_asks_for_nothing_is_no_reason_to_refuse():
    """Switches that are off, and nulls, are honoured by doing nothing."""
    ask = text(
        echo=False, logprobs=False, logit_bias={}, n=None, stop=None, stream_options={"include_obfuscation": False}
    )
    assert ask.ignored == ()
    ask = text(
        temperature=0, seed=1, user="u", stream_options={"include_usage": True, "include_obfuscation": True}, news=1
    )
    assert set(ask.ignored) == {"temperature", "seed", "stream_options.include_obfuscation", "news"}
    assert ask.wishes.include_usage


def test_a_suffix_a_marked_cursor_or_the_model_make_a_code_completion():
    """An empty suffix is one too, for OpenAI's clients send none for none."""
    assert [
        (ask.prefix, ask.suffix) for ask in (text(suffix=""), text(suffix="y"), text(prompt="<PRE> a <SUF>b <MID>"))
    ] == [
        ("x", ""),
        ("x", "y"),
        ("a", "b"),
    ]
    assert isinstance(text(model="FITTEN-completion", prompt=""), FillAsk)
    assert isinstance(text(), Ask)


def test_tabbys_segments_are_a_file():
    """Path and language are taken, an odd path is not, and code from elsewhere is reported."""
    ask = tabby({"prefix": "a", "suffix": "b", "filepath": "x.py", "clipboard": ""}, language="python", user="u")
    assert (ask.prefix, ask.suffix, ask.file_name, ask.language, ask.ignored) == ("a", "b", "x.py", "python", ())
    ask = tabby({"prefix": "a", "filepath": "x" * 300, "clipboard": "c", "edit_history": {"a": 1}}, temperature=0.1)
    assert (ask.file_name, set(ask.ignored)) == ("", {"segments.clipboard", "segments.edit_history", "temperature"})
    assert tabby({"prefix": "", "filepath": "a\nb"}, mode="standard").file_name == ""


def test_mistrals_suffix_counts_before_markers():
    """A prompt is taken apart at its markers only where there is no suffix."""
    marked = "<fim_prefix>a<fim_suffix>b<fim_middle>"
    assert (fim(prompt=marked).prefix, fim(prompt=marked).suffix) == ("a", "b")
    assert (fim(prompt=marked, suffix="").prefix, fim(prompt=marked, suffix="").suffix) == (marked, "")
    ask = fim(suffix="s", stop="", max_tokens=5.0, min_tokens=0, random_seed=1)
    assert (ask.suffix, ask.sampling, ask.ignored) == ("s", Sampling(5), ("random_seed",))
    assert fim(min_tokens=3, stop=[]).ignored == ("min_tokens",)


def test_llamas_prompt_is_the_part_of_the_line_before_the_cursor():
    """No limit, no text and so many tokens are told apart; other files are reported."""
    ask = infill(
        prompt="y", input_suffix="z", n_predict=-1, stop=["a"], input_extra=[{"text": "t"}], t_max_predict_ms=1
    )
    assert (ask.prefix, ask.suffix, ask.sampling) == ("xy", "z", Sampling(None, ("a",)))
    assert ask.ignored == ("input_extra", "t_max_predict_ms")
    assert [infill(n_predict=most).sampling.max_tokens for most in (0, 7, None)] == [0, 7, None]
    assert infill(input_extra=[], stop="").ignored == ()


def _answer(**fields):
    """Return a whole reply, and the last event of a streamed one, to a request that began five seconds ago."""
    ask = infill(**fields)
    head = Head("0" * 24, 1, "m", times=lambda: (2.0, 5.0))
    events = [Began(), TextDelta("y"), Ended(StopReason.STOP_SEQUENCE, Usage(10, 6), "a")]
    writer = BY_NAME["llama_infill"].writer(ask, head)
    writer.feed(events)
    last = json.loads(writer.close().partition(b"data: ")[2])
    return json.loads(BY_NAME["llama_infill"].whole(fold(events), ask, head)), last


def test_llamas_answer_tells_its_settings_and_times():
    """Plugins show them; the text is in the pieces of a stream, and the rest is in its last event too."""
    whole, last = _answer(n_predict=7, stop=["a"])
    assert whole == last | {"content": "y"}
    assert whole["generation_settings"] == {"n_predict": 7, "stop": ["a"], "stream": False}
    assert whole["timings"] == {
        "prompt_n": 10,
        "prompt_ms": 2000.0,
        "prompt_per_token_ms": 200.0,
        "prompt_per_second": 5.0,
        "predicted_n": 6,
        "predicted_ms": 3000.0,
        "predicted_per_token_ms": 500.0,
        "predicted_per_second": 2.0,
    }
    assert _answer()[0]["generation_settings"]["n_predict"] == -1


def test_llamas_answer_has_the_fields_that_are_wanted_alone():
    """An inner field comes under its whole name; what there is not is left out, and a stream has everything."""
    names = ["content", "timings/prompt_n", "timings", "nothing", "nothing/more", "content/more", "timings/", ""]
    whole, last = _answer(response_fields=names)
    assert list(whole) == ["content", "timings/prompt_n", "timings"]
    assert (whole["content"], whole["timings/prompt_n"], whole["timings"]) == ("y", 10, last["timings"])
    assert last["stopping_word"] == "a"
    assert _answer(response_fields=[])[0]["content"] == "y"


@pytest.mark.parametrize(
    ("kind", "sorts"),
    [
        (BAD, ("invalid_request_error", "invalid_request_error")),
        (FaultKind.CALLER_TOO_LONG, ("invalid_request_error", "exceed_context_size_error")),
        (FaultKind.CALLER_NO_KEY, ("invalid_request_error", "authentication_error")),
        (FaultKind.CALLER_FORBIDDEN, ("invalid_request_error", "permission_error")),
        (FaultKind.CALLER_NO_MODEL, ("invalid_request_error", "not_found_error")),
        (FaultKind.UPSTREAM_RATE, ("rate_limit_error", "unavailable_error")),
        (FaultKind.POLICY_QUOTA, ("insufficient_quota", "unavailable_error")),
        (FaultKind.GATEWAY_BUSY, ("service_unavailable_error", "unavailable_error")),
        (FaultKind.UPSTREAM_LATE, ("server_error", "server_error")),
        (FaultKind.CALLER_SUPERSEDED, ("invalid_request_error", "superseded")),
        (FaultKind.CALLER_BODY_TOO_LARGE, ("invalid_request_error", "body_too_large")),
    ],
)
def test_errors_are_called_what_the_vendors_call_them(kind, sorts):
    """Mistral's types are OpenAI's; llama.cpp's are its own, and our code where it has none."""
    fault = Fault(kind, "m")
    mistral, llama = [json.loads(BY_NAME[name].error(fault, "r")) for name in ("mistral_fim", "llama_infill")]
    assert (mistral["type"], llama["error"]["type"]) == sorts
    assert (mistral["code"], llama["error"]["code"]) == (fault.code, fault.status)
