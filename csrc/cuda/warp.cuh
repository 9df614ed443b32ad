// Sums and largest values over the lanes of a warp, of which each has a row.
#pragma once

#include "cuda/group.cuh"

namespace netdiffus {

__device__ inline int lane() { return threadIdx.x % kLanes; }

// In every lane the same sum, always added in the same order.
template <class T>
__device__ inline T warp_sum(T v) {
  for (int step = kLanes / 2; step; step /= 2) v += __shfl_xor_sync(0xFFFFFFFFu, v, step);
  return v;
}

__device__ inline int64_t row_of_warp() {
  return int64_t{blockIdx.x} * kWarps + threadIdx.x / kLanes;
}

__device__ inline float warp_largest(float v) {
  for (int step = kLanes / 2; step; step /= 2) {
    const float other = __shfl_xor_sync(0xFFFFFFFFu, v, step);
    v = v < other ? other : v;
  }
  return v;
}

// The largest of a row's logarithms; a NaN may be passed over.
template <class Logs>
__device__ inline float largest(const Logs& log, int count) {
  float most = -INFINITY;
  for (int s = lane(); s < count; s += kLanes) {
    const float v = log(s);
    most = most < v ? v : most;
  }
  return warp_largest(most);
}

}  // namespace netdiffus
