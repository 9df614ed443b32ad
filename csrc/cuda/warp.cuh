// Sums over the lanes of a warp.
#pragma once

#include "cuda/group.cuh"

namespace netdiffus {

__device__ inline int lane() { return threadIdx.x % kLanes; }

// The sum of v over the lanes that differ from this one in the bits from `from` up to `to`: in each
// of them, always added in the same order.
__device__ inline float lane_sum(float v, int from, int to) {
  for (int step = to / 2; step >= from; step /= 2) v += __shfl_xor_sync(0xFFFFFFFFu, v, step);
  return v;
}

// The sum over pairs of lanes `step` apart: the lower lane gets that of `low`, the upper of `high`.
__device__ inline float half_sum(float low, float high, int step) {
  const bool upper = lane() & step;
  return (upper ? high : low) + __shfl_xor_sync(0xFFFFFFFFu, upper ? low : high, step);
}

__device__ inline float warp_sum(float v) { return lane_sum(v, 1, kLanes); }

}  // namespace netdiffus
