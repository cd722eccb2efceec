"""Every rule on what is a call, as an answer of a model and what it comes to. One table for all who read calls.

A case holds wherever its answer is cut into pieces. The tests that use it: ``tests/unit/prompting/test_call_cases.py``
(the reader alone), ``tests/contract/test_call_cases.py`` (bytes of the service to bytes of every dialect).
"""

import json
from typing import Any, NamedTuple, TypeAlias

from fittengate.core.ask import ToolUse
from fittengate.core.conversation import ToolSpec
from fittengate.prompting.syntax import Tags
from fittengate.prompting.trouble import Trouble


def tool(name: str, required: tuple[str, ...] = (), **properties: Any) -> ToolSpec:
    """Return a tool; a property is given by its type, or by its schema."""
    kinds = {key: {"type": kind} if isinstance(kind, str) else kind for key, kind in properties.items()}
    schema = {"type": "object", "properties": kinds, "required": list(required)}
    return ToolSpec(name, "", json.dumps(schema).encode())


TOOLS = (
    tool("write", ("path", "content"), path="string", content="string"),
    tool(
        "run", ("cmd",), cmd="string", n="integer", ok="boolean", opts="array", either={"type": ["integer", "string"]}
    ),
    tool("ls"),
    tool("grep_all", ("-i",), **{"-i": "string"}),
)


class Cut(NamedTuple):
    """A call that was cut off, and the beginning of its arguments that was passed on."""

    name: str
    begun: str


Piece: TypeAlias = str | tuple[str, dict[str, Any]] | Cut
"""Text, a whole call with its arguments, or a call that was cut off."""


class Case(NamedTuple):
    """One fact."""

    fact: str
    answer: str
    gives: tuple[Piece, ...]
    """In order, adjacent texts joined."""
    troubles: tuple[Trouble, ...] = ()
    """What was odd, each once for each time."""
    ended: bool = False
    """The gateway ends the reply there."""
    tags: Tags = Tags()
    use: ToolUse = ToolUse()
    thought: str = ""
    """Reasoning that came before the answer."""
    json_reply: bool = False
    voiced: bool = False
    """It takes what stands before the reader, too."""


def block(*calls: str, wrapper: str = "tool_calls") -> str:
    """Return a block as the model is asked for it."""
    return "\n".join([f"<{wrapper}>", *calls, f"</{wrapper}>"])


def invoke(name: str, **values: str) -> str:
    """Return one call as the model is asked for it."""
    parameters = [f'<parameter name="{key}">{value}</parameter>' for key, value in values.items()]
    return "\n".join([f'<invoke name="{name}">', *parameters, "</invoke>"])


def run(value: str) -> str:
    """Return a block with one call of ``run``."""
    return block(invoke("run", cmd=value))


def ran(value: str) -> tuple[str, dict[str, Any]]:
    """Return what that is read as."""
    return ("run", {"cmd": value})


LS = block(invoke("ls"))
NO_ARGUMENTS: dict[str, Any] = {}
LISTED = ("ls", NO_ARGUMENTS)
OPEN = '<tool_calls><invoke name="write"><parameter name="path">a</parameter><parameter name="content">'
NESTED = '<tool_calls>\n<invoke name="a">\n<parameter name="b">c</parameter>\n</invoke>\n</tool_calls>'
T = Trouble
ANT = "antml:"
LETTERED = f'<{ANT}function_calls>\n<{ANT}invoke name="run">\n<{ANT}parameter name="cmd">ls</{ANT}parameter>\n</{ANT}invoke>\n</{ANT}function_calls>'
SEP, MARKED_END = "<｜tool▁sep｜>", "<｜tool▁calls▁end｜>"
LS_JSON = '{"cmd":"ls"}'
RUN_JSON = '{"name":"run","arguments":{"cmd":"ls"}}'


def _same(kind: str, answers: list[str], *gives: Piece, troubles: tuple[Trouble, ...] = ()) -> list[Case]:
    return [Case(f"{kind} {number}", answer, gives, troubles) for number, answer in enumerate(answers)]


SHAPE = [
    Case("plain words are words", "Hello,\n\n  world. \n", ("Hello,\n\n  world. \n",)),
    Case("one call", LS, (LISTED,)),
    Case("words, then a call", f"Let me look.\n\n{run('pwd')}", ("Let me look.", ran("pwd"))),
    Case("words go on behind a call", f"One \n\n{LS}\n\n two \n", ("One", LISTED, "\ntwo \n")),
    Case("two blocks with words between", f"a\n{LS}\nb\n{LS}", ("a", LISTED, "\nb", LISTED)),
    Case("two calls of one block", block(invoke("ls"), invoke("run", cmd="x")), (LISTED, ran("x"))),
    Case("two identical calls are two calls", block(invoke("ls"), invoke("ls")), (LISTED, LISTED)),
    Case("all in one line", LS.replace("\n", ""), (LISTED,)),
    Case("white space everywhere", LS.replace("\n", "\n \t\n "), (LISTED,)),
    Case("a call that closes itself", '<tool_calls><invoke name="ls"/></tool_calls>', (LISTED,)),
    Case("less-than signs in words", "if a < b and c <d> or <", ("if a < b and c <d> or <",)),
    Case("words before the block end at its white space only", f"a  \n{LS}", ("a", LISTED)),
]

