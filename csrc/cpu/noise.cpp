// Normal noise by counter, and the forward step that it is drawn for.
#include "cpu/noise.h"

#include <algorithm>

#include "formulas.h"

namespace netdiffus {
namespace {

constexpr int64_t kGroup = 16;  // blocks in the widest vector: no loop ends on a part of one

// The four normals of each of `count` Philox blocks of one trace; count is a multiple of kGroup.
NETDIFFUS_FN void normals_of(uint64_t seed, uint64_t trace, uint32_t step, const uint32_t* blocks,
                             int64_t count, float* normals) {
  const uint32_t low = static_cast<uint32_t>(trace), high = static_cast<uint32_t>(trace >> 32);
  const uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
  count &= -kGroup;
#pragma GCC ivdep
  for (int64_t b = 0; b < count; ++b) {
    const Philox bits = philox(blocks[b], step, low, high, k0, k1);
    const Pair one = box_muller(bits.word[0], bits.word[1]);
    const Pair two = box_muller(bits.word[2], bits.word[3]);
    normals[4 * b] = one.first;
    normals[4 * b + 1] = one.second;
    normals[4 * b + 2] = two.first;
    normals[4 * b + 3] = two.second;
  }
}

// From the upper triangle of white noise to a symmetric plane; in tiles that stay in the cache.
void mirror(int64_t n, float* plane) {
  constexpr int64_t kTile = 16;
  for (int64_t i = 0; i < n; ++i) plane[i * n + i] *= 1.41421356f;  // variance 2, as (w + w')/√2's
  for (int64_t top = 0; top < n; top += kTile)
    for (int64_t left = 0; left <= top; left += kTile)
      for (int64_t i = top; i < std::min(top + kTile, n); ++i)
        for (int64_t j = left; j < std::min(left + kTile, i); ++j)
          plane[i * n + j] = plane[j * n + i];
}

template <class T>
NETDIFFUS_FN void mix(const T* x0, T signal, T sigma, const float* eps, int64_t count,
                      Target target, T* xt, T* goal) {
#pragma GCC ivdep
  for (int64_t k = 0; k < count; ++k) xt[k] = signal * x0[k] + sigma * static_cast<T>(eps[k]);
  if (target == Target::eps)
    for (int64_t k = 0; k < count; ++k) goal[k] = eps[k];
  if (target != Target::v) return;
#pragma GCC ivdep
  for (int64_t k = 0; k < count; ++k) goal[k] = signal * static_cast<T>(eps[k]) - sigma * x0[k];
}

}  // namespace

Noise::Noise(Draw draw, Planes shape)
    : draw_(draw), n_(shape.columns), symmetric_(shape.symmetric) {}

const float* Noise::of(int64_t b, int64_t begin, int64_t end) {
  if (symmetric_) return plane(b, begin);
  ask(begin, end);
  return drawn(b);
}

// Adds the blocks that hold the elements [begin, end).
void Noise::ask(int64_t begin, int64_t end) {
  for (int64_t block = begin / 4; block < (end + 3) / 4; ++block)
    blocks_.push_back(static_cast<uint32_t>(block));
}

// Normals of all blocks asked for, one after the other.
const float* Noise::drawn(int64_t b) {
  const int64_t count = (static_cast<int64_t>(blocks_.size()) + kGroup - 1) / kGroup * kGroup;
  blocks_.resize(count);
  drawn_.resize(std::max<size_t>(drawn_.size(), 4 * count));
  best<normals_of>(draw_.seed, static_cast<uint64_t>(draw_.index[b]), draw_.step, blocks_.data(),
                   count, drawn_.data());
  blocks_.clear();
  return drawn_.data();
}

// The plane whose first element is `begin`. Of each row only what lies right of the diagonal is
// drawn, many rows at once, as a row alone would not fill the vectors.
const float* Noise::plane(int64_t b, int64_t begin) {
  plane_.resize(n_ * n_);
  const int64_t rows = std::max<int64_t>(1, 4 * kStrip / n_);
  for (int64_t top = 0; top < n_; top += rows) {
    const int64_t bottom = std::min(top + rows, n_);
    for (int64_t i = top; i < bottom; ++i) ask(begin + i * n_ + i, begin + (i + 1) * n_);
    const float* z = drawn(b);
    for (int64_t i = top; i < bottom; ++i) {
      const int64_t first = begin + i * n_ + i, last = begin + (i + 1) * n_;
      std::copy_n(z + first % 4, n_ - i, plane_.data() + i * n_ + i);
      z += 4 * ((last + 3) / 4 - first / 4);
    }
  }
  mirror(n_, plane_.data());
  return plane_.data();
}

template <class T>
void normal(Draw draw, Planes shape, T* noise, int threads) {
  const int64_t bytes = shape.batch * elements_of_one(shape) * static_cast<int64_t>(sizeof(T));
  const bool stream = worth_streaming(bytes);
  for_noisy_strips(draw, shape, threads, [&](int64_t first, int64_t count, const float* eps) {
    Strip<T> strip(stream);
    std::copy_n(eps, count, strip.start(noise + first));
    strip.finish(noise + first, count);
  });
}

template void normal(Draw, Planes, float*, int);
template void normal(Draw, Planes, double*, int);

template <class T>
void q_sample(const T* x0, const T* signal, const T* sigma, Draw draw, Planes shape, Target target,
              T* xt, T* goal, int threads) {
  const int64_t one = elements_of_one(shape), arrays = target == Target::x0 ? 2 : 3;
  const bool stream = worth_streaming(arrays * shape.batch * one * static_cast<int64_t>(sizeof(T)));
  for_noisy_strips(draw, shape, threads, [&](int64_t first, int64_t count, const float* eps) {
    Strip<T> noisy(stream), wanted(stream);
    const int64_t b = first / one;
    best<mix<T>>(x0 + first, signal[b], sigma[b], eps, count, target, noisy.start(xt + first),
                 wanted.start(goal + first));
    noisy.finish(xt + first, count);
    if (target != Target::x0) wanted.finish(goal + first, count);
  });
}

template void q_sample(const float*, const float*, const float*, Draw, Planes, Target, float*,
                       float*, int);
template void q_sample(const double*, const double*, const double*, Draw, Planes, Target, double*,
                       double*, int);

}  // namespace netdiffus
