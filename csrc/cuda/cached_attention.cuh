// The body of the kernel for attention of one new point to a key-value cache. A warp has one head
// of one sequence; its lanes take the features of a key side by side, then scores, then features of
// the values.
#pragma once

#include "cuda/warp.cuh"

namespace netdiffus {

constexpr int kLongestCache = 512;  // points that a query looks at: six blocks' scores fit together

// The cache of all heads: rows of `width` features, `length` of them to a head.
template <class T>
struct Cache {
  T *keys, *values;
  int64_t length;
  int heads, width, place;
};

struct Scores {
  float* score;
  NETDIFFUS_FN float operator()(int j) const { return score[j]; }
};

// Writes the new key and value. A lane reads later only those features that it writes here.
template <class T>
__device__ inline void append(const T* point, int64_t features, int width, T* key, T* value) {
#pragma unroll 1
  for (int c = lane(); c < width; c += kLanes) {
    key[c] = point[features + c];
    value[c] = point[2 * features + c];
  }
}

// The query's products with the keys, over the root of the width: 32 at a time, each in the lane
// that stores it.
template <class T>
__device__ inline void score(const T* query, const T* keys, int width, int count, float* scores) {
  const float root = std::sqrt(static_cast<float>(width));
  for (int first = 0; first < count; first += kLanes) {
    const int used = count - first < kLanes ? count - first : kLanes;
    float kept = 0;
#pragma unroll 1
    for (int j = 0; j < used; ++j, keys += width) {
      float sum = 0;
#pragma unroll 1
      for (int c = lane(); c < width; c += kLanes) sum += wide(query[c]) * wide(keys[c]);
      sum = warp_sum(sum);
      kept = j == lane() ? sum : kept;
    }
    if (lane() < used) scores[first + lane()] = kept / root;
  }
}

// Scores to shares of the largest, whose sum it returns. A lane reads the scores that it wrote.
__device__ inline float to_shares(const Scores& scores, int count) {
  const float most = largest(scores, count);
  float sum = 0;
#pragma unroll 1
  for (int j = lane(); j < count; j += kLanes) {
    const float share = exponential(scores(j) - most);
    scores.score[j] = share;
    sum += share;
  }
  return warp_sum(sum);
}

template <class T>
__device__ inline void means(const float* shares, float sum, const T* values, int width, int count,
                             T* out) {
#pragma unroll 1
  for (int c = lane(); c < width; c += kLanes) {
    float mean = 0;
#pragma unroll 4
    for (int j = 0; j < count; ++j) mean += shares[j] * wide(values[j * width + c]);
    narrow(mean / sum, out[c]);
  }
}

// Heads past the last have no points, and stay for the barrier.
template <class T>
__global__ void __launch_bounds__(kThreads, kBlocks)
    cached_attention_kernel(const T* qkv, Cache<T> cache, int64_t rows, T* out) {
  __shared__ float scores[kWarps][kLongestCache];
  float* own = scores[threadIdx.x / kLanes];
  const int64_t row = row_of_warp(), line = row * cache.length * cache.width;
  const int width = cache.width, count = row < rows ? cache.place + 1 : 0;
  if (count) {
    const int64_t features = int64_t{cache.heads} * width;
    const T* query = qkv + row / cache.heads * 3 * features + row % cache.heads * width;
    const int64_t last = line + cache.place * width;
    append(query, features, width, cache.keys + last, cache.values + last);
    score(query, cache.keys + line, width, count, own);
  }
  const float sum = to_shares({own}, count);
  __syncthreads();
  if (count) means(own, sum, cache.values + line, width, count, out + row * width);
}

}  // namespace netdiffus
