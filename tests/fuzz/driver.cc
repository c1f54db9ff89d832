// Runs a fuzz entry without libFuzzer: replays the files of corpus folders, then mutates them for a while.
//   driver SECONDS CORPUS...
// A failing input stays in crash-input.bin of the working folder; put it into a folder to replay it.

#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include <fmt/format.h>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using Bytes = std::vector<std::uint8_t>;
using Random = std::mt19937_64;

// The input that runs, for the signal handler; a handler can reach only globals.
const Bytes* current = nullptr;

void save_current(int signal_number) {
  if (std::FILE* file = std::fopen("crash-input.bin", "wb"); file != nullptr && current != nullptr) {
    std::fwrite(current->data(), 1, current->size(), file);
    std::fclose(file);
  }
  std::signal(signal_number, SIG_DFL);
  std::raise(signal_number);
}

void run(const Bytes& input) {
  current = &input;
  ::alarm(20);  // a hang is a failure as well
  LLVMFuzzerTestOneInput(input.data(), input.size());
  ::alarm(0);
}

std::size_t below(Random& random, std::size_t n) { return n == 0 ? 0 : random() % n; }

/// Numbers at which parsers break.
std::uint64_t interesting(Random& random) {
  static constexpr std::array<std::uint64_t, 12> kNumbers = {
      0,          1,          0x7f,        0xff,       0x7fffffff,         0x80000000,
      0xffffffff, 0x10000000, 0x100000000, 1ull << 60, 0x7fffffffffffffff, 0xffffffffffffffff};
  return kNumbers[below(random, kNumbers.size())];
}

void overwrite_number(Bytes& input, Random& random) {
  const std::uint64_t number = interesting(random);
  const std::size_t width = std::size_t{1} << below(random, 4);
  if (input.size() < width) return;
  const std::size_t at = below(random, input.size() - width + 1);
  for (std::size_t i = 0; i < width; ++i) input[at + i] = static_cast<std::uint8_t>(number >> (8 * i));
}

void mutate_once(Bytes& input, const std::vector<Bytes>& corpus, Random& random) {
  const std::size_t at = below(random, input.size());
  switch (below(random, 6)) {
    case 0:
      if (!input.empty()) input[at] ^= static_cast<std::uint8_t>(1u << below(random, 8));
      break;
    case 1:
      if (!input.empty()) input[at] = static_cast<std::uint8_t>(random());
      break;
    case 2: input.resize(at); break;
    case 3: overwrite_number(input, random); break;
    case 4: {  // splice another file's tail on
      const Bytes& other = corpus[below(random, corpus.size())];
      input.resize(at);
      input.insert(input.end(), other.begin() + static_cast<std::ptrdiff_t>(below(random, other.size())), other.end());
      break;
    }
    default: {  // repeat a piece
      const std::size_t length = below(random, std::min<std::size_t>(64, input.size() - at) + 1);
      const Bytes piece(input.begin() + static_cast<std::ptrdiff_t>(at),
                        input.begin() + static_cast<std::ptrdiff_t>(at + length));
      input.insert(input.begin() + static_cast<std::ptrdiff_t>(at), piece.begin(), piece.end());
    }
  }
}

/// Adds the files of a folder, which need not be there.
void read_corpus(const char* folder, std::vector<Bytes>& corpus) {
  std::error_code ignored;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder, ignored)) {
    if (!entry.is_regular_file()) continue;
    std::ifstream file(entry.path(), std::ios::binary);
    corpus.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    fmt::print(stderr, "usage: {} SECONDS CORPUS...\n", argv[0]);
    return 2;
  }
  std::vector<Bytes> corpus;
  for (int i = 2; i < argc; ++i) read_corpus(argv[i], corpus);
  if (corpus.empty()) {
    fmt::print(stderr, "{}: no corpus files\n", argv[0]);
    return 1;
  }
  std::ranges::sort(corpus);  // folders have no order of their own
  for (const int number : {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGALRM}) std::signal(number, save_current);
  for (const Bytes& input : corpus) run(input);

  constexpr std::uint64_t kSeed = 1;
  Random random(kSeed);
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(std::atof(argv[1]));
  std::size_t n_runs = 0;
  for (; std::chrono::steady_clock::now() < end; ++n_runs) {
    Bytes input = corpus[below(random, corpus.size())];
    for (std::size_t n = 1 + below(random, 6); n > 0; --n) mutate_once(input, corpus, random);
    run(input);
  }
  fmt::print("{} files replayed, {} mutations run, seed {}\n", corpus.size(), n_runs, kSeed);
  return 0;
}
