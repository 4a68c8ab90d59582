public import ArgumentParser

/// The exit statuses of the commands. Scripts use them to decide whether to try again. From 64 on the numbers are those
/// of sysexits.h.
///
/// `sync-status` has its own meanings of 1 and 2, which its help describes.
public enum ExitStatus: Int32, Sendable, CaseIterable {
  case done = 0
  /// The command failed, and would fail again.
  case failed = 1
  /// key-publisher: a list would remove more keys than is allowed. Nothing was changed.
  case tooManyKeys = 3
  /// key-publisher: the key's state in the store doesn't permit the change. The key was left unchanged.
  case keyLeftAsItIs = 4
  /// The command line is invalid.
  case usage = 64
  /// The input is invalid: a list has bad lines or isn't complete. Nothing was changed.
  case dataError = 65
  /// An input file can't be opened.
  case noInput = 66
  /// The command failed, or its result is unknown. The same command may succeed later.
  case tryAgain = 75
  /// Redis doesn't accept the user or its password, or denies it a command.
  case notPermitted = 77

  /// The status as an error that a command can throw.
  public var code: ExitCode { ExitCode(rawValue) }
}
