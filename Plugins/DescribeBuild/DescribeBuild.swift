// Writes the description of the build into a source file in the build folder, so that the working tree stays clean.
//
// It is a build command. Its inputs are Git's own files about the checkout and all sources, so it runs again after each
// commit and after each change. A prebuild command looks simpler, but the package manager skips it while the list of
// files stays the same. Then the description could be some commits late, which is worse than none. In a container
// without .git, set the description with `SLUICE_BUILD=… swift build`. The variable is read when a build is planned, so
// it only works for fresh builds.

import Foundation
import PackagePlugin

@main
struct DescribeBuild: BuildToolPlugin {
  func createBuildCommands(context: PluginContext, target: any Target) -> [Command] {
    let package = context.package.directoryURL
    let output = context.pluginWorkDirectoryURL.appending(path: "GeneratedBuild.swift")
    // The repository's path is given to Git. So Git doesn't search the parent folders, which could describe another
    // repository, and doesn't check who owns the files. Characters that don't belong in a Swift literal are removed.
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

  /// The files that Git changes whenever something else is checked out, committed or staged. Only existing files: a
  /// missing input would fail the build.
  private func gitNotes(of package: URL) -> [URL] {
    var folder = package.appending(path: ".git")
    // In a second worktree .git is a file with one line: "gitdir: /path".
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
