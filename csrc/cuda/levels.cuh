// The bodies of the kernels for what the U-Net does to the chances of levels. A warp has one point
// of a channel, and its lanes take turns at the levels. What the levels need of each other goes
// through registers, in an order that is always the same.
#pragma once

#include "cuda/warp.cuh"
#include "kernels.h"

namespace netdiffus {

constexpr int kCosines = 16;

// One channel of the levels: in rows of `levels`, its own are `count` from `begin` on.
struct Channel {
  int64_t rows;
  int points, channels, number, levels, begin, count;
  __device__ int64_t point(int64_t row) const { return row * channels + number; }
  __device__ int64_t level(int64_t row) const { return row * levels + begin; }
};

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

struct Unseen {
  NETDIFFUS_FN void operator()(int, float) const {}
};

// The largest logarithm of a point, each shown to see(s, log); a NaN may be passed over.
template <class Logs, class See = Unseen>
__device__ inline float largest(const Logs& log, int count, const See& see = {}) {
  float most = -INFINITY;
  for (int s = lane(); s < count; s += kLanes) {
    const float v = log(s);
    see(s, v);
    most = most < v ? v : most;
  }
  return warp_largest(most);
}

// The sum of what the logarithms stand for, as parts of the largest. NaN among them makes it so.
template <class Logs>
__device__ inline float total(const Logs& log, int count, float most) {
  float sum = 0;
  for (int s = lane(); s < count; s += kLanes) sum += exponential(log(s) - most);
  return warp_sum(sum);
}

// One level, and how far it reaches.
struct Reach {
  float low, x, high;
  NETDIFFUS_FN float width() const { return (high - low) * (high - low) * (1 / 12.f); }
};

template <class T>
NETDIFFUS_FN Reach reach(const T* spans, int s) {
  return {wide(spans[3 * s]), wide(spans[3 * s + 1]), wide(spans[3 * s + 2])};
}

// The logarithms of a point's chances, by what is known of it.
template <class T>
struct Weighed {
  const T *counted, *spans;
  float edge, variance, slope, curve;
  NETDIFFUS_FN float operator()(int s) const {
    const Reach level = reach(spans, s);
    const float x = level.x, apart = edge - x, sharpness = 0.5f / (variance + level.width());
    return (wide(counted[s]) - apart * apart * sharpness) + (slope + curve * x) * x;
  }
};

// Those of chances that the network changed.
template <class T>
struct Told {
  const T *chances, *told;
  NETDIFFUS_FN float operator()(int s) const { return wide(chances[s]) + wide(told[s]); }
};

// Adds sum_s part_s cosines_sk, for 32 levels of which each lane has the part of one. Half of the
// warp takes the even ones, half the odd, a lane to each k.
template <class T>
__device__ inline float with_cosines(float sum, float part, const T* cosines, int levels) {
#pragma unroll
  for (int even = 0; even < kLanes; even += 2) {
    const int s = even + lane() / kCosines;
    const float of_level = __shfl_sync(0xFFFFFFFFu, part, s);
    if (s < levels) sum += of_level * wide(cosines[even * kCosines + lane()]);
  }
  return sum;
}

template <class T>
__global__ void __launch_bounds__(kThreads, kBlocks)
    level_chances_kernel(LevelInput<T> in, Channel at, T* chances, T* features) {
  const int64_t row = row_of_warp(), point = at.point(row);
  if (row >= at.rows) return;
  const Weighed<T> log{in.counted + at.level(row), in.spans + 3 * at.begin,
                       wide(in.edge[point]),       wide(in.variance[row / at.points]),
                       wide(in.slope[point]),      wide(in.curve[point])};
  chances += at.level(row);
  const float most = largest(log, at.count, [&](int s, float v) { narrow(v, chances[s]); });
  const float scale = 1 / total(log, at.count, most);
  features += row * (at.channels + at.levels + kCosines * at.channels);
  if (lane() == 0) features[at.number] = in.border[point];
  const T* cosines = in.cosines + at.begin * kCosines;
  float sum = 0;
  for (int first = 0; first < at.count; first += kLanes) {
    const int s = first + lane();
    const float part = s < at.count ? scale * exponential(log(s) - most) : 0;
    if (s < at.count) narrow(4 * std::sqrt(part), features[at.channels + at.begin + s]);
    sum = with_cosines(sum, part, cosines + first * kCosines, at.count - first);
  }
  sum = lane_sum(sum, kCosines, kLanes);
  features += at.channels + at.levels + at.number * kCosines;
  if (lane() < kCosines) narrow(sum, features[lane()]);
}

// The value in a level that is likeliest, given a point with noise; `exponent` undoes contrast.
NETDIFFUS_FN float likeliest(const Reach& level, float edge, float variance, float exponent) {
  const float pull = level.width() / (level.width() + variance);
  float x = level.x + pull * (edge - level.x);
  x = x < level.low ? level.low : x > level.high ? level.high : x;
  return exponent == 1 ? x : 2 * power(0.5f * (x + 1), exponent) - 1;
}

template <class T>
__global__ void __launch_bounds__(kThreads, kBlocks)
    level_means_kernel(const T* chances, const T* told, const T* edge, const T* variance,
                       const T* spans, Channel at, float exponent, T* means) {
  const int64_t row = row_of_warp(), point = at.point(row);
  if (row >= at.rows) return;
  const Told<T> log{chances + at.level(row), told + at.level(row)};
  const float noisy = wide(edge[point]), noise = wide(variance[row / at.points]);
  const float most = largest(log, at.count);
  float sum = 0, cosine = 0, sine = 0, square = 0;
  for (int s = lane(); s < at.count; s += kLanes) {
    const float part = exponential(log(s) - most);
    const float x = likeliest(reach(spans + 3 * at.begin, s), noisy, noise, exponent);
    const float rest = 1 - x * x;
    sum += part;
    cosine += part * x;
    sine += part * std::sqrt(rest < 0 ? 0 : rest);
    square += part * (x * x);
  }
  const float scale = 1 / warp_sum(sum);
  cosine = scale * warp_sum(cosine);
  sine = scale * warp_sum(sine);
  square = scale * warp_sum(square);
  const float mean = lane() == 0 ? cosine : lane() == 1 ? sine : square;
  if (lane() < 3) narrow(mean, means[lane() * at.rows * at.channels + point]);
}

// Which of a channel's levels is right; the count where it is none of them, which gives NaN: to
// look before a launch would wait for the device.
NETDIFFUS_FN int own_of(int64_t own, const Channel& at) {
  own -= at.begin;
  return static_cast<int>(own < 0 || own >= at.count ? at.count : own);
}

template <class T>
__global__ void __launch_bounds__(kThreads, kBlocks)
    level_loss_kernel(const T* chances, const T* told, const int64_t* own, Channel at, T* lost) {
  const int64_t row = row_of_warp(), point = at.point(row);
  if (row >= at.rows) return;
  const Told<T> log{chances + at.level(row), told + at.level(row)};
  const float most = largest(log, at.count), sum = total(log, at.count, most);
  const int right = own_of(own[point], at);
  const float log_right = right < at.count ? log(right) : NAN;
  if (lane() == 0) narrow(std::log(sum) + (most - log_right), lost[point]);
}

// From the loss's gradient g, told's: g (p_s - [s = own]).
template <class T>
__global__ void __launch_bounds__(kThreads, kBlocks)
    level_loss_backward_kernel(const T* chances, const T* told, const int64_t* own, const T* g,
                               Channel at, T* found) {
  const int64_t row = row_of_warp(), point = at.point(row);
  if (row >= at.rows) return;
  const Told<T> log{chances + at.level(row), told + at.level(row)};
  const float most = largest(log, at.count), sum = total(log, at.count, most);
  const int right = own_of(own[point], at);
  const float slope = right < at.count ? wide(g[point]) : NAN, scale = slope / sum;
  found += at.level(row);
  for (int s = lane(); s < at.count; s += kLanes)
    narrow(scale * exponential(log(s) - most) - (s == right ? slope : 0), found[s]);
}

}  // namespace netdiffus
