/// Random bits at almost no cost: one number from the system's generator gives 64 of them. Otherwise each bit would be
/// a system call.
struct DrawnBits {
  private var bits: UInt64 = 0
  private var left = 0

  mutating func next() -> Bool {
    if left == 0 { (bits, left) = (.random(in: 0 ... .max), 64) }
    defer {
      bits >>= 1
      left -= 1
    }
    return bits & 1 == 1
  }
}
