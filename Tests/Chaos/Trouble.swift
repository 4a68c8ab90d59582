import Foundation

/// Something isn't as it must be, in words.
struct Trouble: Error, CustomStringConvertible {
  let description: String
}

/// Prints a line at once, also where standard output is a pipe.
func say(_ line: String) {
  print(line)
  fflush(nil)
}
