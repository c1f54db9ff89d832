#include "kernels/cuda/emulated/machine.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <new>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

#include "core/mutex.h"
#include "kernels/cuda/emulated/fiber.h"

namespace commissure::cuda::emulated {

namespace {

constexpr int kWarp = 32;
constexpr unsigned char kPoison = 0xff;

enum class State : std::uint8_t { kReady, kInWarp, kAtBarrier, kDone };

struct Copy {
  void* to;
  const void* from;
};

struct Thread {
  State state = State::kDone;
  Index index;
  Operation operation{};
  unsigned mask = 0;
  void* args = nullptr;
  int line = 0;
  std::deque<std::vector<Copy>> copies;  // groups under way; the last one is not committed yet
};

struct SharedObject {
  const char* file;
  int line;
  std::size_t n_bytes, alignment;
  // On the heap, aligned twice as well as the object, which begins `alignment` bytes in and ends where the memory does:
  // AddressSanitizer watches that end.
  unsigned char* memory;

  SharedObject(const char* in_file, int at_line, std::size_t size, std::size_t aligned)
      : file(in_file),
        line(at_line),
        n_bytes(size),
        alignment(aligned),
        memory(static_cast<unsigned char*>(operator new(aligned + size, std::align_val_t(2 * aligned)))) {
    std::memset(memory, kPoison, aligned + size);
  }
  SharedObject(SharedObject&& other) noexcept
      : file(other.file),
        line(other.line),
        n_bytes(other.n_bytes),
        alignment(other.alignment),
        memory(std::exchange(other.memory, nullptr)) {}
  SharedObject& operator=(SharedObject&&) = delete;
  ~SharedObject() { operator delete(memory, std::align_val_t(2 * alignment)); }

