// Attention of one new point to a key-value cache: a pass over keys and values where they lie.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "cpu/lanes.h"
#include "cpu/loops.h"
#include "cpu/stream.h"
#include "cpu/transpose.h"
#include "formulas.h"
#include "kernels.h"

namespace netdiffus {
namespace {

// One head of one sequence: `count` keys and values, each a row of `width` features.
template <class T>
struct Head {
  const T *query, *keys, *values;
  int64_t count, width;
  T* out;
};

// Sums of neighbours within the halves of two lines: {a0 + a1, a2 + a3, b0 + b1, b2 + b3, ...}.
template <class T, class V>
NETDIFFUS_FN void neighbours(const V& a, const V& b, V* sums) {
  *sums = NETDIFFUS_SHUFFLE(T, a, b, 0, 2, 8, 10, 4, 6, 12, 14) +
          NETDIFFUS_SHUFFLE(T, a, b, 1, 3, 9, 11, 5, 7, 13, 15);
}

// The sums of eight lines, each over its own eight numbers. The lines are used up.
template <class T, class V>
NETDIFFUS_FN void line_sums(V* line, V* sums) {
  neighbours<T>(line[0], line[1], &line[0]);
  neighbours<T>(line[2], line[3], &line[1]);
  neighbours<T>(line[4], line[5], &line[2]);
  neighbours<T>(line[6], line[7], &line[3]);
  neighbours<T>(line[0], line[1], &line[0]);
  neighbours<T>(line[2], line[3], &line[1]);
  *sums = NETDIFFUS_SHUFFLE(T, line[0], line[1], 0, 1, 2, 3, 8, 9, 10, 11) +
          NETDIFFUS_SHUFFLE(T, line[0], line[1], 4, 5, 6, 7, 12, 13, 14, 15);
}

// scores[k] = scale query' keys[first + k] for eight keys; past the last key they mean nothing.
template <class T>
NETDIFFUS_FN void some_scores(const Head<T>* head, int64_t first, T scale, T* scores) {
  typedef T V __attribute__((vector_size(kSquare * sizeof(T))));
  const int64_t width = head->width, last = head->count - 1;
  const T* row[kSquare];
  for (int64_t k = 0; k < kSquare; ++k)
    row[k] = head->keys + (first + k < last ? first + k : last) * width;
  V sum[kSquare] = {}, query, key;
  int64_t c = 0;
  for (; c + kSquare <= width; c += kSquare) {
    std::memcpy(&query, head->query + c, sizeof(V));
#pragma GCC unroll 8
    for (int64_t k = 0; k < kSquare; ++k) {
      std::memcpy(&key, row[k] + c, sizeof(V));
      sum[k] += query * key;
    }
  }
  V score;
  line_sums<T>(sum, &score);
  for (; c < width; ++c)
    for (int64_t k = 0; k < kSquare; ++k) score[k] += head->query[c] * row[k][c];
  score *= scale;
  std::memcpy(scores, &score, sizeof(V));
}

// The softmax of scores, but for a division by the sum that it returns. The scores have room for
// whole lanes: where no key is, the score is -infinity and the share 0.
template <class T>
NETDIFFUS_FN T to_shares(T* scores, int64_t count) {
  const int64_t whole = (count + kLanes - 1) / kLanes * kLanes;
  for (int64_t j = count; j < whole; ++j) scores[j] = -std::numeric_limits<T>::infinity();
  const T most = largest(scores, whole);
#pragma GCC ivdep
  for (int64_t j = 0; j < whole; ++j) scores[j] = exponential(scores[j] - most);
  return total(scores, whole);
}

// out[c] = scale sum_j shares[j] values[j * step + c] for as many c as `lines` vectors have.
template <class V, int64_t lines, class T>
NETDIFFUS_FN void some_means(const T* values, const T* shares, int64_t count, int64_t step, T scale,
                             T* out) {
  constexpr int64_t kWide = sizeof(V) / sizeof(T);
  V sum[lines] = {}, line;
  for (int64_t j = 0; j < count; ++j)
#pragma GCC unroll 4
    for (int64_t k = 0; k < lines; ++k) {
      std::memcpy(&line, values + j * step + k * kWide, sizeof(V));
      sum[k] += line * shares[j];
    }
  for (int64_t k = 0; k < lines; ++k) sum[k] *= scale;
  std::memcpy(out, sum, sizeof(sum));
}

template <class T>
NETDIFFUS_FN void means(const Head<T>* head, const T* shares, T scale) {
  typedef T V __attribute__((vector_size(kSquare * sizeof(T))));
  typedef T One __attribute__((vector_size(sizeof(T))));
  const T* values = head->values;
  const int64_t count = head->count, width = head->width;
  int64_t c = 0;
  for (; c + 4 * kSquare <= width; c += 4 * kSquare)
    some_means<V, 4>(values + c, shares, count, width, scale, head->out + c);
  for (; c + kSquare <= width; c += kSquare)
    some_means<V, 1>(values + c, shares, count, width, scale, head->out + c);
  for (; c < width; ++c) some_means<One, 1>(values + c, shares, count, width, scale, head->out + c);
}

template <class T>
NETDIFFUS_FN void head_body(const Head<T>* head, T* scores) {
  const int64_t count = head->count, width = head->width;
  const T scale = 1 / std::sqrt(static_cast<T>(width));
  for (int64_t j = 0; j < count; j += kSquare) some_scores(head, j, scale, scores + j);
  const T sum = to_shares(scores, count);
  means(head, scores, 1 / sum);
}

// Caches of a large batch lie in slow memory: what comes next is fetched while this is computed.
constexpr int64_t kAhead = 2;  // heads, for which a fetch takes about as long

}  // namespace

template <class T>
void cached_attention(const T* qkv, int64_t batch, int64_t heads, int64_t length, int64_t width,
                      int64_t place, T* keys, T* values, T* out, int threads) {
  const int64_t features = heads * width, count = place + 1;
  threads = useful_threads(batch * heads, batch * features * count, threads);
  for_ranges(batch * heads, threads, [&](int, int64_t begin, int64_t end) {
    std::vector<T> scores(count + kLanes);
    for (int64_t k = begin; k < end; ++k) {
      const T* query = qkv + k / heads * 3 * features + k % heads * width;
      T *own_keys = keys + k * length * width, *own_values = values + k * length * width;
      if (k + kAhead < end) {
        ask_for<1>(own_keys + kAhead * length * width, place * width);
        ask_for<1>(own_values + kAhead * length * width, place * width);
      }
      std::copy_n(query + features, width, own_keys + place * width);
      std::copy_n(query + 2 * features, width, own_values + place * width);
      const Head<T> head{query, own_keys, own_values, count, width, out + k * width};
      best<head_body<T>>(&head, scores.data());
    }
  });
}

template void cached_attention(const float*, int64_t, int64_t, int64_t, int64_t, int64_t, float*,
                               float*, float*, int);
template void cached_attention(const double*, int64_t, int64_t, int64_t, int64_t, int64_t, double*,
                               double*, double*, int);

}  // namespace netdiffus
