"""What a fleet's server does for limits: the arithmetic of ``meter.py`` and ``tally.py``, on the server, by its clock.

One run takes a batch of one replica: admissions, corrections, and how many requests of each owner run there. What it
keeps of an owner is one value: both minutes, days, months, and how many requests run on each replica. That last number
is always told whole and never as a change, so whatever was lost on the way is right again with the next batch. What runs
on a replica that was not heard of for :data:`LAPSE_SECONDS` no longer counts.

Batch and answer are MessagePack; :mod:`fittengate.services.fleet_limits` writes the one and reads the other.
"""

from fittengate.services.meter import MINUTE, STEP
from fittengate.services.tally import USUAL_OUTPUT
from fittengate.services.valkey import script

LAPSE_SECONDS = 10.0
"""A replica from which nothing was heard for so long is taken to be dead."""

FORGOTTEN_SECONDS = 3600.0
"""After so long its name is forgotten."""

KEPT_SECONDS = 40 * 86_400
"""So long what was used is kept after the last use: a month and more."""

CLOCK = "redis.call('TIME')"

ADMIT, CORRECT, COUNT, SPEND = 1, 2, 3, 4
"""What may stand in a batch: ask for room; put what was used into the place of what was reserved; add to the minute what
was used while the server was away; add it to a day or a month."""

NEWEST = -1
"""Stands for the number of a use that nobody has been told yet: what is taken back then was noted in the same run."""

