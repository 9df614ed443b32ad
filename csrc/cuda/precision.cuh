// The body of the kernel for products with precision matrices. A block has one trace: its threads
// take columns of the eigenvectors, whose weights they leave in shared memory, then its warps rows.
#pragma once

#include "cuda/warp.cuh"

namespace netdiffus {

constexpr int kPrecisionSize = 1024;  // the longest trace: six blocks' weights fit together
// What a row comes to, and the rows that a warp has: a result for each lane to store.
constexpr int kResults = 4, kOwnRows = kLanes / kResults;

// The covariances of the groups.
template <class T>
struct Covariances {
  const T *variances, *vectors;
  int groups, size;
};

// What each eigenvector weighs in S, K, and K apart.
struct Weights {
  float s[kPrecisionSize], k[kPrecisionSize], inner[kPrecisionSize];
};

// Of the eigenvectors of one covariance, whose first column and variance these are.
template <class T>
__device__ inline void weigh(const T* apart, float noise, const T* variances, const T* vectors,
                             int size, Weights& weights) {
  for (int j = threadIdx.x; j < size; j += kThreads) {
    const float s = wide(variances[j]), k = 1 / (s + noise);
    float sum = 0;
#pragma unroll 4
    for (int i = 0; i < size; ++i) sum += wide(vectors[i * size + j]) * wide(apart[i]);
    weights.s[j] = s;
    weights.k[j] = k;
    weights.inner[j] = k * sum;
  }
}

// A row of K apart, and of the diagonals of K, S K and S, each in the lanes that store it.
template <class T>
__device__ inline float row_results(const T* row, int size, const Weights& weights) {
  float pulled = 0, k = 0, sk = 0, s = 0;
  for (int j = lane(); j < size; j += kLanes) {
    const float v = wide(row[j]), squared = v * v, of_k = squared * weights.k[j];
    pulled += v * weights.inner[j];
    k += of_k;
    sk += of_k * weights.s[j];
    s += squared * weights.s[j];
  }
  const float low = half_sum(pulled, sk, kLanes / 2), high = half_sum(k, s, kLanes / 2);
  return lane_sum(half_sum(low, high, kOwnRows), 1, kOwnRows);
}

// A group that is none gives NaN: to look before a launch would wait for the device.
template <class T>
__global__ void __launch_bounds__(kThreads, kBlocks)
    precision_kernel(const T* apart, const T* noise, const int64_t* group, Covariances<T> of,
                     int64_t batch, T* found) {
  __shared__ Weights weights;
  const int64_t trace = blockIdx.x;
  const bool known = group[trace] >= 0 && group[trace] < of.groups;
  const int64_t line = known ? group[trace] * of.size : 0;
  const T* vectors = of.vectors + line * of.size;
  if (known)
    weigh(apart + trace * of.size, wide(noise[trace]), of.variances + line, vectors, of.size,
          weights);
  __syncthreads();
  const int result = lane() / kOwnRows, own = lane() % kOwnRows;
  found += (result * batch + trace) * of.size;
  for (int first = threadIdx.x / kLanes * kOwnRows; first < of.size; first += kWarps * kOwnRows) {
    const int rows = of.size - first < kOwnRows ? of.size - first : kOwnRows;
    float kept = NAN;
    for (int r = 0; known && r < rows; ++r) {
      const float sum = row_results(vectors + (first + r) * of.size, of.size, weights);
      kept = r == own ? sum : kept;
    }
    if (own < rows) narrow(kept, found[first + own]);
  }
}

}  // namespace netdiffus
