// Makes a target's Lua scripts part of it: a source file in the build folder with a constant for each, see embed.awk.
//
// Rejected: the package manager's own `.embedInCode`. It embeds each file as it is, so what scripts share would have to
// be put together when they are loaded, where a missing file is no build error any more.

import Foundation
import PackagePlugin

@main
struct EmbedScripts: BuildToolPlugin {
  func createBuildCommands(context: PluginContext, target: any Target) -> [Command] {
    guard let target = target as? any SourceModuleTarget else { return [] }
    let program = context.package.directoryURL.appending(path: "Plugins/EmbedScripts/embed.awk")
    let output = context.pluginWorkDirectoryURL.appending(path: "LuaScripts.swift")
    let scripts = target.sourceFiles(withSuffix: ".lua").map(\.url).sorted { $0.path() < $1.path() }
    guard !scripts.isEmpty else { return [] }
    // All of it or nothing, so that half a file isn't taken for a whole one. Written only when it differs, so that
    // nothing is compiled anew for nothing.
    let command = """
      out=$1; shift
      awk -f "$@" > "$out.new" || exit
      if cmp -s "$out.new" "$out"; then rm "$out.new"; else mv "$out.new" "$out"; fi
      """
    return [
      .buildCommand(
        displayName: "Embed the Lua scripts of \(target.name)",
        executable: URL(filePath: "/bin/sh"),
        arguments: ["-c", command, "sh"] + ([output, program] + scripts).map { $0.path(percentEncoded: false) },
        inputFiles: [program] + scripts,
        outputFiles: [output])
    ]
  }
}
