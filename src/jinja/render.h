#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/json.h"
#include "core/result.h"
#include "jinja/syntax/syntax.h"
#include "jinja/value/builtin.h"
#include "jinja/value/heap.h"
#include "jinja/value/value.h"

namespace commissure::jinja {

struct Variable {
  NameId name = 0;
  Value value;
};

/// Names that a body has set; names of the bodies around it are found through `parent`.
struct Scope {
  Scope* parent = nullptr;
  Variable* variables = nullptr;
  std::uint32_t size = 0;
  std::uint32_t capacity = 0;
  bool captured = false;  ///< a macro may look into it later
};

/// One run of a template under limits.
/// Threading: one thread, once.
class Render {
 public:
  Render(const Syntax& syntax, const Limits& limits) : syntax_(syntax), heap_(limits), tank_(limits.fuel) {}
  Render(const Render&) = delete;
  Render& operator=(const Render&) = delete;

  /// The output. Errors: kInvalidArgument, the template's own message or what it did wrong, with the line;
  /// kResourceExhausted, a limit.
  Result<std::string> run(const Json& variables);

  // What filters, tests and methods need.

  Heap& heap() { return heap_; }
  const Limits& limits() const { return heap_.limits(); }

  /// Errors: kResourceExhausted, the template does too much; kCancelled, nobody waits for its text any more.
  Status spend(std::uint64_t units = 1) {
    if (units > fuel_) TRY(refuel(units));
    fuel_ -= units;
    return {};
  }

  /// `text` behind `out`, which may become as long as one text may be.
  Status append(std::string& out, std::string_view text);
  Status append(std::string& out, std::size_t n, char c);

  /// A text of the render. A temporary is copied.
  Result<Value> text(std::string_view text);

  /// Calls a filter, test or method on `subject`, or any value that can be called.
  Result<Value> call(const Builtin& builtin, const Value& subject, Call& call);
  Result<Value> call(const Value& callee, Call& call);

  Result<Value> raise(std::string_view message);

  /// One level of nesting; more than the limit is an error.
  class Level {
   public:
    explicit Level(Render& render) : render_(render) { ++render.depth_; }
    ~Level() { --render_.depth_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;
    Status check() const {
      if (render_.depth_ > render_.limits().depth) return render_.too_deep();
      return {};
    }

   private:
    Render& render_;
  };

 private:
  enum class Flow : std::uint8_t { kNext, kBreak, kContinue };

  Status refuel(std::uint64_t units);
  Error too_deep() const;

  // render.cc: statements
  Result<Value> from_json(const Json& json);
  Result<Flow> execute(const Body& body);
  Result<Flow> execute(const Node& node);
  Result<Flow> run_statement(const Node& node);
  Status output(const Value& value);
  Result<Flow> run_if(const Node& node);
  Result<Flow> run_for(const Node& node);
  Result<Flow> run_loop(const Node& node, const Value& iterated, std::size_t depth);
  Result<Items> filtered_items(const Node& node, Items items);
  Status run_set_block(const Node& node);
  Status run_with(const Node& node);
  Result<Flow> run_scope(const Node& node);
  Result<Value> captured(const Body& body);
  Status assign(const Node& target, const Value& value);
  Status set(NameId name, const Value& value);
  Result<Scope*> push_scope(Scope* parent);
  Result<Value> lookup(const Node& node);

  // macros.cc
  Result<Value> make_macro(const Node& node);
  Status run_call_block(const Node& node);
  Result<Value> call_macro(const Macro& macro, Call& call);
  Status set_parameters(const Node& macro, Call& call);
  Status set_rest(const Node& macro, const Call& call);
  Result<Value> call_loop(const Loop& loop, Call& call);

  // evaluate.cc: expressions
  Result<Value> evaluate(const Node& node);
  Result<Value> evaluate_listing(const Node& node);
  Result<Value> evaluate_dict(const Node& node);
  Result<Value> evaluate_slice(const Node& node);
  Result<Value> evaluate_call(const Node& node, const Value* caller);
  Result<Value> evaluate_filter(const Node& node);
  Result<Value> evaluate_test(const Node& node);
  Result<Value> evaluate_concat(const Node& node);
  Result<Value> evaluate_compare(const Node& node);
  Result<Value> evaluate_choice(const Node& node);
  Status read_arguments(const Node& node, Call& call);

  const Syntax& syntax_;
  Heap heap_;
  std::uint64_t tank_;      // fuel that is left
  std::uint64_t fuel_ = 0;  // of it, taken out already: a few milliseconds' worth, after which somebody may have left
  int depth_ = 0;
  Scope* scope_ = nullptr;
  std::string* out_ = nullptr;
  Value body_text_;  ///< what a block's filters begin with
  std::uint32_t error_line_ = 0;
  bool raised_ = false;
};

/// Items in growing number, in the render's heap.
class Collector {
 public:
  explicit Collector(Render& render) : render_(render) {}
  Status add(const Value& value);
  Items items() const { return {data_, size_}; }
  Value list() const { return Value::of(Kind::kList, items()); }
  Value iterator() const { return Value::of(Kind::kIterator, items()); }

 private:
  Render& render_;
  Value* data_ = nullptr;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

}  // namespace commissure::jinja
