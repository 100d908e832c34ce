-- onsave for Neovim 0.11 and newer.
--
--   onsave editor neovim > ~/.config/nvim/lsp/onsave.lua
--
-- and in init.lua:
--
--   vim.lsp.enable("onsave")
--   vim.o.statusline = vim.o.statusline .. " %{v:lua.OnsaveStatusline()}"   -- if you like
--
-- Buffers that it attaches to have
--
--   :Onsave run [COMMAND]  start what this file is (or COMMAND) in a terminal split
--   :Onsave restart        restart the app, whatever is stale
--   :Onsave stop           end the app
--   :Onsave why            what a save of this file would do, and why
--   :Onsave log            what the saves of this session did
--   :Onsave health         is everything in place?

local COMMAND = @ONSAVE@

local statuses = {} -- by client: what onsave/status told last
local log = {} -- the newest lines last
local LOG_LINES = 1000

local ICONS = { held = "✗", broken = "✗", starting = "…", restarting = "…", ended = "·" }

local function say(text, level)
  vim.notify("onsave: " .. text, level or vim.log.levels.INFO)
end

local function note(line)
  table.insert(log, os.date("%H:%M:%S ") .. line:gsub("\n", " ⏎ "))
  if #log > LOG_LINES then
    table.remove(log, 1)
  end
end

local function sessions()
  local found = {}
  for id, status in pairs(statuses) do
    if vim.lsp.get_client_by_id(id) then
      for _, session in ipairs(status.sessions) do
        found[session.name] = session -- several clients tell of the same ones
      end
    end
  end
  local list = vim.tbl_values(found)
  table.sort(list, function(a, b) return a.name < b.name end)
  return list
end

--- For the statusline: "⚡ shop ready", "✗ shop held"; nothing while no app runs.
function _G.OnsaveStatusline()
  local parts = {}
  for _, session in ipairs(sessions()) do
    table.insert(parts, (ICONS[session.state] or "⚡") .. " " .. session.name .. " " .. session.state)
  end
  return table.concat(parts, "  ")
end

local function open_terminal(name, argv, cwd, env)
  vim.cmd("botright 12new")
  local job = vim.fn.jobstart(argv, { term = true, cwd = cwd, env = next(env) and env or nil })
  if job <= 0 then
    vim.cmd.bwipeout({ bang = true })
    say("can't run " .. argv[1], vim.log.levels.ERROR)
    return
  end
  pcall(vim.api.nvim_buf_set_name, 0, "onsave://" .. name .. "/" .. job)
  vim.cmd("normal! G") -- follow the output
  vim.cmd.wincmd("p")
end

local function scratch(name, lines)
  vim.cmd("botright 12new")
  vim.bo.buftype, vim.bo.bufhidden, vim.bo.swapfile = "nofile", "wipe", false
  pcall(vim.api.nvim_buf_set_name, 0, "onsave://" .. name)
  vim.api.nvim_buf_set_lines(0, 0, -1, false, lines)
  vim.cmd("normal! G")
end

local function execute(client, command, argument)
  local done = function(failure)
    if failure then
      say(failure.message, vim.log.levels.ERROR)
    end
  end
  client:request("workspace/executeCommand", {
    command = command,
    arguments = { argument },
  }, done)
end

--- Calls `action` with the session's name; asks which where several run.
local function with_session(action)
  local list = sessions()
  if #list == 0 then
    say("no app runs; start one with :Onsave run", vim.log.levels.WARN)
  elseif #list == 1 then
    action(list[1].name)
  else
    local names = vim.tbl_map(function(session) return session.name end, list)
    vim.ui.select(names, { prompt = "Which app?" }, function(name)
      if name then
        action(name)
      end
    end)
  end
end

local commands = {}

function commands.run(client, buffer, words)
  if #words > 0 then
    return execute(client, "onsave.server.start", { command = words })
  end
  -- What the code lenses offer is what this file is.
  local params = { textDocument = vim.lsp.util.make_text_document_params(buffer) }
  client:request("textDocument/codeLens", params, function(_, lenses)
    local starts = vim.tbl_filter(function(lens)
      return lens.command and lens.command.command == "onsave.server.start"
    end, lenses or {})
    local function start(lens)
      if lens then
        execute(client, lens.command.command, lens.command.arguments[1])
      end
    end
    if #starts == 1 then
      start(starts[1])
    elseif #starts > 1 then
      vim.ui.select(starts, {
        prompt = "Run what?",
        format_item = function(lens)
          return table.concat(lens.command.arguments[1].command, " ")
        end,
      }, start)
    else
      vim.ui.input({ prompt = "Command to run under onsave: " }, function(line)
        if line and line ~= "" then
          execute(client, "onsave.server.start", { command = line })
        end
      end)
    end
  end, buffer)