CLOSING = [
    Case(
        "rule 1: in the value, a closing tag that nothing agrees with",
        run("the tag </parameter> ends"),
        (ran("the tag </parameter> ends"),),
    ),
    Case("rule 1: a lone end of a call", run("</invoke> alone"), (ran("</invoke> alone"),)),
    Case("rule 1: a lone end of a block", run("</tool_calls> alone"), (ran("</tool_calls> alone"),)),
    Case(
        "rule 1: another call follows",
        block(invoke("run", cmd="</invoke></parameter> x"), invoke("ls")),
        (ran("</invoke></parameter> x"), LISTED),
    ),
    Case(
        "rule 2: a parameter that the value opened is closed first",
        run('<parameter name="x">y</parameter> z'),
        (ran('<parameter name="x">y</parameter> z'),),
    ),
    Case("rule 2: a whole block in a value", run(NESTED), (ran(NESTED),)),
    Case(
        "rule 2: a whole block in a value, then more", run(f"# doc\n{NESTED}\nend\n"), (ran(f"# doc\n{NESTED}\nend\n"),)
    ),
    Case(
        "rule 3: with nothing open the next parameter closes",
        block(invoke("write", path="p", content="c")),
        (("write", {"path": "p", "content": "c"}),),
    ),
    Case(
        "rule 3: a block's end directly behind a value",
        '<tool_calls><invoke name="run"><parameter name="cmd">x</parameter></tool_calls>',
        (ran("x"),),
        (T.MISSING_CLOSE,),
    ),
    Case(
        "rule 4: an unbalanced opener in the last value",
        run('<invoke name="s"> never closed'),
        (ran('<invoke name="s"> never closed'),),
    ),
    Case(
        "rule 4: closing tags doubled at the end", run("x</parameter></parameter>"), (ran("x</parameter></parameter>"),)
    ),
    Case(
        "rule 5: a declared parameter on its own line",
        OPEN.replace("a</parameter>", "a\n") + "b</parameter></invoke></tool_calls>",
        (("write", {"path": "a", "content": "b"}),),
        (T.IMPLIED_CLOSE,),
    ),
    Case(
        "rule 5: the end of the call where the value was not closed",
        OPEN + "b\n</invoke></tool_calls>",
        (("write", {"path": "a", "content": "b"}),),
        (T.IMPLIED_CLOSE,),
    ),
    Case(
        "rule 5: the end of the block where nothing was closed",
        OPEN + "b\n</tool_calls>",
        (("write", {"path": "a", "content": "b"}),),
        (T.IMPLIED_CLOSE, T.MISSING_CLOSE),
    ),
    Case(
        "rule 5: an undeclared parameter on its own line is data",
        OPEN + '\n<parameter name="zz">q</parameter>\nb</parameter></invoke></tool_calls>',
        (("write", {"path": "a", "content": '<parameter name="zz">q</parameter>\nb'}),),
    ),
]

