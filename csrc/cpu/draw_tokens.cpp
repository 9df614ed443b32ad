// Tokens drawn from the softmax of logits: a pass over a row that stays in cache.
#include <vector>

#include "cpu/lanes.h"
#include "cpu/loops.h"
#include "formulas.h"
#include "kernels.h"

namespace netdiffus {
namespace {

constexpr int64_t kBlock = 2 * kLanes;  // tokens whose weights are summed before one is looked for

// weights[v] = e^(logits[v] - their largest) in grains, with 0 behind them up to a whole block, and
// the sums of blocks: NaN where there is no softmax. `parts` is room for a row.
template <class T>
NETDIFFUS_FN void weights_body(const T* logits, int64_t size, double grain, T* parts,
                               double* weights, double* sums) {
  const T most = largest(logits, size);
#pragma GCC ivdep
  for (int64_t v = 0; v < size; ++v) parts[v] = exponential(logits[v] - most);
#pragma GCC ivdep
  for (int64_t v = 0; v < size; ++v) weights[v] = to_grains(parts[v], grain);
  for (int64_t v = size; v % kBlock; ++v) weights[v] = 0;
  for (int64_t v = 0; v < size; v += kBlock) sums[v / kBlock] = total(weights + v, kBlock);
}

// The first token whose cumulative weight is larger than `goal`: first its block, then itself.
int64_t first_above(const double* weights, const double* sums, double goal) {
  double before = 0;
  int64_t k = 0;
  while (before + sums[k] <= goal) before += sums[k++];
  int64_t v = k * kBlock;
  while ((before += weights[v]) <= goal) ++v;
  return v;
}

// Room for what is made of a row of logits.
template <class T>
struct Row {
  std::vector<T> parts;
  std::vector<double> weights, sums;
  explicit Row(int64_t size)
      : parts(size), weights(size + kBlock), sums((size + kBlock - 1) / kBlock) {}

  int64_t draw(const T* logits, double uniform) {
    const int64_t size = static_cast<int64_t>(parts.size());
    best<weights_body<T>>(logits, size, grain_of(size), parts.data(), weights.data(), sums.data());
    double sum = 0;
    for (double one : sums) sum += one;
    const bool known = sum == sum && uniform >= 0 && uniform < 1;
    return known ? first_above(weights.data(), sums.data(), uniform * sum) : -1;
  }
};

}  // namespace

template <class T>
void draw_tokens(const T* logits, const double* uniforms, int64_t batch, int64_t size,
                 int64_t* tokens, int threads) {
  threads = useful_threads(batch, batch * size, threads);
  for_ranges(batch, threads, [&](int, int64_t begin, int64_t end) {
    Row<T> row(size);
    for (int64_t b = begin; b < end; ++b) tokens[b] = row.draw(logits + b * size, uniforms[b]);
  });
}

template void draw_tokens(const float*, const double*, int64_t, int64_t, int64_t*, int);
template void draw_tokens(const double*, const double*, int64_t, int64_t, int64_t*, int);

}  // namespace netdiffus
