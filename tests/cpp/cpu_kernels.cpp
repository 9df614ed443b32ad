// Drives every CPU kernel over awkward sizes, for a run under sanitizers: each array is its own
// heap block of exactly the size asked for. Exits with 1 at the first result that is wrong.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <vector>

#include "cpu/isa.h"
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
void check_field(int64_t batch, int64_t n, int threads) {
  std::vector<T> x(batch * n), field(batch * n * n, T(9));
  for (size_t k = 0; k < x.size(); ++k) x[k] = T(k % 11) / 10;
  netdiffus::gasf(x.data(), batch, n, field.data(), threads);
  for (T cosine : field) expect(cosine >= -1 && cosine <= 1, "a cosine outside [-1, 1]");
}

template <class T>
void check_resize(int64_t batch, int64_t h, int64_t w, int64_t h2, int64_t w2, int threads) {
  std::vector<T> image(batch * h * w, T(3)), resized(batch * h2 * w2, T(9));
  netdiffus::area_resize(image.data(), batch, h, w, h2, w2, resized.data(), threads);
  for (T mean : resized) expect(std::abs(mean - 3) < 1e-4, "a mean of threes that is no three");
}

std::vector<int64_t> numbers(int64_t batch) {
  std::vector<int64_t> index(batch);
  std::iota(index.begin(), index.end(), -1);
  return index;
}

template <class T>
void check_noise(netdiffus::Planes shape, int threads) {
  const std::vector<int64_t> index = numbers(shape.batch);
  const netdiffus::Draw draw = {1, index.data(), 2};
  const int64_t count = shape.batch * shape.planes * shape.rows * shape.columns;
  std::vector<T> noise(count, T(99)), x0(count, T(0.5)), xt(count, T(99)), goal(count, T(99));
  std::vector<T> level(shape.batch, T(0.5));
  netdiffus::normal(draw, shape, noise.data(), threads);
  for (T z : noise) expect(std::abs(z) < 10, "a value that was not drawn");
  for (netdiffus::Target target : {netdiffus::Target::eps, netdiffus::Target::v})
    netdiffus::q_sample(x0.data(), level.data(), level.data(), draw, shape, target, xt.data(),
                        goal.data(), threads);
  netdiffus::q_sample<T>(x0.data(), level.data(), level.data(), draw, shape, netdiffus::Target::x0,
                         xt.data(), nullptr, threads);
  for (int64_t k = 0; k < count; ++k) {
    expect(std::abs(xt[k] - (T(0.25) + noise[k] / 2)) < 1e-6, "xt");
    expect(std::abs(goal[k] - (noise[k] / 2 - T(0.25))) < 1e-6, "v");
  }
  netdiffus::denoise_step<T>({1, 0, 0, 1, 0, 0}, xt.data(), goal.data(), nullptr, {}, shape,
                             noise.data(), goal.data(), threads);
  expect(noise == goal, "a step to x0");
  netdiffus::denoise_step({1, 1, 1, 1, 1, 1}, xt.data(), noise.data(), x0.data(), draw, shape,
                          xt.data(), x0.data(), threads);
  for (T v : x0) expect(v >= -1 && v <= 1, "an x0 outside [-1, 1]");
}

template <class T>
void check_decode(int64_t batch, int64_t m, double gamma, int threads) {
  std::vector<T> image(batch * m * m);
  for (size_t k = 0; k < image.size(); ++k) image[k] = T(k * k % 11) / 10;
  if (batch) image[0] = std::nan("");
  std::vector<double> x(batch * m, 99), residual(batch, 99);
  netdiffus::gasf_decode(image.data(), batch, m, gamma, 4, 1e-6, x.data(), residual.data(),
                         threads);
  for (int64_t k = 0; k < batch * m; ++k)
    expect(k < m ? std::isnan(x[k]) : x[k] >= 0 && x[k] <= 1, "a decoded value");
}