  void* bytes() const { return memory + alignment; }
};

/// The one machine: launches take turns.
struct Machine {
  Mutex mutex;
  std::mt19937_64 random{1};
  const std::function<void()>* body = nullptr;
  Extent grid, block;
  Index at;
  int current = -1;
  std::vector<Thread> threads;
  std::vector<std::unique_ptr<Fiber>> fibers;
  std::vector<SharedObject> shared;
};

Machine& machine() {
  static Machine one;
  return one;
}

Thread& current() { return machine().threads[static_cast<std::size_t>(machine().current)]; }

void entry() {
  Machine& m = machine();
  Fiber& fiber = *m.fibers[static_cast<std::size_t>(m.current)];
  fiber.entered();
  (*m.body)();
  current().state = State::kDone;
  fiber.yield(/*is_last=*/true);
  __builtin_unreachable();
}

void yield() { machine().fibers[static_cast<std::size_t>(machine().current)]->yield(/*is_last=*/false); }

/// Operands as the instruction set documents them: of lane l, g = l / 4 and t = l % 4.
void multiply_int8(Thread* lanes) {
  std::array<std::array<int, 32>, 16> a{};
  std::array<std::array<int, 32>, 8> b{};
  for (int l = 0; l < kWarp; ++l) {
    const auto& x = *static_cast<const MultiplyArgs*>(lanes[l].args);
    for (int e = 0; e < 4; ++e) {
      for (int i = 0; i < 4; ++i) {
        a[l / 4 + i % 2 * 8][l % 4 * 4 + e + i / 2 * 16] = static_cast<std::int8_t>(x.a[i] >> (8 * e));
      }
      for (int i = 0; i < 2; ++i) b[l / 4][l % 4 * 4 + e + i * 16] = static_cast<std::int8_t>(x.b[i] >> (8 * e));
    }
  }
  for (int l = 0; l < kWarp; ++l) {
    int* d = static_cast<int*>(static_cast<const MultiplyArgs*>(lanes[l].args)->d);
    for (int i = 0; i < 4; ++i) {
      const auto& row = a[l / 4 + i / 2 * 8];
      const auto& column = b[l % 4 * 2 + i % 2];
      d[i] += std::inner_product(row.begin(), row.end(), column.begin(), 0);
    }
  }
}

float bf16_value(unsigned bits) {
  bits <<= 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

void multiply_bf16(Thread* lanes) {
  float a[16][16], b[8][16];
  for (int l = 0; l < kWarp; ++l) {
    const auto& x = *static_cast<const MultiplyArgs*>(lanes[l].args);
    for (int e = 0; e < 2; ++e) {
      for (int i = 0; i < 4; ++i) {
        a[l / 4 + i % 2 * 8][l % 4 * 2 + e + i / 2 * 8] = bf16_value((x.a[i] >> (16 * e)) & 0xffff);
      }
      for (int i = 0; i < 2; ++i) b[l / 4][l % 4 * 2 + e + i * 8] = bf16_value((x.b[i] >> (16 * e)) & 0xffff);
    }
  }
  for (int l = 0; l < kWarp; ++l) {
    float* d = static_cast<float*>(static_cast<const MultiplyArgs*>(lanes[l].args)->d);
    for (int i = 0; i < 4; ++i) {
      float sum = 0.0f;
      for (int k = 0; k < 16; ++k) sum += a[l / 4 + i / 2 * 8][k] * b[l % 4 * 2 + i % 2][k];
      d[i] += sum;
    }
  }
}

void shuffle(Thread* lanes, unsigned present, int line) {
  std::array<std::uint64_t, kWarp> values{};
  for (int l = 0; l < kWarp; ++l) {
    if (present >> l & 1) values[l] = static_cast<const ShuffleArgs*>(lanes[l].args)->value;
  }
  for (int l = 0; l < kWarp; ++l) {
    if ((present >> l & 1) == 0) continue;
    auto& args = *static_cast<ShuffleArgs*>(lanes[l].args);
    if ((present >> args.source & 1) == 0) fail("a shuffle reads a lane that is gone", line);
    args.value = values[args.source];
  }
}

/// All live lanes of a warp have come to a warp operation: does it for all of them.
void complete(Thread* lanes) {
  unsigned present = 0;
  for (int l = 0; l < kWarp; ++l) present |= lanes[l].state == State::kInWarp ? 1u << l : 0;
  const Thread& first = lanes[__builtin_ctz(present)];
  for (int l = 0; l < kWarp; ++l) {
    if ((present >> l & 1) == 0) continue;
    if (lanes[l].operation != first.operation || lanes[l].line != first.line) {
      fail("lanes of a warp wait at different operations, one at line " + std::to_string(first.line), lanes[l].line);
    }
    if (lanes[l].mask != present) fail("the mask names lanes that did not come", lanes[l].line);
  }
  const bool needs_all = first.operation == Operation::kMultiplyInt8 || first.operation == Operation::kMultiplyBf16;
  if (needs_all && present != ~0u) fail("a matrix operation without all lanes", first.line);
  switch (first.operation) {
    case Operation::kShuffle: shuffle(lanes, present, first.line); break;
    case Operation::kMultiplyInt8: multiply_int8(lanes); break;
    case Operation::kMultiplyBf16: multiply_bf16(lanes); break;
  }
  for (int l = 0; l < kWarp; ++l) {
    if (present >> l & 1) lanes[l].state = State::kReady;
  }
}

/// Runs a warp until all its threads stand at a barrier or are done. Returns how many ended.
int run_warp(int warp) {
  Machine& m = machine();
  Thread* lanes = &m.threads[static_cast<std::size_t>(warp) * kWarp];
  int n_done = 0;
  for (;;) {
    int n_waiting = 0;
    for (int l = 0; l < kWarp; ++l) {
      if (lanes[l].state == State::kReady) {
        m.current = warp * kWarp + l;
        m.fibers[static_cast<std::size_t>(m.current)]->resume();
        n_done += lanes[l].state == State::kDone;
      }
      n_waiting += lanes[l].state == State::kInWarp;
    }
    if (n_waiting == 0) return n_done;
    for (int l = 0; l < kWarp; ++l) {
      if (lanes[l].state == State::kAtBarrier)
        fail("part of the warp waits at a barrier, part at a warp operation", lanes[l].line);
    }
    complete(lanes);
  }
}

/// All threads stand at a barrier or are done: it must be one barrier, with all that still run.
void pass_barrier(int n_left) {
  Machine& m = machine();
  int n_here = 0, line = 0;
  for (Thread& thread : m.threads) {
    if (thread.state != State::kAtBarrier) continue;
    if (n_here > 0 && thread.line != line) {
      fail("threads wait at different barriers, one at line " + std::to_string(line), thread.line);
    }
    line = thread.line;
    ++n_here;
  }
  if (n_here != n_left) fail("a thread neither waits nor ended", line);
  for (Thread& thread : m.threads) {
    if (thread.state == State::kAtBarrier) thread.state = State::kReady;
  }
}

void start_threads(int n) {
  Machine& m = machine();
  for (int i = 0; std::cmp_less(i, m.threads.size()); ++i) {
    Thread& thread = m.threads[static_cast<std::size_t>(i)];
    thread.state = i < n ? State::kReady : State::kDone;
    thread.copies.assign(1, {});
    const auto linear = static_cast<unsigned>(i);
    thread.index = {linear % m.block.x, linear / m.block.x % m.block.y, linear / m.block.x / m.block.y};
    if (i < n) m.fibers[static_cast<std::size_t>(i)]->start(entry);
  }
}

void run_block(int n, std::vector<int>& warps) {
  Machine& m = machine();
  m.shared.clear();
  start_threads(n);
  for (int n_left = n; n_left > 0;) {
    std::ranges::shuffle(warps, m.random);
    for (const int warp : warps) n_left -= run_warp(warp);
    if (n_left > 0) pass_barrier(n_left);
  }
  for (const Thread& thread : m.threads) {
    for (const auto& group : thread.copies) {
      if (!group.empty()) fail("a thread ends with copies under way", 0);
    }
  }
}

}  // namespace

void launch(Extent grid, Extent block, const std::function<void()>& body) {
  Machine& m = machine();
  const MutexLock lock(m.mutex);
  const int n = static_cast<int>(block.x * block.y * block.z), n_warps = (n + kWarp - 1) / kWarp;
  m.grid = grid;
  m.block = block;
  m.body = &body;
  m.threads.resize(static_cast<std::size_t>(n_warps) * kWarp);
  while (std::cmp_less(m.fibers.size(), n)) m.fibers.push_back(std::make_unique<Fiber>());
  std::vector<unsigned> order(std::size_t{grid.x} * grid.y * grid.z);
  std::iota(order.begin(), order.end(), 0u);
  std::ranges::shuffle(order, m.random);
  std::vector<int> warps(static_cast<std::size_t>(n_warps));
  std::iota(warps.begin(), warps.end(), 0);
  for (const unsigned i : order) {
    m.at = {i % grid.x, i / grid.x % grid.y, i / grid.x / grid.y};
    run_block(n, warps);
  }
  m.shared.clear();
}

void set_seed(std::uint64_t seed) {
  const MutexLock lock(machine().mutex);
  machine().random.seed(seed);
}

Index thread_index() { return current().index; }
Index block_index() { return machine().at; }
Extent block_size() { return machine().block; }
int linear_thread() { return machine().current; }

void* shared_object(const char* file, int line, std::size_t n_bytes, std::size_t alignment) {
  for (const SharedObject& object : machine().shared) {
    if (object.line == line && object.n_bytes == n_bytes && std::strcmp(object.file, file) == 0) {
      return object.bytes();
    }
  }
  return machine().shared.emplace_back(file, line, n_bytes, alignment).bytes();
}

void meet(Operation operation, unsigned mask, void* args, int line) {
  Thread& thread = current();
  thread.operation = operation;
  thread.mask = mask;
  thread.args = args;
  thread.line = line;
  thread.state = State::kInWarp;
  yield();
}

void barrier(int line) {
  Thread& thread = current();
  thread.line = line;
  thread.state = State::kAtBarrier;
  yield();
}

void copy_async(void* to, const void* from) {
  constexpr std::size_t kPiece = 16;
  if ((reinterpret_cast<std::uintptr_t>(to) | reinterpret_cast<std::uintptr_t>(from)) % kPiece != 0) {
    fail("an asynchronous copy is not aligned to 16 bytes", 0);
  }
  std::memset(to, kPoison, kPiece);
  current().copies.back().push_back({to, from});
}

void copy_commit() { current().copies.emplace_back(); }

void copy_wait(int n_left) {
  auto& groups = current().copies;
  while (std::cmp_greater(groups.size(), n_left + 1)) {
    for (const Copy& copy : groups.front()) std::memcpy(copy.to, copy.from, 16);
    groups.pop_front();
  }
}

void fail(const std::string& what, int line) {
  const Machine& m = machine();
  std::fprintf(stderr, "emulated kernel: %s (line %d; block %u, %u; thread %d)\n", what.c_str(), line, m.at.x, m.at.y,
               m.current);
  std::abort();
}

}  // namespace commissure::cuda::emulated
