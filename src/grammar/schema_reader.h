#pragma once

#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "grammar/grammar.h"

namespace commissure {

inline constexpr int kMaxSchemaDepth = 64;

template <typename... What>
Error schema_refused(const std::string& where, const What&... what) {
  return Error(Code::kInvalidArgument, "the schema at ", where, ": ", what...);
}

/// The place of what stands under a keyword, or under a name there.
std::string below(const std::string& where, std::string_view keyword, std::string_view name = {});

/// Reads a schema into one that says the same, or less, in the keywords and places that the compiler heeds. It heeds of
/// $ref, const, enum, anyOf, oneOf, allOf and type the first alone, and some keywords not beside others.
class SchemaReader {
 public:
  /// Both outlive this.
  SchemaReader(const Json& root, SchemaWork& work) : root_(root), work_(work) {}

  Result<Json> read(const Json& schema, const std::string& where, int depth);

 private:
  using Names = std::vector<std::string>;

  Status check_keywords(const Json& schema, const std::string& where) const;
  Status stands_alone(const Json& schema, std::string_view keyword, bool may_have_type, const std::string& where) const;
  Result<Json> read_alternatives(const Json& schema, std::string_view keyword, const std::string& where, int depth);
  Result<Json> read_all_of(const Json& schema, const std::string& where, int depth);
  Status merge(const Json& part, const std::string& where, Json& merged) const;
  Result<Json> read_reference(const Json& schema, const std::string& where) const;
  /// What is at this path (JSON pointer) of the schema; null: nothing. Errors: kResourceExhausted.
  Result<const Json*> find(const std::string& path, const std::string& where) const;
  Result<const Json*> resolve(const Json& schema, const std::string& where) const;
  /// The same for a schema that will stand here as a copy, whose size counts. Errors: kResourceExhausted too.
  Result<const Json*> expand(const Json& schema, const std::string& where) const;
  Result<Json> read_values(const Json& schema, const std::string& where) const;
  Result<Names> read_types(const Json& schema, const std::string& where) const;
  Status read_string(const Json& schema, const std::string& where, Json& out) const;
  /// In the characters that the compiler's automata take. Errors: kInvalidArgument and kResourceExhausted.
  Result<std::string> read_pattern(const std::string& pattern, const std::string& where) const;
  Status read_number(const Json& schema, bool is_integer, const std::string& where, Json& out) const;
  Status read_number_format(const Json& format, bool is_integer, const std::string& where, Json& out) const;
  Status read_array(const Json& schema, const std::string& where, int depth, Json& out);
  Status read_object(const Json& schema, const std::string& where, int depth, Json& out);
  Status read_name_patterns(const Json& schema, const std::string& where, int depth, Json& out);
  Status read_properties(const Json& schema, const std::string& where, int depth, Json& out);
  Status read_required(const Json& schema, const std::string& where, const std::set<std::string>& missing,
                       const Json& out, Json& named) const;
  Status read_counts(const Json& schema, std::span<const std::string_view> keywords, const std::string& where,
                     Json& out) const;
  /// A schema, or true or false, under `keyword`.
  Status read_member(const Json& schema, std::string_view keyword, const std::string& where, int depth, Json& out);
  /// Counts parts of the schema. Errors: kResourceExhausted, there are too many.
  Status count(std::size_t n_parts) const;

  const Json& root_;
  SchemaWork& work_;
};

}  // namespace commissure
