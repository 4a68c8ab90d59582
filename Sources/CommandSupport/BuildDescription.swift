// Which build this is, for `--version`, reports and metrics: version skew in a fleet must be visible.
//
// The text is written by the plugin DescribeBuild before every build. Package.swift itself could ask
// `Context.gitInformation`, but manifests are cached, and a description that is a commit late is worse than none; a header
// written by a script would leave a plain `swift build` without one.

/// The build that is running.
public enum BuildDescription {
  /// `SLUICE_BUILD` as it was when this was built, else `git describe --always --dirty`, else `unknown`.
  public static var current: String { GeneratedBuild.description }
}
