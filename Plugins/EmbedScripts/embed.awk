# Writes Lua scripts as Swift string literals: awk -f embed.awk FILES… > LuaScripts.swift
#
# A file that begins with `#!lua` is a script. It becomes a constant with the file's name. All other files are for
# scripts to include, with a line
#
#   -- include clock.lua
#
# The line is replaced by the file's content the first time that the file is included. Names have no folders, so no two
# files have the same name. Comment lines, empty lines and indentation are removed, so that they cost Redis nothing. So
# no string or comment in these files may span several lines.

FNR == 1 {
  name = FILENAME
  sub(/^.*\//, "", name)
  if (name in lengths) fail(FILENAME, 1, "another file is called " name)
  names[++files] = name
  paths[name] = FILENAME
}

{
  text[name, FNR] = $0
  lengths[name] = FNR
}

END {
  if (failed) exit 1
  print "// Written by the plugin EmbedScripts.\n\nenum LuaScripts {"
  for (i = 1; i <= files; i++) {
    if (text[names[i], 1] !~ /^#!lua/) continue
    split("", included)
    print "  static let " constant(names[i]) " = ##\"\"\""
    expand(names[i])
    print "\"\"\"##"
  }
  print "}"
}

function expand(name,  i, line, other) {
  included[name] = 1
  for (i = 1; i <= lengths[name]; i++) {
    line = text[name, i]
    if (line ~ /^-- include /) {
      other = substr(line, length("-- include ") + 1)
      if (!(other in lengths)) fail(paths[name], i, "there is no file " other)
      if (text[other, 1] ~ /^#!lua/) fail(paths[name], i, other " is a script of its own")
      if (!(other in included)) expand(other)
      continue
    }
    sub(/^[ \t]+/, "", line)
    if (line != "" && line !~ /^--/) print line
  }
}

# begin_rebuild.lua → beginRebuild
function constant(name,  words, count, i, result) {
  sub(/\.lua$/, "", name)
  count = split(name, words, "_")
  result = words[1]
  for (i = 2; i <= count; i++) result = result toupper(substr(words[i], 1, 1)) substr(words[i], 2)
  return result
}

function fail(path, line, message) {
  print path ":" line ": error: " message > "/dev/stderr"
  failed = 1
  exit 1
}
