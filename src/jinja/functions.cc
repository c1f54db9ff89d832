// Functions of the template's world, and methods of values that are no texts.

#include <array>
#include <ctime>

#include "jinja/operators.h"
#include "jinja/value/python_text.h"

namespace commissure::jinja {

namespace {

constexpr std::int64_t kMostRange = 100'000;  // the sandbox's own limit

template <typename T>
Result<Value> pointing(Kind kind, T* Value::* member, T* target) {
  Value value = Value::of(kind);
  value.*member = target;
  return value;
}

Result<Value> view_of(Render& render, const Value& subject, int view) {
  Collector items(render);
  for (const Pair& pair : subject.map->all()) {
    TRY(items.add(view == 1 ? TRY(tuple_of(render, pair.key, pair.value)) : view == 2 ? pair.key : pair.value));
  }
  Value value = items.iterator();
  value.flag = static_cast<std::uint8_t>(view);
  return value;
}

Result<Value> map_items(Render& render, const Value& subject, const Call&) { return view_of(render, subject, 1); }
Result<Value> map_keys(Render& render, const Value& subject, const Call&) { return view_of(render, subject, 2); }
Result<Value> map_values(Render& render, const Value& subject, const Call&) { return view_of(render, subject, 3); }
Result<Value> map_copy(Render&, const Value& subject, const Call&) { return subject; }

Result<Value> map_get(Render& render, const Value& subject, const Call& call) {
  TRY(require_hashable(render, call[0]));
  if (const Value* found = TRY(find_key(render, *subject.map, call[0]))) return *found;
  return call.has(1) ? call[1] : Value::none();
}

Result<Value> list_index(Render& render, const Value& subject, const Call& call) {
  const Items items = TRY(items_of(render, subject));
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (TRY(equal(render, items[i], call[0]))) return Value::of(static_cast<std::int64_t>(i));
  }
  return type_error("the value is not in the list");
}

Result<Value> list_count(Render& render, const Value& subject, const Call& call) {
  std::int64_t n = 0;
  for (const Value& item : TRY(items_of(render, subject))) n += TRY(equal(render, item, call[0]));
  return Value::of(n);
}

Result<Value> list_copy(Render&, const Value& subject, const Call&) { return subject; }

Result<Value> cycler_next(Render&, const Value& subject, const Call&) {
  Cycler& cycler = *subject.cycler;
  const Value value = cycler.items[cycler.index];
  cycler.index = (cycler.index + 1) % cycler.items.size();
  return value;
}

Result<Value> cycler_reset(Render&, const Value& subject, const Call&) {
  subject.cycler->index = 0;
  return Value::none();
}

Result<Value> loop_cycle(Render&, const Value& subject, const Call& call) {
  if (call.positional.empty()) return type_error("no items for cycling given");
  return call.positional[subject.loop->index % call.positional.size()];
}

Result<Items> kept(Render& render, const std::vector<Value>& values) {
  Value* items = TRY(render.heap().array<Value>(values.size()));
  std::copy(values.begin(), values.end(), items);
  return Items(items, values.size());
}

Result<Value> loop_changed(Render& render, const Value& subject, const Call& call) {
  const Value now = Value::of(Kind::kTuple, TRY(kept(render, call.positional)));
  Value& before = subject.loop->changed;
  const bool same = !before.is(Kind::kMissing) && TRY(equal(render, before, now));
  before = now;
  return Value::of(!same);
}

Result<Value> range(Render& render, const Value&, const Call& call) {
  const std::size_t n = call.positional.size();
  if (n < 1 || n > 3 || !call.named.empty()) return type_error("range expected 1 to 3 arguments");
  std::array<std::int64_t, 3> parts{};
  for (std::size_t i = 0; i < n; ++i) parts[i] = TRY(integer_argument(call.positional[i], "range"));
  Range* made = TRY(render.heap().make<Range>());
  made->start = n == 1 ? 0 : parts[0];
  made->stop = n == 1 ? parts[0] : parts[1];
  made->step = n == 3 ? parts[2] : 1;
  if (made->step == 0) return type_error("range() arg 3 must not be zero");
  const double span = made->step > 0 ? static_cast<double>(made->stop) - static_cast<double>(made->start)
                                     : static_cast<double>(made->start) - static_cast<double>(made->stop);
  const double step = std::abs(static_cast<double>(made->step));
  if (span / step > static_cast<double>(kMostRange)) {
    return type_error(fmt::format("Range too big. The sandbox blocks ranges larger than MAX_RANGE ({}).", kMostRange));
  }
  if (span > 0) {
    // Within the limit, but the ends themselves may lie far apart.
    const auto distance = made->step > 0
                              ? static_cast<std::uint64_t>(made->stop) - static_cast<std::uint64_t>(made->start)
                              : static_cast<std::uint64_t>(made->start) - static_cast<std::uint64_t>(made->stop);
    const std::uint64_t stride =
        made->step > 0 ? static_cast<std::uint64_t>(made->step) : 0 - static_cast<std::uint64_t>(made->step);
    made->size = static_cast<std::int64_t>((distance - 1) / stride + 1);
  }
  return pointing<const Range>(Kind::kRange, &Value::range, made);
}

Status put_all(Render& render, MapBuilder& builder, const Call& call) {
  if (call.positional.size() > 1) return type_error("expected at most 1 argument");
  if (!call.positional.empty()) {
    const Value& source = call.positional[0];
    TRY(require_defined(source));
    if (source.is(Kind::kMap)) {
      for (const Pair& pair : source.map->all()) TRY(builder.put(pair.key, pair.value));
    } else {
      for (const Value& pair : TRY(items_of(render, source))) {
        if (!pair.is_listing() || pair.size != 2) return type_error("dictionary update sequence needs pairs");
        TRY(builder.put(pair.items[0], pair.items[1]));
      }
    }
  }
  for (const NamedValue& named : call.named) TRY(builder.put(Value::of(named.name), named.value));
  return {};
}

Result<Value> dict(Render& render, const Value&, const Call& call) {
  MapBuilder builder(render);
  TRY(put_all(render, builder, call));
  return builder.map();
}

Result<Value> make_namespace(Render& render, const Value&, const Call& call) {
  MapBuilder builder(render);
  TRY(put_all(render, builder, call));
  for (std::size_t i = 0; i < builder.size; ++i) {
    if (!builder.pairs[i].key.is_text()) return type_error("a namespace's names are texts");
  }
  Namespace* names = TRY(render.heap().make<Namespace>());
  *names = {builder.pairs, builder.size, builder.capacity};
  return pointing<Namespace>(Kind::kNamespace, &Value::names, names);
}

Result<Value> make_cycler(Render& render, const Value&, const Call& call) {
  if (call.positional.empty()) return type_error("at least one item has to be provided");
  Cycler* cycler = TRY(render.heap().make<Cycler>());
  cycler->items = TRY(kept(render, call.positional));
  return pointing<Cycler>(Kind::kCycler, &Value::cycler, cycler);
}

Result<Value> make_joiner(Render& render, const Value&, const Call& call) {
  Joiner* joiner = TRY(render.heap().make<Joiner>());
  joiner->separator = call.has(0) ? call[0] : Value::of(std::string_view(", "));
  return pointing<Joiner>(Kind::kJoiner, &Value::joiner, joiner);
}

Result<Value> raise_exception(Render& render, const Value&, const Call& call) {
  return render.raise(TRY(text_of(render, call[0])));
}

/// datetime.now().strftime(format), in UTC.
Result<Value> strftime_now(Render& render, const Value&, const Call& call) {
  const std::string_view format = TRY(text_argument(call[0], "format"));
  const std::time_t now = std::time(nullptr);
  std::tm moment{};
  ::gmtime_r(&now, &moment);
  std::string out;
  for (std::size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%' || i + 1 == format.size()) {
      TRY(render.append(out, format.substr(i, 1)));
      continue;
    }
    const bool bare = format[i + 1] == '-' && i + 2 < format.size();
    const char code = format[i += bare ? 2 : 1];
    static constexpr std::string_view kKnown = "aAbBcCdDeFgGhHIjklmMnpPrRsStTuUVwWxXyYzZ%";
    std::array<char, 64> room;
    std::string field(1, code);
    if (code == 'f') {
      field = "000000";
    } else if (kKnown.find(code) != kKnown.npos) {
      const std::string pattern = {'%', code};
      field.assign(room.data(), std::strftime(room.data(), room.size(), pattern.c_str(), &moment));
    }
    if (bare) field.erase(0, std::min(field.find_first_not_of("0 "), field.size() - 1));
    TRY(render.append(out, field));
  }
  return render.text(out);
}

constexpr Builtin kMapMethods[] = {
    {"items", "", map_items},         {"keys", "", map_keys}, {"values", "", map_values},
    {"get", "key,default?", map_get}, {"copy", "", map_copy},
};
constexpr Builtin kListMethods[] = {
    {"index", "value", list_index},
    {"count", "value", list_count},
    {"copy", "", list_copy},
};
constexpr Builtin kCyclerMethods[] = {{"next", "", cycler_next}, {"reset", "", cycler_reset}};
constexpr Builtin kLoopMethods[] = {{"cycle", "*", loop_cycle}, {"changed", "*", loop_changed}};
constexpr Builtin kFunctions[] = {
    {"range", "*", range},
    {"dict", "*", dict},
    {"namespace", "*", make_namespace},
    {"cycler", "*", make_cycler},
    {"joiner", "sep?", make_joiner},
    {"raise_exception", "message", raise_exception},
    {"strftime_now", "format", strftime_now},
};

}  // namespace

Builtins map_methods() { return kMapMethods; }
Builtins list_methods() { return kListMethods; }
Builtins cycler_methods() { return kCyclerMethods; }
Builtins loop_methods() { return kLoopMethods; }
Builtins functions() { return kFunctions; }

}  // namespace commissure::jinja
