// Drives every CPU kernel over awkward sizes, for a run under sanitizers: each array is its own
// heap block of exactly the size asked for. Exits with 1 at the first result that is wrong.
// Linked with --wrap=sysconf: every machine has a cache of 1 MiB, past which more is streamed.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <vector>

#include "cpu/isa.h"
#include "cpu/stream.h"
#include "kernels.h"

extern "C" long __real_sysconf(int name);
extern "C" long __wrap_sysconf(int name) {
#ifdef _SC_LEVEL3_CACHE_SIZE
  if (name == _SC_LEVEL3_CACHE_SIZE) return 1 << 20;
#endif
  return __real_sysconf(name);
}

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

// Of two rows of values, 1 and 3, half of each where the keys are alike.
template <class T>
void check_cached_attention(int64_t batch, int64_t length, int64_t heads, int64_t width,
                            int threads) {
  const int64_t features = heads * width;
  std::vector<T> qkv(batch * 3 * features, T(3)), out(batch * features, T(99));
  std::vector<T> keys(batch * length * features, T(3)), values(keys.size(), T(1));
  for (int64_t place = 0; place < length; ++place) {
    std::fill(values.begin(), values.end(), T(1));
    netdiffus::cached_attention(qkv.data(), batch, heads, length, width, place, keys.data(),
                                values.data(), out.data(), threads);
    const double expected = 1 + 2.0 / static_cast<double>(place + 1);
    for (T v : out) expect(std::abs(v - expected) < 1e-5, "attention to a cache");
  }
}

// Where all tokens are alike, a row draws the one at its share of them.
template <class T>
void check_draw_tokens(int64_t batch, int64_t size, int threads) {
  std::vector<T> logits(batch * size, T(-5));
  std::vector<double> uniforms(batch);
  for (int64_t b = 0; b < batch; ++b) uniforms[b] = (b % size + 0.5) / static_cast<double>(size);
  std::vector<int64_t> tokens(batch, 99);
  if (batch) logits[0] = std::nan("");
  netdiffus::draw_tokens(logits.data(), uniforms.data(), batch, size, tokens.data(), threads);
  for (int64_t b = 0; b < batch; ++b) expect(tokens[b] == (b ? b % size : -1), "a token");
}

// Rows of 1 and weights of 2, with everything that may stand before and behind the product.
void check_linear(int64_t rows, int64_t inputs, int64_t outputs, int threads) {
  const std::vector<float> x(rows * inputs, 1), weight(outputs * inputs, 2), bias(outputs, 100);
  const std::vector<float> scale(inputs, 5), shift(inputs, 3), added(rows * outputs, 7);
  std::vector<float> out(rows * outputs, 99);
  netdiffus::Linear map{weight.data(), nullptr, nullptr, nullptr, inputs, outputs, 1e-5f, false};
  netdiffus::linear(map, x.data(), nullptr, rows, out.data(), threads);
  for (float v : out) expect(v == 2 * inputs, "a product");
  map = {weight.data(), bias.data(), scale.data(), shift.data(), inputs, outputs, 1e-5f, true};
  netdiffus::linear(map, x.data(), added.data(), rows, out.data(), threads);
  for (float v : out) expect(std::abs(v - (6 * inputs + 107)) < 1e-3, "a norm, a product, a GELU");
}

// Numbers in [0, 1), of which those of 2^k ranks lie one in each of 2^k equal parts.
void check_uniforms(int64_t ranks, int64_t count, int threads) {
  std::vector<int64_t> index(ranks), family(ranks, 7);
  std::iota(index.begin(), index.end(), int64_t{1} << 40);
  std::vector<int64_t> rank(ranks);
  std::iota(rank.begin(), rank.end(), 0);
  std::vector<double> out(ranks * count, 99), spread(out);
  const netdiffus::Draw draw{12345, index.data(), 6};
  netdiffus::uniforms(draw, ranks, count, out.data(), threads);
  netdiffus::spread_uniforms(draw, family.data(), rank.data(), ranks, count, spread.data(),
                             threads);
  for (double u : out) expect(u >= 0 && u < 1, "a uniform number");
  for (int64_t d = 0; d < count; ++d) {
    std::vector<int> inside(ranks);
    for (int64_t b = 0; b < ranks; ++b)
      ++inside[static_cast<size_t>(spread[b * count + d] * static_cast<double>(ranks))];
    for (int here : inside) expect(here == 1, "numbers that are spread");
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
  check_gasf<float>(150, 9, 128, 1, 3);  // enough to stream, and images to ask for
  for (int64_t batch : {0, 1, 3})
    for (int64_t n : {1, 2, 7, 33, 256}) {
      check_field<float>(batch, n, 3);
      check_field<double>(batch, n, 1);
    }
  check_field<float>(5, 257, 3);  // enough to stream
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
  check_noise<float>({5, 1, 256, 256, true}, 3);  // enough to stream
  for (int64_t batch : {0, 1, 3})
    for (int64_t m : {1, 2, 7, 33, 160})
      for (double gamma : {1.0, 0.25, 0.5, 0.3}) {
        check_decode<float>(batch, m, gamma, 2);
        check_decode<double>(batch, m, gamma, 1);
      }
  for (int64_t batch : {0, 1, 3})
    for (int64_t length : {1, 7, 16, 33})
      for (int64_t width : {0, 1, 8, 21, 40}) {
        check_cached_attention<float>(batch, length, 2, width, 2);
        check_cached_attention<double>(batch, length, 1, width, 1);
      }
  check_cached_attention<float>(30, 33, 4, 24, 3);  // enough for threads
  for (int64_t rows : {0, 1, 6, 50})
    for (int64_t inputs : {1, 8, 19})
      for (int64_t outputs : {1, 16, 37}) check_linear(rows, inputs, outputs, 2);
  check_linear(1000, 9, 70, 3);  // enough for threads
  for (int64_t batch : {0, 1, 5})
    for (int64_t size : {1, 16, 31, 33, 100}) {
      check_draw_tokens<float>(batch, size, 2);
      check_draw_tokens<double>(batch, size, 1);
    }
  check_draw_tokens<float>(300, 257, 3);  // enough for threads
  for (int64_t ranks : {1, 8, 64})
    for (int64_t count : {0, 1, 9, 70}) check_uniforms(ranks, count, 2);
  check_uniforms(256, 40, 3);  // enough for threads
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
