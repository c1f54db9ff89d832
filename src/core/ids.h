#pragma once

#include <compare>
#include <cstdint>
#include <functional>

namespace commissure {

/// A number with a meaning of its own: ids of different kinds do not convert into each other.
template <typename Tag, typename Value>
struct Id {
  Value value{};
  constexpr Id() = default;
  constexpr explicit Id(Value v) : value(v) {}
  constexpr Id next() const { return Id(value + 1); }
  constexpr auto operator<=>(const Id&) const = default;
};

/// One vocabulary entry.
using TokenId = Id<struct TokenTag, std::int32_t>;
/// One batch passing through all stages once; counts up from 0 within one boundary stream.
using StepId = Id<struct StepTag, std::uint64_t>;
/// One request's growing token list with its cache.
using SequenceId = Id<struct SequenceTag, std::uint64_t>;
/// A fixed number of positions of KV, the unit of allocation; the same number on every stage.
using BlockId = Id<struct BlockTag, std::int32_t>;

}  // namespace commissure

template <typename Tag, typename Value>
struct std::hash<commissure::Id<Tag, Value>> {
  std::size_t operator()(const commissure::Id<Tag, Value>& id) const { return std::hash<Value>{}(id.value); }
};
