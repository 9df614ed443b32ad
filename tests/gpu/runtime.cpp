// Stands in for CUDA's runtime under what nvcc makes of the launchers: a launch is checked against
// CUDA's limits and handed to a function instead of a device.
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

struct Size {
  unsigned x, y, z;
};

using OnLaunch = int (*)(const char* kernel, unsigned blocks, unsigned threads, void** arguments);

namespace {

constexpr int kInvalidConfiguration = 9, kUnknown = 98;

struct Launch {
  Size blocks, threads;
  size_t shared;
  void* stream;
} pending;

OnLaunch on_launch;
int last_error;

std::map<const void*, std::string>& kernels() {
  static std::map<const void*, std::string> by_stub;
  return by_stub;
}

bool allowed(Size blocks, Size threads) {
  return blocks.x && blocks.x <= 0x7FFFFFFF && blocks.y == 1 && blocks.z == 1 && threads.x &&
         threads.x <= 1024 && threads.y == 1 && threads.z == 1;
}

int launch(const void* stub, Size blocks, Size threads, void** arguments) {
  const auto found = kernels().find(stub);
  if (!allowed(blocks, threads)) return kInvalidConfiguration;
  if (found == kernels().end() || !on_launch) return kUnknown;
  return on_launch(found->second.c_str(), blocks.x, threads.x, arguments);
}

}  // namespace

extern "C" {

void set_on_launch(OnLaunch function) { on_launch = function; }

// What nvcc's code calls: it registers each kernel's stub when the library loads, and leaves the
// sizes of a launch where the stub finds them.
void** __cudaRegisterFatBinary(void*) {
  static void* handle;
  return &handle;
}
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
char __cudaInitModule(void**) { return 1; }
void __cudaRegisterVar(void**, char*, char*, const char*, int, size_t, int, int) {}
void __cudaRegisterFunction(void**, const char* stub, char*, const char* name, int, void*, void*,
                            void*, void*, int*) {
  kernels()[stub] = name;
}
unsigned __cudaPushCallConfiguration(Size blocks, Size threads, size_t shared, void* stream) {
  pending = {blocks, threads, shared, stream};
  return 0;
}
int __cudaPopCallConfiguration(Size* blocks, Size* threads, size_t* shared, void* stream) {
  *blocks = pending.blocks;
  *threads = pending.threads;
  *shared = pending.shared;
  *static_cast<void**>(stream) = pending.stream;
  return 0;
}
int __cudaGetKernel(const void** kernel, const void* stub) {
  *kernel = stub;
  return 0;
}
int cudaLaunchKernel(const void* stub, Size blocks, Size threads, void** arguments, size_t, void*) {
  return last_error = launch(stub, blocks, threads, arguments);
}
int __cudaLaunchKernel(const void* stub, Size blocks, Size threads, void** arguments, size_t shared,
                       void* stream) {
  return cudaLaunchKernel(stub, blocks, threads, arguments, shared, stream);
}
int cudaGetLastError() {
  const int error = last_error;
  last_error = 0;
  return error;
}
const char* cudaGetErrorString(int) { return "an error of the stand-in runtime"; }

}  // extern "C"
