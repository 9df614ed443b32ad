// Runs the CUDA GASF kernel on the host: gasf_cuda BATCH N M GAMMA BLOCKS <series >images
// (float32).
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "cuda_shim.h"
// After the shim, which gives it CUDA's words.
#include "cuda/gasf.cuh"

int main(int, char** argv) {
  const long batch = atol(argv[1]), n = atol(argv[2]), m = atol(argv[3]);
  const float gamma = atof(argv[4]);
  const unsigned blocks = atoi(argv[5]);
  std::vector<float> x(batch * n), image(batch * m * m, -1);
  if (fread(x.data(), sizeof(float), x.size(), stdin) != x.size()) return 1;
  launch(blocks, {netdiffus::kThreadsX, netdiffus::kThreadsY},
         [&] { netdiffus::gasf_image_kernel(x.data(), batch, n, m, gamma, image.data()); });
  return fwrite(image.data(), sizeof(float), image.size(), stdout) != image.size();
}
