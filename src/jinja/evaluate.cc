// Expressions.

#include <algorithm>

#include "jinja/operators.h"
#include "jinja/render.h"

namespace commissure::jinja {

namespace {

/// More arguments in one call than anyone writes; `*list` may bring any number.
constexpr std::size_t kMostArguments = 1000;

}  // namespace

Result<Value> Render::evaluate(const Node& node) {
  TRY(spend());
  const Level level(*this);
  TRY(level.check());
  switch (node.kind) {
    case NodeKind::kConstant: return node.constant;
    case NodeKind::kName: return lookup(node);
    case NodeKind::kList:
    case NodeKind::kTuple: return evaluate_listing(node);
    case NodeKind::kDict: return evaluate_dict(node);
    case NodeKind::kAttribute: return get_attribute(*this, TRY(evaluate(*node.left)), node.constant.view());
    case NodeKind::kItem: {
      const Value owner = TRY(evaluate(*node.left));
      return get_item(*this, owner, TRY(evaluate(*node.right)));
    }
    case NodeKind::kSlice: return evaluate_slice(node);
    case NodeKind::kCall: return evaluate_call(node, nullptr);
    case NodeKind::kFilter: return evaluate_filter(node);
    case NodeKind::kTest: return evaluate_test(node);
    case NodeKind::kNot: return Value::of(!truth(TRY(evaluate(*node.left))));
    case NodeKind::kNegative: return negate(TRY(evaluate(*node.left)), true);
    case NodeKind::kPositive: return negate(TRY(evaluate(*node.left)), false);
    case NodeKind::kAnd: {
      const Value left = TRY(evaluate(*node.left));
      return truth(left) ? evaluate(*node.right) : Result<Value>(left);
    }
    case NodeKind::kOr: {
      const Value left = TRY(evaluate(*node.left));
      return truth(left) ? Result<Value>(left) : evaluate(*node.right);
    }
    case NodeKind::kBinary: {
      const Value left = TRY(evaluate(*node.left));
      return arithmetic(*this, node.op, left, TRY(evaluate(*node.right)));
    }
    case NodeKind::kConcat: return evaluate_concat(node);
    case NodeKind::kCompare: return evaluate_compare(node);
    case NodeKind::kChoice: return evaluate_choice(node);
    case NodeKind::kBody: return body_text_;
    default: return type_error("a statement where an expression belongs");
  }
}

Result<Value> Render::evaluate_listing(const Node& node) {
  const std::size_t size = node.children.size();
  Value* items = TRY(heap_.array<Value>(size));
  for (std::size_t i = 0; i < size; ++i) items[i] = TRY(evaluate(*node.children[i]));
  return Value::of(node.kind == NodeKind::kList ? Kind::kList : Kind::kTuple, Items(items, size));
}

Result<Value> Render::evaluate_dict(const Node& node) {
  MapBuilder builder(*this);
  for (std::size_t i = 0; i < node.children.size(); i += 2) {
    const Value key = TRY(evaluate(*node.children[i]));
    TRY(builder.put(key, TRY(evaluate(*node.children[i + 1]))));
  }
  return builder.map();
}

Result<Value> Render::evaluate_slice(const Node& node) {
  const Value owner = TRY(evaluate(*node.left));
  std::array<Value, 3> parts;
  for (std::size_t i = 0; i < 3; ++i) {
    parts[i] = node.children[i] == nullptr ? Value::missing() : TRY(evaluate(*node.children[i]));
  }
  return slice(*this, owner, parts[0], parts[1], parts[2]);
}

Result<Value> Render::evaluate_choice(const Node& node) {
  if (truth(TRY(evaluate(*node.right)))) return evaluate(*node.left);
  if (node.third != nullptr) return evaluate(*node.third);
  return Value::undefined("the inline if-expression evaluated to false and no else section was defined",
                          Kind::kMissing);
}

Result<Value> Render::evaluate_concat(const Node& node) {
  // Grows in place where the first text lies last in the heap.
  Value result = Value::of(std::string_view(""));
  for (const Node* child : node.children) {
    const std::string_view part = TRY(text_of(*this, TRY(evaluate(*child))));
    TRY(spend((result.size + part.size()) / 16));
    result = TRY(heap_.concat(result.view(), part));
  }
  return result;
}

Result<Value> Render::evaluate_compare(const Node& node) {
  Value left = TRY(evaluate(*node.left));
  for (std::size_t i = 0; i < node.ops.size(); ++i) {
    const Value right = TRY(evaluate(*node.children[i]));
    if (!TRY(compare(*this, node.ops[i], left, right))) return Value::of(false);
    left = right;
  }
  return Value::of(true);
}

Status Render::read_arguments(const Node& node, Call& call) {
  for (const Argument& argument : node.arguments) {
    const Value value = TRY(evaluate(*argument.value));
    switch (argument.kind) {
      case Argument::Kind::kPositional: call.positional.push_back(value); break;
      case Argument::Kind::kNamed: call.named.push_back({argument.name, value}); break;
      case Argument::Kind::kSplat: {
        TRY(require_defined(value));
        const Items items = TRY(items_of(*this, value));
        if (items.size() > kMostArguments) return type_error("too many arguments");
        call.positional.insert(call.positional.end(), items.begin(), items.end());
        break;
      }
      case Argument::Kind::kDoubleSplat: {
        if (!value.is(Kind::kMap))
          return type_error("argument after ** must be a mapping, not " + std::string(type_name(value)));
        if (value.map->size > kMostArguments) return type_error("too many arguments");
        for (const Pair& pair : value.map->all()) {
          if (!pair.key.is_text()) return type_error("keywords must be strings");
          call.named.push_back({pair.key.view(), pair.value});
        }
        break;
      }
    }
    if (call.positional.size() + call.named.size() > kMostArguments) return type_error("too many arguments");
  }
  return {};
}

Result<Value> Render::evaluate_call(const Node& node, const Value* caller) {
  const Value callee = TRY(evaluate(*node.left));
  Call arguments;
  TRY(read_arguments(node, arguments));
  if (caller != nullptr) arguments.named.push_back({"caller", *caller});
  return call(callee, arguments);
}

Result<Value> Render::evaluate_filter(const Node& node) {
  if (node.builtin == nullptr) return type_error(fmt::format("No filter named '{}'.", node.constant.view()));
  const Value subject = TRY(evaluate(*node.left));
  Call arguments;
  TRY(read_arguments(node, arguments));
  return call(*node.builtin, subject, arguments);
}

Result<Value> Render::evaluate_test(const Node& node) {
  if (node.builtin == nullptr) return type_error(fmt::format("No test named '{}'.", node.constant.view()));
  const Value subject = TRY(evaluate(*node.left));
  Call arguments;
  TRY(read_arguments(node, arguments));
  const Value result = TRY(call(*node.builtin, subject, arguments));
  return node.flag ? Value::of(!truth(result)) : result;
}

Result<Value> Render::call(const Builtin& builtin, const Value& subject, Call& call) {
  const auto cost = [](const Value& value) -> std::uint64_t {
    if (value.is_text()) return value.size / 16;
    return value.is_listing() || value.is(Kind::kIterator) ? value.size / 4 : 0;
  };
  std::uint64_t units = 1 + cost(subject);
  for (const Value& argument : call.positional) units += cost(argument);
  for (const NamedValue& argument : call.named) units += cost(argument.value);
  TRY(spend(units));
  const Level level(*this);
  TRY(level.check());
  TRY(bind(builtin, call));
  return builtin.run(*this, subject, call);
}

Result<Value> Render::call(const Value& callee, Call& arguments) {
  TRY(require_defined(callee));
  const Level level(*this);
  TRY(level.check());
  switch (callee.kind) {
    case Kind::kFunction: return call(*callee.function, callee, arguments);
    case Kind::kMethod: return call(*callee.method->builtin, callee.method->receiver, arguments);
    case Kind::kMacro: return call_macro(*callee.macro, arguments);
    case Kind::kLoop: return call_loop(*callee.loop, arguments);
    case Kind::kJoiner:
      if (!std::exchange(callee.joiner->used, true)) return Value::of(std::string_view(""));
      return callee.joiner->separator;
    default: return type_error(fmt::format("'{}' object is not callable", type_name(callee)));
  }
}

}  // namespace commissure::jinja
