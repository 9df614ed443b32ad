#include "cuda/launch.h"
#include "cuda/precision.cuh"
#include "kernels.h"

namespace netdiffus {

template <class T>
int precision_cuda(const T* apart, const T* noise, const int64_t* group, const T* variances,
                   const T* vectors, int64_t groups, int64_t batch, int64_t size, T* found,
                   void* stream) {
  if (size > kPrecisionSize) return cudaErrorInvalidValue;
  const Covariances<T> of{variances, vectors, static_cast<int>(groups), static_cast<int>(size)};
  return launch(precision_kernel<T>, batch, stream, apart, noise, group, of, batch, found);
}

#define NETDIFFUS_FOR(T)                                                                       \
  template int precision_cuda(const T*, const T*, const int64_t*, const T*, const T*, int64_t, \
                              int64_t, int64_t, T*, void*);
NETDIFFUS_FOR(float)
NETDIFFUS_FOR(__half)
NETDIFFUS_FOR(__nv_bfloat16)
#undef NETDIFFUS_FOR

}  // namespace netdiffus
