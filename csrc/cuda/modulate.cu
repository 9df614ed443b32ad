#include "cuda/launch.h"
#include "cuda/modulate.cuh"
#include "kernels.h"

namespace netdiffus {
namespace {

template <class T>
bool whole(const Modulation<T>& m) {
  return aligned(m.s, m.scale, m.shift, m.taps, m.bias) && m.width % kGroup<T> == 0;
}

}  // namespace

template <class T>
int modulate_cuda(const T* s, const T* scale, const T* shift, const T* taps, const T* bias,
                  int64_t batch, int64_t length, int64_t width, T* out, void* stream) {
  Modulation<T> m{s, scale, shift, taps, bias, static_cast<int>(length), static_cast<int>(width)};
  m.whole = whole(m) && aligned(out);
  return launch(modulate_kernel<T>, batch * pieces(length, kStrip), stream, m, out);
}

template <class T>
int modulate_backward_cuda(const T* s, const T* scale, const T* shift, const T* taps, const T* g,
                           int64_t batch, int64_t length, int64_t width, T* gs, float* gscale,
                           float* gshift, float* gtaps, void* stream) {
  Modulation<T> m{
      s, scale, shift, taps, nullptr, static_cast<int>(length), static_cast<int>(width)};
  m.whole = whole(m) && aligned(g, gs) && aligned(gscale, gshift, gtaps);
  return launch(modulate_backward_kernel<T>, batch * pieces(length, kStrip), stream, m, g, gs,
                Gradients{gscale, gshift, gtaps});
}

#define NETDIFFUS_FOR(T)                                                                         \
  template int modulate_cuda(const T*, const T*, const T*, const T*, const T*, int64_t, int64_t, \
                             int64_t, T*, void*);                                                \
  template int modulate_backward_cuda(const T*, const T*, const T*, const T*, const T*, int64_t, \
                                      int64_t, int64_t, T*, float*, float*, float*, void*);
NETDIFFUS_FOR(float)
NETDIFFUS_FOR(__half)
NETDIFFUS_FOR(__nv_bfloat16)
#undef NETDIFFUS_FOR

}  // namespace netdiffus
