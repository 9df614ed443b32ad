// What the U-Net's blocks do between their matrix products: one pass over rows that stay in cache,
// where torch makes one over memory for each operation.
#include <vector>

#include "cpu/lanes.h"
#include "cpu/loops.h"
#include "formulas.h"
#include "kernels.h"

namespace netdiffus {
namespace {

constexpr int kTaps = 5, kReach = kTaps / 2;

template <class T>
NETDIFFUS_FN T mean_of(const T* v, int64_t width) {
  return total(v, width) / static_cast<T>(width);
}

template <class T>
NETDIFFUS_FN T mean_product(const T* u, const T* v, int64_t width) {
  Lanes<T> sum;
  int64_t j = 0;
  for (; j + kLanes <= width; j += kLanes)
    for (int64_t l = 0; l < kLanes; ++l) sum.lane[l] += u[j + l] * v[j + l];
  for (int64_t l = 0; j < width; ++j, ++l) sum.lane[l] += u[j] * v[j];
  return sum.total() / static_cast<T>(width);
}

// A row to mean 0 and variance 1; returns 1 / its standard deviation.
template <class T>
NETDIFFUS_FN T normalise(const T* row, int64_t width, T* normal) {
  const T mean = mean_of(row, width);
  for (int64_t j = 0; j < width; ++j) normal[j] = row[j] - mean;
  const T scale = 1 / std::sqrt(mean_product(normal, normal, width) + T(1e-5));
  for (int64_t j = 0; j < width; ++j) normal[j] *= scale;
  return scale;
}

template <class T>
NETDIFFUS_FN void scale_shift(const T* normal, const T* scale, const T* shift, int64_t width,
                              T* h) {
  for (int64_t j = 0; j < width; ++j) h[j] = normal[j] * (1 + scale[j]) + shift[j];
}

// One trace's arguments.
template <class T>
struct Rows {
  int64_t length, width;
  const T *s, *scale, *shift, *taps, *bias;
};

// Scratch for a trace's rows, with kReach rows of zeros before and behind: the convolution then
// needs no ends of its own.
constexpr int64_t padded(int64_t length, int64_t width) { return (length + 2 * kReach) * width; }

template <class T>
NETDIFFUS_FN void clear_ends(T* rows, int64_t length, int64_t width) {
  for (int64_t j = 0; j < kReach * width; ++j) rows[j - kReach * width] = 0;
  for (int64_t j = 0; j < kReach * width; ++j) rows[length * width + j] = 0;
}

// sum_k u_k v_k at feature j, of kTaps rows each; the rows of v in steps of `step`. Written out, as
// an inner loop keeps the loop over features from vectorising.
template <class T>
NETDIFFUS_FN T five(const T* u, const T* v, int64_t width, int64_t step, int64_t j) {
  static_assert(kTaps == 5, "one term a tap");
  return (((u[j] * v[j] + u[width + j] * v[step + j]) + u[2 * width + j] * v[2 * step + j]) +
          u[3 * width + j] * v[3 * step + j]) +
         u[4 * width + j] * v[4 * step + j];
}

// h_i + bias + sum_k taps_k h_(i + k - kReach)
template <class T>
NETDIFFUS_FN void mix_line(const Rows<T>* rows, const T* h, T* line) {
  const int64_t width = rows->width;
  const T *first = h - kReach * width, *taps = rows->taps, *bias = rows->bias;
#pragma GCC ivdep
  for (int64_t j = 0; j < width; ++j)
    line[j] = (h[j] + bias[j]) + five(taps, first, width, width, j);
}

template <class T>
NETDIFFUS_FN void forward_body(const Rows<T>* rows, T* scratch, T* out) {
  const int64_t length = rows->length, width = rows->width;
  T* h = rows->taps ? scratch + kReach * width : out;
  for (int64_t i = 0; i < length; ++i) {
    normalise(rows->s + i * width, width, h + i * width);
    scale_shift(h + i * width, rows->scale, rows->shift, width, h + i * width);
  }
  if (!rows->taps) return;
  clear_ends(h, length, width);
  for (int64_t i = 0; i < length; ++i) mix_line(rows, h + i * width, out + i * width);
}

template <class T>
NETDIFFUS_FN void add_product(const T* u, const T* v, int64_t width, T* sum) {
#pragma GCC ivdep
  for (int64_t j = 0; j < width; ++j) sum[j] += u[j] * v[j];
}

// Where the gradients of one trace go; taps and bias in one (kTaps + 1, width).
template <class T>
struct Gradients {
  T *s, *scale, *shift, *taps;
};

// Line i of h's gradient, through the convolution, and what it adds to the gradient of the taps.
template <class T>
NETDIFFUS_FN void mix_line_backward(const Rows<T>* rows, const T* g, const T* h, T* gtaps, T* gh) {
  const int64_t width = rows->width;
  const T *behind = g + kReach * width, *before = h - kReach * width, *taps = rows->taps;
#pragma GCC ivdep
  for (int64_t j = 0; j < width; ++j) {
    gh[j] = g[j] + five(taps, behind, width, -width, j);
    gtaps[kTaps * width + j] += g[j];
  }
  for (int k = 0; k < kTaps; ++k) add_product(g, before + k * width, width, gtaps + k * width);
}

// Line i of s's gradient, and what it adds to those of scale and shift.
template <class T>
NETDIFFUS_FN void line_backward(const T* scale, const T* g, const T* normal, T inverse,
                                int64_t width, T* __restrict weighted, T* __restrict gscale,
                                T* __restrict gshift, T* __restrict gs) {
  for (int64_t j = 0; j < width; ++j) {
    gscale[j] += g[j] * normal[j];
    gshift[j] += g[j];
    weighted[j] = g[j] * (1 + scale[j]);
  }
  const T mean = mean_of(weighted, width), along = mean_product(weighted, normal, width);
  for (int64_t j = 0; j < width; ++j) gs[j] = inverse * ((weighted[j] - mean) - normal[j] * along);
}

// Scratch: normal rows, padded h, padded g, two lines, and one inverse deviation a row.
constexpr int64_t backward_scratch(int64_t length, int64_t width) {
  return length * width + 2 * padded(length, width) + 2 * width + length;
}

template <class T>
NETDIFFUS_FN void backward_body(const Rows<T>* rows, const T* g, T* scratch, Gradients<T> into) {
  const int64_t length = rows->length, width = rows->width;
  T *normal = scratch, *weighted = normal + width;
  for (int64_t i = 0; i < length; ++i) {
    const T inverse = normalise(rows->s + i * width, width, normal);
    line_backward(rows->scale, g + i * width, normal, inverse, width, weighted, into.scale,
                  into.shift, into.s + i * width);
  }
}

// The same, through the convolution.
template <class T>
NETDIFFUS_FN void mixed_backward_body(const Rows<T>* rows, const T* g, T* scratch,
                                      Gradients<T> into) {
  const int64_t length = rows->length, width = rows->width, size = length * width;
  T *normal = scratch, *h = normal + size + kReach * width, *up = h + padded(length, width);
  T *line = up + size + kReach * width, *weighted = line + width, *inverse = weighted + width;
  for (int64_t i = 0; i < length; ++i) {
    inverse[i] = normalise(rows->s + i * width, width, normal + i * width);
    scale_shift(normal + i * width, rows->scale, rows->shift, width, h + i * width);
  }
  for (int64_t j = 0; j < size; ++j) up[j] = g[j];
  clear_ends(h, length, width);
  clear_ends(up, length, width);
  for (int64_t i = 0; i < length; ++i) {
    mix_line_backward(rows, up + i * width, h + i * width, into.taps, line);
    line_backward(rows->scale, line, normal + i * width, inverse[i], width, weighted, into.scale,
                  into.shift, into.s + i * width);
  }
}

}  // namespace

template <class T>
void modulate(const T* s, const T* scale, const T* shift, const T* taps, const T* bias,
              int64_t batch, int64_t length, int64_t width, T* out, int threads) {
  const int64_t size = length * width;
  threads = useful_threads(batch, batch * size, threads);
  for_ranges(batch, threads, [&](int, int64_t begin, int64_t end) {
    std::vector<T> scratch(taps ? padded(length, width) : 0);
    for (int64_t b = begin; b < end; ++b) {
      const Rows<T> rows{length, width, s + b * size, scale + b * width, shift + b * width,
                         taps,   bias};
      best<forward_body<T>>(&rows, scratch.data(), out + b * size);
    }
  });
}

template <class T>
void modulate_backward(const T* s, const T* scale, const T* shift, const T* taps, const T* g,
                       int64_t batch, int64_t length, int64_t width, T* gs, T* gscale, T* gshift,
                       T* gtaps, int threads) {
  const int64_t size = length * width;
  threads = useful_threads(batch, batch * size, threads);
  for_ranges(batch, threads, [&](int, int64_t begin, int64_t end) {
    std::vector<T> scratch(backward_scratch(length, width));
    for (int64_t b = begin; b < end; ++b) {
      const Rows<T> rows{length, width,  s + b * size, scale + b * width, shift + b * width,
                         taps,   nullptr};
      T* own = taps ? gtaps + b * (kTaps + 1) * width : nullptr;
      const Gradients<T> into{gs + b * size, gscale + b * width, gshift + b * width, own};
      (taps ? best<mixed_backward_body<T>> : best<backward_body<T>>)(&rows, g + b * size,
                                                                     scratch.data(), into);
    }
  });
}

template void modulate(const float*, const float*, const float*, const float*, const float*,
                       int64_t, int64_t, int64_t, float*, int);
template void modulate(const double*, const double*, const double*, const double*, const double*,
                       int64_t, int64_t, int64_t, double*, int);
template void modulate_backward(const float*, const float*, const float*, const float*,
                                const float*, int64_t, int64_t, int64_t, float*, float*, float*,
                                float*, int);
template void modulate_backward(const double*, const double*, const double*, const double*,
                                const double*, int64_t, int64_t, int64_t, double*, double*, double*,
                                double*, int);

}  // namespace netdiffus
