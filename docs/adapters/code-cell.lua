-- Filter for Pandoc and Quarto: code blocks of the class `cell` become cells of code in HTML.
--
--   ```{.python .cell link-key="a"}          pandoc --lua-filter code-cell.lua -M code-cell-root=https://cells.example.org
--   print(6 * 7)
--   ```                                      Quarto: filters: [code-cell.lua] and code-cell-root: https://... in the YAML
--
-- The other class is the language; attributes are those of <code-cell>. A code block of the class `output` behind it is what
-- the code printed, shown until somebody evaluates. Other formats keep the code blocks. Readers without JavaScript or without
-- the server, and prints, get code and output as they stand.

local root = nil
local used = false

local ATTRIBUTES = {
  ["link-key"] = true, environment = true, profile = true, hide = true, ["evaluate-label"] = true,
  ["ui-language"] = true, linked = true, readonly = true, autoeval = true,
}

local function escape(text)
  return (text:gsub("[&<>\"]", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ["\""] = "&quot;" }))
end

-- JSON, and nothing in it that could end the element it stands in.
local function json(text)
  local escaped = text:gsub("[%c\\\"<]", function(character)
    return string.format("\\u%04x", string.byte(character))
  end)
  return '"' .. escaped .. '"'
end

function Meta(meta)
  local value = meta["code-cell-root"]
  root = value and pandoc.utils.stringify(value):gsub("/+$", "") or nil
end

local function cell(block, output)
  if not root then error("code-cell.lua: set code-cell-root to the address of the server") end
  used = true
  local language = "python"
  for _, class in ipairs(block.classes) do
    if class ~= "cell" then language = class end
  end
  local attributes = string.format(' language="%s"', escape(language))
  for name, value in pairs(block.attributes) do
    if ATTRIBUTES[name] then attributes = attributes .. string.format(' %s="%s"', name, escape(value)) end
  end
  local shown = string.format("<pre>%s</pre>", escape(block.text))
  if output then shown = shown .. string.format('<pre slot="output">%s</pre>', escape(output.text)) end
  return pandoc.RawBlock("html", string.format(
    '<code-cell%s><script type="application/json">%s</script>%s</code-cell>', attributes, json(block.text), shown))
end

local function is(block, class)
  return block ~= nil and block.t == "CodeBlock" and block.classes:includes(class)
end

function Blocks(blocks)
  if not FORMAT:match("html") then return nil end
  local result = pandoc.List()
  local at = 1
  while at <= #blocks do
    if is(blocks[at], "cell") then
      local output = is(blocks[at + 1], "output") and blocks[at + 1] or nil
      result:insert(cell(blocks[at], output))
      if output then at = at + 1 end
    else
      result:insert(blocks[at])
    end
    at = at + 1
  end
  return result
end

function Pandoc(document)
  if not used then return nil end
  local script = string.format('<script src="%s/static/embedded_cell.js" defer></script>', escape(root))
  document.blocks:insert(1, pandoc.RawBlock("html", script))
  return document
end

return { { Meta = Meta }, { Blocks = Blocks }, { Pandoc = Pandoc } }
