// The body of the kernel that resizes images by area.
#pragma once

#include "cuda/area.cuh"

namespace netdiffus {

constexpr int kStripRows = kThreads / kLanes;  // a block makes that many rows of 32 pixels

template <class T>
__global__ void __launch_bounds__(kThreads, kBlocks)
    area_resize_kernel(const T* image, Scale down, Scale across, T* resized) {
  __shared__ Window rows[kStripRows], columns[kLanes];
  const int m = static_cast<int>(down.m), width = static_cast<int>(across.m);
  const int strips = (width + kLanes - 1) / kLanes;
  const int work = (m + kStripRows - 1) / kStripRows * strips, k = blockIdx.x % work;
  const int64_t b = blockIdx.x / work;
  const int lane = threadIdx.x % kLanes, row = threadIdx.x / kLanes;
  const int i = k / strips * kStripRows + row, j = k % strips * kLanes + lane;
  if (row == 0 && j < width) columns[lane] = window(across, j);
  if (lane == 0 && i < m) rows[row] = window(down, i);
  __syncthreads();
  if (i >= m || j >= width) return;
  const T* pixels = image + b * (down.n * across.n);
  const Window& around = columns[lane];
  const float total = weighted(rows[row], [&](int y) {
    const T* line = pixels + y * across.n;
    return weighted(around, [&](int x) { return wide(line[x]); });
  });
  const float area = static_cast<float>(down.n) * static_cast<float>(across.n);
  narrow(total / area, resized[(b * m + i) * width + j]);
}

}  // namespace netdiffus
