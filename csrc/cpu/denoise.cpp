// One reverse step of any sampler. Memory-bound: every array passes through the cache once.
#include "cpu/noise.h"
#include "formulas.h"
#include "kernels.h"

namespace netdiffus {
namespace {

// A NaN stays one: both comparisons are false.
template <class T>
NETDIFFUS_FN T clipped(T v) {
  const T low = v < -1 ? T(-1) : v;
  return low > 1 ? T(1) : low;
}

// The strip's addresses; x0_prev is null where e is 0, z where sigma is.
template <class T>
struct Arrays {
  const T *xt, *out, *x0_prev;
  const float* z;
  T *x_next, *x0;
};

template <class T>
NETDIFFUS_FN void step(const Coefficients& k, const Arrays<T>& p, int64_t count) {
  const T a = static_cast<T>(k.a), b = static_cast<T>(k.b), c = static_cast<T>(k.c),
          d = static_cast<T>(k.d), e = static_cast<T>(k.e), sigma = static_cast<T>(k.sigma);
  const Arrays<T> q = p;  // ivdep: arrays overlap element by element or not at all
  if (q.x0_prev) {
#pragma GCC ivdep
    for (int64_t i = 0; i < count; ++i) {
      const T x0 = clipped(a * q.xt[i] + b * q.out[i]);
      q.x_next[i] = c * q.xt[i] + d * x0 + e * q.x0_prev[i];
      q.x0[i] = x0;
    }
  } else {
#pragma GCC ivdep
    for (int64_t i = 0; i < count; ++i) {
      const T x0 = clipped(a * q.xt[i] + b * q.out[i]);
      q.x_next[i] = c * q.xt[i] + d * x0;
      q.x0[i] = x0;
    }
  }
  if (!q.z) return;
#pragma GCC ivdep
  for (int64_t i = 0; i < count; ++i) q.x_next[i] += sigma * static_cast<T>(q.z[i]);
}

// As for_noisy_strips, without noise.
template <class Body>
void for_strips(int64_t elements, int threads, const Body& body) {
  const int64_t strips = (elements + kStrip - 1) / kStrip;
  threads = useful_threads(strips, elements, threads);
  for_ranges(strips, threads, [&](int, int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k)
      body(k * kStrip, std::min(kStrip, elements - k * kStrip), nullptr);
    stream_fence();
  });
}

}  // namespace

template <class T>
void denoise_step(Coefficients k, const T* xt, const T* out, const T* x0_prev, Draw draw,
                  Planes shape, T* x_next, T* x0, int threads) {
  const int64_t elements = shape.batch * elements_of_one(shape);
  const bool stream = worth_streaming(4 * elements * static_cast<int64_t>(sizeof(T)));
  const auto one = [&](int64_t first, int64_t count, const float* z) {
    Strip<T> next(stream), clean(stream);
    const T* before = k.e != 0 ? x0_prev + first : nullptr;
    best<step<T>>(
        k,
        {xt + first, out + first, before, z, next.start(x_next + first), clean.start(x0 + first)},
        count);
    next.finish(x_next + first, count);
    clean.finish(x0 + first, count);
  };
  if (k.sigma != 0)
    for_noisy_strips(draw, shape, threads, one);
  else
    for_strips(elements, threads, one);
}

template void denoise_step(Coefficients, const float*, const float*, const float*, Draw, Planes,
                           float*, float*, int);
template void denoise_step(Coefficients, const double*, const double*, const double*, Draw, Planes,
                           double*, double*, int);

}  // namespace netdiffus
