// Embeds the OpenAPI document of the publisher's HTTP API in the target that serves it, as a constant in a generated
// source file. The document is in the documentation's catalogue, so that it can be read without the program.
//
// Rejected: a copy among the sources, which could differ from the document; and reading the document at run time,
// because the program would then need a second file.

import Foundation
import PackagePlugin

@main
struct EmbedDocuments: BuildToolPlugin {
  private static let document = "Sources/CommandSupport/Sluice.docc/Resources/publishing-api.openapi.json"

  func createBuildCommands(context: PluginContext, target: any Target) -> [Command] {
    let document = context.package.directoryURL.appending(path: Self.document)
    let output = context.pluginWorkDirectoryURL.appending(path: "Documents.swift")
    // The output is written only if its content differs, so that an unchanged document causes no compilation. The
    // document contains no """, which would end the constant.
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
