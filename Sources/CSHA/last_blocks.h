#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* How both hashes end: what is left after the whole blocks, a one bit, zeros, and the number of bits in the last eight bytes. Returns how many
 * blocks that makes, one or two. */
static inline size_t last_blocks(uint8_t end[static 128], const void *bytes, size_t count) {
  const size_t rest = count % 64, size = rest < 56 ? 64 : 128;
  memset(end, 0, size);
  if (rest > 0) memcpy(end, (const uint8_t *)bytes + count - rest, rest);
  end[rest] = 0x80;
  const uint64_t bits = __builtin_bswap64((uint64_t)count * 8);
  memcpy(end + size - 8, &bits, 8);
  return size / 64;
}
