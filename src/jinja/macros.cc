// Macros, and loops that are called like macros.

#include <algorithm>

#include "jinja/operators.h"
#include "jinja/render.h"

namespace commissure::jinja {

Result<Value> Render::make_macro(const Node& node) {
  Macro* macro = TRY(heap_.make<Macro>());
  *macro = {&node, scope_};
  for (Scope* scope = scope_; scope != nullptr && !scope->captured; scope = scope->parent) scope->captured = true;
  Value value = Value::of(Kind::kMacro);
  value.macro = macro;
  return value;
}

Status Render::run_call_block(const Node& node) {
  const Value caller = TRY(make_macro(node));
  const Node& called = *node.right;
  return output(TRY(evaluate_call(called, &caller)));
}

Result<Value> Render::call_macro(const Macro& macro, Call& call) {
  Scope* outer = scope_;
  Scope* inner = TRY(push_scope(macro.scope));
  std::string text;
  std::string* outer_text = out_;
  const auto result = [&]() -> Status {
    scope_ = inner;
    out_ = &text;
    TRY(set_parameters(*macro.node, call));
    TRY(set_rest(*macro.node, call));
    TRY(execute(macro.node->bodies[0]));
    return {};
  }();
  out_ = outer_text;
  scope_ = outer;
  TRY(Status(result));
  return this->text(text);
}

Status Render::set_parameters(const Node& macro, Call& call) {
  for (std::size_t i = 0; i < macro.parameters.size(); ++i) {
    const Parameter& parameter = macro.parameters[i];
    const std::string_view wanted = syntax_.names[parameter.name];
    const bool is_given = i < call.positional.size();
    Value value = is_given ? call.positional[i] : Value::missing();
    for (NamedValue& named : call.named) {
      if (named.name != wanted || named.value.is(Kind::kMissing)) continue;
      if (is_given) {
        return type_error(
            fmt::format("macro '{}' got multiple values for argument '{}'", macro.constant.view(), wanted));
      }
      value = std::exchange(named.value, Value::missing());
    }
    if (value.is(Kind::kMissing)) {
      value = parameter.initial != nullptr ? TRY(evaluate(*parameter.initial)) : Value::undefined(wanted);
    }
    TRY(set(parameter.name, value));
  }
  return {};
}

Status Render::set_rest(const Node& macro, const Call& call) {
  const std::string_view name = macro.constant.view();
  const auto bind_extra = [&](std::string_view word, const Value& value) -> Status {
    const auto id = syntax_.find(word);
    return id ? set(*id, value) : Status();
  };
  Value caller = Value::undefined("caller");
  MapBuilder more(*this);
  for (const NamedValue& named : call.named) {
    if (named.value.is(Kind::kMissing)) continue;
    if (named.name == "caller" && macro.catches_caller) {
      caller = named.value;
      continue;
    }
    if (!macro.catches_kwargs) {
      return type_error(fmt::format("macro '{}' takes no keyword argument '{}'", name, named.name));
    }
    TRY(more.put(Value::of(named.name), named.value));
  }
  if (macro.catches_kwargs) TRY(bind_extra("kwargs", TRY(more.map())));
  if (macro.catches_caller) TRY(bind_extra("caller", caller));
  const std::size_t n_given = std::min(call.positional.size(), macro.parameters.size());
  const std::size_t n_extra = call.positional.size() - n_given;
  if (macro.catches_varargs) {
    Value* items = TRY(heap_.array<Value>(n_extra));
    std::copy_n(call.positional.data() + n_given, n_extra, items);
    return bind_extra("varargs", Value::of(Kind::kTuple, Items(items, n_extra)));
  }
  if (n_extra > 0) {
    return type_error(fmt::format("macro '{}' takes not more than {} argument(s)", name, macro.parameters.size()));
  }
  return {};
}

Result<Value> Render::call_loop(const Loop& loop, Call& call) {
  if (loop.recursive == nullptr) {
    return type_error("The loop must have the 'recursive' marker to be called recursively.");
  }
  if (call.positional.size() != 1 || !call.named.empty()) return type_error("loop() takes one argument");
  Scope* outer = std::exchange(scope_, loop.scope);
  std::string text;
  std::string* outer_text = std::exchange(out_, &text);
  const auto result = run_loop(*loop.recursive, call.positional[0], loop.depth + 1);
  out_ = outer_text;
  scope_ = outer;
  TRY(Result<Flow>(result));
  return this->text(text);
}

}  // namespace commissure::jinja
