#include "cuda/denoise.cuh"
#include "cuda/noise_launch.h"

namespace netdiffus {

template <class T>
int denoise_step_cuda(Coefficients k, const T* xt, const T* out, const T* x0_prev, Draw draw,
                      Planes shape, T* x_next, T* x0, void* stream) {
  const auto f = [](double v) { return static_cast<float>(v); };
  const Denoise<T> update{f(k.a), f(k.b), f(k.c),  f(k.d), f(k.e), f(k.sigma),
                          xt,     out,    x0_prev, x_next, x0};
  const bool lined = aligned(xt, out, x0_prev, x_next, x0);
  if (update.sigma != 0) return with_noise<T>(draw, shape, lined, update, stream);
  const int64_t count = shape.batch * shape.planes * shape.rows * shape.columns;
  return without_noise<T>(count, lined, update, stream);
}

#define NETDIFFUS_FOR(T)                                                                           \
  template int denoise_step_cuda(Coefficients, const T*, const T*, const T*, Draw, Planes, T*, T*, \
                                 void*);
NETDIFFUS_EACH_TYPE
#undef NETDIFFUS_FOR

}  // namespace netdiffus
