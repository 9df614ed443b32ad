// GASF fields and images. Memory-bound: each pixel is written once, from vectors that stay in the
// first cache.
#include <cstring>
#include <vector>

#include "cpu/area.h"
#include "cpu/isa.h"
#include "cpu/loops.h"
#include "cpu/stream.h"
#include "cpu/transpose.h"
#include "formulas.h"
#include "kernels.h"

namespace netdiffus {
namespace {

// One loop for each kind of power, as a choice inside the loop would keep it from vectorising.
template <class T>
NETDIFFUS_FN void contrast_lines(T* line, int64_t m, T gamma) {
  if (gamma == T(0.25)) {
    for (int64_t j = 0; j < m; ++j) line[j] = contrast(line[j], T(0.25));
  } else if (gamma == T(0.5)) {
    for (int64_t j = 0; j < m; ++j) line[j] = contrast(line[j], T(0.5));
  } else if (gamma != 1) {
    for (int64_t j = 0; j < m; ++j) line[j] = power(line[j], gamma);
  }
}

// Numbers of eight series side by side: x, and d = flat(x).
template <class T>
struct Eight {
  explicit Eight(int64_t places) : x(kSquare * places), d(kSquare * places) {}
  std::vector<T> x, d;
};

// The mean of a window over points that lie in a ring.
template <class Sum, class T>
NETDIFFUS_FN void ring_mean(const T* ring, int64_t round, const Window& w, T* mean) {
  using V = typename Line<T>::type;
  typedef Sum S __attribute__((vector_size(kSquare * sizeof(Sum))));
  const V* points = reinterpret_cast<const V*>(ring);
  S total = __builtin_convertvector(points[w.first & round], S);
  if (w.first != w.last) {
    S sum = {};
    for (int64_t t = w.first + 1; t < w.last; ++t)
      sum += __builtin_convertvector(points[t & round], S);
    total = Sum(w.head) * total + Sum(w.body) * sum +
            Sum(w.tail) * __builtin_convertvector(points[w.last & round], S);
  }
  // Rounding may pass 1 by one step; the image must not. NaN stays NaN.
  const S ones = S{} + 1;
  *reinterpret_cast<V*>(mean) = __builtin_convertvector(total > 1 ? ones : total, V);
}

constexpr int64_t kTogether = 4096;  // pixels made before the next pass over them, in whole rows

inline int64_t rows_together(int64_t m) { return m < kTogether ? kTogether / m : 1; }

// `count` vectors of columns from column j on, in `rows` rows from row i on. While stores wait for
// memory, a processor holds back loads from addresses that end as theirs do, which are soon all:
// so what the columns hold is loaded once, and stays in registers from row to row.
template <class V, int64_t count, class T>
NETDIFFUS_FN void some_columns(const T* mean, const T* drop, const T* half_drop, int64_t i,
                               int64_t rows, int64_t m, int64_t j, T* lines) {
  constexpr int64_t kWide = sizeof(V) / sizeof(T);
  V x[count], d[count], half[count];
#pragma GCC unroll 8
  for (int64_t k = 0; k < count; ++k) {
    std::memcpy(&x[k], mean + j + k * kWide, sizeof(V));
    std::memcpy(&d[k], drop + j + k * kWide, sizeof(V));
    std::memcpy(&half[k], half_drop + j + k * kWide, sizeof(V));
  }
  for (int64_t r = 0; r < rows; ++r) {
    // The halves are exact, so that the pixels are gasf_pixel's for one multiplication less.
    const T half_x = T(0.5) * mean[i + r], half_d = half_drop[i + r];
#pragma GCC unroll 8
    for (int64_t k = 0; k < count; ++k) {
      const V pixel = half_x * x[k] + ((half_d + half[k]) - half_d * d[k]);
      std::memcpy(lines + r * m + j + k * kWide, &pixel, sizeof(V));
    }
  }
}

// `rows` lines of an image from row i on, by vectors of so many bytes: as many side by side as
// registers hold, then the half of that and so on.
template <int bytes, class T>
NETDIFFUS_FN void image_lines(const T* mean, const T* drop, const T* half_drop, int64_t i,
                              int64_t rows, int64_t m, T* lines) {
  typedef T V __attribute__((vector_size(bytes)));
  constexpr int64_t kMost = bytes == 64 ? 8 : 4, kWide = bytes / sizeof(T);
  int64_t j = 0;
  for (; j + kMost * kWide <= m; j += kMost * kWide)
    some_columns<V, kMost>(mean, drop, half_drop, i, rows, m, j, lines);
  for (; j + 4 * kWide <= m; j += 4 * kWide)
    some_columns<V, 4>(mean, drop, half_drop, i, rows, m, j, lines);
  for (; j + 2 * kWide <= m; j += 2 * kWide)
    some_columns<V, 2>(mean, drop, half_drop, i, rows, m, j, lines);
  for (; j + kWide <= m; j += kWide)
    some_columns<V, 1>(mean, drop, half_drop, i, rows, m, j, lines);
  for (; j < m; ++j) some_columns<T, 1>(mean, drop, half_drop, i, rows, m, j, lines);
}

// What one thread needs beside its input and output, for eight series.
template <class T>
struct Scratch {
  Scratch(int64_t ring, int64_t m)
      : points(ring),
        means(kSquare),
        mean(kSquare * m),
        drop(kSquare * m),
        half_drop(kSquare * m),
        lines(rows_together(m) * m) {}
  Eight<T> points, means;
  std::vector<T> mean, drop, half_drop, lines;
};

constexpr int64_t kFew = 16;  // points to a window that are summed as they are, not as double

inline int64_t widest(const std::vector<Window>& windows) {
  int64_t points = 0;
  for (const Window& w : windows) points = std::max(points, w.last - w.first + 1);
  return points;
}

// Places for so many points and eight more: a power of two.
inline int64_t ring_of(int64_t points) {
  int64_t places = 1;
  while (places < points + kSquare) places *= 2;
  return places;
}

// Area means of series (count, n), up to eight, and of their flat(x). Their points come to the
// first cache once, a few at a time. All before the first row: between rows their loads would wait
// for stores to addresses that end alike, and hide nothing (128 images of 500 points on one core of
// an AMD EPYC: rows 117 us, means 51, in turns 170).
template <class Sum, class T>
NETDIFFUS_FN void series_means(const T* series, int64_t count, int64_t n, const Window* windows,
                               int64_t m, Scratch<T>* s) {
  T *x = s->points.x.data(), *d = s->points.d.data();
  T *mean = s->means.x.data(), *drop = s->means.d.data();
  const int64_t round = static_cast<int64_t>(s->points.x.size()) / kSquare - 1;
  int64_t ready = 0;
  for (int64_t o = 0; o < m; ++o) {
    for (; ready <= windows[o].last; ready += kSquare) {
      const int64_t at = (ready & round) * kSquare;
      to_lanes(series + ready, count, n - ready < kSquare ? n - ready : kSquare, n, x + at);
#pragma GCC ivdep
      for (int64_t k = at; k < at + kSquare * kSquare; ++k) d[k] = flat(x[k]);
    }
    const int64_t lane = o % kSquare;
    ring_mean<Sum>(x, round, windows[o], mean + lane * kSquare);
    ring_mean<Sum>(d, round, windows[o], drop + lane * kSquare);
    if (lane == kSquare - 1 || o == m - 1) {
      to_lines(mean, count, lane + 1, m, s->mean.data() + o - lane);
      to_lines(drop, count, lane + 1, m, s->drop.data() + o - lane);
    }
  }
#pragma GCC ivdep
  for (int64_t o = 0; o < count * m; ++o) s->half_drop[o] = T(0.5) * s->drop[o];
}

// Rows [begin, end) of the image of series `at` of the scratch, by vectors of so many bytes.
template <int bytes, class T>
NETDIFFUS_FN void image_part(int64_t at, int64_t m, T gamma, int64_t begin, int64_t end,
                             bool stream, Scratch<T>* s, T* image) {
  const T *mean = s->mean.data() + at * m, *drop = s->drop.data() + at * m;
  const T* half_drop = s->half_drop.data() + at * m;
  const int64_t together = rows_together(m);
  for (int64_t i = begin; i < end; i += together) {
    const int64_t rows = end - i < together ? end - i : together;
    T *to = image + i * m, *lines = stream ? s->lines.data() : to;
    image_lines<bytes>(mean, drop, half_drop, i, rows, m, lines);
    contrast_lines(lines, rows * m, gamma);
    if (stream) stream_copy(to, lines, rows * m);
  }
}

// Rows [begin, end) of one field; s has room for n, and so has beside, unless it is null.
template <class T>
NETDIFFUS_FN void field_part(const T* __restrict x, int64_t n, int64_t begin, int64_t end,
                             T* __restrict s, T* beside, T* field) {
  for (int64_t t = 0; t < n; ++t) s[t] = std::sqrt((1 - x[t]) * (1 + x[t]));
  for (int64_t i = begin; i < end; ++i) {
    T* __restrict line = beside ? beside : field + i * n;
    const T xi = x[i], si = s[i];
    for (int64_t j = 0; j < n; ++j) line[j] = xi * x[j] - si * s[j];
    if (beside) stream_copy(field + i * n, line, n);
  }
}

// The version of a part for the widest vectors in force.
template <class T>
auto widest_image_part() {
  return isa() == Isa::v4   ? best<image_part<64, T>>
         : isa() == Isa::v3 ? best<image_part<32, T>>
                            : best<image_part<16, T>>;
}

}  // namespace

template <class T>
void gasf(const T* x, int64_t batch, int64_t n, T* field, int threads) {
  const int64_t elements = batch * n * n;
  const bool stream = worth_streaming(elements * static_cast<int64_t>(sizeof(T)));
  threads = useful_threads(batch * n, elements, threads);
  std::vector<T> scratch(2 * n * threads);
  for_ranges(batch * n, threads, [&](int thread, int64_t first, int64_t last) {
    T *s = scratch.data() + 2 * n * thread, *beside = stream ? s + n : nullptr;
    for_images(first, last, n, [&](int64_t b, int64_t begin, int64_t end) {
      best<field_part<T>>(x + b * n, n, begin, end, s, beside, field + b * n * n);
    });
    if (stream) stream_fence();
  });
}

template <class T>
void gasf_image(const T* x, int64_t batch, int64_t n, int64_t m, double gamma, T* image,
                int threads) {
  const int64_t elements = batch * m * m;
  const bool stream = worth_streaming(elements * static_cast<int64_t>(sizeof(T)));
  threads = useful_threads(batch * m, elements, threads);
  const std::vector<Window> all = windows(n, m);
  std::vector<Scratch<T>> scratch(threads, Scratch<T>(ring_of(widest(all)), m));
  const auto means = widest(all) <= kFew ? best<series_means<T, T>> : best<series_means<double, T>>;
  const auto part = widest_image_part<T>();
  for_ranges(batch * m, threads, [&](int thread, int64_t first, int64_t last) {
    Scratch<T>& s = scratch[thread];
    const int64_t from = first / m, to = (last - 1) / m + 1;
    for_images(first, last, m, [&](int64_t b, int64_t begin, int64_t end) {
      const int64_t at = (b - from) % kSquare;
      if (at == 0) means(x + b * n, std::min(kSquare, to - b), n, all.data(), m, &s);
      // Now, as what images write has the memory's attention when their turn comes.
      if (b + kSquare < to) ask_for<2>(x + (b + kSquare) * n, n);
      part(at, m, static_cast<T>(gamma), begin, end, stream, &s, image + b * m * m);
    });
    if (stream) stream_fence();
  });
}

template void gasf(const float*, int64_t, int64_t, float*, int);
template void gasf(const double*, int64_t, int64_t, double*, int);
template void gasf_image(const float*, int64_t, int64_t, int64_t, double, float*, int);
template void gasf_image(const double*, int64_t, int64_t, int64_t, double, double*, int);

}  // namespace netdiffus
