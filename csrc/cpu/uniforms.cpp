// Uniform numbers by counter, alone or spread evenly over the traces of a family. Whole numbers up
// to the last step: the same bits as the reference.
#include <algorithm>

#include "cpu/loops.h"
#include "formulas.h"
#include "kernels.h"

namespace netdiffus {
namespace {

constexpr int64_t kChunk = 64;  // numbers that are made together
constexpr int kGroups = 3, kDigits = 4;
constexpr uint32_t kSpreadBlock = 0xFE000000, kUniformBlock = 0xFFFFFFFF;  // first Philox words

// Whose numbers a chunk holds: the words of the counters.
struct Counters {
  uint32_t k0, k1, draw[kChunk], low[kChunk], high[kChunk], family[kChunk];
  uint64_t rank[kChunk];
};

// 53 random bits of number i.
NETDIFFUS_FN uint64_t random_bits(const Counters* of, int64_t i) {
  const Philox bits = philox(kUniformBlock, of->draw[i], of->low[i], of->high[i], of->k0, of->k1);
  return static_cast<uint64_t>(bits.word[0] >> 5) << 26 | bits.word[1] >> 6;
}

// Four digits, each a digit of `rank` that is flipped or not by a bit of the word. Which bit
// depends on the higher digits of the rank and on the digits made before.
NETDIFFUS_FN uint32_t digits_of(uint32_t rank, uint32_t word) {
  uint32_t made = 0;
  for (int k = 0; k < kDigits; ++k) {
    const uint32_t higher = (rank >> (k + 1)) & ((1u << (kDigits - 1 - k)) - 1);
    const uint32_t flip = (word >> (8 * k + (higher << k | made))) & 1;
    made = made << 1 | (((rank >> k) & 1) ^ flip);
  }
  return made;
}

// The twelve digits of number i by the rank of its trace.
NETDIFFUS_FN uint32_t spread_digits(const Counters* of, int64_t i) {
  uint32_t place = 0;
  for (int group = 0; group < kGroups; ++group) {
    const uint32_t block = kSpreadBlock + (static_cast<uint32_t>(group) << 20) + place;
    const uint64_t rank = of->rank[i] >> (kDigits * group);
    const Philox bits = philox(block, of->draw[i], of->family[i],
                               static_cast<uint32_t>(rank >> kDigits), of->k0, of->k1);
    place = place << kDigits | digits_of(static_cast<uint32_t>(rank), bits.word[0]);
  }
  return place;
}

NETDIFFUS_FN void uniforms_of(const Counters* of, double* found) {
  uint64_t bits[kChunk];
#pragma GCC ivdep
  for (int64_t i = 0; i < kChunk; ++i) bits[i] = random_bits(of, i);
  for (int64_t i = 0; i < kChunk; ++i) found[i] = static_cast<double>(bits[i]) * 0x1p-53;
}

// Twelve digits by the rank, then forty by the number of the trace.
NETDIFFUS_FN void spread_of(const Counters* of, double* found) {
  uint64_t bits[kChunk];
#pragma GCC ivdep
  for (int64_t i = 0; i < kChunk; ++i)
    bits[i] = static_cast<uint64_t>(spread_digits(of, i)) << 40 | random_bits(of, i) >> 13;
  for (int64_t i = 0; i < kChunk; ++i) found[i] = static_cast<double>(bits[i]) * 0x1p-52;
}

// Calls body for all chunks; without families and ranks where these are null.
template <class Body>
void for_chunks(Draw draw, const int64_t* family, const int64_t* rank, int64_t batch, int64_t count,
                double* out, int threads, const Body& body) {
  const int64_t chunks = (batch * count + kChunk - 1) / kChunk;
  threads = useful_threads(chunks, 8 * batch * count, threads);  // each costs as eight sums do
  for_ranges(chunks, threads, [&](int, int64_t begin, int64_t end) {
    Counters of = {};
    of.k0 = static_cast<uint32_t>(draw.seed), of.k1 = static_cast<uint32_t>(draw.seed >> 32);
    double found[kChunk];
    for (int64_t chunk = begin; chunk < end; ++chunk) {
      const int64_t first = chunk * kChunk, filled = std::min(kChunk, batch * count - first);
      for (int64_t i = 0; i < filled; ++i) {
        const int64_t b = (first + i) / count;
        const uint64_t index = static_cast<uint64_t>(draw.index[b]);
        of.draw[i] = draw.step + static_cast<uint32_t>((first + i) % count);
        of.low[i] = static_cast<uint32_t>(index);
        of.high[i] = static_cast<uint32_t>(index >> 32);
        if (!family) continue;
        of.family[i] = static_cast<uint32_t>(family[b]);
        of.rank[i] = static_cast<uint64_t>(rank[b]);
      }
      body(&of, found);
      std::copy_n(found, filled, out + first);
    }
  });
}

}  // namespace

void uniforms(Draw draw, int64_t batch, int64_t count, double* out, int threads) {
  for_chunks(draw, nullptr, nullptr, batch, count, out, threads, best<uniforms_of>);
}

void spread_uniforms(Draw draw, const int64_t* family, const int64_t* rank, int64_t batch,
                     int64_t count, double* out, int threads) {
  for_chunks(draw, family, rank, batch, count, out, threads, best<spread_of>);
}

}  // namespace netdiffus
