// Products of a trace with the precision matrix of its class: a pass over the eigenvectors where
// they lie, which torch would copy for each trace.
#include <vector>

#include "cpu/lanes.h"
#include "cpu/loops.h"
#include "kernels.h"

namespace netdiffus {
namespace {

// What each eigenvector weighs in S, K, S K, and K apart.
template <class T>
struct Spectra {
  const T *s, *k, *sk, *inner;
};

template <class T>
NETDIFFUS_FN void weights(const T* variances, T noise, int64_t size, T* k, T* sk) {
  for (int64_t e = 0; e < size; ++e) {
    k[e] = 1 / (variances[e] + noise);
    sk[e] = variances[e] * k[e];
  }
}

// inner = k V' apart.
template <class T>
NETDIFFUS_FN void turn(const T* vectors, const T* apart, const T* k, int64_t size, T* inner) {
  for (int64_t e = 0; e < size; ++e) inner[e] = 0;
  for (int64_t d = 0; d < size; ++d) {
    const T v = apart[d], *row = vectors + d * size;
#pragma GCC ivdep
    for (int64_t e = 0; e < size; ++e) inner[e] += row[e] * v;
  }
  for (int64_t e = 0; e < size; ++e) inner[e] *= k[e];
}

// Point d of the four results, `stride` apart: K apart, and the diagonals of K, S K and S.
template <class T>
NETDIFFUS_FN void point(const T* row, const Spectra<T>* w, int64_t size, T* found, int64_t stride) {
  Lanes<T> pulled, k, sk, s;
  int64_t e = 0;
  for (; e + kLanes <= size; e += kLanes)
    for (int64_t l = 0; l < kLanes; ++l) {
      const T v = row[e + l], squared = v * v;
      pulled.lane[l] += v * w->inner[e + l];
      k.lane[l] += squared * w->k[e + l];
      sk.lane[l] += squared * w->sk[e + l];
      s.lane[l] += squared * w->s[e + l];
    }
  for (int64_t l = 0; e < size; ++e, ++l) {
    const T v = row[e], squared = v * v;
    pulled.lane[l] += v * w->inner[e];
    k.lane[l] += squared * w->k[e];
    sk.lane[l] += squared * w->sk[e];
    s.lane[l] += squared * w->s[e];
  }
  found[0] = pulled.total();
  found[stride] = k.total();
  found[2 * stride] = sk.total();
  found[3 * stride] = s.total();
}

// Scratch: three lines.
template <class T>
NETDIFFUS_FN void precision_body(const T* apart, T noise, const T* variances, const T* vectors,
                                 int64_t size, T* scratch, T* found, int64_t stride) {
  T *k = scratch, *sk = k + size, *inner = sk + size;
  weights(variances, noise, size, k, sk);
  turn(vectors, apart, k, size, inner);
  const Spectra<T> w{variances, k, sk, inner};
  for (int64_t d = 0; d < size; ++d) point(vectors + d * size, &w, size, found + d, stride);
}

}  // namespace

template <class T>
void precision(const T* apart, const T* noise, const int64_t* group, const T* variances,
               const T* vectors, int64_t batch, int64_t size, T* found, int threads) {
  threads = useful_threads(batch, batch * size * size, threads);
  for_ranges(batch, threads, [&](int, int64_t begin, int64_t end) {
    std::vector<T> scratch(3 * size);
    for (int64_t b = begin; b < end; ++b)
      best<precision_body<T>>(apart + b * size, noise[b], variances + group[b] * size,
                              vectors + group[b] * size * size, size, scratch.data(),
                              found + b * size, batch * size);
  });
}

template void precision(const float*, const float*, const int64_t*, const float*, const float*,
                        int64_t, int64_t, float*, int);
template void precision(const double*, const double*, const int64_t*, const double*, const double*,
                        int64_t, int64_t, double*, int);

}  // namespace netdiffus
