/* SHA-1 and SHA-256 of a few bytes by the processor's own instructions. A node hashes a key for each request and a record for each key
 * that it reads, and Crypto makes an object for each hash, which takes as long as hashing so little. Where the processor has no such
 * instructions Crypto does it nevertheless: these aren't second implementations for everywhere. */
#ifndef CSHA_H
#define CSHA_H

#include <stddef.h>
#include <stdint.h>

/* Whether this processor can. The others may be called only then. */
int sha_is_built_in(void);

/* The first 128 bits of the SHA-1 of some bytes, as big-endian words. */
void sha1_begin(const void *bytes, size_t count, uint64_t *high, uint64_t *low);

struct sha256_hash {
  uint64_t words[4];
};

/* The SHA-256 of some bytes, as big-endian words. */
struct sha256_hash sha256(const void *bytes, size_t count);

#endif
