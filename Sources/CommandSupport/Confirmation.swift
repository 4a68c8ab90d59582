public import ArgumentParser

extension ArgumentHelp {
  /// The help of an option that confirms something, overrules somebody's decision or lifts a protection.
  ///
  /// Declare such an option as a flag without a ``Setting``, so that only the command line can give it. An environment
  /// variable would also confirm questions that the operator hasn't been asked yet.
  public static func confirmation(_ meaning: String) -> ArgumentHelp {
    ArgumentHelp("\(meaning) (only on the command line)")
  }
}
