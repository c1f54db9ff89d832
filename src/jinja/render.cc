// Statements.

#include "jinja/render.h"

#include <algorithm>

#include "jinja/operators.h"

namespace commissure::jinja {

Status Render::refuel(std::uint64_t units) {
  constexpr std::uint64_t kPortion = 50'000;
  if (limits().is_unwanted && limits().is_unwanted()) return Error(Code::kCancelled, "nobody waits for the text");
  if (units - fuel_ > tank_) return Error(Code::kResourceExhausted, "the template does too much work");
  const std::uint64_t more = std::min(tank_, std::max(units - fuel_, kPortion));
  tank_ -= more;
  fuel_ += more;
  return {};
}

Error Render::too_deep() const {
  return Error(Code::kResourceExhausted, "the template nests calls or values too deeply");
}

Status Collector::add(const Value& value) {
  TRY(render_.spend());
  if (size_ == capacity_) {
    capacity_ = std::max<std::size_t>(8, 2 * capacity_);
    Value* larger = TRY(render_.heap().array<Value>(capacity_));
    std::copy_n(data_, size_, larger);
    data_ = larger;
  }
  data_[size_++] = value;
  return {};
}

Status Render::append(std::string& out, std::string_view text) {
  TRY(spend(1 + text.size() / 16));
  if (out.size() + text.size() > limits().text_bytes) {
    return Error(Code::kResourceExhausted, "the template writes more than ", limits().text_bytes >> 20, " MiB");
  }
  TRY(heap_.charge(text.size()));
  out += text;
  return {};
}

Status Render::append(std::string& out, std::size_t n, char c) {
  if (n > limits().text_bytes) {
    return Error(Code::kResourceExhausted, "the template writes more than ", limits().text_bytes >> 20, " MiB");
  }
  return append(out, std::string(n, c));
}

Result<Value> Render::text(std::string_view text) { return heap_.text(text); }

Result<Value> Render::raise(std::string_view message) {
  raised_ = true;
  return type_error(message);
}

Result<Value> Render::from_json(const Json& json) {
  switch (json.type()) {
    case Json::value_t::boolean: return Value::of(json.get<bool>());
    case Json::value_t::number_integer: return Value::of(json.get<std::int64_t>());
    case Json::value_t::number_unsigned: {
      const auto number = json.get<std::uint64_t>();
      Value value = Value::of(static_cast<std::int64_t>(number));
      value.flag = number > static_cast<std::uint64_t>(INT64_MAX);
      return value;
    }
    case Json::value_t::number_float: return Value::of(json.get<double>());
    case Json::value_t::string: {
      const auto& text = json.get_ref<const std::string&>();
      if (text.size() > limits().text_bytes) return type_error("a text of the request is too long");
      return Value::of(std::string_view(text));
    }
    case Json::value_t::array: {
      const Level level(*this);
      TRY(level.check());
      Value* items = TRY(heap_.array<Value>(json.size()));
      for (std::size_t i = 0; i < json.size(); ++i) items[i] = TRY(from_json(json[i]));
      return Value::of(Kind::kList, Items(items, json.size()));
    }
    case Json::value_t::object: {
      const Level level(*this);
      TRY(level.check());
      Pair* pairs = TRY(heap_.array<Pair>(json.size()));
      std::size_t n = 0;
      for (const auto& [key, member] : json.items()) {
        pairs[n].key = Value::of(std::string_view(key));
        pairs[n++].value = TRY(from_json(member));
      }
      return make_map(*this, {pairs, n});
    }
    default: return Value::none();
  }
}

Result<std::string> Render::run(const Json& variables) {
  std::string out;
  const auto result = [&]() -> Status {
    scope_ = TRY(push_scope(nullptr));
    for (const auto& [name, value] : variables.items()) {
      if (const auto id = syntax_.find(name)) TRY(set(*id, TRY(from_json(value))));
    }
    out_ = &out;
    TRY(execute(syntax_.body));
    return {};
  }();
  if (result) return out;
  if (raised_ || error_line_ == 0) return Error(result.error());
  return Error(result.error().code(), "line ", error_line_, ": ", result.error().message());
}

// Scopes -----------------------------------------------------------------------------------------

Result<Scope*> Render::push_scope(Scope* parent) {
  Scope* scope = TRY(heap_.make<Scope>());
  scope->parent = parent;
  return scope;
}

Status Render::set(NameId name, const Value& value) {
  TRY(spend(1 + scope_->size / 16));
  for (std::uint32_t i = 0; i < scope_->size; ++i) {
    if (scope_->variables[i].name != name) continue;
    scope_->variables[i].value = value;
    return {};
  }
  if (scope_->size == scope_->capacity) {
    const std::uint32_t capacity = std::max<std::uint32_t>(3, 2 * scope_->capacity);
    Variable* larger = TRY(heap_.array<Variable>(capacity));
    std::copy_n(scope_->variables, scope_->size, larger);
    scope_->variables = larger;
    scope_->capacity = capacity;
  }
  scope_->variables[scope_->size++] = {name, value};
  return {};
}

Result<Value> Render::lookup(const Node& node) {
  std::uint64_t n_seen = 0;
  for (const Scope* scope = scope_; scope != nullptr; scope = scope->parent) {
    for (std::uint32_t i = 0; i < scope->size; ++i) {
      if (scope->variables[i].name == node.name) return scope->variables[i].value;
    }
    n_seen += 1 + scope->size;
  }
  TRY(spend(n_seen / 16));
  const std::string_view name = syntax_.names[node.name];
  if (const Builtin* function = find_builtin(functions(), name)) {
    Value value = Value::of(Kind::kFunction);
    value.function = function;
    return value;
  }
  return Value::undefined(name);
}

Status Render::assign(const Node& target, const Value& value) {
  TRY(spend());
  if (target.kind == NodeKind::kName) return set(target.name, value);
  if (target.kind == NodeKind::kAttribute) {
    const Value owner = TRY(lookup(*target.left));
    if (!owner.is(Kind::kNamespace)) return type_error("cannot assign attribute on non-namespace object");
    Namespace& names = *owner.names;
    TRY(spend(names.size / 8));
    for (std::size_t i = 0; i < names.size; ++i) {
      if (names.pairs[i].key.view() != target.constant.view()) continue;
      names.pairs[i].value = value;
      return {};
    }
    if (names.size == names.capacity) {
      names.capacity = std::max<std::size_t>(4, 2 * names.capacity);
      Pair* larger = TRY(heap_.array<Pair>(names.capacity));
      std::copy_n(names.pairs, names.size, larger);
      names.pairs = larger;
    }
    names.pairs[names.size++] = {target.constant, value};
    return {};
  }
  TRY(require_defined(value));
  const Items items = TRY(items_of(*this, value));
  if (items.size() != target.children.size()) {
    return type_error(
        items.size() < target.children.size()
            ? fmt::format("not enough values to unpack (expected {}, got {})", target.children.size(), items.size())
            : fmt::format("too many values to unpack (expected {})", target.children.size()));
  }
  for (std::size_t i = 0; i < items.size(); ++i) TRY(assign(*target.children[i], items[i]));
  return {};
}

// Statements -------------------------------------------------------------------------------------

Result<Render::Flow> Render::execute(const Body& body) {
  for (const Node* node : body) {
    const Flow flow = TRY(execute(*node));
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

Result<Render::Flow> Render::execute(const Node& node) {
  const Level level(*this);
  auto result = [&]() -> Result<Flow> {
    TRY(spend());
    TRY(level.check());
    return run_statement(node);
  }();
  if (!result && error_line_ == 0) error_line_ = node.line;
  return result;
}

Result<Render::Flow> Render::run_statement(const Node& node) {
  switch (node.kind) {
    case NodeKind::kData: TRY(append(*out_, node.constant.view())); break;
    case NodeKind::kOutput: TRY(output(TRY(evaluate(*node.left)))); break;
    case NodeKind::kIf: return run_if(node);
    case NodeKind::kFor: return run_for(node);
    case NodeKind::kSet: TRY(assign(*node.left, TRY(evaluate(*node.right)))); break;
    case NodeKind::kSetBlock: TRY(run_set_block(node)); break;
    case NodeKind::kMacro: TRY(set(node.name, TRY(make_macro(node)))); break;
    case NodeKind::kCallBlock: TRY(run_call_block(node)); break;
    case NodeKind::kFilterBlock: {
      const Value outer = std::exchange(body_text_, TRY(captured(node.bodies[0])));
      const auto value = evaluate(*node.right);
      body_text_ = outer;
      TRY(output(TRY(Result<Value>(value))));
      break;
    }
    case NodeKind::kWith: TRY(run_with(node)); break;
    case NodeKind::kScope: return run_scope(node);
    case NodeKind::kBreak: return Flow::kBreak;
    case NodeKind::kContinue: return Flow::kContinue;
    case NodeKind::kRefuse: return type_error(node.constant.view());
    default: return type_error("an expression where a statement belongs");
  }
  return Flow::kNext;
}

Status Render::output(const Value& value) { return append_text(*this, *out_, value); }

Result<Render::Flow> Render::run_if(const Node& node) {
  for (std::size_t i = 0; i < node.children.size(); ++i) {
    if (truth(TRY(evaluate(*node.children[i])))) return execute(node.bodies[i]);
  }
  return node.bodies.size() > node.children.size() ? execute(node.bodies.back()) : Result<Flow>(Flow::kNext);
}

Result<Items> Render::filtered_items(const Node& node, Items items) {
  if (node.third == nullptr) return items;
  Scope* outer = scope_;
  scope_ = TRY(push_scope(outer));
  Collector kept(*this);
  const auto result = [&]() -> Status {
    for (const Value& item : items) {
      TRY(assign(*node.left, item));
      if (truth(TRY(evaluate(*node.third)))) TRY(kept.add(item));
    }
    return {};
  }();
  scope_ = outer;
  TRY(Status(result));
  return kept.items();
}

Result<Render::Flow> Render::run_for(const Node& node) { return run_loop(node, TRY(evaluate(*node.right)), 1); }

Result<Render::Flow> Render::run_loop(const Node& node, const Value& iterated, std::size_t depth) {
  const Items items = TRY(filtered_items(node, TRY(items_of(*this, iterated))));
  Scope* outer = scope_;
  if (items.empty()) {
    if (node.bodies[1].empty()) return Flow::kNext;
    scope_ = TRY(push_scope(outer));
    auto flow = execute(node.bodies[1]);
    scope_ = outer;
    return flow;
  }
  Loop* loop = TRY(heap_.make<Loop>());
  loop->items = items;
  loop->depth = depth;
  loop->recursive = node.flag ? &node : nullptr;
  loop->scope = outer;
  Value loop_value = Value::of(Kind::kLoop);
  loop_value.loop = loop;
  const NameId loop_name = node.name;
  auto result = [&]() -> Result<Flow> {
    for (std::size_t i = 0; i < items.size(); ++i) {
      TRY(spend());
      loop->index = i;
      // A scope that nobody looks into later serves the next round too.
      if (i == 0 || scope_->captured) {
        scope_ = TRY(push_scope(outer));
      } else {
        scope_->size = 0;
      }
      TRY(set(loop_name, loop_value));
      TRY(assign(*node.left, items[i]));
      const Flow flow = TRY(execute(node.bodies[0]));
      if (flow == Flow::kBreak) break;
    }
    return Flow::kNext;
  }();
  scope_ = outer;
  return result;
}

Result<Value> Render::captured(const Body& body) {
  std::string text;
  Scope* outer = scope_;
  scope_ = TRY(push_scope(outer));
  std::string* outer_text = std::exchange(out_, &text);
  const auto result = execute(body);
  out_ = outer_text;
  scope_ = outer;
  TRY(Result<Flow>(result));
  return this->text(text);
}

Status Render::run_set_block(const Node& node) {
  const Value outer = std::exchange(body_text_, TRY(captured(node.bodies[0])));
  const auto value = evaluate(*node.right);
  body_text_ = outer;
  return assign(*node.left, TRY(Result<Value>(value)));
}

Status Render::run_with(const Node& node) {
  std::vector<Value> values;
  for (std::size_t i = 1; i < node.children.size(); i += 2) values.push_back(TRY(evaluate(*node.children[i])));
  Scope* outer = scope_;
  scope_ = TRY(push_scope(outer));
  const auto result = [&]() -> Status {
    for (std::size_t i = 0; i < values.size(); ++i) TRY(assign(*node.children[2 * i], values[i]));
    TRY(execute(node.bodies[0]));
    return {};
  }();
  scope_ = outer;
  return result;
}

Result<Render::Flow> Render::run_scope(const Node& node) {
  Scope* outer = scope_;
  scope_ = TRY(push_scope(outer));
  auto flow = execute(node.bodies[0]);
  scope_ = outer;
  return flow;
}

}  // namespace commissure::jinja
