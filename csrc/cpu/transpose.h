// Squares of eight numbers each way, turned in registers: what lies in lines becomes lanes.
#pragma once

#include <cstdint>
#include <cstring>

#include "formulas.h"

namespace netdiffus {

constexpr int64_t kSquare = 8;

// Lines of a square, and the places that a shuffle of two of them takes. The type is named in a
// struct, as a template argument loses its alignment.
template <class T>
struct Line;
template <>
struct Line<float> {
  typedef float type __attribute__((vector_size(kSquare * 4), aligned(4), may_alias));
  typedef int32_t places __attribute__((vector_size(kSquare * 4)));
};
template <>
struct Line<double> {
  typedef double type __attribute__((vector_size(kSquare * 8), aligned(8), may_alias));
  typedef int64_t places __attribute__((vector_size(kSquare * 8)));
};

#ifdef __clang__
#define NETDIFFUS_SHUFFLE(T, a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define NETDIFFUS_SHUFFLE(T, a, b, ...) \
  __builtin_shuffle(a, b, typename Line<T>::places{__VA_ARGS__})
#endif

// to[c * to_step + r] = from[r * from_step + c]; both may be one square.
template <class T>
NETDIFFUS_FN void transpose(const T* from, int64_t from_step, T* to, int64_t to_step) {
  typedef T V __attribute__((vector_size(kSquare * sizeof(T))));
  V line[kSquare], half[kSquare];
  for (int64_t r = 0; r < kSquare; ++r) std::memcpy(&line[r], from + r * from_step, sizeof(V));
  for (int64_t r = 0; r < kSquare; r += 2) {  // pairs of numbers, by two lines
    half[r] = NETDIFFUS_SHUFFLE(T, line[r], line[r + 1], 0, 8, 1, 9, 4, 12, 5, 13);
    half[r + 1] = NETDIFFUS_SHUFFLE(T, line[r], line[r + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  }
  for (int64_t r = 0; r < kSquare; r += 4)  // fours, by four lines
    for (int64_t k = 0; k < 2; ++k) {
      const V a = half[r + k], b = half[r + k + 2];
      line[r + 2 * k] = NETDIFFUS_SHUFFLE(T, a, b, 0, 1, 8, 9, 4, 5, 12, 13);
      line[r + 2 * k + 1] = NETDIFFUS_SHUFFLE(T, a, b, 2, 3, 10, 11, 6, 7, 14, 15);
    }
  for (int64_t r = 0; r < 4; ++r) {
    half[r] = NETDIFFUS_SHUFFLE(T, line[r], line[r + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    half[r + 4] = NETDIFFUS_SHUFFLE(T, line[r], line[r + 4], 4, 5, 6, 7, 12, 13, 14, 15);
  }
  for (int64_t c = 0; c < kSquare; ++c) std::memcpy(to + c * to_step, &half[c], sizeof(V));
}

// Lines (rows, columns), up to eight and `step` apart, to lanes (columns, 8); lanes without a line
// keep what they held.
template <class T>
NETDIFFUS_FN void to_lanes(const T* lines, int64_t rows, int64_t columns, int64_t step, T* lanes) {
  int64_t c = 0;
  if (rows == kSquare)
    for (; c + kSquare <= columns; c += kSquare)
      transpose(lines + c, step, lanes + c * kSquare, kSquare);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t at = c; at < columns; ++at) lanes[at * kSquare + r] = lines[r * step + at];
}

// And back.
template <class T>
NETDIFFUS_FN void to_lines(const T* lanes, int64_t rows, int64_t columns, int64_t step, T* lines) {
  int64_t c = 0;
  if (rows == kSquare)
    for (; c + kSquare <= columns; c += kSquare)
      transpose(lanes + c * kSquare, kSquare, lines + c, step);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t at = c; at < columns; ++at) lines[r * step + at] = lanes[at * kSquare + r];
}

}  // namespace netdiffus
