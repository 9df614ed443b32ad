// Feeds the capture reader with damaged captures, in two ways: with any compiler as `capture_fuzz
// SECONDS SEED FOLDER...`, where inputs that reach new code are kept and damaged further, and
// nothing is written (compile the reader's sources with -fsanitize-coverage=trace-pc and this file
// without); and with -DLIBFUZZER by the libFuzzer of Clang, which compares more of what the code
// does
// (`make fuzz`).
#include <bitset>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "capture/reader.h"

using namespace netdiffus::capture;
using Input = std::vector<uint8_t>;

namespace {

constexpr size_t kLongest = 1 << 14;
std::mt19937_64 random_bits;

size_t below(size_t limit) { return limit ? random_bits() % limit : 0; }

void expect(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", what);
  std::abort();
}

Rules random_rules() {
  const int64_t second = 1'000'000'000;
  Rules rules = {static_cast<Per>(below(3)),
                 static_cast<Client>(below(3)),
                 1 + static_cast<int64_t>(below(4)),
                 below(2) ? 0 : second / 10,
                 below(2) ? 0 : 5,
                 second * 120,
                 second * 1800,
                 {},
                 below(2) == 0};
  if (below(3) == 0) rules.idle_ns = rules.active_ns = int64_t{1} << 62;
  if (rules.per == Per::host) rules.hosts = {{{}, 0}};
  return rules;
}

struct Outcome {
  Batch batch;
  std::string problem;
  uint64_t packets, dropped;
};

Outcome read(const Input& input, Reader& reader, bool pieces) {
  for (size_t at = 0; at < input.size();) {
    const size_t size = pieces ? 1 + below(100) : input.size();
    const size_t taken = std::min(size, input.size() - at);
    const Input piece(input.begin() + at, input.begin() + at + taken);  // nothing lies behind it
    reader.feed({piece.data(), piece.size()});
    at += taken;
  }
  while (reader.finish(1 + below(1000))) continue;
  uint64_t dropped = 0;
  for (const auto& [verdict, count] : reader.dropped()) {
    expect(!describe(verdict).empty(), "every reason has words");
    dropped += count;
  }
  return {reader.take(~size_t{0}), reader.problem(), reader.packets(), dropped};
}

void check(const Outcome& whole, const Outcome& pieces, const Rules& rules) {
  expect(whole.problem == pieces.problem, "pieces have the problem of the whole");
  expect(whole.batch.times == pieces.batch.times && whole.batch.sizes == pieces.batch.sizes,
         "pieces have the packets of the whole");
  expect(whole.batch.up == pieces.batch.up && whole.batch.start == pieces.batch.start,
         "pieces have the bins of the whole");
  uint64_t kept = 0;
  for (const int64_t packets : whole.batch.packets) kept += static_cast<uint64_t>(packets);
  expect(rules.per == Per::host || kept + whole.dropped == whole.packets,
         "every packet is in a trace or counted as dropped");
  for (size_t i = 1; i < whole.batch.start.size(); ++i)
    expect(whole.batch.start[i - 1] <= whole.batch.start[i], "traces are in order of time");
  for (const int64_t duration : whole.batch.duration) expect(duration >= 0, "time runs forward");
}

// The outcome in pieces, sorted in a file, so many packets at a time.
Outcome sorted(const Input& input, const Reading& reading, const Rules& rules, size_t run) {
  std::FILE* file = std::tmpfile();
  Reader reader(reading, rules, Sorter(fileno(file), run));
  const Outcome outcome = read(input, reader, true);
  std::fclose(file);
  return outcome;
}

// All checks of one input, under rules that `seed` draws.
void try_input(const Input& input, uint64_t seed) {
  random_bits.seed(seed);
  const Reading reading = {static_cast<Size>(below(3)), below(2) == 0, below(2) == 0};
  const Rules rules = random_rules();
  Reader in_memory(reading, rules, kLongest);  // no capture has more packets than bytes
  const Outcome whole = read(input, in_memory, false);
  if (below(16) == 0)  // a file for every input would take most of the time
    check(whole, sorted(input, reading, rules, 1 + below(8)), rules);
  Reader narrow(reading, rules, 1 + below(8));
  const Outcome pieces = read(input, narrow, true);
  if (!narrow.unsorted()) check(whole, pieces, rules);
}

}  // namespace

