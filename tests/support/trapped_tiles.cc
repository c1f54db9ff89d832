#include "support/trapped_tiles.h"

#include <cpuid.h>
#include <ucontext.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <optional>

#include "core/check.h"
#include "support/emulated_tiles.h"

namespace commissure::cpu {
namespace {

std::atomic<int> trapped = 0;

/// A VEX instruction of map 0F 38, 128 bits wide, as all of AMX's are. Source: Intel SDM volume 2, 2.3 and 2.1.5.
struct Instruction {
  int prefix;  ///< 0, 1: 66, 2: F3, 3: F2
  int opcode;
  int reg, rm;         ///< of ModRM
  int vvvv;            ///< 0 when unused
  bool has_registers;  ///< rm is a register, not memory
  bool has_sib;
  std::int64_t base = 0, index = 0;  ///< of the memory operand, displacement and scale done
  int n_bytes = 0;
};

std::int64_t read_register(const ucontext_t& context, int i) {
  constexpr int kOrder[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                              REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
  return context.uc_mcontext.gregs[kOrder[i]];
}

/// The memory operand behind ModRM at p[4]. r, x, b: 8 where the VEX prefix extends a register's number.
void read_memory(const ucontext_t& context, const std::uint8_t* p, int x, int b, Instruction& out) {
  const int mod = p[4] >> 6;
  out.n_bytes = 5;
  int base = out.rm;
  if (out.has_sib) {
    const int sib = p[out.n_bytes++], index = ((sib >> 3) & 7) | x;
    base = sib & 7;
    if (index != 4) out.index = read_register(context, index) << (sib >> 6);
  }
  const bool has_base = mod != 0 || base != 5;
  if (has_base) out.base = read_register(context, base | b);
  if (mod == 1) {
    out.base += static_cast<std::int8_t>(p[out.n_bytes++]);
  } else if (mod == 2 || !has_base) {
    std::int32_t displacement;
    std::memcpy(&displacement, p + out.n_bytes, sizeof displacement);
    out.n_bytes += 4;
    out.base += displacement;
    if (!has_base && !out.has_sib) out.base += context.uc_mcontext.gregs[REG_RIP] + out.n_bytes;
  }
}

std::optional<Instruction> decode(const ucontext_t& context) {
  const auto* p = reinterpret_cast<const std::uint8_t*>(context.uc_mcontext.gregs[REG_RIP]);
  if (p[0] != 0xc4 || (p[1] & 0x1f) != 2 || (p[2] & 0x84) != 0) return std::nullopt;
  Instruction out = {.prefix = p[2] & 3,
                     .opcode = p[3],
                     .reg = (p[4] >> 3) & 7,
                     .rm = p[4] & 7,
                     .vvvv = ~(p[2] >> 3) & 15,
                     .has_registers = p[4] >> 6 == 3,
                     .has_sib = p[4] >> 6 != 3 && (p[4] & 7) == 4};
  if ((p[1] & 0x80) == 0) return std::nullopt;  // there are eight tiles
  if (out.has_registers) {
    out.n_bytes = 5;
  } else {
    read_memory(context, p, (p[1] & 0x40) != 0 ? 0 : 8, (p[1] & 0x20) != 0 ? 0 : 8, out);
  }
  return out;
}

/// Runs it, unless it is none of those that the kernels use or the CPU would refuse this form of it.
bool emulate(const Instruction& i) {
  enum Prefix { kNone, k66, kF3, kF2 };
  if (i.opcode == 0x5e) {
    if (!i.has_registers || i.prefix != kF3) return false;  // tdpbsud
    emulated_tiles::add_products(i.reg, i.rm, i.vvvv);
    return true;
  }
  if (i.vvvv != 0) return false;
  void* memory = reinterpret_cast<void*>(i.base);
  if (i.opcode == 0x4b && i.has_sib && i.prefix == kF2) {  // tileloadd
    emulated_tiles::load(i.reg, memory, i.index);
  } else if (i.opcode == 0x4b && i.has_sib && i.prefix == kF3) {  // tilestored
    emulated_tiles::store(i.reg, memory, i.index);
  } else if (i.opcode == 0x49 && !i.has_registers && i.prefix == kNone && i.reg == 0) {  // ldtilecfg
    TileConfig config;
    std::memcpy(&config, reinterpret_cast<const void*>(i.base + i.index), sizeof config);
    emulated_tiles::configure(config);
  } else if (i.opcode == 0x49 && i.has_registers && i.prefix == kNone && i.reg == 0 && i.rm == 0) {  // tilerelease
    emulated_tiles::release();
  } else if (i.opcode == 0x49 && i.has_registers && i.prefix == kF2 && i.rm == 0) {  // tilezero
    emulated_tiles::zero(i.reg);
  } else {
    return false;
  }
  return true;
}

void on_illegal_instruction(int, siginfo_t*, void* raw) {
  auto& context = *static_cast<ucontext_t*>(raw);
  const std::optional<Instruction> instruction = decode(context);
  if (!instruction || !emulate(*instruction)) {
    signal(SIGILL, SIG_DFL);  // dies when it comes again
    return;
  }
  context.uc_mcontext.gregs[REG_RIP] += instruction->n_bytes;
  ++trapped;
}

}  // namespace

TrappedTiles::TrappedTiles() {
  struct sigaction action = {};
  action.sa_sigaction = on_illegal_instruction;
  action.sa_flags = SA_SIGINFO;
  CHECK(sigaction(SIGILL, &action, &before_) == 0);
}

TrappedTiles::~TrappedTiles() { CHECK(sigaction(SIGILL, &before_, nullptr) == 0); }

bool TrappedTiles::can_trap() {
  std::uint32_t a = 0, b = 0, c = 0, d = 0;
  constexpr std::uint32_t kTile = 1u << 24;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d & kTile) == 0;
}

int TrappedTiles::n_trapped() { return trapped; }

}  // namespace commissure::cpu
