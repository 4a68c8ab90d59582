// Writes down which build this is, as a source file in the build folder, so that the tree stays clean.
//
// A prebuild command, because only those run before every build: the description changes with each commit, without any source
// file changing. In a container without .git, say it with `SLUICE_BUILD=… swift build`.

import Foundation
import PackagePlugin

@main
struct DescribeBuild: BuildToolPlugin {
  func createBuildCommands(context: PluginContext, target: any Target) -> [Command] {
    let output = context.pluginWorkDirectoryURL.appending(path: "Build")
    // Told where the repository is, git neither looks for one in the folders above (which would describe something
    // else) nor minds who owns the files. Anything that doesn't belong into a Swift literal is dropped.
    let script = """
      description=$(printf '%s' "$2" | tr -cd 'A-Za-z0-9._+/-' | cut -c 1-100)
      if [ -z "$description" ]; then
        description=$(GIT_OPTIONAL_LOCKS=0 git --git-dir="$1/.git" --work-tree="$1" \\
          describe --always --dirty --tags 2>/dev/null | tr -cd 'A-Za-z0-9._+/-' | cut -c 1-100)
      fi
      text="enum GeneratedBuild { static let description = \\"${description:-unknown}\\" }"
      file="$3/GeneratedBuild.swift"
      mkdir -p "$3" || exit 1
      # Written only when it differs, so that nothing is compiled anew for nothing.
      if [ "$(cat "$file" 2>/dev/null)" != "$text" ]; then printf '%s\\n' "$text" > "$file"; fi
      """
    return [
      .prebuildCommand(
        displayName: "Describe the build",
        executable: URL(filePath: "/bin/sh"),
        arguments: [
          "-c", script, "sh", context.package.directoryURL.path(percentEncoded: false),
          ProcessInfo.processInfo.environment["SLUICE_BUILD"] ?? "", output.path(percentEncoded: false),
        ],
        outputFilesDirectory: output)
    ]
  }
}