template <class T>
void check_modulate(int64_t batch, int64_t n, int64_t w, bool near, int threads) {
  const int64_t count = batch * n * w;
  std::vector<T> s(count), g(count, T(1)), out(count, T(99)), gs(count, T(99));
  std::vector<T> scale(batch * w), shift(batch * w, T(2)), taps(5 * w), bias(w, T(1));
  std::vector<T> gscale(batch * w), gshift(batch * w), gtaps(batch * 6 * w);
  for (int64_t k = 0; k < count; ++k) s[k] = T(k % 7);
  const T *t = near ? taps.data() : nullptr, *b = near ? bias.data() : nullptr;
  netdiffus::modulate(s.data(), scale.data(), shift.data(), t, b, batch, n, w, out.data(), threads);
  const double expected = near ? 3 : 2;
  double sum = 0;
  for (T v : out) sum += static_cast<double>(v) - expected;
  expect(std::abs(sum) <= 1e-4 * static_cast<double>(count), "a mean of modulated rows");
  netdiffus::modulate_backward(s.data(), scale.data(), shift.data(), t, g.data(), batch, n, w,
                               gs.data(), gscale.data(), gshift.data(),
                               near ? gtaps.data() : nullptr, threads);
  for (T v : gshift) expect(v == static_cast<T>(n), "the gradient of shift");
  for (T v : gs) expect(std::abs(v) < 1e-3, "a gradient where every row's sum is fixed");
}

template <class T>
void check_levels(int64_t batch, int64_t m, const std::vector<int64_t>& sizes, int threads) {
  const int64_t levels = std::accumulate(sizes.begin(), sizes.end(), int64_t{0});
  const int64_t rows = batch * m, channels = static_cast<int64_t>(sizes.size());
  std::vector<T> counted(rows * levels, T(-1)), point(rows * channels, T(0.5)), variance(batch, 1);
  std::vector<T> spans(3 * levels, T(0.25)), cosines(16 * levels, T(2));
  std::vector<T> chances(rows * levels, T(99)), features(rows * (levels + 17 * channels), T(99));
  const T* p = point.data();
  netdiffus::level_chances<T>(
      {counted.data(), p, p, variance.data(), p, p, spans.data(), cosines.data(), batch, m}, sizes,
      chances.data(), features.data(), threads);
  for (T v : chances) expect(std::abs(v + 0.875) < 1e-6, "a chance");
  for (int64_t k = 0; k < rows * channels; ++k) {
    const T* row = features.data() + k / channels * (levels + 17 * channels);
    expect(row[k % channels] == T(0.5), "the border");
    expect(std::abs(row[channels + levels + 16 * (k % channels)] - 2) < 1e-5, "a sum of cosines");
  }
  std::vector<T> means(3 * rows * channels, T(99)), lost(rows * channels, T(99));
  for (double gamma : {1.0, 0.3})
    netdiffus::level_means(chances.data(), chances.data(), p, variance.data(), spans.data(), batch,
                           m, sizes, gamma, means.data(), threads);
  for (T v : means) expect(v >= -1 && v <= 1, "a mean");
  std::vector<int64_t> own(rows * channels);
  for (int64_t k = 0, c = 0; k < rows * channels; c = ++k % channels)
    own[k] = std::accumulate(sizes.begin(), sizes.begin() + c + 1, int64_t{-1});
  netdiffus::level_loss(chances.data(), chances.data(), own.data(), batch, m, sizes, lost.data(),
                        threads);
  for (int64_t k = 0; k < rows * channels; ++k) {
    const double expected = std::log(static_cast<double>(sizes[k % channels]));
    expect(std::abs(lost[k] - expected) < 1e-5, "a loss");
  }
  netdiffus::level_loss_backward(chances.data(), chances.data(), own.data(), p, batch, m, sizes,
                                 counted.data(), threads);
  const double sum = std::accumulate(counted.begin(), counted.end(), 0.0);
  expect(std::abs(sum) < 1e-3, "gradients that do not cancel");
}

// With the unit vectors S is diagonal, 3, and so is K, 1 / 4.
template <class T>
void check_precision(int64_t batch, int64_t size, int threads) {
  std::vector<T> apart(batch * size, T(2)), noise(batch, T(1)), variances(2 * size, T(3));
  std::vector<T> vectors(2 * size * size), found(4 * batch * size, T(99));
  for (int64_t d = 0; d < 2 * size; ++d) vectors[d * size + d % size] = 1;
  std::vector<int64_t> group(batch);
  for (int64_t b = 0; b < batch; ++b) group[b] = b % 2;
  netdiffus::precision(apart.data(), noise.data(), group.data(), variances.data(), vectors.data(),
                       batch, size, found.data(), threads);
  const double expected[] = {0.5, 0.25, 0.75, 3};
  for (int64_t k = 0; k < 4 * batch * size; ++k)
    expect(std::abs(found[k] - expected[k / (batch * size)]) < 1e-6,
           "a product with the precision");
}

