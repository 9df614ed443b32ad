#include "cuda/gasf.cuh"
#include "cuda/launch.h"
#include "kernels.h"

namespace netdiffus {
namespace {

template <class T, class Field>
int field(Field maths, int64_t batch, int64_t m, T* image, void* stream) {
  const bool whole = aligned(image) && m % kGroup<T> == 0;
  const int64_t patches = pieces(m, kRows<T>) * pieces(m, kColumns);
  return launch(field_kernel<T, Field>, batch * patches, stream, maths, static_cast<int>(m), whole,
                image);
}

}  // namespace

template <class T>
int gasf_cuda(const T* x, int64_t batch, int64_t n, T* image, void* stream) {
  return field(Gasf<T>{x, n}, batch, n, image, stream);
}

template <class T>
int gasf_image_cuda(const T* x, int64_t batch, int64_t n, int64_t m, double gamma, T* image,
                    void* stream) {
  const GasfImage<T> maths{x, scale_of(n, m), static_cast<float>(gamma)};
  return field(maths, batch, m, image, stream);
}

#define NETDIFFUS_FOR(T)                                         \
  template int gasf_cuda(const T*, int64_t, int64_t, T*, void*); \
  template int gasf_image_cuda(const T*, int64_t, int64_t, int64_t, double, T*, void*);
NETDIFFUS_EACH_TYPE
#undef NETDIFFUS_FOR

const char* cuda_error(int code) { return cudaGetErrorString(static_cast<cudaError_t>(code)); }

}  // namespace netdiffus
