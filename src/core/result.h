#pragma once

#include <concepts>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <type_traits>
#include <utility>

#include <fmt/format.h>

namespace commissure {

/// Canonical error codes; the numbers are gRPC's, so the wire casts and the API has one table to HTTP.
enum class Code : int {
  kOk = 0,
  kCancelled = 1,
  kUnknown = 2,
  kInvalidArgument = 3,
  kDeadlineExceeded = 4,
  kNotFound = 5,
  kAlreadyExists = 6,
  kPermissionDenied = 7,
  kResourceExhausted = 8,
  kFailedPrecondition = 9,
  kAborted = 10,
  kOutOfRange = 11,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
  kDataLoss = 15,
  kUnauthenticated = 16,
};

/// The canonical name of a code, e.g. "DATA_LOSS".
std::string_view code_name(Code code);

/// What went wrong, in one line that names the ids, the numbers and the cure. Of a part that is longer than
/// kMostPartBytes, and may come from outside, both ends are told: the last one may be the cure, where a message wraps
/// another.
class Error {
 public:
  static constexpr std::size_t kMostPartBytes = 4096;

  /// Concatenates `parts` (anything fmt can print) into the message.
  template <typename... Parts>
  explicit Error(Code code, const Parts&... parts) : code_(code) {
    (append(parts), ...);
  }

  Code code() const { return code_; }
  const std::string& message() const { return message_; }

  /// "DATA_LOSS: step 4: ..." for logs.
  std::string to_string() const;

  /// The same error with `context` and ": " put before its message.
  Error within(std::string_view context) const;

  bool operator==(const Error&) const = default;

 private:
  template <typename Part>
  void append(const Part& part) {
    if constexpr (std::is_convertible_v<Part, std::string_view>) {
      append_text(part);
    } else {
      fmt::format_to(std::back_inserter(message_), "{}", part);
    }
  }

  void append_text(std::string_view part);

  Code code_;
  std::string message_;
};

/// A value or an Error; `return Error(...)` and `return value` both convert.
template <typename T>
class [[nodiscard]] Result : public tl::expected<T, Error> {
 public:
  using Base = tl::expected<T, Error>;
  using Base::Base;
  Result(Error error) : Base(tl::unexpected<Error>(std::move(error))) {}  // NOLINT: implicit by design
};

/// Success, or an Error.
using Status = Result<void>;

/// The value of a Result that has one; nothing for a Status (tl::expected<void> has no value()).
template <typename T>
T value_of(Result<T>&& result) {
  if constexpr (!std::is_void_v<T>) return std::move(result).value();
}

}  // namespace commissure

/// Evaluates a Result; on an error returns it from the enclosing function, else yields the value.
#define TRY(expression)                                           \
  __extension__({                                                 \
    auto try_result_ = (expression);                              \
    if (!try_result_.has_value()) [[unlikely]]                    \
      return ::commissure::Error(std::move(try_result_).error()); \
    ::commissure::value_of(std::move(try_result_));               \
  })
