// What stands behind `is`.

#include "jinja/operators.h"
#include "jinja/value/python_text.h"

namespace commissure::jinja {

namespace {

using Claim = bool (*)(const Value&);

template <Claim claim>
Result<Value> says(Render&, const Value& subject, const Call&) {
  return Value::of(claim(subject));
}

template <Op op>
Result<Value> compares(Render& render, const Value& subject, const Call& call) {
  return Value::of(TRY(compare(render, op, subject, call[0])));
}

bool is_defined(const Value& value) { return !value.is(Kind::kUndefined); }
bool is_undefined(const Value& value) { return value.is(Kind::kUndefined); }
bool is_none(const Value& value) { return value.is(Kind::kNone); }
bool is_boolean(const Value& value) { return value.is(Kind::kBool); }
bool is_true(const Value& value) { return value.is(Kind::kBool) && value.boolean; }
bool is_false(const Value& value) { return value.is(Kind::kBool) && !value.boolean; }
bool is_integer(const Value& value) { return value.is(Kind::kInt); }
bool is_float(const Value& value) { return value.is(Kind::kFloat); }
bool is_number(const Value& value) { return value.is_number(); }
bool is_string(const Value& value) { return value.is_text(); }
bool is_mapping(const Value& value) { return value.is(Kind::kMap); }
bool is_never(const Value&) { return false; }

bool is_sequence(const Value& value) {
  return value.is_text() || value.is_listing() || value.is(Kind::kMap) || value.is(Kind::kRange) ||
         value.is(Kind::kUndefined);
}

bool is_callable(const Value& value) {
  switch (value.kind) {
    case Kind::kFunction:
    case Kind::kMethod:
    case Kind::kMacro:
    case Kind::kJoiner:
    case Kind::kLoop:
    case Kind::kUndefined: return true;
    default: return false;
  }
}

Result<Value> divisible(Render& render, const Value& subject, const Value& divisor, std::int64_t rest) {
  const Value modulo = TRY(arithmetic(render, Op::kModulo, subject, divisor));
  return Value::of(TRY(equal(render, modulo, Value::of(rest))));
}

Result<Value> even(Render& render, const Value& subject, const Call&) {
  return divisible(render, subject, Value::of(std::int64_t{2}), 0);
}
Result<Value> odd(Render& render, const Value& subject, const Call&) {
  return divisible(render, subject, Value::of(std::int64_t{2}), 1);
}
Result<Value> divisibleby(Render& render, const Value& subject, const Call& call) {
  return divisible(render, subject, call[0], 0);
}

Result<Value> in_test(Render& render, const Value& subject, const Call& call) {
  return Value::of(TRY(contains(render, call[0], subject)));
}

Result<Value> sameas(Render& render, const Value& subject, const Call& call) {
  if (subject.kind != call[0].kind) return Value::of(false);
  if (subject.is_listing() || subject.is(Kind::kMap)) return Value::of(subject.items == call[0].items);
  return Value::of(TRY(equal(render, subject, call[0])));
}

Result<Value> cased(Render& render, const Value& subject, std::string_view method) {
  Call none;
  return render.call(*find_method(Kind::kText, method), Value::of(TRY(text_of(render, subject))), none);
}

Result<Value> lower(Render& render, const Value& subject, const Call&) { return cased(render, subject, "islower"); }
Result<Value> upper(Render& render, const Value& subject, const Call&) { return cased(render, subject, "isupper"); }

Result<Value> filter_test(Render& render, const Value& subject, const Call&) {
  return Value::of(find_filter(TRY(text_of(render, subject))) != nullptr);
}

Result<Value> test_test(Render& render, const Value& subject, const Call&) {
  return Value::of(find_test(TRY(text_of(render, subject))) != nullptr);
}

constexpr Builtin kTests[] = {
    {"defined", "", says<is_defined>},
    {"undefined", "", says<is_undefined>},
    {"none", "", says<is_none>},
    {"boolean", "", says<is_boolean>},
    {"true", "", says<is_true>},
    {"false", "", says<is_false>},
    {"integer", "", says<is_integer>},
    {"float", "", says<is_float>},
    {"number", "", says<is_number>},
    {"string", "", says<is_string>},
    {"mapping", "", says<is_mapping>},
    {"sequence", "", says<is_sequence>},
    {"iterable", "", says<is_iterable>},
    {"callable", "", says<is_callable>},
    {"escaped", "", says<is_never>},
    {"even", "", even},
    {"odd", "", odd},
    {"divisibleby", "num", divisibleby},
    {"in", "seq", in_test},
    {"sameas", "other", sameas},
    {"lower", "", lower},
    {"upper", "", upper},
    {"filter", "", filter_test},
    {"test", "", test_test},
    {"==", "other", compares<Op::kEqual>},
    {"eq", "other", compares<Op::kEqual>},
    {"equalto", "other", compares<Op::kEqual>},
    {"!=", "other", compares<Op::kNotEqual>},
    {"ne", "other", compares<Op::kNotEqual>},
    {">", "other", compares<Op::kGreater>},
    {"gt", "other", compares<Op::kGreater>},
    {"greaterthan", "other", compares<Op::kGreater>},
    {">=", "other", compares<Op::kGreaterEqual>},
    {"ge", "other", compares<Op::kGreaterEqual>},
    {"<", "other", compares<Op::kLess>},
    {"lt", "other", compares<Op::kLess>},
    {"lessthan", "other", compares<Op::kLess>},
    {"<=", "other", compares<Op::kLessEqual>},
    {"le", "other", compares<Op::kLessEqual>},
};

}  // namespace

Builtins all_tests() { return kTests; }

}  // namespace commissure::jinja
