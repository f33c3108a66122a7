-- What wrk asks, in turn and on each connection, and where it writes what it got. Its arguments are a
-- file of orders and a folder; an order is a line of words with tabs between.

-- wrk asks for a request before the first, to look at it.
local requests, folder, asked, answered = {}, nil, -1, 0

local function content(name)
   local file = assert(io.open(name, "rb"))
   local whole = file:read("*a")
   file:close()
   return whole
end

function init(args)
   folder = args[2]
   for line in io.lines(args[1]) do
      local words = {}
      for word in line:gmatch("[^\t]+") do words[#words + 1] = word end
      local headers, body = { ["Host"] = wrk.headers["Host"] }, nil
      for at = 4, #words, 2 do headers[words[at]] = words[at + 1] end
      if words[3] ~= "-" then body = content(words[3]) end
      requests[#requests + 1] = wrk.format(words[1], words[2], headers, body)
   end
end

function request()
   asked = asked + 1
   return requests[(asked - 1) % #requests + 1]
end

function response(status, headers, body)
   answered = answered + 1
   local head = assert(io.open(folder .. "/" .. answered .. ".head", "w"))
   head:write(status, "\n")
   for name, value in pairs(headers) do head:write(name, ": ", value, "\n") end
   head:close()
   local file = assert(io.open(folder .. "/" .. answered .. ".body", "wb"))
   file:write(body)
   file:close()
   if answered == #requests then
      wrk.thread:stop()
      print("answered")
      io.stdout:flush()
   end
end
