// One step of sampling, as an update for the kernels of noise.cuh.
#pragma once

#include "cuda/noise.cuh"

namespace netdiffus {

// x0 = clip(a xt + b out, -1, 1); x_next = c xt + d x0 + e x0_prev + sigma noise. x_next may be xt
// and x0 may be x0_prev: a thread reads its values before it writes them.
template <class T>
struct Denoise {
  float a, b, c, d, e, sigma;
  const T *xt, *out, *x0_prev;
  T *x_next, *x0_out;
  template <class Noise>
  NETDIFFUS_FN void operator()(int64_t, int64_t at, int used, bool whole,
                               const Noise& noise) const {
    const Group<T> noisy = load(xt + at, used, whole), net = load(out + at, used, whole);
    const Group<T> before = e != 0 ? load(x0_prev + at, used, whole) : noisy;
    Group<T> next, clean;
#pragma unroll
    for (int l = 0; l < kGroup<T>; ++l) {
      const float x = value(noisy, l);
      float x0 = a * x + b * value(net, l);
      x0 = x0 < -1 ? -1 : x0 > 1 ? 1 : x0;
      float sum = c * x + d * x0;
      if (e != 0) sum += e * value(before, l);
      if (sigma != 0) sum += sigma * noise[l];
      set(x0, clean, l);
      set(sum, next, l);
    }
    store(next, used, whole, x_next + at);
    store(clean, used, whole, x0_out + at);
  }
};

}  // namespace netdiffus
