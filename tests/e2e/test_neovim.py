"""The language server in a real editor: Neovim without a window, where it is installed (seen with 0.7.2, Debian 12's)."""

import asyncio
import json
import shutil

import pytest

from fakes.line import KEY
from fakes.running import command, environment
from fittengate.simulator import Plan

NEOVIM = shutil.which("nvim")

pytestmark = pytest.mark.skipif(NEOVIM is None, reason="Neovim is not installed: apt-get install neovim")

# What a person would do, by the functions that Neovim has had since 0.7: open a file, start the server, type, ask for the
# list, take the first proposal. Grey text needs 0.12 to be shown; the request for it is made by hand.
SCRIPT = """
local told = {}
local function done()
  local out = io.open(os.getenv("TOLD"), "w")
  out:write(vim.json and vim.json.encode(told) or vim.fn.json_encode(told))
  out:close()
  vim.cmd("qall!")
end
local ok, problem = pcall(function()
  vim.cmd("edit " .. os.getenv("OPENED"))
  local client = vim.lsp.start_client({
    name = "fittengate", cmd = { os.getenv("PROGRAM"), "lsp" }, root_dir = vim.fn.getcwd(),
  })
  vim.lsp.buf_attach_client(0, client)
  assert(vim.wait(15000, function() return vim.lsp.get_client_by_id(client).initialized == true end, 20), "not started")
  -- Type behind a character outside the basic plane, which Neovim counts in bytes and the protocol in two units.
  vim.api.nvim_buf_set_text(0, 1, 4, 1, 4, { "def add(a, b):" })
  local function ask(method)
    local line = vim.api.nvim_buf_get_lines(0, 1, 2, true)[1]
    local _, units = vim.str_utfindex(line, #line)
    local params = { textDocument = vim.lsp.util.make_text_document_params(), position = { line = 1, character = units } }
    if method == "textDocument/inlineCompletion" then params.context = { triggerKind = 1 } end
    local answers, err = vim.lsp.buf_request_sync(0, method, params, 10000)
    assert(answers, err)
    for _, answer in pairs(answers) do return answer.result end
  end
  local grey = ask("textDocument/inlineCompletion")
  told.grey = grey.items[1].insertText
  local list = ask("textDocument/completion")
  local item = list.items[1]
  told.label = item.label
  vim.lsp.util.apply_text_edits({ item.textEdit }, 0, "utf-16")
  told.lines = vim.api.nvim_buf_get_lines(0, 0, -1, false)
  vim.lsp.stop_client(client)
  vim.wait(5000, function() return vim.lsp.get_client_by_id(client) == nil end, 20)
  told.stopped = vim.lsp.get_client_by_id(client) == nil
end)
told.problem = not ok and tostring(problem) or nil
done()
"""


async def test_neovim_types_asks_and_takes_what_is_proposed(simulator, gateway, tmp_path):
    """The text goes to the cursor, behind an emoji too, and nothing else of the file changes."""
    simulator.plan("completion", Plan(set={"generated_text": "\n    return a + b"}), times=None)
    (tmp_path / "script.lua").write_text(SCRIPT)
    (tmp_path / "add.py").write_text('"""Adds."""\n😀\n\nprint(add(1, 2))\n', encoding="utf-8")
    environ = environment(simulator, tmp_path / "state", lsp_url=gateway.url, lsp_key=KEY, lsp_pause=0.01)
    environ |= {"TOLD": str(tmp_path / "told.json"), "OPENED": str(tmp_path / "add.py"), "PROGRAM": command()[0]}
    process = await asyncio.create_subprocess_exec(
        NEOVIM, "--headless", "-u", "NONE", "-i", "NONE", "-n", "-c", f"luafile {tmp_path / 'script.lua'}",
        cwd=tmp_path, env=environ, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(40):
            _, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    told = json.loads((tmp_path / "told.json").read_text())
    assert "problem" not in told, err
    assert told["grey"] == "\n    return a + b"
    assert told["label"] == "return a + b"
    assert told["lines"] == ['"""Adds."""', "😀def add(a, b):", "    return a + b", "", "print(add(1, 2))"]
    assert told["stopped"]
    sent = simulator.requests("completion")
    assert len(sent) == 1, "the second request is answered from memory"