_TEXT = """
local time = @CLOCK@
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local day = math.floor(now / 86400000)

-- The number of the month from that of the day, by the rules of the Gregorian calendar, years beginning in March.
local function month_of(number)
  local from = number + 719468
  local era = math.floor(from / 146097)
  local inside = from - era * 146097
  local year = math.floor((inside - math.floor(inside / 1460) + math.floor(inside / 36524)
    - math.floor(inside / 146096)) / 365)
  local rest = inside - (365 * year + math.floor(year / 4) - math.floor(year / 100))
  local march = math.floor((5 * rest + 2) / 153)
  local month = march < 10 and march + 3 or march - 9
  return (year + era * 400 + (month <= 2 and 1 or 0)) * 12 + month - 1
end

local month = month_of(day)
local batch = cmsgpack.unpack(ARGV[1])
-- Whoever sent it has given up by now, and has done without: nothing of it may count.
if batch.due > 0 and now > batch.due then return cmsgpack.pack({now, day, month, {}, true, {}, {}}) end
local who, meters = batch.who, {}

-- A use is {number, began, last, amount}; a window has its uses, their total and the number given last.
local function window()
  return {uses = {}, total = 0, last = 0}
end

local function pass(w)
  for _, use in ipairs(w.uses) do
    -- The server's clock was put back: what would count for longer than a minute counts from now.
    if use[3] > now then use[3] = now end
    if use[2] > now then use[2] = now end
  end
  while w.uses[1] and w.uses[1][3] + @MINUTE@ <= now do
    w.total = w.total - w.uses[1][4]
    table.remove(w.uses, 1)
  end
end

local function add(w, amount)
  local use = w.uses[#w.uses]
  if not use or now - use[2] >= @STEP@ then
    w.last = w.last + 1
    use = {w.last, now, now, 0}
    w.uses[#w.uses + 1] = use
  end
  use[3], use[4] = now, use[4] + amount
  w.total = w.total + amount
  return use[1]
end

local function correct(w, number, change)
  if change > 0 then return add(w, change) end
  -- What is taken back was noted in this very run.
  if number == @NEWEST@ then number = w.last end
  for at = #w.uses, 1, -1 do
    if w.uses[at][1] == number then
      w.uses[at][4] = w.uses[at][4] + change
      w.total = w.total + change
      return
    end
  end
end

local function wait(w, amount, most)
  if amount > most then return -1 end
  local over, ms = w.total + amount - most, 0
  for _, use in ipairs(w.uses) do
    if over <= 0 then break end
    over = over - use[4]
    ms = math.min(@MINUTE@, use[3] + @MINUTE@ - now)
  end
  return ms
end

local function resets(w)
  local use = w.uses[#w.uses]
  return w.total > 0 and use and math.max(0, use[3] + @MINUTE@ - now) or 0
end

local function spend(totals, period, tokens)
  local known = totals[period]
  if known == nil and tokens < 0 then return end
  totals[period] = (known or 0) + tokens
end

local function prune(totals, period)
  for number, _ in pairs(totals) do
    if math.abs(number - period) > 1 then totals[number] = nil end
  end
end

local function meter(at)
  local m = meters[at]
  if m then return m end
  local raw = redis.call('GET', KEYS[at + 1])
  m = raw and cmsgpack.unpack(raw) or {requests = window(), tokens = window(), days = {}, months = {}, running = {}}
  pass(m.requests)
  pass(m.tokens)
  local known = batch.meters[at]
  m.running[who] = known[1] > 0 and known[1] or nil
  if m.days[day] == nil and known[2] == day and known[3] > 0 then m.days[day] = known[3] end
  if m.months[month] == nil and known[4] == month and known[5] > 0 then m.months[month] = known[5] end
  meters[at] = m
  return m
end

local alive = {[who] = true}

local function running(m)
  local sum = 0
  for replica, count in pairs(m.running) do
    if alive[replica] == nil then
      local seen = redis.call('HGET', KEYS[1], replica)
      alive[replica] = seen and math.abs(now - tonumber(seen)) < @LAPSE@ or false
    end
    if alive[replica] then sum = sum + count else m.running[replica] = nil end
  end
  return sum
end

-- Limits are {owner's place, rpm, tpm, concurrency, tokens a day, tokens a month}, 0 for none.
local function left(m, limits)
  local found
  for _, one in ipairs({
    {limits[3], m.tokens.total}, {limits[5], m.days[day] or 0}, {limits[6], m.months[month] or 0}
  }) do
    if one[1] > 0 and (found == nil or one[1] - one[2] < found) then found = one[1] - one[2] end
  end
  return found
end

local function has_room(m, limits, requests, slots, tokens)
  if slots > 0 and limits[4] > 0 and running(m) + slots > limits[4] then return false end
  if requests > 0 and limits[2] > 0 and m.requests.total + requests > limits[2] then return false end
  if tokens == 0 then return true end
  return (limits[3] == 0 or m.tokens.total + tokens <= limits[3])
    and (limits[5] == 0 or (m.days[day] or 0) + tokens <= limits[5])
    and (limits[6] == 0 or (m.months[month] or 0) + tokens <= limits[6])
end

-- An admission is {kind, all limits, requests, slots, prompt, output, answers}; of the last three -1 means unknown.
local function admit(op)
  local requests, slots, prompt, output, answers = op[3], op[4], op[5], op[6], op[7]
  local tokens, room = 0, -1
  if prompt >= 0 and output >= 0 then
    tokens = prompt + output
  elseif prompt >= 0 then
    local least
    for _, limits in ipairs(op[2]) do
      local rest = left(meter(limits[1]), limits)
      if rest and (least == nil or rest < least) then least = rest end
    end
    tokens = prompt + answers * @USUAL@
    if least then
      room = math.max(1, math.floor((least - prompt) / answers))
      tokens = prompt + answers * math.min(@USUAL@, room)
    end
  end
  local admitted = true
  for _, limits in ipairs(op[2]) do
    admitted = has_room(meter(limits[1]), limits, requests, slots, tokens) and admitted
  end
  local answer = {admitted and 1 or 0, tokens, room, {}}
  for _, limits in ipairs(op[2]) do
    local m, number = meter(limits[1]), 0
    if admitted then
      if requests > 0 then add(m.requests, requests) end
      if slots > 0 then m.running[who] = (m.running[who] or 0) + slots end
      if tokens > 0 then
        number = add(m.tokens, tokens)
        spend(m.days, day, tokens)
        spend(m.months, month, tokens)
      end
    end
    table.insert(answer[4], {
      number, m.requests.total, resets(m.requests), wait(m.requests, requests, limits[2]),
      m.tokens.total, resets(m.tokens), wait(m.tokens, tokens, limits[3]),
      running(m), m.days[day] or 0, m.months[month] or 0
    })
  end
  return answer
end

redis.call('HSET', KEYS[1], who, now)
if batch.beat then
  local seen = redis.call('HGETALL', KEYS[1])
  for at = 1, #seen, 2 do
    if math.abs(now - tonumber(seen[at + 1])) > @FORGOTTEN@ then redis.call('HDEL', KEYS[1], seen[at]) end
  end
  redis.call('PEXPIRE', KEYS[1], @KEPT@)
end
for at = 1, #batch.meters do meter(at) end
local answers, noted, counted = {}, {}, {}
for _, op in ipairs(batch.ops) do
  if op[1] == @ADMIT@ then
    answers[#answers + 1] = admit(op)
  elseif op[1] == @CORRECT@ then
    local m = meter(op[2])
    noted[#noted + 1] = correct(m.tokens, op[3], op[6])
    spend(m.days, op[4], op[6])
    spend(m.months, op[5], op[6])
  elseif op[1] == @COUNT@ then
    local m = meter(op[2])
    if op[3] > 0 then add(m.requests, op[3]) end
    if op[4] > 0 then add(m.tokens, op[4]) end
  else
    local m = meter(op[2])
    spend(m.days, op[3], op[5])
    spend(m.months, op[4], op[5])
  end
end
for at, m in ipairs(meters) do
  counted[at] = {m.tokens.total, m.days[day] or 0, m.months[month] or 0}
  prune(m.days, day)
  prune(m.months, month)
  redis.call('SET', KEYS[at + 1], cmsgpack.pack(m), 'PX', @KEPT@)
end
return cmsgpack.pack({now, day, month, answers, false, noted, counted})
"""


def _filled(clock: str) -> str:
    text = _TEXT
    numbers = {
        "MINUTE": MINUTE * 1000,
        "STEP": STEP * 1000,
        "LAPSE": LAPSE_SECONDS * 1000,
        "FORGOTTEN": FORGOTTEN_SECONDS * 1000,
        "KEPT": KEPT_SECONDS * 1000,
        "USUAL": USUAL_OUTPUT,
        "ADMIT": ADMIT,
        "CORRECT": CORRECT,
        "COUNT": COUNT,
        "NEWEST": NEWEST,
    }
    for name, value in numbers.items():
        text = text.replace(f"@{name}@", str(int(value)))
    return text.replace("@CLOCK@", clock)


def program(clock: str = CLOCK) -> str:
    """Return the text of the program. ``clock`` is what tells it seconds and microseconds: the server's own time."""
    return _filled(clock)


LIMITS = script(program())
