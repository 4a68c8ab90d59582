public import ArgumentParser

/// How a command ends, for scripts that decide by it whether to try again. From 64 on the numbers are those of sysexits.h.
///
/// `sync-status` has meanings of its own for 1 and 2, which its help says.
public enum ExitStatus: Int32, Sendable, CaseIterable {
  case done = 0
  /// It isn't done, and the same command would fail again.
  case failed = 1
  /// key-publisher: a list would take away more keys than is allowed. Nothing was changed.
  case tooManyKeys = 3
  /// key-publisher: what the store has stands against the change. The key was left as it is.
  case keyLeftAsItIs = 4
  /// The command line makes no sense.
  case usage = 64
  /// The input can't be taken: a list has bad lines or isn't whole. Nothing was changed.
  case dataError = 65
  /// An input file can't be opened.
  case noInput = 66
  /// It isn't done, or not known to be done; the same command may succeed later.
  case tryAgain = 75
  /// Redis doesn't accept the user or its password, or denies it a command.
  case notPermitted = 77

  /// To be thrown.
  public var code: ExitCode { ExitCode(rawValue) }
}