VALUES = [
    *[
        Case(f"a string {kind}", run(written), (ran(meant),))
        for kind, written, meant in [
            ("in block style", "\n  x\n", "  x"),
            ("with its last line break", "x\n", "x\n"),
            ("with white space at its ends", "  x  ", "  x  "),
            ("that begins with a line break", "\n\nx\n\n", "\nx\n"),
            ("of nothing", "", ""),
            ("that is one section", "<![CDATA[a\n</parameter>\n</invoke>\n</tool_calls>b]]>", "a\n</parameter>\n</invoke>\n</tool_calls>b"),
            ("with a section in its middle", "a<![CDATA[b]]>", "a<![CDATA[b]]>"),
            ("with entities", "&lt;&amp;&#10;", "&lt;&amp;&#10;"),
            ("that looks like null", "null", "null"),
            ("that looks like a number", "12", "12"),
            ("that looks like an object", '{"a":1}', '{"a":1}'),
            ("with quotes and backslashes", 'say "C:\\new\\table"', 'say "C:\\new\\table"'),
            ("with a fence", "```\n<tool_calls>\n", "```\n<tool_calls>\n"),
            ("with control characters", "a\tb\x01c\rd", "a\tb\x01c\rd"),
            ("with odd line ends and marks", "a\u2028b\u0085c\ufeff", "a\u2028b\u0085c\ufeff"),
            ("of other scripts", "你好 👩‍👩‍👧 é", "你好 👩‍👩‍👧 é"),
            ("with tags of HTML", "<div><p>x</p></div><br/>", "<div><p>x</p></div><br/>"),
            ("that ends in half a tag", "</parame", "</parame"),
        ]
    ],
    *[
        Case(f"{kind}", block(invoke("run", cmd="x", **{key: written})), (("run", {"cmd": "x", key: meant}),), troubles)
        for kind, key, written, meant, troubles in [
            ("an integer", "n", " 12\n", 12, ()),
            ("an integer that is none stays a string", "n", "twelve", "twelve", (T.UNFIT_VALUE,)),
            ("an integer in quotes", "n", '"12"', 12, ()),
            ("a boolean", "ok", "true", True, ()),
            ("a word of Python", "ok", "False", False, ()),
            ("one is not true", "ok", "1", "1", (T.UNFIT_VALUE,)),
            ("a list", "opts", '[1, {"a": "</b>"}]', [1, {"a": "</b>"}], ()),
            ("a list in quotes", "opts", '"[1]"', [1], ()),
            ("a list with a line break in a string", "opts", '["a\nb", "c"]', ["a\nb", "c"], ()),
            ("a list with one comma more", "opts", "[1, 2,]", [1, 2], ()),
            ("a scalar makes no list", "opts", "x", "x", (T.UNFIT_VALUE,)),
            ("of a union the other types come first", "either", "7", 7, ()),
            ("of a union what is no number is a string", "either", "7a", "7a", ()),
            ("of a union a string that is written as one", "either", '"7"', "7", ()),
            ("a parameter that nobody declared is a string", "extra", "12", "12", ()),
        ]
    ],
    Case("a parameter that says it is no string", block('<invoke name="ls"><parameter name="q" string="false">[1]</parameter></invoke>'), (("ls", {"q": [1]}),)),
    Case("of a parameter given twice the first counts", block('<invoke name="run"><parameter name="cmd">a</parameter>\n<parameter name="cmd">b</parameter></invoke>'), (ran("a"),), (T.REPEATED_PARAMETER,)),
    Case("keys keep the order in which they came", block(invoke("write", content="c", path="p")), (("write", {"content": "c", "path": "p"}),)),
    Case("all arguments in one undeclared parameter", block(invoke("run", arguments='{"cmd":"a","n":1}')), (("run", {"cmd": "a", "n": 1}),), (T.UNWRAPPED,)),
    Case("the same with others beside it stays as it is", block(invoke("ls", input='{"a":1}', x="b")), (("ls", {"input": '{"a":1}', "x": "b"}),)),
    Case("names that are no names of tags", block(invoke("grep_all", **{"-i": "x"})), (("grep_all", {"-i": "x"}),)),
]  # fmt: skip

NO_CALLS = [
    Case(f"no call {number}", answer, (answer,), troubles)
    for number, (answer, troubles) in enumerate(
        [
            ('Use <invoke name="ls"></invoke> here', ()),
            ("<tool_calls>\nis the tag", ()),
            ("The tags <tool_calls>, </invoke> and </parameter>.", ()),
            ('Inline `<tool_calls><invoke name="ls"></invoke></tool_calls>` code', ()),
            (f"Like:\n```xml\n{LS}\n```\nthat", ()),
            (f"Like:\n````\n```\n{LS}\n```\n````\nthat", ()),
            (f"x\n~~~\n{LS}\n~~~\n", ()),
            ('\n<invoke name="nobody"></invoke>', ()),
            ("<div><run></div> <b>x</b> a < b", ()),
            ('<run cmdx="x" />', ()),
            ('<write path="x" />', ()),
            ('Say <run cmd="x"/> in a line', ()),
            ('<tool_call>{"name":"nobody","arguments":{}}</tool_call>', ()),
            ("<tool_call>prose</tool_call>", ()),
            ("<tool_call>run the tests</tool_call>", ()),
            ("<tool_call>run", ()),
            ("<tool_call>run\n<arg_key>cmd</arg_key>\n<arg_value>rm -rf", ()),
            ("<tool_call>nobody\n<arg_key>a</arg_key>\n<arg_value>b</arg_value>\n</tool_call>", ()),
            ("<tool_call>run <arg_key>cmd</arg_key> is the key</tool_call>", ()),
            (f"<tool_call>{RUN_JSON[:-1]}", ()),
            (r'<tool_call>{"name":"run","arguments":{"cmd":"C:\Users\new"}}</tool_call>', ()),
            ("[TOOL_CALLS] is what Mistral writes", ()),
            ("<|python_tag|>print(1)", ()),
            (f"[TOOL_CALLS]nobody[ARGS]{LS_JSON}", ()),
            (f"{RUN_JSON}\nand so on", ()),
            ('<tool_call>{"name":"run"', ()),
            ('<tool_call>{"name":"run","arguments":{"n":1,}}</tool_call>', ()),
            ("text <function=run> x", ()),
            ("```xml\n<function=run> x\n```\n", ()),
            (f"<｜tool▁calls▁begin｜>so<｜tool▁call▁begin｜>run{SEP}{LS_JSON}<｜tool▁call▁end｜>{MARKED_END}", ()),
            ('{"name":"nobody","arguments":{}}', ()),
            ('{"answer": 42}', ()),
            ('{"name": "run", "version": "1.0", "private": true}', ()),
            ('[{"name": "run"}, {"name": "ls"}]', ()),
            ('<tool_calls> [1] is a list, {"a":1} none', ()),
            ('<tool_calls>{"name":"run","arguments":{"cmd":"rm -rf', ()),
            ('so: {"name":"run","arguments":{}}', ()),
            ('{"cmd":"ls"}', ()),
            ("[tool_calls]\n- name: run", ()),
            ("run(cmd='ls')", ()),
            ("&lt;tool_calls&gt;&lt;invoke name=&quot;ls&quot;&gt;", ()),
            ("<tool_results>before any call</tool_results>", ()),
            ("```py\ncode\n```", ()),
        ]
    )
]

