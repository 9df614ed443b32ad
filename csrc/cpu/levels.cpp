// What the U-Net does to the chances of levels: one pass over rows that stay in cache, where torch
// makes one over memory for each operation.
#include <vector>

#include "cpu/lanes.h"
#include "cpu/loops.h"
#include "formulas.h"
#include "kernels.h"

namespace netdiffus {
namespace {

// The levels of all channels, the axes of their spans apart; those of the trace change with it.
template <class T>
struct Table {
  std::vector<T> low, x, high, width, sharpness, pull;
  explicit Table(const T* spans, int64_t levels)
      : low(levels), x(levels), high(levels), width(levels), sharpness(levels), pull(levels) {
    for (int64_t s = 0; s < levels; ++s) {
      low[s] = spans[3 * s], x[s] = spans[3 * s + 1], high[s] = spans[3 * s + 2];
      width[s] = (high[s] - low[s]) * (high[s] - low[s]) / 12;
    }
  }
  void of_trace(T variance) {
    for (size_t s = 0; s < x.size(); ++s) {
      sharpness[s] = T(0.5) / (variance + width[s]);
      pull[s] = width[s] / (width[s] + variance);
    }
  }
};

// Logarithms to parts of their sum, which is returned. NaN among them makes all so.
template <class T>
NETDIFFUS_FN T raised(const T* logs, int64_t count, T most, T* parts) {
#pragma GCC ivdep
  for (int64_t s = 0; s < count; ++s) parts[s] = exponential(logs[s] - most);
  return total(parts, count);
}

// One point of one channel: the table's columns of its levels, and what is known of it.
template <class T>
struct Seen {
  const T *counted, *x, *sharpness, *cosines;
  T edge, slope, curve;
};

template <class T>
NETDIFFUS_FN void weigh(const Seen<T>* p, int64_t count, T* chances) {
  const T edge = p->edge, slope = p->slope, curve = p->curve;
  const T *counted = p->counted, *x = p->x, *sharpness = p->sharpness;
#pragma GCC ivdep
  for (int64_t s = 0; s < count; ++s) {
    const T apart = edge - x[s];
    chances[s] = (counted[s] - apart * apart * sharpness[s]) + (slope + curve * x[s]) * x[s];
  }
}

// sum_s parts_s cosines_sk: four levels at a time, as each sum waits for the one before.
template <class T>
NETDIFFUS_FN void cosine_sums(const T* parts, const T* cosines, int64_t count, T scale, T* sums) {
  T first[kLanes] = {}, second[kLanes] = {}, third[kLanes] = {}, fourth[kLanes] = {};
  int64_t s = 0;
  for (; s + 4 <= count; s += 4) {
    const T *w = cosines + s * kLanes, *p = parts + s;
    const T p0 = p[0], p1 = p[1], p2 = p[2], p3 = p[3];
    for (int64_t k = 0; k < kLanes; ++k) {
      first[k] += p0 * w[k];
      second[k] += p1 * w[kLanes + k];
      third[k] += p2 * w[2 * kLanes + k];
      fourth[k] += p3 * w[3 * kLanes + k];
    }
  }
  for (; s < count; ++s)
    for (int64_t k = 0; k < kLanes; ++k) first[k] += parts[s] * cosines[s * kLanes + k];
  for (int64_t k = 0; k < kLanes; ++k)
    sums[k] = ((first[k] + second[k]) + (third[k] + fourth[k])) * scale;
}

template <class T>
NETDIFFUS_FN void chances_body(const Seen<T>* p, int64_t count, T* scratch, T* chances, T* roots,
                               T* sums) {
  weigh(p, count, chances);
  const T scale = 1 / raised(chances, count, largest(chances, count), scratch);
#pragma GCC ivdep
  for (int64_t s = 0; s < count; ++s) roots[s] = 4 * std::sqrt(scratch[s] * scale);
  cosine_sums(scratch, p->cosines, count, scale, sums);
}

// Sums of chances + told in one channel, in `logs`.
template <class T>
NETDIFFUS_FN void add(const T* chances, const T* told, int64_t count, T* logs) {
#pragma GCC ivdep
  for (int64_t s = 0; s < count; ++s) logs[s] = chances[s] + told[s];
}

// Columns of the table for the levels of one channel.
template <class T>
struct Span {
  const T *low, *x, *high, *pull;
};

// The likeliest value of each level, times its part: cosine, sine and square in a line each.
template <class T>
NETDIFFUS_FN void values(const Span<T>* at, int64_t count, T edge, T exponent, const T* parts,
                         T* cosine, T* sine, T* square) {
  const T *low = at->low, *middle = at->x, *high = at->high, *pull = at->pull;
#pragma GCC ivdep
  for (int64_t s = 0; s < count; ++s) {
    T x = middle[s] + pull[s] * (edge - middle[s]);
    x = x < low[s] ? low[s] : x;
    cosine[s] = x > high[s] ? high[s] : x;
  }
  if (exponent != 1)
#pragma GCC ivdep
    for (int64_t s = 0; s < count; ++s)
      cosine[s] = 2 * power(T(0.5) * (cosine[s] + 1), exponent) - 1;
#pragma GCC ivdep
  for (int64_t s = 0; s < count; ++s) {
    const T x = cosine[s], squared = x * x, rest = 1 - squared;
    cosine[s] = parts[s] * x;
    sine[s] = parts[s] * std::sqrt(rest < 0 ? T(0) : rest);
    square[s] = parts[s] * squared;
  }
}

// Scratch: four lines. Writes the three means `stride` apart.
template <class T>
NETDIFFUS_FN void means_body(const T* chances, const T* told, const Span<T>* at, int64_t count,
                             T edge, T exponent, T* scratch, T* means, int64_t stride) {
  T *parts = scratch, *cosine = scratch + count, *sine = cosine + count, *square = sine + count;
  add(chances, told, count, square);
  const T scale = 1 / raised(square, count, largest(square, count), parts);
  values(at, count, edge, exponent, parts, cosine, sine, square);
  for (int k = 0; k < 3; ++k) means[k * stride] = scale * total(cosine + k * count, count);
}

template <class T>
NETDIFFUS_FN void loss_body(const T* chances, const T* told, int64_t count, int64_t own, T* scratch,
                            T* lost) {
  add(chances, told, count, scratch);
  const T most = largest(scratch, count), right = scratch[own];
  *lost = std::log(raised(scratch, count, most, scratch)) + (most - right);
}

// The gradient of the loss: g (p_s - [s = own]).
template <class T>
NETDIFFUS_FN void loss_backward_body(const T* chances, const T* told, int64_t count, int64_t own,
                                     T g, T* found) {
  add(chances, told, count, found);
  const T scale = g / raised(found, count, largest(found, count), found);
#pragma GCC ivdep
  for (int64_t s = 0; s < count; ++s) found[s] *= scale;
  found[own] -= g;
}

int64_t sum_of(const std::vector<int64_t>& sizes) {
  int64_t sum = 0;
  for (int64_t size : sizes) sum += size;
  return sum;
}

// Calls body(begin, count, channel) for the levels of each channel.
template <class Body>
void for_channels(const std::vector<int64_t>& sizes, const Body& body) {
  int64_t begin = 0;
  for (size_t c = 0; c < sizes.size(); begin += sizes[c++])
    body(begin, sizes[c], static_cast<int64_t>(c));
}

}  // namespace

template <class T>
void level_chances(const LevelInput<T>& in, const std::vector<int64_t>& sizes, T* chances,
                   T* features, int threads) {
  const int64_t levels = sum_of(sizes), channels = static_cast<int64_t>(sizes.size());
  const int64_t wide = channels + levels + kLanes * channels;
  threads = useful_threads(in.batch, in.batch * in.points * levels, threads);
  for_ranges(in.batch, threads, [&](int, int64_t first, int64_t last) {
    Table<T> table(in.spans, levels);
    std::vector<T> scratch(levels);
    for (int64_t row = first * in.points; row < last * in.points; ++row) {
      if (row % in.points == 0) table.of_trace(in.variance[row / in.points]);
      T* given = features + row * wide;
      for_channels(sizes, [&](int64_t begin, int64_t count, int64_t c) {
        const int64_t point = row * channels + c;
        const Seen<T> seen{in.counted + row * levels + begin,
                           table.x.data() + begin,
                           table.sharpness.data() + begin,
                           in.cosines + begin * kLanes,
                           in.edge[point],
                           in.slope[point],
                           in.curve[point]};
        given[c] = in.border[point];
        best<chances_body<T>>(&seen, count, scratch.data(), chances + row * levels + begin,
                              given + channels + begin, given + channels + levels + c * kLanes);
      });
    }
  });
}

template <class T>
void level_means(const T* chances, const T* told, const T* edge, const T* variance, const T* spans,
                 int64_t batch, int64_t points, const std::vector<int64_t>& sizes, double gamma,
                 T* means, int threads) {
  const int64_t levels = sum_of(sizes), channels = static_cast<int64_t>(sizes.size());
  const int64_t stride = batch * points * channels;
  const T exponent = static_cast<T>(1 / gamma);
  threads = useful_threads(batch, batch * points * levels, threads);
  for_ranges(batch, threads, [&](int, int64_t first, int64_t last) {
    Table<T> table(spans, levels);
    std::vector<T> scratch(4 * levels);
    for (int64_t row = first * points; row < last * points; ++row) {
      if (row % points == 0) table.of_trace(variance[row / points]);
      for_channels(sizes, [&](int64_t begin, int64_t count, int64_t c) {
        const int64_t at = row * levels + begin, point = row * channels + c;
        const Span<T> span{table.low.data() + begin, table.x.data() + begin,
                           table.high.data() + begin, table.pull.data() + begin};
        best<means_body<T>>(chances + at, told + at, &span, count, edge[point], exponent,
                            scratch.data(), means + point, stride);
      });
    }
  });
}

template <class T>
void level_loss(const T* chances, const T* told, const int64_t* own, int64_t batch, int64_t points,
                const std::vector<int64_t>& sizes, T* lost, int threads) {
  const int64_t levels = sum_of(sizes), channels = static_cast<int64_t>(sizes.size());
  threads = useful_threads(batch, batch * points * levels, threads);
  for_ranges(batch * points, threads, [&](int, int64_t first, int64_t last) {
    std::vector<T> scratch(levels);
    for (int64_t row = first; row < last; ++row)
      for_channels(sizes, [&](int64_t begin, int64_t count, int64_t c) {
        const int64_t at = row * levels + begin, point = row * channels + c;
        best<loss_body<T>>(chances + at, told + at, count, own[point] - begin, scratch.data(),
                           lost + point);
      });
  });
}

template <class T>
void level_loss_backward(const T* chances, const T* told, const int64_t* own, const T* g,
                         int64_t batch, int64_t points, const std::vector<int64_t>& sizes, T* found,
                         int threads) {
  const int64_t levels = sum_of(sizes), channels = static_cast<int64_t>(sizes.size());
  threads = useful_threads(batch, batch * points * levels, threads);
  for_ranges(batch * points, threads, [&](int, int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row)
      for_channels(sizes, [&](int64_t begin, int64_t count, int64_t c) {
        const int64_t at = row * levels + begin, point = row * channels + c;
        best<loss_backward_body<T>>(chances + at, told + at, count, own[point] - begin, g[point],
                                    found + at);
      });
  });
}

#define NETDIFFUS_FOR(T)                                                                        \
  template void level_chances(const LevelInput<T>&, const std::vector<int64_t>&, T*, T*, int);  \
  template void level_means(const T*, const T*, const T*, const T*, const T*, int64_t, int64_t, \
                            const std::vector<int64_t>&, double, T*, int);                      \
  template void level_loss(const T*, const T*, const int64_t*, int64_t, int64_t,                \
                           const std::vector<int64_t>&, T*, int);                               \
  template void level_loss_backward(const T*, const T*, const int64_t*, const T*, int64_t,      \
                                    int64_t, const std::vector<int64_t>&, T*, int);
NETDIFFUS_FOR(float)
NETDIFFUS_FOR(double)
#undef NETDIFFUS_FOR

}  // namespace netdiffus
