#include "CSHA.h"

#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__) && defined(__linux__)

#include <cpuid.h>
#include <immintrin.h>

#include "last_blocks.h"

int sha_is_built_in(void) {
  unsigned a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_SSSE3) || !(c & bit_SSE4_1)) return 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_SHA);
}

static const uint32_t constants[64] __attribute__((aligned(16))) = {
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01,
  0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc,
  0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
  0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
  0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08,
  0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
  0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

/* Four rounds with these four words of the schedule. */
#define ROUNDS(group, words) \
  do { \
    __m128i sum = _mm_add_epi32(words, _mm_load_si128((const __m128i *)(constants + 4 * (group)))); \
    cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum); \
    abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(sum, 0x0e)); \
  } while (0)

/* The words that follow the sixteen in m0 to m3, in place of m0. */
#define SCHEDULE(m0, m1, m2, m3) \
  m0 = _mm_sha256msg2_epu32(_mm_add_epi32(_mm_sha256msg1_epu32(m0, m1), _mm_alignr_epi8(m3, m2, 4)), m3)

__attribute__((target("sha,ssse3,sse4.1"))) static void compress(
  __m128i *first, __m128i *second, const uint8_t *block, size_t blocks) {
  const __m128i order = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
  __m128i abef = *first, cdgh = *second;
  for (; blocks > 0; blocks--, block += 64) {
    const __m128i abef_before = abef, cdgh_before = cdgh;
    __m128i m0 = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)block), order);
    __m128i m1 = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(block + 16)), order);
    __m128i m2 = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(block + 32)), order);
    __m128i m3 = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(block + 48)), order);
    for (int group = 0;; group += 4) {
      ROUNDS(group, m0);
      ROUNDS(group + 1, m1);
      ROUNDS(group + 2, m2);
      ROUNDS(group + 3, m3);
      if (group == 12) break;
      SCHEDULE(m0, m1, m2, m3);
      SCHEDULE(m1, m2, m3, m0);
      SCHEDULE(m2, m3, m0, m1);
      SCHEDULE(m3, m0, m1, m2);
    }
    abef = _mm_add_epi32(abef, abef_before);
    cdgh = _mm_add_epi32(cdgh, cdgh_before);
  }
  *first = abef;
  *second = cdgh;
}

__attribute__((target("sha,ssse3,sse4.1"))) struct sha256_hash sha256(const void *bytes, size_t count) {
  __m128i abef = _mm_set_epi32(0x6a09e667, (int)0xbb67ae85, 0x510e527f, (int)0x9b05688c);
  __m128i cdgh = _mm_set_epi32(0x3c6ef372, (int)0xa54ff53a, 0x1f83d9ab, 0x5be0cd19);
  compress(&abef, &cdgh, bytes, count / 64);
  uint8_t end[128];
  compress(&abef, &cdgh, end, last_blocks(end, bytes, count));
  /* It may have been a secret. */
  explicit_bzero(end, count % 64);
  return (struct sha256_hash){{
    (uint64_t)_mm_extract_epi64(abef, 1), (uint64_t)_mm_extract_epi64(cdgh, 1), (uint64_t)_mm_extract_epi64(abef, 0),
    (uint64_t)_mm_extract_epi64(cdgh, 0)}};
}

#else

int sha_is_built_in(void) { return 0; }

struct sha256_hash sha256(const void *bytes, size_t count) {
  (void)bytes;
  (void)count;
  abort();
}

#endif
