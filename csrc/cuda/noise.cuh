// Noise drawn where it is used: normal and q_sample, and the two ways over a batch of images.
#pragma once

#include "cuda/group.cuh"
#include "kernels.h"

namespace netdiffus {

constexpr int kTile = 32;  // side of the squares that symmetric noise is drawn in

// Normals 4 block to 4 block + 3 of one trace.
NETDIFFUS_FN void four_normals(const Draw& draw, int64_t trace, uint32_t block, float* normals) {
  const uint64_t index = static_cast<uint64_t>(trace);
  const Philox bits =
      philox(block, draw.step, static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32),
             static_cast<uint32_t>(draw.seed), static_cast<uint32_t>(draw.seed >> 32));
  const Pair one = box_muller(bits.word[0], bits.word[1]);
  const Pair two = box_muller(bits.word[2], bits.word[3]);
  normals[0] = one.first;
  normals[1] = one.second;
  normals[2] = two.first;
  normals[3] = two.second;
}

// Calls update(trace of the batch, offset, values used, all at once, noise) for each group of
// values of batch x count. A block makes kThreads groups of one trace.
template <class T, bool kNoisy, class Update>
__global__ void __launch_bounds__(kThreads, kBlocks)
    each_kernel(Draw draw, int64_t count, bool whole, Update update) {
  constexpr int V = kGroup<T>;
  const int64_t groups = (count + V - 1) / V;
  const unsigned work = static_cast<unsigned>((groups + kThreads - 1) / kThreads);
  const unsigned b = blockIdx.x / work;
  const int64_t at = (int64_t{kThreads} * (blockIdx.x % work) + threadIdx.x) * V;
  if (at >= count) return;
  float noise[V];
  if (kNoisy) {
#pragma unroll
    for (int l = 0; l < V; l += 4)
      four_normals(draw, draw.index[b], static_cast<uint32_t>((at + l) / 4), noise + l);
  }
  const int used = static_cast<int>(count - at < V ? count - at : V);
  update(b, b * count + at, used, whole && used == V, noise);
}

// A square of white noise: rows from top and columns from left of an m x m plane whose first
// element is `plane`.
__device__ inline void draw_tile(const Draw& draw, int64_t trace, int plane, int m, int top,
                                 int left, float (*tile)[kTile + 1]) {
  const int blocks = m % 4 ? kTile / 4 + 1 : kTile / 4;  // of four, that a line of the tile meets
#pragma unroll 1
  for (int task = threadIdx.x; task < kTile * blocks; task += kThreads) {
    const int row = task / blocks;
    if (top + row >= m) continue;
    const int first = plane + (top + row) * m + left, block = first / 4 + task % blocks;
    float normals[4];
    four_normals(draw, trace, block, normals);
#pragma unroll
    for (int l = 0; l < 4; ++l) {
      const int column = 4 * block + l - first;
      if (column >= 0 && column < kTile) tile[row][column] = normals[l];
    }
  }
}

// The noise of a group of values, read where it is used: registers are few.
struct Mirrored {
  const float (*tile)[kTile + 1];
  int row, column;
  bool mirrored, diagonal;  // the tile as its transpose; the tile on the diagonal
  NETDIFFUS_FN float operator[](int l) const {
    const int j = column + l;
    const float drawn = mirrored || (diagonal && j < row) ? tile[j][row] : tile[row][j];
    return diagonal && j == row ? 1.41421356f * drawn : drawn;
  }
};

// As each_kernel, with noise that is its own transpose: a block draws a tile on or above the
// diagonal and uses it twice, as it is and mirrored. A trace has fewer than 2^31 elements.
template <class T, class Update>
__global__ void __launch_bounds__(kThreads, kBlocks)
    mirrored_kernel(Draw draw, int planes, int m, bool whole, Update update) {
  constexpr int V = kGroup<T>, kAcross = kTile / V;
  __shared__ float tile[kTile][kTile + 1];
  const int across = (m + kTile - 1) / kTile, pairs = across * (across + 1) / 2;
  const int b = blockIdx.x / (planes * pairs), plane = blockIdx.x / pairs % planes * m * m;
  int top = 0, left = blockIdx.x % pairs;
  for (; left >= across - top; ++top) left -= across - top;
  left = (left + top) * kTile;
  top *= kTile;
  draw_tile(draw, draw.index[b], plane, m, top, left, tile);
  __syncthreads();
  const int sides = top == left ? 1 : 2;
  for (int task = threadIdx.x; task < sides * kTile * kAcross; task += kThreads) {
    const bool mirrored = task >= kTile * kAcross;
    const int row = task / kAcross % kTile, column = task % kAcross * V;
    const int i = (mirrored ? left : top) + row, j = (mirrored ? top : left) + column;
    if (i >= m || j >= m) continue;
    const int used = m - j < V ? m - j : V;
    update(b, static_cast<int64_t>(b) * (planes * m * m) + (plane + i * m + j), used,
           whole && used == V, Mirrored{tile, row, column, mirrored, sides == 1});
  }
}

template <class T>
struct Normal {
  T* noise;
  template <class Noise>
  NETDIFFUS_FN void operator()(int64_t, int64_t at, int used, bool whole,
                               const Noise& drawn) const {
    Group<T> group;
#pragma unroll
    for (int l = 0; l < kGroup<T>; ++l) set(drawn[l], group, l);
    store(group, used, whole, noise + at);
  }
};

// xt = signal x0 + sigma eps, and what the network is to learn from it.
template <class T>
struct QSample {
  const T *x0, *signal, *sigma;
  Target target;
  T *xt, *goal;
  template <class Noise>
  NETDIFFUS_FN void operator()(int64_t b, int64_t at, int used, bool whole,
                               const Noise& eps) const {
    const float keep = wide(signal[b]), add = wide(sigma[b]);
    const bool velocity = target == Target::v;
    const Group<T> clean = load(x0 + at, used, whole);
    Group<T> noisy, learn;
#pragma unroll
    for (int l = 0; l < kGroup<T>; ++l) {
      const float x = value(clean, l);
      set(keep * x + add * eps[l], noisy, l);
      set(velocity ? keep * eps[l] - add * x : eps[l], learn, l);
    }
    store(noisy, used, whole, xt + at);
    if (target != Target::x0) store(learn, used, whole, goal + at);
  }
};

}  // namespace netdiffus
