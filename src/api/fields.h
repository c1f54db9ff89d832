#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "api/api_error.h"
#include "core/json.h"

namespace commissure {

/// Reads typed members of a request object. A member that is absent or null gives an empty optional; one of the wrong
/// type or out of range does too, and the first such finding is kept in error().
class Fields {
 public:
  /// `object` outlives the reader. `path` is put before names in errors ("parameters.").
  explicit Fields(const Json& object, std::string path = "") : object_(object), path_(std::move(path)) {}

  const std::optional<ApiError>& error() const { return error_; }
  bool ok() const { return !error_.has_value(); }
  /// Keeps the first error.
  void fail(std::string_view name, std::string message);
  void fail(ApiError error);

  /// Members that `object` lacks are looked for in `more`, which outlives the reader.
  void fall_back_to(const Json& more) { more_ = &more; }
  /// A member that is absent under its `name` may be called `other` too; of several the first counts. Both are
  /// literals.
  void also_called(std::string_view name, std::string_view other) { others_.emplace_back(name, other); }

  /// The member as it is, or nullptr. Nothing is copied and nothing is inserted anywhere: what is read of an object of
  /// many members costs a walk over them for each name that is asked for, and no more.
  const Json* find(std::string_view name) const;
  /// Names compared so far.
  std::uint64_t n_compared() const { return n_compared_; }

  /// `open_low`: `low` itself is refused.
  std::optional<double> number(std::string_view name, double low, double high, bool open_low = false);
  /// Whole numbers; 3.0 counts as one.
  std::optional<std::int64_t> integer(std::string_view name, std::int64_t low, std::int64_t high);
  std::optional<bool> boolean(std::string_view name);
  std::optional<std::string> text(std::string_view name);
  /// A string or an array of strings, none empty, none over `max_bytes`.
  std::optional<std::vector<std::string>> texts(std::string_view name, std::size_t max_count, std::size_t max_bytes);
  const Json* object(std::string_view name);
  const Json* array(std::string_view name);

  /// The name as errors show it.
  std::string full_name(std::string_view name) const { return path_ + std::string(name); }

 private:
  const Json* find_in(const Json& object, std::string_view name) const;
  const Json* find_under(std::string_view name) const;

  const Json& object_;
  const Json* more_ = nullptr;
  std::vector<std::pair<std::string_view, std::string_view>> others_;
  const std::string path_;
  mutable std::uint64_t n_compared_ = 0;
  std::optional<ApiError> error_;
};

/// "a string", "an array", ... for messages.
std::string_view kind_of(const Json& value);

/// The text of a member that has to be a text; nullptr where it is none.
const std::string* text_member(const Json& object, std::string_view name);

/// The whole number `value` holds, if it does.
std::optional<std::int64_t> whole_number(const Json& value);

}  // namespace commissure
