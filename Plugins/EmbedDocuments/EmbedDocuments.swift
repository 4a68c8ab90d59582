// Makes the OpenAPI document of the publisher's HTTP API part of the target that serves it: a source file in the build
// folder with a constant. The document is in the documentation's catalogue, so that it can be read without a program.
//
// Rejected: a copy among the sources, which would differ one day; and reading the file when the program runs, which
// then wouldn't be one file any more.

import Foundation
import PackagePlugin

@main
struct EmbedDocuments: BuildToolPlugin {
  private static let document = "Sources/CommandSupport/Sluice.docc/Resources/publishing-api.openapi.json"

  func createBuildCommands(context: PluginContext, target: any Target) -> [Command] {
    let document = context.package.directoryURL.appending(path: Self.document)
    let output = context.pluginWorkDirectoryURL.appending(path: "Documents.swift")
    // Written only when it differs, so that nothing is compiled anew for nothing. JSON has no """ outside of strings,
    // and none of ours has one inside.
    let command = ###"""
      {
        printf '// Written by the plugin EmbedDocuments.\n\nenum Documents {\n  static let openAPI = ##"""\n'
        cat "$1" && printf '"""##\n}\n'
      } > "$2.new" || exit
      if cmp -s "$2.new" "$2"; then rm "$2.new"; else mv "$2.new" "$2"; fi
      """###
    return [
      .buildCommand(
        displayName: "Embed the OpenAPI document",
        executable: URL(filePath: "/bin/sh"),
        arguments: ["-c", command, "sh"] + [document, output].map { $0.path(percentEncoded: false) },
        inputFiles: [document],
        outputFiles: [output])
    ]
  }
}
