// Attention along short series. As many queries stand side by side as a vector has numbers: each
// sums its own, in the same order at any width, so that every instruction set rounds alike.
#include <cmath>
#include <cstring>
#include <vector>

#include "cpu/isa.h"
#include "cpu/loops.h"
#include "cpu/transpose.h"
#include "formulas.h"
#include "kernels.h"

namespace netdiffus {
namespace {

// One head of one series: `length` rows of `width` features, `step` numbers apart; those of the
// result, `out_step` apart.
template <class T>
struct Head {
  const T *query, *key, *value;
  T* out;
  int64_t length, width, step, out_step;
};

constexpr int64_t kAtOnce = 8;  // sums in registers: their additions wait for nothing else

// to[c * lanes + r] = scale rows[r * step + c] for r < count, and 0 for other lanes.
template <class T>
NETDIFFUS_FN void side_by_side(const T* rows, int64_t count, int64_t columns, int64_t step,
                               int64_t lanes, T scale, T* to) {
  int64_t done = 0;
  if (count == lanes && lanes % kSquare == 0)
    for (; done + kSquare <= columns; done += kSquare)
      for (int64_t r = 0; r < lanes; r += kSquare)
        transpose(rows + r * step + done, step, to + done * lanes + r, lanes);
  for (int64_t c = done; c < columns; ++c)
    for (int64_t r = 0; r < lanes; ++r) to[c * lanes + r] = r < count ? rows[r * step + c] : T(0);
  for (int64_t k = 0; k < columns * lanes; ++k) to[k] *= scale;
}

// And back: rows[r * step + c] = from[c * lanes + r] for r < count.
template <class T>
NETDIFFUS_FN void in_rows(const T* from, int64_t count, int64_t columns, int64_t step,
                          int64_t lanes, T* rows) {
  int64_t done = 0;
  if (count == lanes && lanes % kSquare == 0)
    for (; done + kSquare <= columns; done += kSquare)
      for (int64_t r = 0; r < lanes; r += kSquare)
        transpose(from + done * lanes + r, lanes, rows + r * step + done, step);
  for (int64_t r = 0; r < count; ++r)
    for (int64_t c = done; c < columns; ++c) rows[r * step + c] = from[c * lanes + r];
}

// sums[k] = sum_i lines[i] times[i * step + k * apart] for `count` k, lines and sums of vectors.
template <class V, int64_t count, class T>
NETDIFFUS_FN void some_sums(const T* lines, const T* times, int64_t terms, int64_t step,
                            int64_t apart, T* sums) {
  constexpr int64_t kWide = sizeof(V) / sizeof(T);
  V sum[count] = {};
  for (int64_t i = 0; i < terms; ++i) {
    V line;
    std::memcpy(&line, lines + i * kWide, sizeof(V));
#pragma GCC unroll 8
    for (int64_t k = 0; k < count; ++k) sum[k] += line * times[i * step + k * apart];
  }
  std::memcpy(sums, sum, sizeof(sum));
}

// The same for `all` k.
template <class V, class T>
NETDIFFUS_FN void sums_of(const T* lines, const T* times, int64_t terms, int64_t step,
                          int64_t apart, int64_t all, T* sums) {
  constexpr int64_t kWide = sizeof(V) / sizeof(T);
  int64_t k = 0;
  for (; k + kAtOnce <= all; k += kAtOnce)
    some_sums<V, kAtOnce>(lines, times + k * apart, terms, step, apart, sums + k * kWide);
  for (; k < all; ++k)
    some_sums<V, 1>(lines, times + k * apart, terms, step, apart, sums + k * kWide);
}

// Products to shares of 1, but for a division by their sums.
template <class V, class T>
NETDIFFUS_FN void shared(T* products, int64_t length, V* sums) {
  constexpr int64_t kWide = sizeof(V) / sizeof(T);
  V most, line, sum = {};
  std::memcpy(&most, products, sizeof(V));
  for (int64_t j = 1; j < length; ++j) {
    std::memcpy(&line, products + j * kWide, sizeof(V));
    most = line > most ? line : most;
  }
  for (int64_t j = 0; j < length; ++j) {
    std::memcpy(&line, products + j * kWide, sizeof(V));
    line -= most;
    std::memcpy(products + j * kWide, &line, sizeof(V));
  }
#pragma GCC ivdep
  for (int64_t k = 0; k < length * kWide; ++k) products[k] = exponential(products[k]);
  for (int64_t j = 0; j < length; ++j) {
    std::memcpy(&line, products + j * kWide, sizeof(V));
    sum += line;
  }
  *sums = sum;
}

// Scratch: a vector for each feature, and for each key.
template <int bytes, class T>
NETDIFFUS_FN void head_body(const Head<T>* head, T* scratch) {
  typedef T V __attribute__((vector_size(bytes)));
  constexpr int64_t kWide = bytes / sizeof(T);
  const int64_t length = head->length, width = head->width, step = head->step;
  T *turned = scratch, *shares = scratch + width * kWide;
  const T scale = 1 / std::sqrt(static_cast<T>(width));
  for (int64_t i = 0; i < length; i += kWide) {
    const int64_t count = length - i < kWide ? length - i : kWide;
    side_by_side(head->query + i * step, count, width, step, kWide, scale, turned);
    sums_of<V>(turned, head->key, width, 1, step, length, shares);
    V sum;
    shared(shares, length, &sum);
    sums_of<V>(shares, head->value, length, step, 1, width, turned);
    for (int64_t c = 0; c < width; ++c) {
      V line;
      std::memcpy(&line, turned + c * kWide, sizeof(V));
      line /= sum;
      std::memcpy(turned + c * kWide, &line, sizeof(V));
    }
    in_rows(turned, count, width, head->out_step, kWide, head->out + i * head->out_step);
  }
}

// The version for the widest vectors in force.
template <class T>
auto widest_head() {
  return isa() == Isa::v4   ? best<head_body<64, T>>
         : isa() == Isa::v3 ? best<head_body<32, T>>
                            : best<head_body<16, T>>;
}

constexpr int64_t kWidest = 64;  // bytes of a vector

}  // namespace

template <class T>
void attention(const T* qkv, int64_t batch, int64_t length, int64_t heads, int64_t width, T* out,
               int threads) {
  const int64_t features = heads * width, step = 3 * features;
  const auto run = widest_head<T>();
  threads = useful_threads(batch * heads, batch * heads * length * length, threads);
  for_ranges(batch * heads, threads, [&](int, int64_t begin, int64_t end) {
    std::vector<T> scratch((width + length) * kWidest / sizeof(T));
    for (int64_t k = begin; k < end; ++k) {
      const T* query = qkv + k / heads * length * step + k % heads * width;
      T* to = out + k / heads * length * features + k % heads * width;
      const Head<T> head{query, query + features, query + 2 * features, to, length, width,
                         step,  features};
      run(&head, scratch.data());
    }
  });
}

template void attention(const float*, int64_t, int64_t, int64_t, int64_t, float*, int);
template void attention(const double*, int64_t, int64_t, int64_t, int64_t, double*, int);

}  // namespace netdiffus
