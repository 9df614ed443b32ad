#include <cuda_runtime.h>

#include <algorithm>

#include "cuda/gasf.cuh"
#include "kernels.h"

namespace netdiffus {

template <class T>
int gasf_image_cuda(const T* x, int64_t batch, int64_t n, int64_t m, double gamma, T* image,
                    void* stream) {
  const int64_t down = (m + kTileRows - 1) / kTileRows;
  const int64_t across = (m + kTileColumns - 1) / kTileColumns;
  // Blocks stride over the tiles, so a grid need not be as large as a batch may be.
  const int64_t blocks = std::min<int64_t>(batch * down * across, 1 << 20);
  gasf_image_kernel<<<static_cast<unsigned>(blocks), dim3(kThreadsX, kThreadsY), 0,
                      static_cast<cudaStream_t>(stream)>>>(x, batch, n, m, static_cast<T>(gamma),
                                                           image);
  return cudaGetLastError();
}

template int gasf_image_cuda(const float*, int64_t, int64_t, int64_t, double, float*, void*);
template int gasf_image_cuda(const double*, int64_t, int64_t, int64_t, double, double*, void*);

const char* cuda_error(int code) { return cudaGetErrorString(static_cast<cudaError_t>(code)); }

}  // namespace netdiffus
