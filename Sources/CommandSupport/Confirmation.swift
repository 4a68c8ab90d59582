public import ArgumentParser

extension ArgumentHelp {
  /// The help of an option that confirms something, overrules somebody's decision or lifts a protection.
  ///
  /// Declare such an option as a flag without a ``Setting``, so that only the command line can give it. An environment
  /// variable would also confirm questions that the operator hasn't been asked yet.
  public static func confirmation(_ meaning: String) -> ArgumentHelp {
    .commandLineOnly(meaning)
  }

  /// The help of any option without a ``Setting``. Options of the same commands can be given in the environment, so
  /// the help must say that this one can't.
  public static func commandLineOnly(_ meaning: String, valueName: String? = nil) -> ArgumentHelp {
    ArgumentHelp("\(meaning) (only on the command line)", valueName: valueName)
  }
}
