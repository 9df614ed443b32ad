// Resizing by area: rows into one, then its columns. That order reads the input once, in line, and
// leaves the columns of few rows to do where the image shrinks.
#include <vector>

#include "cpu/area.h"
#include "cpu/loops.h"
#include "cpu/stream.h"
#include "cpu/transpose.h"
#include "formulas.h"
#include "kernels.h"

namespace netdiffus {
namespace {

// Row means lie in squares, one line of each to a row, until they are turned: then the rows are
// the lanes of a vector, and their columns are resized together.

// A window of so few rows in one pass: none of its sums goes through memory. Rows side by side are
// too many streams for a processor to foresee, and took over twice as long as one in line: so what
// comes next is asked for in line.
template <int64_t between, class T>
NETDIFFUS_FN void few_rows(const T* first, int64_t w, const Window& window, T* squares) {
  using V = typename Line<T>::type;
  const T head = static_cast<T>(window.head), body = static_cast<T>(window.body);
  const T tail = static_cast<T>(window.tail);
  constexpr int64_t kAhead = 6144 / sizeof(T);
  int64_t t = 0;
  for (; t + kSquare <= w; t += kSquare) {
    const T* at = first + t;
    V sum = {};
    for (int64_t r = 1; r <= between; ++r) sum += *reinterpret_cast<const V*>(at + r * w);
    ask_for(first + (between + 2) * w + kAhead + (between + 1) * t, (between + 1) * kSquare);
    *reinterpret_cast<V*>(squares + t * kSquare) =
        head * *reinterpret_cast<const V*>(at) + body * sum +
        tail * *reinterpret_cast<const V*>(at + (between + 1) * w);
  }
  for (T* rest = squares + t * kSquare; t < w; ++t) {
    T sum = 0;
    for (int64_t r = 1; r <= between; ++r) sum += first[r * w + t];
    *rest++ = head * first[t] + body * sum + tail * first[(between + 1) * w + t];
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

// A line as it is.
template <class T>
NETDIFFUS_FN void spread(const T* line, int64_t w, T* squares) {
  for (int64_t t = 0; t < w; ++t) squares[t / kSquare * kSquare * kSquare + t % kSquare] = line[t];
}

template <class T>
NETDIFFUS_FN void rows_mean(const T* image, int64_t w, const Window& window, T* mean, T* squares) {
  const T* first = image + window.first * w;
  switch (window.last - window.first) {
    case 0:
      spread(first, w, squares);
      break;
    case 1:
      few_rows<0>(first, w, window, squares);
      break;
    case 2:
      few_rows<1>(first, w, window, squares);
      break;
    case 3:
      few_rows<2>(first, w, window, squares);
      break;
    case 4:
      few_rows<3>(first, w, window, squares);
      break;
    case 5:
      few_rows<4>(first, w, window, squares);
      break;
    default:
      many_rows(first, w, window, mean);
      spread(mean, w, squares);
  }
}

// Both arrays are of lanes.
template <class T>
NETDIFFUS_FN void columns_mean(const T* rows, const Window* windows, int64_t w2, T* means) {
  using V = typename Line<T>::type;
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

inline int64_t whole_squares(int64_t w) { return (w + kSquare - 1) / kSquare * kSquare; }

// What one thread needs beside its input and output.
template <class T>
struct Scratch {
  Scratch(int64_t w, int64_t w2)
      : mean(w), lanes(kSquare * whole_squares(w)), means(kSquare * w2) {}
  std::vector<T> mean, lanes, means;
};

// Rows [begin, end) of one resized image.
template <class T>
NETDIFFUS_FN void part(const T* image, int64_t w, const Window* rows, const Window* columns,
                       int64_t w2, int64_t begin, int64_t end, Scratch<T>& s, T* resized) {
  T *lanes = s.lanes.data(), *means = s.means.data();
  for (int64_t o = begin; o < end; o += kSquare) {
    const int64_t count = end - o < kSquare ? end - o : kSquare;
    for (int64_t r = 0; r < count; ++r)
      rows_mean(image, w, rows[o + r], s.mean.data(), lanes + r * kSquare);
    for (int64_t t = 0; t < w; t += kSquare)
      transpose(lanes + t * kSquare, kSquare, lanes + t * kSquare, kSquare);
    columns_mean(lanes, columns, w2, means);
    to_lines(means, count, w2, w2, resized + o * w2);
  }
}

}  // namespace

template <class T>
void area_resize(const T* image, int64_t batch, int64_t h, int64_t w, int64_t h2, int64_t w2,
                 T* resized, int threads) {
  threads = useful_threads(batch * h2, batch * std::max(h * w, h2 * w2), threads);
  const std::vector<Window> rows = windows(h, h2), columns = windows(w, w2);
  std::vector<Scratch<T>> scratch;  // made here, as no exception may leave a thread
  for (int k = 0; k < threads; ++k) scratch.emplace_back(w, w2);
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
