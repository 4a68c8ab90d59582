// Compiles a target's Lua scripts into the target: a source file in the build folder has a constant for each script,
// see embed.awk.
//
// Rejected: the package manager's own `.embedInCode`. It embeds each file unchanged, so shared code would have to be
// inserted when a script is loaded. Then a missing file would no longer be a build error.

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
    // The file is written completely or not at all, so that half a file is never used. It is written only if it
    // changed, so that nothing is compiled again without need.
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
