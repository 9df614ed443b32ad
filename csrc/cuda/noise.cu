#include "cuda/noise_launch.h"

namespace netdiffus {

template <class T>
int normal_cuda(Draw draw, Planes shape, T* noise, void* stream) {
  return with_noise<T>(draw, shape, aligned(noise), Normal<T>{noise}, stream);
}

template <class T>
int q_sample_cuda(const T* x0, const T* signal, const T* sigma, Draw draw, Planes shape,
                  Target target, T* xt, T* goal, void* stream) {
  const QSample<T> update{x0, signal, sigma, target, xt, goal};
  return with_noise<T>(draw, shape, aligned(x0, xt, goal), update, stream);
}

#define NETDIFFUS_FOR(T)                             \
  template int normal_cuda(Draw, Planes, T*, void*); \
  template int q_sample_cuda(const T*, const T*, const T*, Draw, Planes, Target, T*, T*, void*);
NETDIFFUS_EACH_TYPE
#undef NETDIFFUS_FOR

}  // namespace netdiffus
