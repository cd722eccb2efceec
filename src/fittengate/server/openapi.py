"""The description of the API for programs (OpenAPI 3.1), one entry for every route."""

from typing import Any

_ERROR = {"description": "an error in the shape of the API that was called"}
_KEY: list[dict[str, list[str]]] = [{"bearer": []}, {"header": []}]
_OPEN: list[dict[str, list[str]]] = []

_EVENTS = "text/event-stream"

_MESSAGE = {"role": "user", "content": "Say hello."}


def document(version: str) -> dict[str, Any]:
    """Return the description; ``version`` is the gateway's own."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "fittengate",
            "version": version,
            "description": "A gateway to a Fitten Code account. Keys go into the header Authorization: Bearer KEY, or "
            "into x-api-key. Every answer carries x-request-id, which the log has too.",
        },
        "paths": {
            "/v1/chat/completions": {"post": _chat()},
            "/v1/responses": {"post": _responses()},
            "/v1/responses/{id}": {
                "get": {**_get("A response that was kept.", _KEY), **_ID},
                "delete": {**_get("Keep a response no longer.", _KEY), **_ID},
            },
            "/v1/responses/{id}/input_items": {"get": {**_get("What a response was the answer to.", _KEY), **_ID}},
            "/v1/responses/{id}/cancel": {
                "post": {**_refused("Cancel a response: a 400, for none is ever made unseen."), **_ID}
            },
            "/v1/responses/input_tokens": {"post": _responses_count()},
            "/v1/responses/compact": {"post": _refused("Compact a conversation: a 400 that says what to do instead.")},
            "/v1/completions": {"post": _completions()},
            "/v1/fim/completions": {"post": _fim()},
            "/infill": {"post": _infill()},
            "/api/chat": {"post": _ollama_chat()},
            "/api/generate": {"post": _ollama_generate()},
            "/api/tags": {"get": _get("The models, as Ollama lists them.", _KEY)},
            "/api/show": {"post": _ollama_show()},
            "/api/version": {"get": _get("The version of Ollama's API that is spoken.", _KEY)},
            "/v1/health": {
                "get": _get("The models, for Tabby's clients.", _KEY),
                "post": _get("The same, for its older ones.", _KEY),
            },
            "/v1/events": {"post": _events()},
            "/v1beta/server_setting": {"get": _get("What Tabby's clients are to do.", _KEY)},
            "/v1/messages": {"post": _messages()},
            "/v1/messages/count_tokens": {"post": _count()},
            "/v1/models": {"get": _get("The models that can be asked for.", _KEY)},
            "/v1/models/{id}": {"get": {**_get("One model, by its name or by a name that means it.", _KEY), **_ID}},
            "/props": {"get": _get("The model that completes code, for llama.cpp's clients.", _KEY)},
            "/admin/api/keys": {
                "get": {**_get("The keys of the store.", _KEY), "parameters": _PAGES},
                "post": _made("Make a key. It is in this answer alone.", ["name"], _key_fields()),
            },
            "/admin/api/keys/{name}": {
                "get": {**_get("One key, by name or first ten characters, and what it has used.", _KEY), **_NAME},
                "delete": {**_get("Revoke a key and those that it replaced.", _KEY), **_NAME},
            },
            "/admin/api/keys/{name}/rotate": {
                "post": {
                    **_made("Make a key for the place of another one.", [], {"grace": _GRACE}),
                    **_NAME,
                },
            },
            "/admin/api/limits": {"get": _get("Limits in force, and what counts against the account's.", _KEY)},
            "/admin/api/usage": {
                "get": {**_get("Requests and tokens by day, key or model.", _KEY), "parameters": _USAGE},
            },
            "/admin/api/account": {"get": _get("Whether the account can be used, and the calls under way.", _KEY)},
            "/admin/api/exchanges": {"get": _get("The requests that the recorder has.", _KEY)},
            "/admin/api/exchanges/{id}": {"get": {**_get("One of them as files for a bug report.", _KEY), **_ID}},
            "/livez": {"get": _get("Whether the process runs.", _OPEN)},
            "/readyz": {"get": {**_get("Whether a request would be served now.", _OPEN), **_READY}},
            "/metrics": {"get": {**_get("Counts and durations for Prometheus.", _KEY), **_SCRAPE}},
            "/docs": {"get": _get("The API as a page.", _OPEN)},
            "/openapi.json": {"get": _get("This description.", _OPEN)},
        },
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "header": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            }
        },
        "security": _KEY,
    }


_ID = {"parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}]}
_NAME = {"parameters": [{"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}]}
_PAGES = [
    {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 200}},
    {"name": "after", "in": "query", "schema": {"type": "string"}, "description": "last_id of the page before"},
]
_USAGE = [
    {"name": "by", "in": "query", "schema": {"enum": ["day", "key", "model"], "default": "day"}},
    {"name": "since", "in": "query", "schema": {"type": "string"}, "description": "a date or a time, by UTC"},
    {"name": "key", "in": "query", "schema": {"type": "string"}, "description": "name of a key"},
]
_READY = {"responses": {"200": {"description": "ready"}, "503": {"description": "not ready, with the reason"}}}


_SCRAPE = {
    "responses": {
        "200": {"description": "text of Prometheus or OpenMetrics", "content": {"text/plain": {}}},
        "401": _ERROR,
        "404": {"description": "telemetry.metrics is off"},
    }
}


def _get(summary: str, security: list[dict[str, list[str]]]) -> dict[str, Any]:
    answers: dict[str, Any] = {"200": {"description": "done"}}
    if security:
        answers["401"] = _ERROR
    return {"summary": summary, "security": security, "responses": answers}


def _refused(summary: str) -> dict[str, Any]:
    return {"summary": summary, "security": _KEY, "responses": {str(status): _ERROR for status in (400, 401, 404)}}


def _field(kind: str | list[str], description: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "description": description, **more}


_GRACE = _field("number", "seconds that the old key works beside the new one", minimum=0)


def _key_fields() -> dict[str, Any]:
    words = {"type": "array", "items": {"type": "string"}}
    limits = {
        "rpm": "requests in any minute",
        "tpm": "tokens in any minute",
        "concurrency": "requests at a time",
        "tokens_per_day": "tokens of a day by UTC",
        "tokens_per_month": "tokens of a month by UTC",
    }
    return {
        "name": _field("string", "what the key is called"),
        "scopes": {**words, "description": "what it is for: chat, completion, admin"},
        "models": {**words, "description": "patterns of the models that it may ask for; none means all"},
        "lane": _field("string", "interactive, or background, which waits behind all others"),
        "expires_in": _field(["number", "null"], "seconds until it ends; default: never"),
        **{
            name: _field(["integer", "null"], f"most {text}; 0 for none, default: the setting", minimum=0)
            for name, text in limits.items()
        },
    }


def _made(summary: str, required: list[str], fields: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "required": required, "properties": fields}
    return {
        "summary": summary,
        "security": _KEY,
        "requestBody": {"required": bool(required), "content": {"application/json": {"schema": schema}}},
        "responses": {"201": {"description": "made"}, **{str(status): _ERROR for status in (400, 401, 403, 404, 503)}},
    }


def _chat() -> dict[str, Any]:
    fields = {
        "model": _field(
            "string", "a name from /v1/models, or one that means one of them; default: the account's model"
        ),
        "messages": _field(
            "array",
            "the conversation: role system, developer, user or assistant; content a text or a list of parts, of type "
            "text or image_url",
            minItems=1,
            items={"type": "object", "required": ["role"]},
        ),
        "stream": _field(["boolean", "null"], "answer as server-sent events, as the words come"),
        "stream_options": _field(["object", "null"], "include_usage: end the stream with a chunk that holds the usage"),
        "max_tokens": _field(["integer", "null"], "most tokens of the answer, reasoning included", minimum=1),
        "max_completion_tokens": _field(["integer", "null"], "the same under its newer name", minimum=1),
        "stop": _field(["string", "array", "null"], "up to four texts before which the answer ends"),
        "n": _field(["integer", "null"], "so many answers, each by a call of its own", minimum=1, maximum=4),
        "tools": _field(["array", "null"], "functions that the model may call", items={"type": "object"}),
        "tool_choice": _field(["string", "object", "null"], "auto, none, required, or the one function to call"),
        "parallel_tool_calls": _field(["boolean", "null"], "more than one call in an answer is welcome"),
    }
    about = (
        "OpenAI's chat completions. Parameters that the service cannot honour are listed in the header "
        "x-fittengate-ignored; x-fittengate-model says which model answered; x-fittengate-usage: estimated stands on "
        "a whole answer whose usage is not all the service's own count."
    )
    example = {"model": "fitten-code", "messages": [_MESSAGE], "stream": True}
    return _post("Go on with a conversation.", about, ["messages"], fields, example, streams=_EVENTS)


def _responses() -> dict[str, Any]:
    about = "OpenAI's Responses. Tools that OpenAI itself would run are listed in the header x-fittengate-ignored."
    example = {"model": "fitten-code", "input": "Say hello.", "stream": True}
    return _post("Go on with a conversation.", about, ["input"], _response_fields(), example, streams=_EVENTS)


def _responses_count() -> dict[str, Any]:
    about = "An estimate that errs high, made without asking the service."
    example = {"model": "fitten-code", "input": "Say hello."}
    return _post("Count the tokens of a request.", about, [], _response_fields(), example, streams=None)


def _response_fields() -> dict[str, Any]:
    return {
        "model": _field("string", "a name from /v1/models, or one that means one of them"),
        "input": _field(["string", "array"], "a text, or items: messages, calls, what calls gave, reasoning"),
        "instructions": _field(["string", "null"], "what the model is told first; not kept for the next request"),
        "previous_response_id": _field(["string", "null"], "the kept response that this request goes on with"),
        "store": _field(["boolean", "null"], "keep the response; default: true"),
        "stream": _field(["boolean", "null"], "answer as server-sent events, as the words come"),
        "max_output_tokens": _field(["integer", "null"], "most tokens of the answer, reasoning included", minimum=1),
        "tools": _field(["array", "null"], "tools of type function, custom, namespace, or the client's tool_search"),
        "tool_choice": _field(["string", "object", "null"], "auto, none, required, allowed_tools, or the tool to call"),
        "parallel_tool_calls": _field(["boolean", "null"], "more than one call in an answer is welcome"),
        "reasoning": _field(["object", "null"], "summary: hand reasoning over as a summary"),
        "text": _field(["object", "null"], "format: the form that the answer must have"),
    }


def _completions() -> dict[str, Any]:
    about = (
        "OpenAI's text completions. With a suffix, a prompt that marks the cursor as a code model does, or the model "
        "fitten-completion, code is filled in at the cursor; any other prompt is answered as a question. Clients of "
        "Tabby's send segments instead of a prompt."
    )
    fields = _fill_fields() | {
        "segments": _field(["object", "null"], "what stands around the cursor: prefix, suffix, filepath"),
        "prompt": _field(["string", "array"], "a text or up to four: what stands before the cursor, or a question"),
        "n": _field(["integer", "null"], "so many answers to each prompt", minimum=1, maximum=4),
    }
    example = {"model": "fitten-completion", "prompt": "def add(a, b):\n    ", "suffix": "\n"}
    return _post("Go on with a text, or fill in code.", about, [], fields, example, streams=_EVENTS)


def _events() -> dict[str, Any]:
    example = {"type": "view", "completion_id": "cmpl-1", "choice_index": 0}
    return _post(
        "Tell of a completion that was shown, for Tabby's clients.",
        "It is kept nowhere.",
        [],
        {},
        example,
        streams=None,
    )


def _fim() -> dict[str, Any]:
    about = "Mistral's code completion. The text is what to insert at the cursor; it may be empty."
    example = {"model": "fitten-completion", "prompt": "def add(a, b):\n    ", "suffix": "\n"}
    return _post("Fill in code.", about, ["prompt"], _fill_fields(), example, streams=_EVENTS)


def _infill() -> dict[str, Any]:
    about = "llama.cpp's code completion, as its editor plugins ask for it."
    fields = {
        "input_prefix": _field("string", "the lines before the cursor's"),
        "prompt": _field("string", "the cursor's line up to the cursor"),
        "input_suffix": _field("string", "what stands after the cursor"),
        "n_predict": _field("integer", "most tokens of the answer; -1: no limit"),
        "stop": _field(["array", "null"], "texts before which the answer ends"),
        "stream": _field(["boolean", "null"], "answer as server-sent events"),
    }
    example = {"input_prefix": "# adds\n", "prompt": "def add(a, b):", "input_suffix": "\n"}
    return _post("Fill in code.", about, ["input_prefix"], fields, example, streams=_EVENTS)


_LINES = "application/x-ndjson"


def _ollama_chat() -> dict[str, Any]:
    about = "Ollama's chat. Answers come as lines of JSON unless stream is false."
    fields = _ollama_fields() | {
        "messages": _field("array", "the conversation: role system, user, assistant or tool; content a text"),
        "tools": _field(["array", "null"], "functions that the model may call", items={"type": "object"}),
    }
    example = {"model": "fitten-code", "messages": [_MESSAGE]}
    return _post("Go on with a conversation.", about, ["model", "messages"], fields, example, streams=_LINES)


def _ollama_generate() -> dict[str, Any]:
    about = (
        "Ollama's answer to a prompt. With a suffix, a prompt that marks the cursor as a code model does, or the model "
        "fitten-completion, code is filled in at the cursor. Answers come as lines of JSON unless stream is false."
    )
    fields = _ollama_fields() | {
        "prompt": _field("string", "a question, or what stands before the cursor"),
        "suffix": _field(["string", "null"], "what stands after it"),
        "system": _field(["string", "null"], "instructions"),
    }
    example = {"model": "fitten-code", "prompt": "Say hello."}
    return _post("Answer a prompt, or fill in code.", about, ["model"], fields, example, streams=_LINES)


def _ollama_show() -> dict[str, Any]:
    fields = {"model": _field("string", "a name from /api/tags, or one that means one of them")}
    about = "What only a model's file could tell is empty."
    return _post("Show a model.", about, ["model"], fields, {"model": "fitten-code"}, streams=None)


def _ollama_fields() -> dict[str, Any]:
    return {
        "model": _field("string", "a name from /api/tags, or one that means one of them"),
        "stream": _field(["boolean", "null"], "answer as lines, as the words come; default: true"),
        "format": _field(["string", "object", "null"], "json, or a JSON schema that the answer must fit"),
        "think": _field(["boolean", "string", "null"], "false: leave reasoning out"),
        "options": _field(["object", "null"], "num_predict: most tokens; stop: texts before which the answer ends"),
    }


def _fill_fields() -> dict[str, Any]:
    return {
        "model": _field("string", "a name from /v1/models, or one that means one of them"),
        "prompt": _field("string", "what stands before the cursor"),
        "suffix": _field(["string", "null"], "what stands after it"),
        "stream": _field(["boolean", "null"], "answer as server-sent events"),
        "max_tokens": _field(["integer", "null"], "most tokens of the answer", minimum=1),
        "stop": _field(["string", "array", "null"], "texts before which the answer ends"),
    }


def _messages() -> dict[str, Any]:
    about = "Anthropic's Messages. Base URL for its clients: this address without /v1."
    example = {"model": "fitten-code", "max_tokens": 1000, "messages": [_MESSAGE], "stream": True}
    fields = _message_fields() | {
        "max_tokens": _field("integer", "most tokens of the answer, reasoning included", minimum=1),
        "stream": _field(["boolean", "null"], "answer as server-sent events, as the words come"),
        "stop_sequences": _field(["array", "null"], "texts before which the answer ends"),
    }
    return _post("Go on with a conversation.", about, ["messages", "max_tokens"], fields, example, streams=_EVENTS)


def _count() -> dict[str, Any]:
    about = "An estimate that errs high, made without asking the service."
    example = {"model": "fitten-code", "messages": [_MESSAGE]}
    return _post("Count the tokens of a request.", about, ["messages"], _message_fields(), example, streams=None)


def _message_fields() -> dict[str, Any]:
    return {
        "model": _field("string", "a name from /v1/models, or one that means one of them"),
        "system": _field(["string", "array", "null"], "instructions: a text or a list of text blocks"),
        "messages": _field(
            "array", "the conversation: role user or assistant; content a text or a list of blocks", minItems=1
        ),
        "tools": _field(["array", "null"], "tools that the model may call", items={"type": "object"}),
        "tool_choice": _field(["object", "null"], "auto, any, none, or the one tool to call"),
    }


def _post(
    summary: str,
    about: str,
    required: list[str],
    fields: dict[str, Any],
    example: dict[str, Any],
    *,
    streams: str | None,
) -> dict[str, Any]:
    answer: dict[str, Any] = {"application/json": {"schema": {"type": "object"}}}
    if streams is not None:
        answer[streams] = {"schema": {"type": "string"}}
    schema = {"type": "object", "required": required, "properties": fields}
    return {
        "summary": summary,
        "description": about,
        "security": _KEY,
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema, "example": example}}},
        "responses": {
            "200": {"description": "the answer", "content": answer},
            **{str(status): _ERROR for status in (400, 401, 404, 413, 429, 500, 502, 503, 504)},
        },
    }
