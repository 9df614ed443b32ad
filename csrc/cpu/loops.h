// How CPU loops are spread over threads and instruction sets.
#pragma once

#include <algorithm>
#include <cstdint>

// A function so marked is compiled for several instruction sets; the loader picks one. It needs
// ifunc, so glibc. No OpenMP pragma may stand inside: its body would lose the choice.
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__) && \
    __GNUC__ >= 12
#define NETDIFFUS_CLONES \
  __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#define NETDIFFUS_HAS_CLONES 1
#else
#define NETDIFFUS_CLONES
#endif

namespace netdiffus {

// Calls body(thread, begin, end) so that the ranges make up [0, count).
template <class Body>
void for_ranges(int64_t count, int threads, const Body& body) {
#pragma omp parallel for num_threads(threads) if (threads > 1)
  for (int k = 0; k < threads; ++k) body(k, count * k / threads, count * (k + 1) / threads);
}

// Threads worth starting for so much output: below 64 Ki elements waking them costs more.
inline int useful_threads(int64_t items, int64_t elements, int threads) {
  return elements < (1 << 16) ? 1 : static_cast<int>(std::min<int64_t>(items, threads));
}

}  // namespace netdiffus
