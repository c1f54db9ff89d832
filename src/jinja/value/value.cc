#include "jinja/value/value.h"

namespace commissure::jinja {

double Value::as_number() const {
  if (kind == Kind::kFloat) return number;
  if (kind == Kind::kInt && flag != 0) return static_cast<double>(static_cast<std::uint64_t>(integer));
  return static_cast<double>(as_integer());
}

std::string_view type_name(Kind kind) {
  switch (kind) {
    case Kind::kUndefined: return "Undefined";
    case Kind::kNone: return "NoneType";
    case Kind::kBool: return "bool";
    case Kind::kInt: return "int";
    case Kind::kFloat: return "float";
    case Kind::kText: return "str";
    case Kind::kList: return "list";
    case Kind::kTuple: return "tuple";
    case Kind::kMap: return "dict";
    case Kind::kRange: return "range";
    case Kind::kIterator: return "generator";
    case Kind::kNamespace: return "Namespace";
    case Kind::kLoop: return "LoopContext";
    case Kind::kCycler: return "Cycler";
    case Kind::kJoiner: return "Joiner";
    case Kind::kMacro: return "Macro";
    case Kind::kFunction: return "function";
    case Kind::kMethod: return "builtin_function_or_method";
    case Kind::kMissing: break;
  }
  return "missing";
}

std::string_view type_name(const Value& value) { return type_name(value.kind); }

bool truth(const Value& value) {
  switch (value.kind) {
    case Kind::kUndefined:
    case Kind::kNone:
    case Kind::kMissing: return false;
    case Kind::kBool: return value.boolean;
    case Kind::kInt: return value.integer != 0;
    case Kind::kFloat: return value.number != 0;
    case Kind::kText:
    case Kind::kList:
    case Kind::kTuple: return value.size != 0;
    case Kind::kIterator: return value.flag == 0 || value.size != 0;  // a generator is true, a view as its size
    case Kind::kMap: return value.map->size != 0;
    case Kind::kRange: return value.range->size != 0;
    default: return true;
  }
}

}  // namespace commissure::jinja
