#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "jinja/value/value.h"

namespace commissure::jinja {

/// A name of the template as a number, so that scopes compare numbers.
using NameId = std::uint32_t;

enum class NodeKind : std::uint8_t {
  // Statements.
  kData,         // constant
  kOutput,       // children
  kIf,           // children: conditions, bodies in `bodies`, one body more for else
  kFor,          // left: target, right: the items, third: the filter; bodies: body, else
  kSet,          // left: target, right: value
  kSetBlock,     // left: target, children: filters around `bodies[0]`
  kMacro,        // name, parameters, bodies[0]
  kCallBlock,    // right: the call, parameters, bodies[0]
  kFilterBlock,  // right: filters around the body
  kWith,         // children: targets and values in pairs, bodies[0]
  kScope,        // bodies[0]
  kBreak,
  kContinue,
  kRefuse,  // constant: why
  // Expressions.
  kConstant,
  kName,
  kList,
  kTuple,
  kDict,       // children: keys and values in pairs
  kAttribute,  // left, constant: the name
  kItem,       // left, right
  kSlice,      // left, children: start, stop, step, or null
  kCall,       // left, arguments
  kFilter,     // left (null: the body of a block), builtin, arguments
  kTest,       // left, builtin, arguments, flag: negated
  kNot,
  kNegative,
  kPositive,
  kAnd,
  kOr,
  kBinary,   // left, right, op
  kConcat,   // children
  kCompare,  // left, children, ops
  kChoice,   // left if right else third
  kBody,     // the captured text of a block, as its filters see it
};

enum class Op : std::uint8_t {
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kFloorDivide,
  kModulo,
  kPower,
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kIn,
  kNotIn,
};

using Body = std::vector<const Node*>;

struct Argument {
  enum class Kind : std::uint8_t { kPositional, kNamed, kSplat, kDoubleSplat };
  Kind kind = Kind::kPositional;
  std::string_view name;
  const Node* value = nullptr;
};

struct Parameter {
  NameId name = 0;
  const Node* initial = nullptr;
};

struct Node {
  NodeKind kind = NodeKind::kConstant;
  Op op = Op::kAdd;
  bool flag = false;  ///< for: recursive; test: negated; macro: see `catches_*`
  std::uint16_t depth = 1;
  std::uint32_t line = 1;
  NameId name = 0;
  Value constant;
  const Node* left = nullptr;
  const Node* right = nullptr;
  const Node* third = nullptr;
  const Builtin* builtin = nullptr;
  std::vector<const Node*> children;
  std::vector<Op> ops;
  std::vector<Body> bodies;
  std::vector<Argument> arguments;
  std::vector<Parameter> parameters;
  bool catches_varargs = false;
  bool catches_kwargs = false;
  bool catches_caller = false;
};

/// A parsed template. Nodes live in one list, so that the deepest one is given back without recursion.
struct Syntax {
  std::deque<Node> nodes;
  std::deque<std::string> texts;
  std::deque<std::string> names;
  std::map<std::string_view, NameId> ids;
  Body body;

  NameId id_of(std::string_view name);
  std::optional<NameId> find(std::string_view name) const;
  std::string_view keep(std::string text) { return texts.emplace_back(std::move(text)); }
};

/// More is refused: an expression or statement this deep would need as much of the stack.
inline constexpr int kMostDepth = 200;
inline constexpr std::size_t kMostSourceBytes = 512 << 10;

/// Errors: kInvalidArgument, "line 7: ...".
Result<std::unique_ptr<Syntax>> parse(std::string_view source);

}  // namespace commissure::jinja