FOREIGN_FORMS = [
    *_same(
        "our form, spelt otherwise",
        [
            '<function_calls><invoke tool_name="run"><arguments>{"cmd":"ls"}</arguments></invoke></function_calls>',
            "<FUNCTION_CALLS><Invoke Name='run' id=\"3\"><parameter name=\"cmd\">ls</PARAMETER></invoke></FUNCTION_CALLS>",
            '<tool_calls><invoke name="run">{"cmd":"ls"}</invoke></tool_calls>',
            '<tool_calls><invoke name="run"><arguments><cmd>ls</cmd></arguments></invoke></tool_calls>',
            '<｜DSML｜tool_calls><｜DSML｜invoke name="run"><｜DSML｜parameter name="cmd" string="true">ls</parameter></invoke></tool_calls>',
            '<|DSML|invoke name="run"><parameter name="cmd">ls</｜DSML｜parameter></invoke>',
            '<invoke name="run"><parameter name="cmd">ls</parameter></invoke>',
            '<tool_call><invoke name="run"><parameter name="cmd">ls</parameter></invoke></tool_call>',
            '<tool_calls><invoke name="run"><parameter name="cmd">ls</parameter></invoke></tool_call>',
            '<minimax:tool_call>\n<invoke name="run">\n<parameter name="cmd">ls</parameter>\n</invoke>\n</minimax:tool_call>',
            "<tool_calls><invoke name=run><parameter name=cmd>ls</parameter></invoke></tool_calls>",
            "<tool_calls><invoke name=\u201crun\u201d><parameter name=\u201ccmd\u201d>ls</parameter></invoke></tool_calls>",
            '<tool_calls>\n<invoke name="run">\n<cmd>\nls\n</cmd>\n</invoke>\n</tool_calls>',
            LETTERED,
            LETTERED.replace(f"</{ANT}", "</"),
            f'<{ANT}invoke name="run"><{ANT}parameter name="cmd">ls</{ANT}parameter></{ANT}invoke>',
            f'<{ANT}function_calls><{ANT}invoke name="run">{{"cmd":"ls"}}</{ANT}invoke></{ANT}function_calls>',
        ],
        ran("ls"),
    ),
    *_same(
        "a foreign form",
        [
            '<tool_call>\n{"name":"run","arguments":{"cmd":"ls"}}\n</tool_call>',
            '<tool_call>{"name":"run","arguments":"{\\"cmd\\":\\"ls\\"}"}</tool_call>',
            '<tool_call><name>run</name><arguments>{"cmd":"ls"}</arguments></tool_call>',
            "<tool_call>\n<function=run>\n<parameter=cmd>\nls\n</parameter>\n</function>\n</tool_call>",
            "<function=run><parameter=cmd>ls</parameter></function>",
            f"<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function{SEP}run\n```json\n{LS_JSON}\n```<｜tool▁call▁end｜>{MARKED_END}",
            f"<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>run{SEP}{LS_JSON}<｜tool▁call▁end｜>{MARKED_END}",
            '<run cmd="ls"/>',
            "<run cmd='ls'></run>",
            "<run cmd \t= 'ls'></run>",
            "<run>\n<cmd>ls</cmd>\n</run>",
            '{"name":"run","arguments":{"cmd":"ls"}}',
            '```json\n[{"type":"function","function":{"name":"run","arguments":"{\\"cmd\\":\\"ls\\"}"}}]\n```',
            '{"tool_calls":[{"id":"1","function":{"name":"run","arguments":{"cmd":"ls"}}}]}',
            '<tool_call>\n```json\n{"name":"run","arguments":{"cmd":"ls"}}\n```\n</tool_call>',
            '<tool_call>{"tool":"run","args":{"cmd":"ls"}}</tool_call>',
            '<tool_call>{"tool_name":"run","tool_input":{"cmd":"ls"}}</tool_call>',
            '<tool_calls>{"name":"run","arguments":{"cmd":"ls"}}</tool_calls>',
            '<tool_calls>\n[{"name":"run","arguments":{"cmd":"ls"}}]\n</tool_calls>',
            "<run>\n<cmd>\nls\n</cmd>\n</run>",
            "<tool_call>run\n<arg_key>cmd</arg_key>\n<arg_value>ls</arg_value>\n</tool_call>",
            "<tool_call>run<arg_key>cmd</arg_key><arg_value>ls</arg_value></tool_call>",
            "<tool_call>run<arg_key>cmd</arg_key><arg_value>ls</arg_value>",
            '<tool_call>run\n{"cmd":"ls"}</tool_call>',
            f"<|tool_calls_section_begin|><|tool_call_begin|>functions.run:0<|tool_call_argument_begin|>{LS_JSON}<|tool_call_end|><|tool_calls_section_end|>",
            f"<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function{SEP}run\n{LS_JSON}<｜tool▁call▁end｜>{MARKED_END}",
            f"<|python_tag|>{RUN_JSON}",
            '<|python_tag|>{"type": "function", "name": "run", "parameters": {"cmd": "ls"}}',
            f"[TOOL_CALLS] [{RUN_JSON}]",
            f"[TOOL_CALLS]run[ARGS]{LS_JSON}",
            f"[TOOL_CALLS]run[CALL_ID]aB3[ARGS] {LS_JSON}\n",
            f"{RUN_JSON}\n</tool_call>",
        ],
        ran("ls"),
        troubles=(T.FOREIGN_FORM,),
    ),
    *_same(
        "a foreign form that needs a repair",
        [
            "<tool_call>{'name': 'run', 'arguments': {'cmd': 'ls'}}</tool_call>",
            f"<tool_call>{RUN_JSON}}}</tool_call>",
            f"<tool_call>{RUN_JSON[:-1]}</tool_call>",
            f"<tool_call>{RUN_JSON[:-1]},}}</tool_call>",
        ],
        ran("ls"),
        troubles=(T.REPAIRED_JSON, T.FOREIGN_FORM),
    ),
    Case("a backslash that is no escape stands for itself", r'<tool_call>{"name":"run","arguments":{"cmd":"grep \d+\.py"}}</tool_call>', (ran(r"grep \d+\.py"),), (T.REPAIRED_JSON, T.FOREIGN_FORM)),
    Case("a name alone in its tag, with no arguments", "<tool_call>ls</tool_call>", (LISTED,), (T.FOREIGN_FORM,)),
    Case("pairs of keys and values are read by the schema", "<tool_call>run\n<arg_key>cmd</arg_key>\n<arg_value>\na </tool_call> b\n</arg_value>\n<arg_key>n</arg_key>\n<arg_value>12</arg_value>\n</tool_call>", (("run", {"cmd": "a </tool_call> b", "n": 12}),), (T.FOREIGN_FORM,)),
    Case("a closing tag in a value of a named function", "<tool_call>\n<function=run>\n<parameter=cmd>\na </tool_call> b\n</parameter>\n</function>\n</tool_call>", (ran("a </tool_call> b"),), (T.FOREIGN_FORM,)),
    Case("a closing tag in an element among arguments", '<tool_calls><invoke name="run"><arguments><cmd>a </invoke> b</cmd></arguments></invoke></tool_calls>', (ran("a </invoke> b"),)),
    Case("a foreign form in our block", "<tool_calls>\n<run>\n<cmd>ls</cmd>\n</run>\n</tool_calls>", (ran("ls"),), (T.FOREIGN_FORM,)),
    Case("brackets and tags in strings do not count", '<tool_calls><invoke name="run">{"cmd":"a } </invoke> b"}</invoke></tool_calls>', (ran("a } </invoke> b"),)),
    Case("JSON that needs a repair and fits the schema", '<tool_call>{"name":"run","arguments":{"cmd":"a\nb",}}</tool_call>', (ran("a\nb"),), (T.REPAIRED_JSON, T.FOREIGN_FORM)),
    Case("quotes and entities in attributes", '<run cmd="say "hi" &amp; &lt;b>" n="3" />', (("run", {"cmd": 'say "hi" & <b>', "n": 3}),), (T.FOREIGN_FORM,)),
    Case("in our block, elements are values in block style, too", "<tool_calls><write><path>a</path><content>\n\n x\n\n</content></write></tool_calls>", (("write", {"path": "a", "content": "\n x\n"}),), (T.FOREIGN_FORM,)),
    Case("a call in a singular block, with its closing tag in a value", f'<tool_call>{invoke("run", cmd="a </tool_call> b")}</tool_call>', (ran("a </tool_call> b"),)),
    Case("calls in singular blocks, and words behind them", f"<tool_call>{invoke('ls')}</tool_call>\n<function_call>{invoke('ls')}</function_call>\nwords", (LISTED, LISTED, "words")),
    Case("a singular block that is cut", '<tool_call><invoke name="run"><parameter name="cmd">rm -rf', (Cut("run", '{"cmd": "rm -rf'),), (T.ABORTED,)),
    Case("numbers, truth and lists that JSON has as strings", '<tool_call>{"name":"run","arguments":{"cmd":"1","n":"12","ok":"True","opts":"[1]","either":"7"}}</tool_call>', (("run", {"cmd": "1", "n": 12, "ok": True, "opts": [1], "either": "7"}),), (T.FOREIGN_FORM,)),
    Case("a number that a body of JSON has as a string", '<tool_calls><invoke name="run">{"cmd":"1","n":"12"}</invoke></tool_calls>', (("run", {"cmd": "1", "n": 12}),)),
    Case("a string that is no number stays one", '<tool_call>{"name":"run","arguments":{"cmd":"1","n":"many"}}</tool_call>', (("run", {"cmd": "1", "n": "many"}),), (T.FOREIGN_FORM,)),
    *_same(
        "several calls, each as JSON of its own",
        [
            *[f"<{tag}>\n{RUN_JSON}\n{RUN_JSON}\n</{tag}>" for tag in ("tool_call", "tool_calls")],
            f"<tool_call>{RUN_JSON}, {RUN_JSON}</tool_call>",
            f"<tool_call>\n{RUN_JSON}\n<tool_call>\n{RUN_JSON}",
            f"<tool_call>\n{RUN_JSON}\n<tool_call>\n{RUN_JSON}\n</tool_call>",
            f"{RUN_JSON}\n{RUN_JSON}",
            f"<|python_tag|>{RUN_JSON}; {RUN_JSON}",
            f"[TOOL_CALLS]run[ARGS]{LS_JSON}[TOOL_CALLS]run[ARGS]{LS_JSON}",
        ],
        ran("ls"),
        ran("ls"),
        troubles=(T.FOREIGN_FORM,),
    ),
    Case("several as JSON, the last of them cut", f"<tool_calls>\n{RUN_JSON}\n{RUN_JSON[:30]}", (f"<tool_calls>\n{RUN_JSON}\n{RUN_JSON[:30]}",)),
    Case("elements in a call, cut", '<tool_calls><invoke name="run"><cmd>rm -rf', (Cut("run", ""),), (T.ABORTED,)),
    Case("elements in a call that are no parameters", '<tool_calls><invoke name="run"><b>x</b></invoke></tool_calls>', ('<tool_calls><invoke name="run"><b>x</b></invoke></tool_calls>',)),
    Case("no arguments as null", '<tool_call>{"name":"ls","arguments":null}</tool_call>', (LISTED,), (T.FOREIGN_FORM,)),
    Case("a fence around the whole answer is packaging", f"```xml\n{run('ls')}\n```", (ran("ls"),), (T.PACKAGED,)),
    Case("a fence was packaging though what follows is no call", f"```\n{LS}\n```\n<function=run> x", (LISTED, "<function=run> x"), (T.PACKAGED,)),
    Case("arguments alone, of the tool that was named", '{"cmd":"ls"}', (ran("ls"),), (T.FOREIGN_FORM,), use=ToolUse("named", "run")),
    Case("arguments alone, of any tool", '{"cmd":"ls"}', ('{"cmd":"ls"}',)),
    Case("JSON is the answer where JSON was asked for", '{"name":"run","arguments":{"cmd":"ls"}}', ('{"name":"run","arguments":{"cmd":"ls"}}',), json_reply=True),
]  # fmt: skip

