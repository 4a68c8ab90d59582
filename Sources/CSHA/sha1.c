#include "CSHA.h"

#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__) && defined(__linux__)

#include <immintrin.h>

#include "last_blocks.h"

/* Four rounds. `now` is the part of e for these, `next` the one for the next four; m0 to m3 are the sixteen words of the schedule, the four
 * of these rounds first, and leave with the words that are sixteen further on prepared. */
#define ROUNDS(function, now, next, m0, m1, m2, m3) \
  do { \
    now = _mm_sha1nexte_epu32(now, m0); \
    next = abcd; \
    m1 = _mm_sha1msg2_epu32(m1, m0); \
    abcd = _mm_sha1rnds4_epu32(abcd, now, function); \
    m3 = _mm_sha1msg1_epu32(m3, m0); \
    m2 = _mm_xor_si128(m2, m0); \
  } while (0)

__attribute__((target("sha,ssse3,sse4.1"))) static void compress(
  __m128i *state, __m128i *last, const uint8_t *block, size_t blocks) {
  const __m128i order = _mm_set_epi64x(0x0001020304050607, 0x08090a0b0c0d0e0f);
  __m128i abcd = *state, e0 = *last, e1;
  for (; blocks > 0; blocks--, block += 64) {
    const __m128i abcd_before = abcd, e0_before = e0;
    __m128i m0 = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)block), order);
    __m128i m1 = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(block + 16)), order);
    __m128i m2 = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(block + 32)), order);
    __m128i m3 = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(block + 48)), order);
    /* The first twelve rounds, whose words are the block's own. */
    e0 = _mm_add_epi32(e0, m0);
    e1 = abcd;
    abcd = _mm_sha1rnds4_epu32(abcd, e0, 0);
    e1 = _mm_sha1nexte_epu32(e1, m1);
    e0 = abcd;
    abcd = _mm_sha1rnds4_epu32(abcd, e1, 0);
    m0 = _mm_sha1msg1_epu32(m0, m1);
    e0 = _mm_sha1nexte_epu32(e0, m2);
    e1 = abcd;
    abcd = _mm_sha1rnds4_epu32(abcd, e0, 0);
    m1 = _mm_sha1msg1_epu32(m1, m2);
    m0 = _mm_xor_si128(m0, m2);
    ROUNDS(0, e1, e0, m3, m0, m1, m2);
    ROUNDS(0, e0, e1, m0, m1, m2, m3);
    ROUNDS(1, e1, e0, m1, m2, m3, m0);
    ROUNDS(1, e0, e1, m2, m3, m0, m1);
    ROUNDS(1, e1, e0, m3, m0, m1, m2);
    ROUNDS(1, e0, e1, m0, m1, m2, m3);
    ROUNDS(1, e1, e0, m1, m2, m3, m0);
    ROUNDS(2, e0, e1, m2, m3, m0, m1);
    ROUNDS(2, e1, e0, m3, m0, m1, m2);
    ROUNDS(2, e0, e1, m0, m1, m2, m3);
    ROUNDS(2, e1, e0, m1, m2, m3, m0);
    ROUNDS(2, e0, e1, m2, m3, m0, m1);
    ROUNDS(3, e1, e0, m3, m0, m1, m2);
    ROUNDS(3, e0, e1, m0, m1, m2, m3);
    ROUNDS(3, e1, e0, m1, m2, m3, m0);
    ROUNDS(3, e0, e1, m2, m3, m0, m1);
    ROUNDS(3, e1, e0, m3, m0, m1, m2);
    e0 = _mm_sha1nexte_epu32(e0, e0_before);
    abcd = _mm_add_epi32(abcd, abcd_before);
  }
  *state = abcd;
  *last = e0;
}

__attribute__((target("sha,ssse3,sse4.1"))) void sha1_begin(
  const void *bytes, size_t count, uint64_t *high, uint64_t *low) {
  __m128i abcd = _mm_set_epi32(0x67452301, (int)0xefcdab89, (int)0x98badcfe, 0x10325476);
  __m128i e = _mm_set_epi32((int)0xc3d2e1f0, 0, 0, 0);
  compress(&abcd, &e, bytes, count / 64);
  uint8_t end[128];
  compress(&abcd, &e, end, last_blocks(end, bytes, count));
  *high = (uint64_t)_mm_extract_epi64(abcd, 1);
  *low = (uint64_t)_mm_extract_epi64(abcd, 0);
}

#else

void sha1_begin(const void *bytes, size_t count, uint64_t *high, uint64_t *low) {
  (void)bytes;
  (void)count;
  (void)high;
  (void)low;
  abort();
}

#endif
