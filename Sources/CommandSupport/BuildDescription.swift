// The description of this build, for `--version`, reports and metrics: version skew in a fleet must be visible.
//
// The plugin DescribeBuild writes the text before every build. Rejected: `Context.gitInformation` in Package.swift,
// because manifests are cached, and a description that is a commit late is worse than none. Rejected: a header written
// by a script, because a plain `swift build` would have none.

/// The build that is running.
public enum BuildDescription {
  /// `SLUICE_BUILD` as it was when this was built, else `git describe --always --dirty`, else `unknown`.
  public static var current: String { GeneratedBuild.description }
}