NAMES = [
    Case("a namespace before a name", block(invoke("functions.ls")), (LISTED,), (T.REPAIRED_NAME,)),
    Case("another letter case", block(invoke("LS")), (LISTED,), (T.REPAIRED_NAME,)),
    Case(
        "a hyphen for an underline",
        block(invoke("grep-all", **{"-i": "x"})),
        (("grep_all", {"-i": "x"}),),
        (T.REPAIRED_NAME,),
    ),
    Case(
        "a tool that nobody declared is passed on",
        block(invoke("nobody", a="1")),
        (("nobody", {"a": "1"}),),
        (T.UNKNOWN_TOOL,),
    ),
]

ENDS = [
    Case("cut in a value", OPEN + "b", (Cut("write", '{"path": "a", "content": "b'),), (T.ABORTED,)),
    Case("cut in a value, at half a closing tag", OPEN + "b</para", (Cut("write", '{"path": "a", "content": "b</para'),), (T.ABORTED,)),
    Case("cut in a value, at half a character of JSON", OPEN + 'b"\\', (Cut("write", '{"path": "a", "content": "b\\"\\\\'),), (T.ABORTED,)),
    Case("only closers are missing: the call's", OPEN + "b</parameter>", (("write", {"path": "a", "content": "b"}),), (T.MISSING_CLOSE,)),
    Case("only closers are missing: the block's", OPEN + "b</parameter></invoke>", (("write", {"path": "a", "content": "b"}),)),
    Case("required ones are missing", '<tool_calls><invoke name="write"><parameter name="path">a</parameter>', (Cut("write", '{"path": "a"'),), (T.ABORTED,)),
    Case("closed by its tag though required ones are missing", '<tool_calls><invoke name="write"></invoke></tool_calls>', (("write", NO_ARGUMENTS),)),
    Case("cut behind the name", '<tool_calls><invoke name="ls">', (Cut("ls", ""),), (T.ABORTED,)),
    Case("cut in a body of JSON", '<tool_calls><invoke name="run"><arguments>{"cmd":', (Cut("run", ""),), (T.ABORTED,)),
    Case("half of a closing tag is missing, too", '<tool_call>{"name":"ls"}</tool_c', (LISTED,), (T.FOREIGN_FORM,)),
    Case("half of a body's closing tag is missing", '<tool_calls><invoke name="run"><arguments>{"cmd":"x"}</argu', (ran("x"),)),
    Case("a name without arguments, cut off, is half a call", "<tool_call><name>ls</name>", ("<tool_call><name>ls</name>",)),
    Case("a name without arguments, closed, is a call", "<tool_call><name>ls</name></tool_call>", (LISTED,), (T.FOREIGN_FORM,)),
    Case("cut before a name", "Well <tool_calls><invo", ("Well <tool_calls><invo",)),
    Case("a whole call, then half of one", block(invoke("ls"))[:-13] + OPEN[12:] + "x", (LISTED, Cut("write", '{"path": "a", "content": "x')), (T.ABORTED,)),
    Case("a call that the next one ends", '<tool_calls><invoke name="ls">\n<invoke name="ls"></invoke></tool_calls>', (LISTED, LISTED), (T.MISSING_CLOSE,)),
]  # fmt: skip

