#pragma once

// What every fuzz entry shares. An entry calls these for input that it does not control; whatever breaks a CHECK is a
// finding.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "core/check.h"
#include "core/result.h"

/// The one function of an entry; libFuzzer or driver.cc calls it. -1: the input is no case, and not to be kept.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace commissure::fuzz {

inline std::string_view as_text(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

/// A refusal says why, and in a message that fits a line of a log however large the input was.
inline void check_refusal(const Error& error) {
  constexpr std::size_t kMostMessageBytes = 2000;
  CHECK(error.code() != Code::kOk && error.code() != Code::kInternal);
  CHECK(!error.message().empty() && error.message().size() <= kMostMessageBytes);
}

/// Whether there is a value; of an error the message is checked.
template <typename T>
bool is_accepted(const Result<T>& result) {
  if (!result) check_refusal(result.error());
  return result.has_value();
}

/// Takes decisions from the bytes of an input, for entries that build a value instead of parsing one. Past the end it
/// gives zeros.
class Choices {
 public:
  Choices(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {}

  bool done() const { return at_ >= size_; }
  std::uint8_t byte() { return done() ? 0 : data_[at_++]; }
  /// Below n, n > 0.
  std::size_t below(std::size_t n) { return byte() % n; }
  bool once_in(std::size_t n) { return below(n) == n - 1; }
  std::uint32_t word() {
    std::uint32_t value = 0;
    for (int i = 0; i < 4; ++i) value = value << 8 | byte();
    return value;
  }

 private:
  const std::uint8_t* data_;
  std::size_t size_;
  std::size_t at_ = 0;
};

/// Hands the input, without its first byte, to the reader which that byte names.
template <std::size_t N>
int dispatch(const std::pair<char, void (*)(std::string_view)> (&readers)[N], const std::uint8_t* data,
             std::size_t size) {
  for (const auto& [name, check] : readers) {
    if (size == 0 || static_cast<char>(data[0]) != name) continue;
    check(as_text(data + 1, size - 1));
    return 0;
  }
  return -1;
}

/// Splits at the first NUL: two texts in one input.
inline std::pair<std::string_view, std::string_view> two_texts(std::string_view text) {
  const auto nul = text.find('\0');
  if (nul == text.npos) return {text, {}};
  return {text.substr(0, nul), text.substr(nul + 1)};
}

}  // namespace commissure::fuzz
