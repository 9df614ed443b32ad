// Reductions in lanes of fixed number: they vectorise, and round alike on every instruction set.
#pragma once

#include <cstdint>

#include "formulas.h"

namespace netdiffus {

constexpr int64_t kLanes = 16;

template <class T>
struct Lanes {
  T lane[kLanes] = {};
  // Halves upon each other, as sixteen sums in a row would wait for one another.
  NETDIFFUS_FN T total() {
    static_assert(kLanes == 16, "two halvings down to four");
    for (int64_t l = 0; l < 8; ++l) lane[l] += lane[l + 8];
    for (int64_t l = 0; l < 4; ++l) lane[l] += lane[l + 4];
    return (lane[0] + lane[2]) + (lane[1] + lane[3]);
  }
};

template <class T>
NETDIFFUS_FN T total(const T* v, int64_t count) {
  Lanes<T> sum;
  int64_t j = 0;
  for (; j + kLanes <= count; j += kLanes)
    for (int64_t l = 0; l < kLanes; ++l) sum.lane[l] += v[j + l];
  for (int64_t l = 0; j < count; ++j, ++l) sum.lane[l] += v[j];
  return sum.total();
}

// Of at least one number; a NaN may be passed over.
template <class T>
NETDIFFUS_FN T largest(const T* v, int64_t count) {
  T lane[kLanes];
  for (int64_t l = 0; l < kLanes; ++l) lane[l] = v[0];
  int64_t j = 0;
  for (; j + kLanes <= count; j += kLanes)
    for (int64_t l = 0; l < kLanes; ++l) lane[l] = lane[l] < v[j + l] ? v[j + l] : lane[l];
  for (int64_t l = 0; j < count; ++j, ++l) lane[l] = lane[l] < v[j] ? v[j] : lane[l];
  T most = lane[0];
  for (int64_t l = 1; l < kLanes; ++l) most = most < lane[l] ? lane[l] : most;
  return most;
}

}  // namespace netdiffus