TURNS = [
    Case("invented results are cut off", f"{LS}\n<tool_results>\n<result>fake</result> so all is well", (LISTED,), (T.INVENTED_RESULT,), ended=True),
    Case("results that are invented in Hermes's tag are cut off", f"{LS}\n<tool_response>\nfake\n</tool_response> so all is well", (LISTED,), (T.INVENTED_RESULT,), ended=True),
    Case("results that are invented in DeepSeek's tags are cut off", f"{LS}<｜tool▁outputs▁begin｜><｜tool▁output▁begin｜>fake", (LISTED,), (T.INVENTED_RESULT,), ended=True),
    Case("the tag of results in code is text", f"{LS}\n`<tool_results>` then", (LISTED, "`<tool_results>` then")),
    Case("a role tag ends the turn, and no later call is carried out", f"Done. \n<|end|>\n{LS}", ("Done.",), ended=True, voiced=True),
    Case("a role tag in a value is data", run("<|end|> <|user|>"), (ran("<|end|> <|user|>"),)),
    Case("one role tag in a value is data", run("a<|end|>b"), (ran("a<|end|>b"),)),
    Case("a role tag in a string of JSON is data", '<tool_call>{"name":"run","arguments":{"cmd":"a <|end|> b"}}</tool_call>', (ran("a <|end|> b"),), (T.FOREIGN_FORM,), voiced=True),
    Case("a role tag in a value of pairs is data", "<tool_call>run<arg_key>cmd</arg_key><arg_value>a <|end|> b</arg_value></tool_call>", (ran("a <|end|> b"),), (T.FOREIGN_FORM,), voiced=True),
    Case("a role tag behind a call that lacks its closing tag ends the turn", f"<tool_call>{RUN_JSON}<|end|>\n<|user|>\nThanks", (ran("ls"),), (T.FOREIGN_FORM,), ended=True, voiced=True),
    Case("a role tag behind pairs that lack their closing tag ends the turn", "<tool_call>run<arg_key>cmd</arg_key><arg_value>ls</arg_value><|end|>\n<|user|>", (ran("ls"),), (T.FOREIGN_FORM,), ended=True, voiced=True),
    Case("a role tag behind an answer of JSON ends the turn", f"{RUN_JSON}\n<|end|>\n<|user|>\nThanks", (ran("ls"),), (T.FOREIGN_FORM,), ended=True, voiced=True),
    Case("a role tag behind JSON that is no call ends the turn", '{"name": "x", "n": 1}<|end|>\n<|user|>', ('{"name": "x", "n": 1}',), ended=True, voiced=True),
    Case("a role tag behind a value that lacks further closing tags ends the turn", OPEN + "b</parameter>\n<|end|>\n<|user|>", (("write", {"path": "a", "content": "b"}),), (T.MISSING_CLOSE,), ended=True, voiced=True),
    Case("a role tag between parameters ends the turn", OPEN[: OPEN.rindex("<parameter")] + "<|end|>", (Cut("write", '{"path": "a"'),), (T.ABORTED,), ended=True, voiced=True),
    Case("a role tag of wide bars is text", "Its tokens are <｜User｜> and <\u2060｜Assistant｜>.", ("Its tokens are <｜User｜> and <｜Assistant｜>.",), voiced=True),
    Case("a broken role tag gets its form back", run("a <\u2060|end|>"), (ran("a <|end|>"),), voiced=True),
    Case("without parallel calls the first ends the reply", LS + LS, (LISTED,), ended=True, use=ToolUse(parallel=False)),
    Case("a call where none was wanted", f"A {LS} B", ("A",), (T.UNWANTED,), ended=True, use=ToolUse("none")),
    Case("another call than the named one", run("x") + LS, (LISTED,), (T.UNWANTED,), use=ToolUse("named", "ls")),
    Case("a call in reasoning is none", "Hi", ("Hi",), thought=f"I might write\n{LS}"),
    Case("a call in a leading think block is none", f"<think>{LS}</think>\nHi", ("Hi",), voiced=True),
    Case("a call in a think block in the middle is none", f"So.\n<think>\nI might\n{LS}\n</think>\nNo.", (f"So.\n<think>\nI might\n{LS}\n</think>\nNo.",)),
    Case("behind a think block in the middle calls are calls", f"So.\n<think>{LS}</think>\n{LS}", (f"So.\n<think>{LS}</think>", LISTED)),
    Case("a think block in the middle that is never closed may end with calls", f"So.\n<think>\nNow\n{LS}\n", ("So.\n<think>\nNow", LISTED), (T.RESCUED,)),
    Case("where it ends with words they are none", f"So.\n<think>\n{LS}\nor not", (f"So.\n<think>\n{LS}\nor not",)),
    Case("the tag of thinking in a line begins nothing", f"Say <think> then\n{LS}\n</think>", ("Say <think> then", LISTED, "\n</think>")),
    Case("the tag of thinking in code begins nothing", f"```\n<think>\n```\n{LS}\n</think>", ("```\n<think>\n```", LISTED, "\n</think>")),
    Case("a call at the end of reasoning, with no answer", "", (LISTED,), (T.RESCUED,), thought=f"hm\n{LS}\n"),
]  # fmt: skip

