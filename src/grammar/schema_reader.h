#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"
#include "grammar/schema_keywords.h"

namespace commissure {

template <typename... What>
Error refused_schema(const std::string& where, const What&... what) {
  return Error(Code::kInvalidArgument, "the schema at ", where, ": ", what...);
}

/// The place of what stands under a keyword.
inline std::string place_below(const std::string& where, std::string_view keyword, std::string_view name = {}) {
  std::string path = where + "." + std::string(keyword);
  if (!name.empty()) path += "." + std::string(name.substr(0, 64));
  return path;
}

/// Reads a schema into one that says the same, or less, in the keywords and places that the compiler heeds. It heeds of
/// $ref, const, enum, anyOf, oneOf, allOf and type the first alone, and some keywords not beside others.
class SchemaReader {
 public:
  explicit SchemaReader(const Json& root) : root_(root) {}

  Result<Json> read(const Json& schema, const std::string& where, int depth);

 private:
  using Names = std::vector<std::string>;

  Status check_keywords(const Json& schema, const std::string& where) const;
  Status stands_alone(const Json& schema, std::string_view keyword, bool may_have_type, const std::string& where) const;
  Result<Json> read_alternatives(const Json& schema, std::string_view keyword, const std::string& where, int depth);
  Result<Json> read_all_of(const Json& schema, const std::string& where, int depth);
  Status merge(const Json& part, const std::string& where, Json& merged) const;
  Result<Json> read_reference(const Json& schema, const std::string& where) const;
  Result<const Json*> resolve(const Json& schema, const std::string& where) const;
  Result<Json> read_values(const Json& schema, const std::string& where) const;
  Result<Names> read_types(const Json& schema, const std::string& where) const;
  Status read_string(const Json& schema, const std::string& where, Json& out) const;
  Status read_number(const Json& schema, bool is_integer, const std::string& where, Json& out) const;
  Status read_array(const Json& schema, const std::string& where, int depth, Json& out);
  Status read_object(const Json& schema, const std::string& where, int depth, Json& out);
  Status read_properties(const Json& schema, const std::string& where, int depth, Json& out);
  Status read_counts(const Json& schema, std::span<const std::string_view> keywords, const std::string& where,
                     Json& out) const;
  /// A schema, or true or false, under `keyword`.
  Status read_member(const Json& schema, std::string_view keyword, const std::string& where, int depth, Json& out);

  const Json& root_;
  std::size_t n_nodes_ = 0;
};

}  // namespace commissure
