"""What follows from tools alone is made once, and is never that of other tools."""

from msgspec.structs import replace

from fittengate.core.conversation import ToolSpec
from fittengate.prompting.declared import MAX_CHARS, declared


def tools(*names, description=""):
    return tuple(
        ToolSpec(name, description, b'{"type":"object","properties":{"n":{"type":"integer"}}}') for name in names
    )


def test_the_same_and_equal_tools_are_known_again():
    """A client's next turn has equal tools in another object."""
    first = declared(tools("read", "write"))
    assert declared(first.tools) is first
    assert declared(tools("read", "write")) is first
    assert first.names.find("READ") == "read"
    assert not first.schema("read").is_string("n")


def test_tools_that_differ_in_anything_are_others():
    """A parameter's type, an order, a name more: each makes another prompt."""
    first = declared(tools("read", "write"))
    other = (replace(first.tools[0], parameters=b"{}"), first.tools[1])
    for changed in (other, first.tools[::-1], first.tools[:1], (*first.tools, *tools("run"))):
        assert declared(changed).tools == changed
    assert declared(other).schema("read").is_string("n")


def test_long_tools_and_old_ones_are_not_remembered():
    """What is kept is bounded in entries and in length."""
    long = tools("read", description="x" * MAX_CHARS)
    assert declared(long) is not declared(long)
    first = declared(tools("old"))
    for number in range(16):
        declared(tools(f"new{number}"))
    assert declared(tools("old")) is not first


def test_a_name_that_nobody_declared_leaves_nothing_behind():
    """Models make up names without end, and the tools are remembered for long."""
    known = declared(tools("read"))
    schemas = known.schema.__self__
    for number in range(10):
        assert known.schema(f"made up {number}").types == {}
    assert len(schemas._read) == 0
