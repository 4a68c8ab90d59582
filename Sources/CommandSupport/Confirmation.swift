public import ArgumentParser

extension ArgumentHelp {
  /// The help of an option that confirms something, overrules somebody's decision or lifts a protection.
  ///
  /// Such an option is declared as a flag without a ``Setting``, so that only the command line can give it: a variable in the
  /// environment would answer questions that nobody has been asked yet.
  public static func confirmation(_ meaning: String) -> ArgumentHelp {
    ArgumentHelp("\(meaning) (only on the command line)")
  }
}
