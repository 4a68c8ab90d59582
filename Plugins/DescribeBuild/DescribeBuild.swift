// Writes down which build this is, as a source file in the build folder, so that the tree stays clean.
//
// A build command whose inputs are git's own notes of what is checked out and all sources: it runs anew after each commit and
// after each change. A prebuild command looks simpler, but the package manager skips those while the list of files stays
// the same, and a description that is some commits late is worse than none. In a container without .git, say it with
// `SLUICE_BUILD=… swift build`; the variable is read when a build is planned, so it is for fresh builds.

import Foundation
import PackagePlugin

@main
struct DescribeBuild: BuildToolPlugin {
  func createBuildCommands(context: PluginContext, target: any Target) -> [Command] {
    let package = context.package.directoryURL
    let output = context.pluginWorkDirectoryURL.appending(path: "GeneratedBuild.swift")
    // Told where the repository is, git neither looks for one in the folders above (which would describe something
    // else) nor minds who owns the files. Anything that doesn't belong into a Swift literal is dropped.
    let script = """
      description=$(printf '%s' "$2" | tr -cd 'A-Za-z0-9._+/-' | cut -c 1-100)
      if [ -z "$description" ]; then
        description=$(GIT_OPTIONAL_LOCKS=0 git --git-dir="$1/.git" --work-tree="$1" \\
          describe --always --dirty --tags 2>/dev/null | tr -cd 'A-Za-z0-9._+/-' | cut -c 1-100)
      fi
      text="enum GeneratedBuild { static let description = \\"${description:-unknown}\\" }"
      # Written only when it differs, so that nothing is compiled anew for nothing.
      if [ "$(cat "$3" 2>/dev/null)" != "$text" ]; then printf '%s\\n' "$text" > "$3"; fi
      """
    return [
      .buildCommand(
        displayName: "Describe the build",
        executable: URL(filePath: "/bin/sh"),
        arguments: [
          "-c", script, "sh", package.path(percentEncoded: false),
          ProcessInfo.processInfo.environment["SLUICE_BUILD"] ?? "", output.path(percentEncoded: false),
        ],
        inputFiles: gitNotes(of: package) + sources(of: package),
        outputFiles: [output])
    ]
  }

  /// What git touches whenever something else is checked out, committed or staged. Only what exists: a missing input would
  /// fail the build.
  private func gitNotes(of package: URL) -> [URL] {
    var folder = package.appending(path: ".git")
    // In a second worktree .git is a file of one line: "gitdir: /path".
    if let line = try? String(contentsOf: folder, encoding: .utf8), line.hasPrefix("gitdir: ") {
      let path = line.dropFirst(8).trimmingCharacters(in: .whitespacesAndNewlines)
      folder = URL(filePath: path, relativeTo: package)
    }
    return ["HEAD", "index", "logs/HEAD"].map { folder.appending(path: $0) }
      .filter { FileManager.default.fileExists(atPath: $0.path(percentEncoded: false)) }
  }

  private func sources(of package: URL) -> [URL] {
    let inFolders = ["Sources", "Plugins"].flatMap { folder in
      FileManager.default.enumerator(
        at: package.appending(path: folder), includingPropertiesForKeys: nil, options: [.skipsHiddenFiles])?
        .compactMap { $0 as? URL } ?? []
    }
    return [package.appending(path: "Package.swift")] + inFolders.filter { !$0.hasDirectoryPath }
  }
}
