// GASF images. Memory-bound: each pixel is written once, from vectors that stay in the first cache.
#include <vector>

#include "cpu/loops.h"
#include "cpu/stream.h"
#include "formulas.h"
#include "kernels.h"

namespace netdiffus {
namespace {

// One loop for each kind of power, as a choice inside the loop would keep it from vectorising.
template <class T>
NETDIFFUS_FN void contrast_line(T* line, int64_t m, T gamma) {
  if (gamma == T(0.25)) {
    for (int64_t j = 0; j < m; ++j) line[j] = contrast(line[j], T(0.25));
  } else if (gamma == T(0.5)) {
    for (int64_t j = 0; j < m; ++j) line[j] = contrast(line[j], T(0.5));
  } else if (gamma != 1) {
    for (int64_t j = 0; j < m; ++j) line[j] = power(line[j], gamma);
  }
}

// Everything one thread needs beside its input and output.
template <class T>
struct Scratch {
  Scratch(int64_t n, int64_t m) : d(n), row(m), flat(m), line(m) {}
  std::vector<T> d, row, flat, line;
};

template <class T>
NETDIFFUS_FN void one_image(const T* x, int64_t n, int64_t m, T gamma, bool stream, Scratch<T>& s,
                            T* image) {
  T *d = s.d.data(), *row = s.row.data(), *drop = s.flat.data();
  for (int64_t t = 0; t < n; ++t) d[t] = flat(x[t]);
  for (int64_t o = 0; o < m; ++o) {
    row[o] = at_most_one<T>(area_mean(x, n, m, o));
    drop[o] = at_most_one<T>(area_mean(d, n, m, o));
  }
  for (int64_t i = 0; i < m; ++i) {
    T* line = stream ? s.line.data() : image + i * m;
    for (int64_t j = 0; j < m; ++j) line[j] = gasf_pixel(row[i], drop[i], row[j], drop[j]);
    contrast_line(line, m, gamma);
    if (stream)
      stream_copy(reinterpret_cast<char*>(image + i * m), reinterpret_cast<const char*>(line),
                  m * static_cast<int64_t>(sizeof(T)));
  }
}

NETDIFFUS_CLONES void image_of(const float* x, int64_t n, int64_t m, float gamma, bool stream,
                               Scratch<float>& scratch, float* image) {
  one_image(x, n, m, gamma, stream, scratch, image);
}

NETDIFFUS_CLONES void image_of(const double* x, int64_t n, int64_t m, double gamma, bool stream,
                               Scratch<double>& scratch, double* image) {
  one_image(x, n, m, gamma, stream, scratch, image);
}

}  // namespace

template <class T>
void gasf_image(const T* x, int64_t batch, int64_t n, int64_t m, double gamma, T* image,
                int threads) {
  const int64_t elements = batch * m * m;
  const bool stream = worth_streaming(elements * static_cast<int64_t>(sizeof(T)));
  threads = useful_threads(batch, elements, threads);
  std::vector<Scratch<T>> scratch(threads, Scratch<T>(n, m));
  for_ranges(batch, threads, [&](int thread, int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b)
      image_of(x + b * n, n, m, static_cast<T>(gamma), stream, scratch[thread], image + b * m * m);
    if (stream) stream_fence();
  });
}

template void gasf_image(const float*, int64_t, int64_t, int64_t, double, float*, int);
template void gasf_image(const double*, int64_t, int64_t, int64_t, double, double*, int);

}  // namespace netdiffus
