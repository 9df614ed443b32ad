// Resizing by area: rows into one, then its columns. That order reads the input once, in line, and
// leaves the columns of few rows to do where the image shrinks.
#include <vector>

#include "cpu/area.h"
#include "cpu/loops.h"
#include "formulas.h"
#include "kernels.h"

namespace netdiffus {
namespace {

// Output rows whose columns are resized together: one lane of a vector each.
constexpr int64_t kLanes = 8;

template <class T>
struct Vector;
template <>
struct Vector<float> {
  typedef float type
      __attribute__((vector_size(kLanes * sizeof(float)), aligned(sizeof(float)), may_alias));
};
template <>
struct Vector<double> {
  typedef double type
      __attribute__((vector_size(kLanes * sizeof(double)), aligned(sizeof(double)), may_alias));
};

// A window of so few rows in one pass: none of its sums goes through memory.
template <int64_t between, class T>
NETDIFFUS_FN void few_rows(const T* __restrict first, int64_t w, const Window& window,
                           T* __restrict mean) {
  const T head = static_cast<T>(window.head), body = static_cast<T>(window.body);
  const T tail = static_cast<T>(window.tail);
  for (int64_t t = 0; t < w; ++t) {
    T sum = 0;
    for (int64_t r = 1; r <= between; ++r) sum += first[r * w + t];
    mean[t] = head * first[t] + body * sum + tail * first[(between + 1) * w + t];
  }
}

template <class T>
NETDIFFUS_FN void many_rows(const T* __restrict first, int64_t w, const Window& window,
                            T* __restrict mean) {
  const T head = static_cast<T>(window.head), body = static_cast<T>(window.body);
  const T tail = static_cast<T>(window.tail);
  const T* __restrict last = first + (window.last - window.first) * w;
  for (int64_t t = 0; t < w; ++t) mean[t] = 0;
  for (const T* row = first + w; row < last; row += w)
    for (int64_t t = 0; t < w; ++t) mean[t] += row[t];
  for (int64_t t = 0; t < w; ++t) mean[t] = head * first[t] + body * mean[t] + tail * last[t];
}

template <class T>
NETDIFFUS_FN void rows_mean(const T* image, int64_t w, const Window& window, T* mean) {
  const T* first = image + window.first * w;
  switch (window.last - window.first) {
    case 0:
      for (int64_t t = 0; t < w; ++t) mean[t] = first[t];
      break;
    case 1:
      few_rows<0>(first, w, window, mean);
      break;
    case 2:
      few_rows<1>(first, w, window, mean);
      break;
    case 3:
      few_rows<2>(first, w, window, mean);
      break;
    case 4:
      few_rows<3>(first, w, window, mean);
      break;
    case 5:
      few_rows<4>(first, w, window, mean);
      break;
    default:
      many_rows(first, w, window, mean);
  }
}

// Both arrays are of lanes. The vector type is named here, as a template argument loses its
// alignment.
template <class T>
NETDIFFUS_FN void columns_mean(const T* rows, const Window* windows, int64_t w2, T* means) {
  using V = typename Vector<T>::type;
  for (int64_t o = 0; o < w2; ++o) {
    const Window& window = windows[o];
    const V* first = reinterpret_cast<const V*>(rows) + window.first;
    const V* last = reinterpret_cast<const V*>(rows) + window.last;
    V mean = *first;
    if (first != last) {
      V sum = {};
      for (const V* v = first + 1; v < last; ++v) sum += *v;
      mean = static_cast<T>(window.head) * mean + static_cast<T>(window.body) * sum +
             static_cast<T>(window.tail) * *last;
    }
    reinterpret_cast<V*>(means)[o] = mean;
  }
}

// (kLanes, count) to (count, kLanes), and back.
template <class T>
NETDIFFUS_FN void interleave(const T* __restrict rows, int64_t count, T* __restrict lanes) {
  for (int64_t t = 0; t < count; ++t)
    for (int64_t r = 0; r < kLanes; ++r) lanes[t * kLanes + r] = rows[r * count + t];
}

template <class T>
NETDIFFUS_FN void separate(const T* __restrict lanes, int64_t count, int64_t rows,
                           T* __restrict resized) {
  if (rows == kLanes) {
    for (int64_t o = 0; o < count; ++o)
      for (int64_t r = 0; r < kLanes; ++r) resized[r * count + o] = lanes[o * kLanes + r];
  } else {
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t o = 0; o < count; ++o) resized[r * count + o] = lanes[o * kLanes + r];
  }
}

// What one thread needs beside its input and output.
template <class T>
struct Scratch {
  Scratch(int64_t w, int64_t w2) : rows(kLanes * w), lanes(kLanes * w), means(kLanes * w2) {}
  std::vector<T> rows, lanes, means;
};

// Rows [begin, end) of one resized image.
template <class T>
NETDIFFUS_FN void part(const T* image, int64_t w, const Window* rows, const Window* columns,
                       int64_t w2, int64_t begin, int64_t end, Scratch<T>& s, T* resized) {
  T *lanes = s.lanes.data(), *means = s.means.data();
  for (int64_t o = begin; o < end; o += kLanes) {
    const int64_t count = end - o < kLanes ? end - o : kLanes;
    for (int64_t r = 0; r < count; ++r) rows_mean(image, w, rows[o + r], s.rows.data() + r * w);
    interleave(s.rows.data(), w, lanes);
    columns_mean(lanes, columns, w2, means);
    separate(means, w2, count, resized + o * w2);
  }
}

}  // namespace

template <class T>
void area_resize(const T* image, int64_t batch, int64_t h, int64_t w, int64_t h2, int64_t w2,
                 T* resized, int threads) {
  threads = useful_threads(batch * h2, batch * std::max(h * w, h2 * w2), threads);
  const std::vector<Window> rows = windows(h, h2), columns = windows(w, w2);
  std::vector<Scratch<T>> scratch(threads, Scratch<T>(w, w2));
  for_ranges(batch * h2, threads, [&](int thread, int64_t first, int64_t last) {
    for_images(first, last, h2, [&](int64_t b, int64_t begin, int64_t end) {
      best<part<T>>(image + b * h * w, w, rows.data(), columns.data(), w2, begin, end,
                    scratch[thread], resized + b * h2 * w2);
    });
  });
}

template void area_resize(const float*, int64_t, int64_t, int64_t, int64_t, int64_t, float*, int);
template void area_resize(const double*, int64_t, int64_t, int64_t, int64_t, int64_t, double*, int);

}  // namespace netdiffus
