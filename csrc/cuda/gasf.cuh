// The bodies of the GASF kernels. They hold no launch, so that a host compiler can run them too.
#pragma once

#include "cuda/area.cuh"

namespace netdiffus {

// The patch of an image that a block makes at a time. Halves come eight columns to a thread, which
// leaves no registers for a second row.
constexpr int kColumns = 64;
template <class T>
constexpr int kRows = sizeof(T) == 4 ? 64 : 32;

// cos(phi_i + phi_j) from x = cos(phi) and s = sin(phi).
template <class T>
struct Gasf {
  const T* x;
  int64_t n;
  NETDIFFUS_FN void vectors(int64_t b, int64_t o, float& cosine, float& sine) const {
    cosine = wide(x[b * n + o]);
    sine = std::sqrt((1 - cosine) * (1 + cosine));
  }
  NETDIFFUS_FN float pixel(float xi, float si, float xj, float sj) const {
    return xi * xj - si * sj;
  }
};

// The same field resized by area, rescaled to [0, 1], to the power gamma.
template <class T>
struct GasfImage {
  const T* x;
  Scale scale;
  float gamma;
  NETDIFFUS_FN void vectors(int64_t b, int64_t o, float& mean, float& drop) const {
    const T* series = x + b * scale.n;
    const Window w = window(scale, o);
    const float n = static_cast<float>(scale.n);
    mean = weighted(w, [&](int t) { return wide(series[t]); }) / n;
    drop = weighted(w, [&](int t) { return flat(wide(series[t])); }) / n;
    mean = mean > 1 ? 1 : mean;  // as rounding may pass 1, and the image must not
    drop = drop > 1 ? 1 : drop;
  }
  NETDIFFUS_FN float pixel(float xi, float di, float xj, float dj) const {
    return contrast(gasf_pixel(xi, di, xj, dj), gamma);
  }
};

// A block makes one patch of an m x m image: it works out the two values that each row and column
// needs, then writes whole lines.
template <class T, class Field>
__global__ void __launch_bounds__(kThreads, kBlocks)
    field_kernel(Field field, int m, bool whole, T* image) {
  constexpr int V = kGroup<T>, kAcross = kColumns / V, kDown = kRows<T>;
  // The first four columns of all threads lie together, then their next, half the banks on: no
  // access meets a bank twice.
  constexpr int kPart = 4 * kAcross + (V > 4 ? 16 : 0), kValues = kDown + V / 4 * kPart;
  constexpr bool kOnce = kDown * kAcross == kThreads;
  static_assert(kDown + kColumns <= kThreads, "a thread for each row and column");
  alignas(16) __shared__ float one[kValues], two[kValues];  // rows first
  const int down = (m + kDown - 1) / kDown, across = (m + kColumns - 1) / kColumns;
  const int b = blockIdx.x / (down * across), patch = blockIdx.x % (down * across);
  const int top = patch / across * kDown, left = patch % across * kColumns;
  const int v = threadIdx.x, column = v % kAcross * V;
  if (v < kDown + kColumns) {
    const int c = v - kDown, o = c < 0 ? top + v : left + c;
    const int at = c < 0 ? v : kDown + c % V / 4 * kPart + c / V * 4 + c % 4;
    one[at] = two[at] = 0;
    if (o < m) field.vectors(b, o, one[at], two[at]);
  }
  __syncthreads();
  const int rows = m - top < kDown ? m - top : kDown, used = m - left - column;
  T* line = image + static_cast<int64_t>(b) * (m * m) + (top * m + left + column);
  for (int i = v / kAcross; i < rows && used > 0; i += kThreads / kAcross) {
    Group<T> pixels;
#pragma unroll
    for (int l = 0; l < V; l += 4) {
      const int j = kDown + l / 4 * kPart + column / V * 4;
      const Group<float> xj = load(one + j, 4, true), dj = load(two + j, 4, true);
#pragma unroll
      for (int q = 0; q < 4; ++q)
        set(field.pixel(one[i], two[i], value(xj, q), value(dj, q)), pixels, l + q);
    }
    store(pixels, used, whole, line + i * m);
    if (kOnce) break;
  }
}

}  // namespace netdiffus
