// How CPU loops are spread over threads.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cpu/isa.h"

namespace netdiffus {

// Calls body(thread, begin, end) so that the ranges make up [0, count).
template <class Body>
void for_ranges(int64_t count, int threads, const Body& body) {
#pragma omp parallel for num_threads(threads) if (threads > 1)
  for (int k = 0; k < threads; ++k) body(k, count * k / threads, count * (k + 1) / threads);
}

// Calls body(image, begin, end) for the part [begin, end) of each image that lies in rows
// [begin, end) of the batch.
template <class Body>
void for_images(int64_t begin, int64_t end, int64_t rows, const Body& body) {
  while (begin < end) {
    const int64_t image = begin / rows, top = image * rows;
    const int64_t stop = std::min(end, top + rows);
    body(image, begin - top, stop - top);
    begin = stop;
  }
}

// Threads worth starting for so much output: below 64 Ki elements waking them costs more.
inline int useful_threads(int64_t items, int64_t elements, int threads) {
  return elements < (1 << 16) ? 1 : static_cast<int>(std::min<int64_t>(items, threads));
}

}  // namespace netdiffus