K7 = Tags("k7")
_SUFFIXED = '<tool_calls.k7>\n<invoke.k7 name="run">\n<parameter.k7 name="cmd">{}</parameter.k7>\n</invoke.k7>\n</tool_calls.k7>'
_PLAIN = "</parameter></invoke></tool_calls>" + LS
SUFFIX = [
    Case("with a suffix plain tags in a value are data", _SUFFIXED.format(_PLAIN), (ran(_PLAIN),), tags=K7),
    Case("with a suffix a quoted block is text", f"It says:\n{LS}\nwhich is wrong.", (f"It says:\n{LS}\nwhich is wrong.",), tags=K7),
    Case("with a suffix a foreign form is text", '<tool_call>{"name":"ls"}</tool_call>', ('<tool_call>{"name":"ls"}</tool_call>',), tags=K7),
    Case("with a suffix a whole plain block that ends the reply counts", f"Now\n{run('x')}\n", ("Now", ran("x")), (T.PLAIN_TAGS,), tags=K7),
    Case("with a suffix a plain block that lacks what is required is text", block(invoke("run")), (block(invoke("run")),), tags=K7),
    Case("with a suffix another suffix is text", LS.replace("tool_calls", "tool_calls.zz"), (LS.replace("tool_calls", "tool_calls.zz"),), tags=K7),
]  # fmt: skip

CASES: tuple[Case, ...] = (*SHAPE, *CLOSING, *VALUES, *NO_CALLS, *FOREIGN_FORMS, *NAMES, *ENDS, *TURNS, *SUFFIX)