end

function commands.restart(client)
  with_session(function(name) execute(client, "onsave.server.restart", { name = name }) end)
end

function commands.stop(client)
  with_session(function(name) execute(client, "onsave.server.stop", { name = name }) end)
end

function commands.why(client, buffer)
  client:request("onsave/why", { uri = vim.uri_from_bufnr(buffer) }, function(failure, answer)
    if failure then
      return say(failure.message, vim.log.levels.ERROR)
    end
    if #answer.sessions == 0 then
      return say("no app runs", vim.log.levels.WARN)
    end
    local lines = {}
    for _, told in ipairs(answer.sessions) do
      local line = told.name .. ": not loaded"
      if told.loaded then
        line = ("%s: loaded as %s since run %s"):format(told.name, told.module or "a data file", told.since)
      end
      if type(told.would) == "table" then
        line = ("%s; a save would mean: %s (%s)"):format(line, told.would.action, told.would.reason)
      end
      table.insert(lines, line)
    end
    say(table.concat(lines, "\n"))
  end, buffer)
end

function commands.log()
  scratch("log", #log > 0 and log or { "nothing has been saved yet" })
end

function commands.health(client)
  local lines = {}
  local function check(good, fine, trouble)
    table.insert(lines, good and ("- OK " .. fine) or ("- WARNING " .. trouble))
  end
  check(
    vim.fn.executable(COMMAND) == 1,
    "onsave is " .. vim.fn.exepath(COMMAND),
    COMMAND .. " is not executable; run: pip install onsave"
  )
  check(client.initialized, "the server is attached", "the server is not ready, see :LspLog")
  check(#sessions() > 0, #sessions() .. " app(s) run", "no app runs; :Onsave run, or `onsave run COMMAND`")
  local watching = vim.tbl_get(client.capabilities, "workspace", "didChangeWatchedFiles", "dynamicRegistration")
  check(
    watching,
    "files that change outside of Neovim are noticed",
    "files that change outside of Neovim (git checkout) are not noticed; install inotify-tools"
  )
  scratch("health", lines)
end

-- Neovim watches files well on macOS and Windows; on Linux only with inotifywait.
local capabilities = nil
if vim.fn.executable("inotifywait") == 1 then
  capabilities = { workspace = { didChangeWatchedFiles = { dynamicRegistration = true } } }
end

if vim.fn.executable(COMMAND) == 0 then
  say(COMMAND .. " is not executable; run: pip install onsave", vim.log.levels.WARN)
end

---@type vim.lsp.Config
return {
  cmd = { COMMAND, "lsp" },
  -- Python, and what Python programs read: any of it may be part of the app.
  filetypes = {
    "python", "html", "htmldjango", "jinja", "toml", "yaml", "json", "jsonc", "sql", "dosini", "conf", "sh", "text",
  },
  root_markers = { "onsave.toml", "pyproject.toml", "manage.py", "setup.py", ".git" },
  capabilities = capabilities,
  init_options = { onsave = { runInTerminal = true } },
  settings = {
    onsave = {
      -- "all": act on automatic saves as well; "never": on none
      autoSave = "manual",
    },
  },
  handlers = {
    ["onsave/status"] = function(_, params, context)
      statuses[context.client_id] = params
      vim.cmd.redrawstatus({ bang = true })
    end,
    ["onsave/verdict"] = function() end, -- its message comes by window/logMessage too
    ["onsave/runInTerminal"] = function(_, params)
      open_terminal(params.name, params.argv, params.cwd, params.env)
      return vim.NIL
    end,
    ["window/logMessage"] = function(_, params)
      note(params.message)
    end,
  },
  on_attach = function(client, buffer)
    vim.api.nvim_buf_create_user_command(buffer, "Onsave", function(call)
      local words = call.fargs
      local name = table.remove(words, 1)
      if commands[name] then
        commands[name](client, buffer, words)
      else
        say("no such command: " .. name .. "; see " .. table.concat(vim.tbl_keys(commands), ", "), vim.log.levels.ERROR)
      end
    end, {
      nargs = "+",
      desc = "run, restart, stop, why, log, health",
      complete = function(lead)
        local names = vim.tbl_filter(function(name) return vim.startswith(name, lead) end, vim.tbl_keys(commands))
        table.sort(names)
        return names
      end,
    })
  end,
}
