// The body of the kernel that draws tokens from the softmax of logits. A warp has one row of these.
// Weights are in grains: their sums are exact, so that lanes may share the adding.
#pragma once

#include "cuda/warp.cuh"

namespace netdiffus {

// The weight of each token of a row; NaN where there is no softmax.
template <class T>
struct Tokens {
  const T* logits;
  float most;
  double grain;
  NETDIFFUS_FN double operator()(int v) const {
    return to_grains(exponential(wide(logits[v]) - most), grain);
  }
};

template <class T>
struct Logits {
  const T* logits;
  NETDIFFUS_FN float operator()(int v) const { return wide(logits[v]); }
};

// The sum over this lane and those below it.
__device__ inline double sum_up_to_lane(double v) {
  for (int step = 1; step < kLanes; step *= 2) {
    const double other = __shfl_up_sync(0xFFFFFFFFu, v, step);
    if (lane() >= step) v += other;
  }
  return v;
}

// How many tokens have a cumulative weight up to `goal`: the next one is drawn.
template <class Weights>
__device__ inline int count_up_to(const Weights& weight, int size, double goal) {
  double before = 0;
  int count = 0;
  for (int first = 0; first < size; first += kLanes) {
    const int v = first + lane();
    const double sum = before + sum_up_to_lane(v < size ? weight(v) : 0);
    count += v < size && sum <= goal;
    before = __shfl_sync(0xFFFFFFFFu, sum, kLanes - 1);
  }
  return static_cast<int>(warp_sum(static_cast<double>(count)));
}

// A row that has no softmax, or a number that is not in [0, 1), gives -1: to look before a launch
// would wait for the device.
template <class T>
__global__ void __launch_bounds__(kThreads, kBlocks)
    draw_tokens_kernel(const T* logits, const double* uniforms, int64_t rows, int size,
                       double grain, int64_t* tokens) {
  const int64_t row = row_of_warp();
  if (row >= rows) return;
  logits += row * size;
  const Tokens<T> weight{logits, largest(Logits<T>{logits}, size), grain};
  double sum = 0;
  for (int v = lane(); v < size; v += kLanes) sum += weight(v);
  sum = warp_sum(sum);
  const double uniform = uniforms[row];
  const bool known = sum == sum && uniform >= 0 && uniform < 1;
  const int token = count_up_to(weight, known ? size : 0, uniform * sum);
  if (lane() == 0) tokens[row] = known ? token : -1;
}

}  // namespace netdiffus
