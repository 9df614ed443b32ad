#include "cuda/decode.cuh"
#include "cuda/launch.h"
#include "kernels.h"

namespace netdiffus {

template <class T>
int gasf_decode_cuda(const T* image, int64_t batch, int64_t m, double gamma, int iterations,
                     double exact, double* x, double* residual, void* stream) {
  if (m > kDecodeSize) return cudaErrorInvalidValue;
  return launch(gasf_decode_kernel<T>, batch, stream, image, static_cast<int>(m),
                static_cast<float>(1 / gamma), iterations, static_cast<float>(exact), x, residual);
}

#define NETDIFFUS_FOR(T)                                                                           \
  template int gasf_decode_cuda(const T*, int64_t, int64_t, double, int, double, double*, double*, \
                                void*);
NETDIFFUS_EACH_TYPE
#undef NETDIFFUS_FOR

}  // namespace netdiffus
