#include "jinja/value/builtin.h"

namespace commissure::jinja {

const Builtin* find_builtin(Builtins table, std::string_view name) {
  for (const Builtin& builtin : table) {
    if (builtin.name == name) return &builtin;
  }
  return nullptr;
}

namespace {

const Builtin* find_in(std::initializer_list<Builtins> tables, std::string_view name) {
  for (const Builtins table : tables) {
    if (const Builtin* found = find_builtin(table, name)) return found;
  }
  return nullptr;
}

}  // namespace

const Builtin* find_filter(std::string_view name) {
  return find_in({text_filters(), sequence_filters(), value_filters()}, name);
}

const Builtin* find_test(std::string_view name) { return find_builtin(all_tests(), name); }

const Builtin* find_method(Kind kind, std::string_view name) {
  switch (kind) {
    case Kind::kText: return find_in({text_methods(), letter_methods()}, name);
    case Kind::kMap: return find_builtin(map_methods(), name);
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kRange: return find_builtin(list_methods(), name);
    case Kind::kCycler: return find_builtin(cycler_methods(), name);
    case Kind::kLoop: return find_builtin(loop_methods(), name);
    default: return nullptr;
  }
}

Status bind(const Builtin& builtin, Call& call) {
  call.slots.fill(Value::missing());
  if (builtin.parameters == "*") return {};
  std::size_t index = 0;
  std::size_t n_named = 0;
  for (std::string_view rest = builtin.parameters; !rest.empty(); ++index) {
    const std::size_t comma = std::min(rest.find(','), rest.size());
    std::string_view name = rest.substr(0, comma);
    rest.remove_prefix(std::min(comma + 1, rest.size()));
    const bool is_optional = name.ends_with('?');
    if (is_optional) name.remove_suffix(1);
    if (index < call.positional.size()) call.slots[index] = call.positional[index];
    for (const NamedValue& named : call.named) {
      if (named.name != name) continue;
      if (index < call.positional.size()) {
        return Error(Code::kInvalidArgument, builtin.name, "() got multiple values for argument '", name, "'");
      }
      call.slots[index] = named.value;
      ++n_named;
    }
    if (!is_optional && call.slots[index].is(Kind::kMissing)) {
      return Error(Code::kInvalidArgument, builtin.name, "() misses the argument '", name, "'");
    }
  }
  if (call.positional.size() > index) {
    return Error(Code::kInvalidArgument, builtin.name, "() takes at most ", index, " arguments, but got ",
                 call.positional.size());
  }
  if (n_named < call.named.size()) {
    return Error(Code::kInvalidArgument, builtin.name, "() got an argument that it does not know");
  }
  return {};
}

}  // namespace commissure::jinja
