// The bodies of the kernels of what the U-Net does between its matrix products. A block has a strip
// of one trace's rows, and goes over its features in tiles.
#pragma once

#include "cuda/warp.cuh"

namespace netdiffus {

constexpr int kTaps = 5, kReach = kTaps / 2;
constexpr int kAcross = 8;                  // threads to a line of a tile
constexpr int kStrip = kThreads / kAcross;  // rows of a block
constexpr int kHigh = kStrip + 2 * kReach;  // and those that its taps reach
// The arguments that a feature has: five taps, bias, scale and shift; each has a gradient.
constexpr int kBias = kTaps, kScale = kTaps + 1, kShift = kTaps + 2, kLines = kTaps + 3;
static_assert(kLines == kWarps, "a warp for each gradient");

template <class T>
struct Modulation {
  const T *s, *scale, *shift, *taps, *bias;
  int length, width;
  bool whole;  // rows may be accessed 128 bits at a time
};

// Where a block works: in which trace, from which row on, over how many rows.
struct Strip {
  int64_t trace;
  int top, rows;
};

template <class T>
__device__ inline Strip strip_of(const Modulation<T>& m) {
  const int strips = (m.length + kStrip - 1) / kStrip, top = blockIdx.x % strips * kStrip;
  return {blockIdx.x / strips, top, m.length - top < kStrip ? m.length - top : kStrip};
}

// Rows of features. The first four of all threads lie together, then their next: no access meets a
// bank twice.
template <class T, int kRows>
struct Tile {
  float part[kGroup<T> / 4][kRows][4 * kAcross];
};

// Four features of a row, from feature l of a thread's group on.
template <class T, int kRows>
__device__ inline Group<float> four(const Tile<T, kRows>& tile, int row, int l) {
  return load(&tile.part[l / 4][row][threadIdx.x % kAcross * 4], 4, true);
}

__device__ inline void put_four(const Group<float>& values, float* to) {
  *reinterpret_cast<uint4*>(to) =
      uint4{values.word[0], values.word[1], values.word[2], values.word[3]};
}

// One feature of it.
template <class T, int kRows>
NETDIFFUS_FN float& one(Tile<T, kRows>& tile, int row, int l) {
  return tile.part[l / 4][row][threadIdx.x % kAcross * 4 + l % 4];
}

// Fills a thread's group of a row with f(value, feature).
template <class T, int kRows, class Function>
__device__ inline void fill(Tile<T, kRows>& tile, int row, const T* from, int used, bool whole,
                            const Function& f) {
  constexpr int V = kGroup<T>;
  if (!whole) {
#pragma unroll 1
    for (int l = 0; l < V; ++l) one(tile, row, l) = l < used ? f(wide(from[l]), l) : 0;
    return;
  }
  const Group<T> values = load(from, V, true);
#pragma unroll
  for (int l = 0; l < V; l += 4) {
    Group<float> made;
#pragma unroll
    for (int q = 0; q < 4; ++q) set(f(value(values, l + q), l + q), made, q);
    put_four(made, &one(tile, row, l));
  }
}

// The arguments of a tile's features, each a row.
template <class T>
using Lines = Tile<T, kLines>;

// Where each of a trace's arguments begins, or null.
template <class T>
__device__ inline const T* argument(const Modulation<T>& m, int64_t trace, int line) {
  if (line == kScale) return m.scale + trace * m.width;
  if (line == kShift) return m.shift + trace * m.width;
  if (line == kBias) return m.bias;
  return m.taps ? m.taps + line * m.width : nullptr;
}

template <class T>
__device__ inline void fill_lines(Lines<T>& lines, const T* const* from, int column, int used,
                                  bool whole) {
  const int line = threadIdx.x / kAcross;
  if (line >= kLines || !from[line]) return;
  const float more = line == kScale ? 1 : 0;
  fill(lines, line, from[line] + column, used, whole, [=](float v, int) { return v + more; });
}

// A row's mean, and 1 / its standard deviation.
struct Moments {
  float mean, inverse;
  NETDIFFUS_FN float normal(float v) const { return (v - mean) * inverse; }
};

// The mean of f(v) over a row, by a warp.
template <class T, class Function>
__device__ inline float row_mean(const T* row, int width, bool whole, const Function& f) {
  const int step = whole ? kGroup<T> : 1;
  float sum = 0;
#pragma unroll 1
  for (int j = threadIdx.x % kLanes * step; j < width; j += kLanes * step) {
    if (!whole) {
      sum += f(wide(row[j]));
      continue;
    }
    const Group<T> values = load(row + j, kGroup<T>, true);
#pragma unroll
    for (int l = 0; l < kGroup<T>; ++l) sum += f(value(values, l));
  }
  return warp_sum(sum) / static_cast<float>(width);
}

// A warp to a row.
template <class T>
__device__ inline void measure(const T* s, int rows, int width, bool whole, Moments* moments) {
#pragma unroll 1
  for (int row = threadIdx.x / kLanes; row < rows; row += kWarps) {
    const T* line = s + row * width;
    const float mean = row_mean(line, width, whole, [](float v) { return v; });
    const float variance =
        row_mean(line, width, whole, [=](float v) { return (v - mean) * (v - mean); });
    if (threadIdx.x % kLanes == 0) moments[row] = {mean, 1 / std::sqrt(variance + 1e-5f)};
  }
}

// Rows [first, last) of a trace as features in a tile, whose first row is top - kReach: f(value,
// row of the tile, feature), and 0 outside.
template <class T, class Function>
__device__ inline void fill_near(Tile<T, kHigh>& tile, const T* rows, const Modulation<T>& m,
                                 int top, int first, int last, int column, const Function& f) {
#pragma unroll 1
  for (int row = threadIdx.x / kAcross; row < kHigh; row += kStrip) {
    const int i = top - kReach + row;
    if (i >= first && i < last)
      fill(tile, row, rows + i * m.width + column, m.width - column, m.whole,
           [&](float v, int l) { return f(v, row, l); });
    else
      for (int l = 0; l < kGroup<T>; l += 4) put_four(Group<float>{}, &one(tile, row, l));
  }
}

// Four features of a row of a tile and what its neighbours add to it, which begin with `row` and
// come in steps of `step`.
template <class T, int kRows>
__device__ inline Group<float> near(const Tile<T, kRows>& tile, const Lines<T>& lines, bool taps,
                                    int row, int step, int l) {
  float sum[4] = {};
  if (taps) {
#pragma unroll 1
    for (int k = 0; k < kTaps; ++k) {
      const Group<float> tap = four(lines, k, l), other = four(tile, row + k * step, l);
#pragma unroll
      for (int q = 0; q < 4; ++q) sum[q] += value(tap, q) * value(other, q);
    }
  }
  Group<float> total = four(tile, row + kReach * step, l);
#pragma unroll
  for (int q = 0; q < 4; ++q) set(value(total, q) + sum[q], total, q);
  return total;
}

template <class T>
__global__ void __launch_bounds__(kThreads, kBlocks) modulate_kernel(Modulation<T> m, T* out) {
  constexpr int V = kGroup<T>;
  alignas(16) __shared__ Tile<T, kHigh> tile;
  alignas(16) __shared__ Lines<T> lines;
  __shared__ Moments moments[kHigh];
  __shared__ const T* arguments[kLines];
  const Strip strip = strip_of(m);
  const int reach = m.taps ? kReach : 0, row = threadIdx.x / kAcross;
  const int first = strip.top < reach ? 0 : strip.top - reach;
  const int end = strip.top + strip.rows + reach, last = end < m.length ? end : m.length;
  const T* s = m.s + strip.trace * m.length * m.width;
  out += (strip.trace * m.length + strip.top + row) * m.width;
  if (threadIdx.x < kLines) arguments[threadIdx.x] = argument(m, strip.trace, threadIdx.x);
  measure(s + first * m.width, last - first, m.width, m.whole,
          moments + (first - strip.top + kReach));
#pragma unroll 1
  for (int left = 0; left < m.width; left += kAcross * V) {
    const int column = left + threadIdx.x % kAcross * V, used = m.width - column;
    __syncthreads();
    if (used > 0) fill_lines(lines, arguments, column, used, m.whole);
    __syncthreads();
    if (used > 0)
      fill_near(tile, s, m, strip.top, first, last, column, [&](float v, int at, int l) {
        return moments[at].normal(v) * one(lines, kScale, l) + one(lines, kShift, l);
      });
    __syncthreads();
    if (used <= 0 || row >= strip.rows) continue;
    Group<T> made;
#pragma unroll
    for (int l = 0; l < V; l += 4) {
      const Group<float> sum = near(tile, lines, m.taps, row, 1, l);
      const Group<float> bias = m.taps ? four(lines, kBias, l) : Group<float>{};
#pragma unroll
      for (int q = 0; q < 4; ++q) set(value(sum, q) + value(bias, q), made, l + q);
    }
    store(made, used, m.whole, out + column);
  }
}

// For each tap k and feature of a tile, over the rows of a strip: the sums of the gradient that
// comes back through the tap, times the normal row, and alone.
template <class T>
struct Sums {
  Tile<T, kTaps> along, plain;
};

// A warp sums for one tap; without taps for the row itself alone.
template <class T>
__device__ inline void add_up(const Tile<T, kHigh>& up, const Tile<T, kStrip>& normal, int rows,
                              bool taps, Sums<T>& sums) {
  const int k = threadIdx.x / kLanes, lane = threadIdx.x % kLanes;
  if (taps ? k >= kTaps : k != kReach) return;
#pragma unroll 1
  for (int l = 0; l < kGroup<T>; l += 4) {
    float along[4] = {}, plain[4] = {};
#pragma unroll 1
    for (int row = lane / kAcross; row < rows; row += kLanes / kAcross) {
      const Group<float> g = four(up, row + 2 * kReach - k, l), v = four(normal, row, l);
#pragma unroll
      for (int q = 0; q < 4; ++q) {
        along[q] += value(g, q) * value(v, q);
        plain[q] += value(g, q);
      }
    }
    Group<float> products, gradients;
#pragma unroll
    for (int q = 0; q < 4; ++q) {
      set(lane_sum(along[q], kAcross, kLanes), products, q);
      set(lane_sum(plain[q], kAcross, kLanes), gradients, q);
    }
    if (lane >= kAcross) continue;
    put_four(products, &sums.along.part[l / 4][k][4 * lane]);
    put_four(gradients, &sums.plain.part[l / 4][k][4 * lane]);
  }
}

// Where strips leave what they add to the gradients of scale, shift, and taps with bias.
struct Gradients {
  float *scale, *shift, *taps;
};

__device__ inline float* gradient(const Gradients& into, int width, int line) {
  const int64_t strip = blockIdx.x;
  if (line == kScale) return into.scale + strip * width;
  if (line == kShift) return into.shift + strip * width;
  return into.taps ? into.taps + (strip * (kTaps + 1) + line) * width : nullptr;
}

// A strip's share in the gradients of four features' argument `line`.
template <class T>
__device__ inline Group<float> share(const Sums<T>& sums, const Lines<T>& lines, bool taps,
                                     int line, int l) {
  if (line == kBias) return four(sums.plain, kReach, l);
  if (line >= kScale) return near(line == kScale ? sums.along : sums.plain, lines, taps, 0, 1, l);
  const Group<float> along = four(sums.along, line, l), plain = four(sums.plain, line, l);
  const Group<float> scale = four(lines, kScale, l), shift = four(lines, kShift, l);
  Group<float> found;
#pragma unroll
  for (int q = 0; q < 4; ++q)
    set(value(along, q) * value(scale, q) + value(plain, q) * value(shift, q), found, q);
  return found;
}

// A warp writes the shares of one argument, a thread those of four features.
template <class T>
__device__ inline void give(const Modulation<T>& m, const Sums<T>& sums, const Lines<T>& lines,
                            int left, float* const* into) {
  const int line = threadIdx.x / kLanes, lane = threadIdx.x % kLanes, l = lane / kAcross * 4;
  const int j = left + lane % kAcross * kGroup<T> + l;
  if (l >= kGroup<T> || j >= m.width || !into[line]) return;
  store(share(sums, lines, m.taps, line, l), m.width - j, m.whole, into[line] + j);
}

// Four features of the gradient that the normal row of a thread gets.
template <class T>
__device__ inline Group<float> pull(const Tile<T, kHigh>& up, const Lines<T>& lines, bool taps,
                                    int l) {
  Group<float> g = near(up, lines, taps, threadIdx.x / kAcross + 2 * kReach, -1, l);
  const Group<float> scale = four(lines, kScale, l);
#pragma unroll
  for (int q = 0; q < 4; ++q) set(value(g, q) * value(scale, q), g, q);
  return g;
}

template <class T>
__global__ void __launch_bounds__(kThreads, kBlocks)
    modulate_backward_kernel(Modulation<T> m, const T* g, T* gs, Gradients into) {
  constexpr int V = kGroup<T>;
  alignas(16) __shared__ Tile<T, kHigh> up;
  alignas(16) __shared__ Tile<T, kStrip> normal;
  alignas(16) __shared__ Lines<T> lines;
  alignas(16) __shared__ Sums<T> sums;
  __shared__ Moments moments[kStrip];
  __shared__ const T* arguments[kLines];  // these too are shared, as registers are few
  __shared__ float* gradients[kLines];
  __shared__ Strip strip;
  if (threadIdx.x == 0) strip = strip_of(m);
  __syncthreads();
  const int row = threadIdx.x / kAcross, lane = threadIdx.x % kAcross;
  const int64_t start = strip.trace * m.length * m.width, own = start + (strip.top + row) * m.width;
  if (threadIdx.x < kLines) {
    arguments[threadIdx.x] = argument(m, strip.trace, threadIdx.x);
    gradients[threadIdx.x] = gradient(into, m.width, threadIdx.x);
  }
  measure(m.s + start + strip.top * m.width, strip.rows, m.width, m.whole, moments);
  const auto fill_tiles = [&](int column) {
    const int used = m.width - column;
    if (used <= 0) return;
    fill_lines(lines, arguments, column, used, m.whole);
    fill_near(up, g + start, m, strip.top, 0, m.length, column,
              [](float v, int, int) { return v; });
    if (row < strip.rows)
      fill(normal, row, m.s + (own + column), used, m.whole,
           [&](float v, int) { return moments[row].normal(v); });
  };
  float mean = 0, along = 0;
#pragma unroll 1
  for (int left = 0; left < m.width; left += kAcross * V) {
    const int column = left + lane * V;
    const bool mine = column < m.width && row < strip.rows;
    __syncthreads();
    fill_tiles(column);
    __syncthreads();
#pragma unroll 1
    for (int l = 0; l < V && mine; l += 4) {
      const Group<float> p = pull(up, lines, m.taps, l), v = four(normal, row, l);
#pragma unroll
      for (int q = 0; q < 4; ++q) {
        mean += value(p, q);
        along += value(p, q) * value(v, q);
      }
    }
    add_up(up, normal, column < m.width ? strip.rows : 0, m.taps, sums);
    __syncthreads();
    give(m, sums, lines, left, gradients);
  }
  mean = lane_sum(mean, 1, kAcross) / static_cast<float>(m.width);
  along = lane_sum(along, 1, kAcross) / static_cast<float>(m.width);
#pragma unroll 1
  for (int left = 0; left < m.width; left += kAcross * V) {
    const int column = left + lane * V;
    __syncthreads();
    fill_tiles(column);
    __syncthreads();
    if (column >= m.width || row >= strip.rows) continue;
    Group<T> made;
#pragma unroll
    for (int l = 0; l < V; l += 4) {
      const Group<float> p = pull(up, lines, m.taps, l), v = four(normal, row, l);
#pragma unroll
      for (int q = 0; q < 4; ++q)
        set(moments[row].inverse * ((value(p, q) - mean) - value(v, q) * along), made, l + q);
    }
    store(made, m.width - column, m.whole, gs + (own + column));
  }
}

}  // namespace netdiffus
