// Memory that the caches do not foresee: output too large to stay in them, input that is to come.
#pragma once

#include <cstdint>
#include <cstring>

#ifdef __SSE2__
#include <emmintrin.h>
#endif
#ifdef __linux__
#include <unistd.h>
#endif

#include "formulas.h"

namespace netdiffus {

// Whether so many bytes of output are better written past the caches.
inline bool worth_streaming(int64_t bytes) {
#ifndef __SSE2__
  return bytes < 0;  // there are no such stores
#elif defined(_SC_LEVEL3_CACHE_SIZE)
  static const int64_t found = sysconf(_SC_LEVEL3_CACHE_SIZE);
  return bytes > (found > 0 ? found : int64_t{32} << 20);
#else
  return bytes > int64_t{32} << 20;
#endif
}

// memcpy past the caches; call stream_fence() before another thread reads.
template <class T>
void stream_copy(T* place, const T* values, int64_t count) {
  char* to = reinterpret_cast<char*>(place);
  const char* from = reinterpret_cast<const char*>(values);
  int64_t bytes = count * static_cast<int64_t>(sizeof(T));
#ifdef __SSE2__
  const int64_t head = (16 - reinterpret_cast<uintptr_t>(to) % 16) % 16;
  if (head < bytes) {
    std::memcpy(to, from, head);
    to += head, from += head, bytes -= head;
    for (; bytes >= 16; to += 16, from += 16, bytes -= 16)
      _mm_stream_si128(reinterpret_cast<__m128i*>(to),
                       _mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
  }
#endif
  std::memcpy(to, from, bytes);
}

// Has a cache, the second or the first, fetch numbers that are needed soon.
template <int cache, class T>
NETDIFFUS_FN void ask_for(const T* from, int64_t count) {
  constexpr int64_t kCacheLine = 64 / sizeof(T);
  for (int64_t k = 0; k < count; k += kCacheLine) __builtin_prefetch(from + k, 0, 4 - cache);
}

inline void stream_fence() {
#ifdef __SSE2__
  _mm_sfence();
#endif
}

}  // namespace netdiffus
