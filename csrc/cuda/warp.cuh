// Sums over the lanes of a warp.
#pragma once

#include "cuda/group.cuh"

namespace netdiffus {

// The sum of v over the lanes that differ from this one in the bits from `from` up to `to`: in each
// of them, always added in the same order.
__device__ inline float lane_sum(float v, int from, int to) {
  for (int step = to / 2; step >= from; step /= 2) v += __shfl_xor_sync(0xFFFFFFFFu, v, step);
  return v;
}

__device__ inline float warp_sum(float v) { return lane_sum(v, 1, kLanes); }

}  // namespace netdiffus
