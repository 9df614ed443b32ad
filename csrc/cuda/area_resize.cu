#include "cuda/area_resize.cuh"
#include "cuda/launch.h"
#include "kernels.h"

namespace netdiffus {

template <class T>
int area_resize_cuda(const T* image, int64_t batch, int64_t h, int64_t w, int64_t h2, int64_t w2,
                     T* resized, void* stream) {
  const int64_t strips = pieces(h2, kStripRows) * pieces(w2, kLanes);
  return launch(area_resize_kernel<T>, batch * strips, stream, image, scale_of(h, h2),
                scale_of(w, w2), resized);
}

#define NETDIFFUS_FOR(T) \
  template int area_resize_cuda(const T*, int64_t, int64_t, int64_t, int64_t, int64_t, T*, void*);
NETDIFFUS_FOR(float)
NETDIFFUS_FOR(__half)
NETDIFFUS_FOR(__nv_bfloat16)
#undef NETDIFFUS_FOR

}  // namespace netdiffus
