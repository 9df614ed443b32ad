// Runs the kernels over awkward sizes under sanitizers: each array is its own heap block of exactly
// the size asked for. That the results are right is checked elsewhere.
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "kernels.h"

using namespace netdiffus;

namespace {

void expect(int code) {
  if (!code) return;
  fprintf(stderr, "cudaError_t %d\n", code);
  exit(1);
}

template <class T>
void gasfs(int64_t n, int64_t m) {
  const int64_t batch = 1;
  std::vector<T> x(batch * n), field(batch * n * n), image(batch * m * m);
  expect(gasf_cuda(x.data(), batch, n, field.data(), nullptr));
  expect(gasf_image_cuda(x.data(), batch, n, m, 0.3, image.data(), nullptr));
}

template <class T>
void decode(int64_t m) {
  const int64_t batch = 1;
  std::vector<T> image(batch * m * m);
  for (size_t k = 0; k < image.size(); ++k) image[k] = T{static_cast<uint16_t>(k * 37 % 15000)};
  std::vector<double> x(batch * m), residual(batch);
  expect(
      gasf_decode_cuda(image.data(), batch, m, 1.0, 1, 1e-6, x.data(), residual.data(), nullptr));
}

template <class T>
void noises(int64_t batch, int64_t rows, int64_t columns, bool symmetric) {
  const Planes shape{batch, 1, rows, columns, symmetric};
  const size_t count = batch * rows * columns;
  const std::vector<int64_t> index{1, -5};
  const Draw draw{7, index.data(), 3};
  std::vector<T> noise(count), x0(count), levels(2), xt(count), goal(count);
  expect(normal_cuda(draw, shape, noise.data(), nullptr));
  expect(q_sample_cuda(x0.data(), levels.data(), levels.data(), draw, shape, Target::v, xt.data(),
                       goal.data(), nullptr));
  const Coefficients ddpm{1, 1, 1, 1, 1, 1}, ddim{1, 1, 1, 1, 0, 0};
  expect(denoise_step_cuda(ddpm, xt.data(), noise.data(), x0.data(), draw, shape, xt.data(),
                           x0.data(), nullptr));
  expect(denoise_step_cuda(ddim, xt.data(), noise.data(), static_cast<T*>(nullptr), draw, shape,
                           goal.data(), x0.data(), nullptr));
}

template <class T>
void attentions(int64_t length, int64_t width) {
  const int64_t batch = 2, heads = 3, place = length - 1, features = heads * width;
  std::vector<T> qkv(batch * 3 * features), out(batch * features);
  std::vector<T> keys(batch * length * features), values(keys.size());
  expect(cached_attention_cuda(qkv.data(), batch, heads, length, width, place, keys.data(),
                               values.data(), out.data(), nullptr));
}

template <class T>
void draws(int64_t size) {
  const int64_t batch = 9;
  std::vector<T> logits(batch * size);
  const std::vector<double> uniforms(batch, 0.5);
  std::vector<int64_t> tokens(batch);
  expect(draw_tokens_cuda(logits.data(), uniforms.data(), batch, size, tokens.data(), nullptr));
}

}  // namespace

int main() {
#ifdef ONLY
  ONLY;
#else
  gasfs<float>(37, 50);
  gasfs<float>(72, 1);
  gasfs<__half>(24, 8);
  decode<__half>(37);
  decode<__nv_bfloat16>(5);
  attentions<float>(33, 37);
  attentions<__half>(1, 5);
  draws<float>(70);
  draws<__nv_bfloat16>(1);
  noises<float>(1, 37, 37, true);
  noises<float>(2, 5, 7, false);
  noises<__half>(1, 40, 40, true);
  noises<__nv_bfloat16>(2, 3, 3, true);
#endif
}
