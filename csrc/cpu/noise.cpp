// Counter-based normal noise, in strips short enough for the first cache.
#include <algorithm>

#include "cpu/loops.h"
#include "formulas.h"
#include "kernels.h"

namespace netdiffus {
namespace {

constexpr int64_t kBlocks = 256;  // Philox blocks of four normals in a strip

// Normals of blocks [block, block + kBlocks) of one trace.
NETDIFFUS_CLONES void strip_of(uint64_t seed, int64_t index, uint32_t step, uint32_t block,
                               float* normals) {
  const uint64_t trace = static_cast<uint64_t>(index);
  const uint32_t low = static_cast<uint32_t>(trace), high = static_cast<uint32_t>(trace >> 32);
  const uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
  for (uint32_t b = 0; b < kBlocks; ++b) {
    const Philox bits = philox(block + b, step, low, high, k0, k1);
    const Pair one = box_muller(bits.word[0], bits.word[1]);
    const Pair two = box_muller(bits.word[2], bits.word[3]);
    normals[4 * b] = one.first;
    normals[4 * b + 1] = one.second;
    normals[4 * b + 2] = two.first;
    normals[4 * b + 3] = two.second;
  }
}

}  // namespace

template <class T>
void normal(uint64_t seed, const int64_t* index, int64_t batch, uint32_t step, int64_t count,
            T* noise, int threads) {
  const int64_t length = 4 * kBlocks, strips = (count + length - 1) / length;
  threads = useful_threads(batch * strips, batch * count, threads);
  for_ranges(batch * strips, threads, [&](int, int64_t begin, int64_t end) {
    float normals[4 * kBlocks];
    for (int64_t k = begin; k < end; ++k) {
      const int64_t trace = k / strips, strip = k % strips;
      strip_of(seed, index[trace], step, static_cast<uint32_t>(strip * kBlocks), normals);
      const int64_t used = std::min(length, count - strip * length);
      std::copy_n(normals, used, noise + trace * count + strip * length);
    }
  });
}

template void normal(uint64_t, const int64_t*, int64_t, uint32_t, int64_t, float*, int);
template void normal(uint64_t, const int64_t*, int64_t, uint32_t, int64_t, double*, int);

}  // namespace netdiffus
