/* SHA-1 by the processor's own instructions, for digests of records, of which a mirror makes a million before it is of any use.
 *
 * Crypto's SHA-1 makes an object for each hash, and that takes as long as the hash itself. Where the processor has no such instructions
 * Crypto's is used nevertheless: this isn't a second implementation for everywhere. */
#ifndef CSHA1_H
#define CSHA1_H

#include <stddef.h>
#include <stdint.h>

/* Whether this processor can. */
int sha1_is_built_in(void);

/* The first 128 bits of the SHA-1 of some bytes, as big-endian words. Only where sha1_is_built_in. */
void sha1_begin(const void *bytes, size_t count, uint64_t *high, uint64_t *low);

#endif
