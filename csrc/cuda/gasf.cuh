// The GASF kernel's body. It holds no launch, so that a host compiler with a shim can run it too.
#pragma once

#include "formulas.h"

namespace netdiffus {

constexpr int kTileRows = 32, kTileColumns = 128;
constexpr int kThreadsX = 32, kThreadsY = 8;

// A block makes one tile of one image at a time: it resizes the few values the tile needs into
// shared memory, then writes whole lines.
template <class T>
__global__ void gasf_image_kernel(const T* x, int64_t batch, int64_t n, int64_t m, T gamma,
                                  T* image) {
  constexpr int kValues = kTileRows + kTileColumns;
  __shared__ T mean[kValues], drop[kValues];  // rows first, then columns
  const int64_t down = (m + kTileRows - 1) / kTileRows;
  const int64_t across = (m + kTileColumns - 1) / kTileColumns;
  const int thread = threadIdx.y * kThreadsX + threadIdx.x;
  for (int64_t tile = blockIdx.x; tile < batch * down * across; tile += gridDim.x) {
    const int64_t b = tile / (down * across);
    const int64_t top = tile / across % down * kTileRows, left = tile % across * kTileColumns;
    const T* series = x + b * n;
    for (int v = thread; v < kValues; v += kThreadsX * kThreadsY) {
      const int64_t o = v < kTileRows ? top + v : left + v - kTileRows;
      if (o >= m) continue;
      mean[v] = at_most_one<T>(area_mean(series, n, m, o));
      drop[v] = at_most_one<T>(area_mean(Flat<T>{series}, n, m, o));
    }
    __syncthreads();
    for (int i = threadIdx.y; i < kTileRows && top + i < m; i += kThreadsY) {
      for (int j = threadIdx.x; j < kTileColumns && left + j < m; j += kThreadsX) {
        const int column = kTileRows + j;
        const T pixel = gasf_pixel(mean[i], drop[i], mean[column], drop[column]);
        image[(b * m + top + i) * m + left + j] = contrast(pixel, gamma);
      }
    }
    __syncthreads();
  }
}

}  // namespace netdiffus
