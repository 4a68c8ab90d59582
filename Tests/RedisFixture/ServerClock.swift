// A clock that a test can move, of one server and of nothing else. A small library is loaded into the server before all
// others and adds an offset to what the kernel says the time is. The offset is in a file that both have in memory.
//
// Timers go by the monotonic clock, which isn't touched: setting a machine's clock doesn't touch it either. libfaketime
// was rejected because it moves that one too.

import Foundation

/// The wall clock of a server that was started with it; see ``RedisServerOptions/clock`` and
/// ``RedisServer/setClock(ahead:)``.
public final class ServerClock: Sendable {
  private let folder: TemporaryFolder
  private var file: String { folder.path("offset") }

  /// Builds the library. It needs a C compiler.
  public init() async throws {
    folder = try TemporaryFolder()
    try Self.source.write(toFile: folder.path("clock.c"), atomically: true, encoding: .utf8)
    try await ChildProcess.run(
      "cc", ["-shared", "-fPIC", "-O1", "-o", folder.path("clock.so"), folder.path("clock.c")])
    try Data(count: 8).write(to: URL(fileURLWithPath: file))
  }

  deinit { folder.remove() }

  /// Sets the clock to the true time plus an offset. The server may notice a little later.
  func set(ahead offset: Duration) throws {
    let milliseconds = Int64(offset / .milliseconds(1))
    let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: file))
    defer { try? handle.close() }
    // Eight bytes in one write: the server sees the old or the new ones.
    try handle.write(contentsOf: withUnsafeBytes(of: milliseconds) { Data($0) })
  }

  /// The server's environment variables in addition to the test's.
  var environment: [String: String] { ["LD_PRELOAD": folder.path("clock.so"), "SLUICE_TEST_CLOCK": file] }

  private static let source = #"""
    #define _GNU_SOURCE
    #include <fcntl.h>
    #include <stdint.h>
    #include <stdlib.h>
    #include <sys/mman.h>
    #include <sys/syscall.h>
    #include <sys/time.h>
    #include <time.h>
    #include <unistd.h>

    static volatile int64_t *offset;

    __attribute__((constructor)) static void begin(void) {
      const char *path = getenv("SLUICE_TEST_CLOCK");
      int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
      if (file < 0) return;
      void *memory = mmap(0, 8, PROT_READ, MAP_SHARED, file, 0);
      if (memory != MAP_FAILED) offset = memory;
      close(file);
    }

    int clock_gettime(clockid_t clock, struct timespec *now) {
      int result = syscall(SYS_clock_gettime, clock, now);
      if (result != 0 || !offset || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE)) return result;
      int64_t nanoseconds = now->tv_nsec + *offset % 1000 * 1000000;
      now->tv_sec += *offset / 1000 + (nanoseconds >= 1000000000) - (nanoseconds < 0);
      now->tv_nsec = (nanoseconds + 1000000000) % 1000000000;
      return 0;
    }

    int gettimeofday(struct timeval *now, void *zone) {
      struct timespec time;
      if (clock_gettime(CLOCK_REALTIME, &time) != 0) return -1;
      if (now) { now->tv_sec = time.tv_sec; now->tv_usec = time.tv_nsec / 1000; }
      return 0;
    }

    time_t time(time_t *now) {
      struct timespec time;
      clock_gettime(CLOCK_REALTIME, &time);
      if (now) *now = time.tv_sec;
      return time.tv_sec;
    }
    """#
}
