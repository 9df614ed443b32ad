// Normal noise by counter, drawn piece by piece for the kernels that use it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "cpu/loops.h"
#include "cpu/stream.h"
#include "kernels.h"

namespace netdiffus {

constexpr int64_t kStrip = 1024;  // elements worked on at once: several arrays of them fit in L1

// Draws the noise of some elements of a trace: of a strip where it is white, of a plane where it is
// symmetric.
class Noise {
 public:
  Noise(Draw draw, Planes shape);
  // Noise of the elements [begin, end) of trace b, a piece of for_pieces(). It lasts until the
  // next.
  const float* of(int64_t b, int64_t begin, int64_t end);

 private:
  void ask(int64_t begin, int64_t end);
  const float* drawn(int64_t b);
  const float* plane(int64_t b, int64_t begin);

  Draw draw_;
  int64_t n_;
  bool symmetric_;
  std::vector<uint32_t> blocks_;
  std::vector<float> drawn_, plane_;
};

// Where a strip's output is made: in place, or in the cache to be streamed from there to its place.
template <class T>
struct Strip {
  explicit Strip(bool stream) : stream(stream) {}

  bool stream;
  T line[kStrip];

  T* start(T* place) { return stream ? line : place; }
  void finish(T* place, int64_t count) {
    if (stream) stream_copy(place, line, count);
  }
};

inline int64_t elements_of_one(const Planes& shape) {
  return shape.planes * shape.rows * shape.columns;
}

// Calls body(first, count, eps) for strips that make up the whole batch, from several threads:
// `count` elements from the batch's element `first`, all of one trace, and their noise.
template <class Body>
void for_noisy_strips(Draw draw, const Planes& shape, int threads, const Body& body) {
  const int64_t count = elements_of_one(shape);
  if (shape.batch * count == 0) return;
  const int64_t size = shape.symmetric ? shape.rows * shape.columns : kStrip;
  const int64_t pieces = (count + size - 1) / size;
  threads = useful_threads(shape.batch * pieces, shape.batch * count, threads);
  for_ranges(shape.batch * pieces, threads, [&](int, int64_t first, int64_t last) {
    Noise noise(draw, shape);
    for (int64_t k = first; k < last; ++k) {
      const int64_t b = k / pieces, begin = k % pieces * size, end = std::min(begin + size, count);
      const float* eps = noise.of(b, begin, end);
      for (int64_t at = begin; at < end; at += kStrip)
        body(b * count + at, std::min(kStrip, end - at), eps + (at - begin));
    }
    stream_fence();
  });
}

}  // namespace netdiffus