// Where all keys are alike, every query's answer is the mean of the values.
template <class T>
void check_attention(int64_t batch, int64_t length, int64_t heads, int64_t width, int threads) {
  const int64_t features = heads * width;
  std::vector<T> qkv(batch * length * 3 * features, T(2)), out(batch * length * features, T(99));
  for (int64_t row = 0; row < batch * length; ++row)
    for (int64_t f = 0; f < features; ++f)
      qkv[row * 3 * features + 2 * features + f] = static_cast<T>(row % length + f);
  netdiffus::attention(qkv.data(), batch, length, heads, width, out.data(), threads);
  for (int64_t k = 0; k < batch * length * features; ++k) {
    const double expected = 0.5 * static_cast<double>(length - 1) + k % features;
    expect(std::abs(out[k] - expected) < 1e-5 * (1 + expected), "attention");
  }
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

void check_all() {
  for (int64_t batch : {0, 1, 3})
    for (int64_t n : {1, 2, 7, 70, 500})
      for (int64_t m : {1, 5, 64, 125})
        for (double gamma : {1.0, 0.25, 0.5, 0.3}) {
          check_gasf<float>(batch, n, m, gamma, 2);
          check_gasf<double>(batch, n, m, gamma, 1);
        }
  check_gasf<float>(700, 9, 128, 1, 3);  // 46 MB, enough to stream on most machines
  for (int64_t batch : {0, 1, 3})
    for (int64_t n : {1, 2, 7, 33, 256}) {
      check_field<float>(batch, n, 3);
      check_field<double>(batch, n, 1);
    }
  check_field<float>(170, 257, 3);  // 45 MB
  for (int64_t batch : {0, 1, 3})
    for (int64_t h : {1, 7, 70, 300})
      for (int64_t h2 : {1, 5, 64, 125}) {
        check_resize<float>(batch, h, h + 3, h2, h2, 3);
        check_resize<double>(batch, h, 50, h2, 9, 1);
      }
  for (int64_t batch : {0, 1, 3})
    for (int64_t count : {0, 1, 5, 1024, 70001}) {
      check_noise<float>({batch, 1, 1, count, false}, 3);
      check_noise<double>({batch, 1, 1, count, false}, 1);
    }
  for (int64_t planes : {1, 3})
    for (int64_t m : {0, 1, 2, 5, 16, 33, 150}) {
      check_noise<float>({3, planes, m, m, true}, 3);
      check_noise<double>({3, planes, m, m, true}, 1);
    }
  check_noise<float>({180, 1, 256, 256, true}, 3);  // enough to stream
  for (int64_t batch : {0, 1, 3})
    for (int64_t m : {1, 2, 7, 33, 160})
      for (double gamma : {1.0, 0.25, 0.5, 0.3}) {
        check_decode<float>(batch, m, gamma, 2);
        check_decode<double>(batch, m, gamma, 1);
      }
  for (int64_t batch : {0, 1, 3})
    for (int64_t n : {1, 2, 5, 33})
      for (int64_t w : {1, 8, 37, 96})
        for (bool near : {false, true}) {
          check_modulate<float>(batch, n, w, near, 2);
          check_modulate<double>(batch, n, w, near, 1);
        }
  check_modulate<float>(50, 33, 96, true, 3);  // enough for threads
  for (int64_t batch : {0, 1, 3})
    for (int64_t m : {1, 5})
      for (const std::vector<int64_t>& sizes :
           std::vector<std::vector<int64_t>>{{1}, {2, 16}, {17, 3, 40}}) {
        check_levels<float>(batch, m, sizes, 2);
        check_levels<double>(batch, m, sizes, 1);
      }
  check_levels<float>(70, 33, {40, 3}, 3);  // enough for threads
  for (int64_t batch : {0, 1, 3})
    for (int64_t size : {1, 16, 37}) {
      check_precision<float>(batch, size, 2);
      check_precision<double>(batch, size, 1);
    }
  check_precision<float>(50, 40, 3);  // enough for threads
  for (int64_t batch : {0, 1, 3})
    for (int64_t length : {0, 1, 7, 16, 33})
      for (int64_t width : {0, 1, 8, 21}) {
        check_attention<float>(batch, length, 2, width, 2);
        check_attention<double>(batch, length, 1, width, 1);
      }
  check_attention<float>(10, 64, 4, 24, 3);  // enough for threads
  check_stream_copy();
}

}  // namespace

int main() {
  using netdiffus::Isa;
  for (Isa level : {Isa::baseline, Isa::v3, Isa::v4})
    if (level <= netdiffus::highest_isa()) {
      netdiffus::set_isa(level);
      check_all();
    }
}
