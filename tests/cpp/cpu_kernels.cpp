// Drives every CPU kernel over awkward sizes, for a run under sanitizers: each array is its own
// heap block of exactly the size asked for. Exits with 1 at the first result that is wrong.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <vector>

#include "cpu/stream.h"
#include "kernels.h"

namespace {

void expect(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "wrong: %s\n", what);
  std::exit(1);
}

template <class T>
void check_gasf(int64_t batch, int64_t n, int64_t m, double gamma, int threads) {
  std::vector<T> x(batch * n), image(batch * m * m, T(-1));
  for (size_t k = 0; k < x.size(); ++k) x[k] = T(k % 11) / 10;
  netdiffus::gasf_image(x.data(), batch, n, m, gamma, image.data(), threads);
  for (T pixel : image) expect(pixel >= 0 && pixel <= 1, "a pixel outside [0, 1]");
}

template <class T>
void check_normal(int64_t batch, int64_t count, int threads) {
  std::vector<int64_t> index(batch);
  std::iota(index.begin(), index.end(), -1);
  std::vector<T> noise(batch * count, T(99));
  netdiffus::normal(1, index.data(), batch, 2, count, noise.data(), threads);
  for (T z : noise) expect(std::abs(z) < 7, "a value that was not drawn");
}

void check_stream_copy() {
  std::vector<char> from(200), to(200);
  std::iota(from.begin(), from.end(), 1);
  for (int offset = 0; offset < 20; ++offset)
    for (int bytes = 0; bytes < 150; ++bytes) {
      std::fill(to.begin(), to.end(), 0);
      netdiffus::stream_copy(to.data() + offset, from.data(), bytes);
      netdiffus::stream_fence();
      for (int k = 0; k < 200; ++k) {
        const bool inside = k >= offset && k < offset + bytes;
        expect(to[k] == (inside ? from[k - offset] : 0), "stream_copy");
      }
    }
}

}  // namespace

int main() {
  for (int64_t batch : {0, 1, 3})
    for (int64_t n : {1, 2, 7, 70, 500})
      for (int64_t m : {1, 5, 64, 125})
        for (double gamma : {1.0, 0.25, 0.5, 0.3}) {
          check_gasf<float>(batch, n, m, gamma, 2);
          check_gasf<double>(batch, n, m, gamma, 1);
        }
  check_gasf<float>(700, 9, 128, 1, 3);  // 46 MB, enough to stream on most machines
  for (int64_t batch : {0, 1, 3})
    for (int64_t count : {0, 1, 5, 1024, 70001}) {
      check_normal<float>(batch, count, 3);
      check_normal<double>(batch, count, 1);
    }
  check_stream_copy();
}