#ifdef LIBFUZZER

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  try_input(Input(data, data + size), std::hash<std::string_view>{}(bytes));
  return 0;
}

#else

namespace {

constexpr size_t kEdges = 1 << 16;
std::bitset<kEdges> reached, now_reached;
uintptr_t previous = 0;

// Whether the input reached code that none before it had.
bool run(const Input& input) {
  now_reached.reset();
  try_input(input, random_bits());
  const size_t before = reached.count();
  reached |= now_reached;
  return reached.count() > before;
}

void damage(Input& input, const std::vector<Input>& corpus) {
  const uint32_t odd[] = {0, 1, 4, 12, 0x7f, 0x80, 0xff, 0xffff, 0x10000, 0x7fffffff, 0xffffffff};
  const size_t at = below(input.size()), length = below(input.size() - at) % 64;
  const auto front = input.begin() + static_cast<std::ptrdiff_t>(at);
  const auto back = front + static_cast<std::ptrdiff_t>(length);
  const Input& other = corpus[below(corpus.size())];
  const uint32_t value = odd[below(std::size(odd))];
  switch (below(8)) {
    case 0:
      input[at] ^= static_cast<uint8_t>(1 << below(8));
      break;
    case 1:
      input[at] = static_cast<uint8_t>(random_bits());
      break;
    case 2:
      for (size_t i = 0; i < 4 && at + i < input.size(); ++i)
        input[at + i] = static_cast<uint8_t>(value >> 8 * i);
      break;
    case 3:
      for (size_t i = 0; i < 4 && at + i < input.size(); ++i)
        input[at + i] = static_cast<uint8_t>(value >> (24 - 8 * i));
      break;
    case 4:
      if (length < input.size()) input.erase(front, back);
      break;
    case 5: {
      const Input copy(front, back);
      input.insert(front, copy.begin(), copy.end());
      break;
    }
    case 6:
      input.resize(at + 1);
      break;
    default: {
      const size_t from = below(other.size());
      input.resize(at + 1);
      input.insert(input.end(), other.begin() + static_cast<std::ptrdiff_t>(from), other.end());
    }
  }
  if (input.size() > kLongest) input.resize(kLongest);
}

std::vector<Input> load(int folders, char** names) {
  std::vector<Input> inputs;
  for (int i = 0; i < folders; ++i)
    for (const auto& entry : std::filesystem::directory_iterator(names[i])) {
      std::ifstream file(entry.path(), std::ios::binary);
      Input input{std::istreambuf_iterator<char>(file), {}};
      if (input.size() > kLongest) input.resize(kLongest);
      if (!input.empty()) inputs.push_back(std::move(input));
    }
  std::sort(inputs.begin(), inputs.end());  // folders list their files in any order
  return inputs;
}

}  // namespace

extern "C" void __sanitizer_cov_trace_pc() {
  const auto here = reinterpret_cast<uintptr_t>(__builtin_return_address(0));
  now_reached.set((here ^ previous << 1) % kEdges);
  previous = here;
}

int main(int count, char** arguments) {
  if (count < 4) return std::fprintf(stderr, "capture_fuzz SECONDS SEED FOLDER...\n"), 2;
  const double limit = std::atof(arguments[1]) * CLOCKS_PER_SEC;  // of processor time
  random_bits.seed(std::strtoull(arguments[2], nullptr, 10));
  std::vector<Input> corpus = load(count - 3, arguments + 3);
  if (corpus.empty()) return std::fprintf(stderr, "no seeds\n"), 2;
  for (const Input& input : corpus) run(input);
  const size_t seeds = corpus.size(), known = reached.count();
  size_t runs = 0;
  const std::clock_t start = std::clock();
  while (static_cast<double>(std::clock() - start) < limit) {
    Input input = corpus[below(corpus.size())];
    for (size_t i = 1 + below(4); i > 0; --i) damage(input, corpus);
    if (run(input)) corpus.push_back(std::move(input));
    ++runs;
  }
  std::printf("runs %zu, seeds %zu, kept %zu, edges %zu then %zu\n", runs, seeds,
              corpus.size() - seeds, known, reached.count());
}

#endif
