// Filters whose subject is a sequence or a mapping.

#include <algorithm>

#include "jinja/operators.h"
#include "jinja/value/python_text.h"

namespace commissure::jinja {

namespace {

Result<Value> first(Render& render, const Value& subject, const Call&) {
  const Items items = TRY(items_of(render, subject));
  if (items.empty()) return Value::undefined("No first item, sequence was empty.", Kind::kMissing);
  return items.front();
}

Result<Value> last(Render& render, const Value& subject, const Call&) {
  const Items items = TRY(items_of(render, subject));
  if (items.empty()) return Value::undefined("No last item, sequence was empty.", Kind::kMissing);
  return items.back();
}

Result<Value> length(Render& render, const Value& subject, const Call&) {
  return Value::of(TRY(length_of(render, subject)));
}

Result<Value> list(Render& render, const Value& subject, const Call&) {
  return Value::of(Kind::kList, TRY(items_of(render, subject)));
}

Result<Value> reverse(Render& render, const Value& subject, const Call&) {
  if (subject.is_text()) {
    std::string text;
    const Items letters = TRY(items_of(render, subject));
    for (std::size_t i = letters.size(); i-- > 0;) text += letters[i].view();
    return render.text(text);
  }
  const Items items = TRY(items_of(render, subject));
  TRY(render.spend(items.size()));
  Value* reversed = TRY(render.heap().array<Value>(items.size()));
  std::reverse_copy(items.begin(), items.end(), reversed);
  return Value::of(Kind::kIterator, Items(reversed, items.size()));
}

Result<Value> join(Render& render, const Value& subject, const Call& call) {
  const std::string_view separator = call.has(0) ? TRY(text_of(render, call[0])) : "";
  std::string out;
  bool is_first = true;
  for (const Value& item : TRY(items_of(render, subject))) {
    if (!std::exchange(is_first, false)) TRY(render.append(out, separator));
    const bool plain = !call.has(1) || call[1].is(Kind::kNone);
    TRY(append_text(render, out, plain ? item : TRY(follow(render, item, call[1]))));
  }
  return render.text(out);
}

Result<Value> sum(Render& render, const Value& subject, const Call& call) {
  Value total = call.has(1) ? call[1] : Value::of(std::int64_t{0});
  for (const Value& item : TRY(items_of(render, subject))) {
    const bool plain = !call.has(0) || call[0].is(Kind::kNone);
    const Value value = plain ? item : TRY(follow(render, item, call[0]));
    total = TRY(arithmetic(render, Op::kAdd, total, value));
  }
  return total;
}

/// The keys that `path` ("a.b", or several parted by commas) gives, as one value that compares as they do.
Result<Value> keys_of(Render& render, const Value& item, const Value& path, bool ignore_case) {
  if (path.is_nothing() || path.is(Kind::kNone)) return sort_key(render, item, ignore_case);
  if (!path.is_text() || path.view().find(',') == std::string_view::npos) {
    return sort_key(render, TRY(follow(render, item, path)), ignore_case);
  }
  Collector keys(render);
  for (std::string_view rest = path.view();;) {
    const std::size_t comma = std::min(rest.find(','), rest.size());
    TRY(keys.add(TRY(sort_key(render, TRY(follow(render, item, Value::of(rest.substr(0, comma)))), ignore_case))));
    if (comma == rest.size()) break;
    rest.remove_prefix(comma + 1);
  }
  return keys.list();
}

Result<std::span<Sortable>> sortable(Render& render, Items items, const Value& path, bool ignore_case) {
  TRY(render.spend(items.size()));
  Sortable* entries = TRY(render.heap().array<Sortable>(items.size()));
  for (std::size_t i = 0; i < items.size(); ++i)
    entries[i] = {TRY(keys_of(render, items[i], path, ignore_case)), items[i]};
  return std::span(entries, items.size());
}

Result<Value> sort(Render& render, const Value& subject, const Call& call) {
  const bool ignore_case = !truth(call[1]);
  const auto entries = TRY(sortable(render, TRY(items_of(render, subject)), call[2], ignore_case));
  TRY(sort_items(render, entries, {.reverse = truth(call[0]), .ignore_case = ignore_case}));
  Collector sorted(render);
  for (const Sortable& entry : entries) TRY(sorted.add(entry.item));
  return sorted.list();
}

Result<Value> unique(Render& render, const Value& subject, const Call& call) {
  const bool ignore_case = !truth(call[0]);
  Collector kept(render);
  MapBuilder seen(render);
  for (const Value& item : TRY(items_of(render, subject))) {
    const Value key = TRY(keys_of(render, item, call[1], ignore_case));
    const std::size_t before = seen.size;
    TRY(seen.put(key, Value::none()));
    if (seen.size > before) TRY(kept.add(item));
  }
  return kept.iterator();
}

Result<Value> extreme(Render& render, const Value& subject, const Call& call, Op op) {
  const auto entries = TRY(sortable(render, TRY(items_of(render, subject)), call[1], !truth(call[0])));
  if (entries.empty()) return Value::undefined("No aggregated item, sequence was empty.", Kind::kMissing);
  const Sortable* best = &entries[0];
  for (const Sortable& entry : entries.subspan(1)) {
    if (TRY(compare(render, op, entry.key, best->key))) best = &entry;
  }
  return best->item;
}

Result<Value> min(Render& render, const Value& subject, const Call& call) {
  return extreme(render, subject, call, Op::kLess);
}

Result<Value> max(Render& render, const Value& subject, const Call& call) {
  return extreme(render, subject, call, Op::kGreater);
}

Result<Value> batch(Render& render, const Value& subject, const Call& call) {
  const auto size = static_cast<std::size_t>(std::max<std::int64_t>(1, TRY(integer_argument(call[0], "linecount"))));
  const Items items = TRY(items_of(render, subject));
  Collector batches(render);
  for (std::size_t begin = 0; begin < items.size(); begin += std::min(size, items.size() - begin)) {
    Collector one(render);
    for (const Value& item : items.subspan(begin, std::min(size, items.size() - begin))) TRY(one.add(item));
    if (call.has(1) && !call[1].is(Kind::kNone)) {
      while (one.items().size() < size) TRY(one.add(call[1]));
    }
    TRY(batches.add(one.list()));
  }
  return batches.iterator();
}

Result<Value> slice_filter(Render& render, const Value& subject, const Call& call) {
  const std::int64_t count = TRY(integer_argument(call[0], "slices"));
  if (count == 0) return type_error("integer division or modulo by zero");
  const Items items = TRY(items_of(render, subject));
  Collector slices(render);
  if (count < 0) return slices.iterator();
  const auto n_slices = static_cast<std::size_t>(count);
  const std::size_t per_slice = items.size() / n_slices;
  const std::size_t n_longer = items.size() % n_slices;
  std::size_t at = 0;
  for (std::size_t i = 0; i < n_slices; ++i) {
    const std::size_t n = per_slice + (i < n_longer ? 1 : 0);
    Collector one(render);
    for (const Value& item : items.subspan(at, n)) TRY(one.add(item));
    at += n;
    if (call.has(1) && !call[1].is(Kind::kNone) && i >= n_longer) TRY(one.add(call[1]));
    TRY(slices.add(one.list()));
  }
  return slices.iterator();
}

Result<Value> items(Render& render, const Value& subject, const Call&) {
  Collector pairs(render);
  if (subject.is(Kind::kUndefined)) return pairs.iterator();
  if (!subject.is(Kind::kMap)) return type_error("Can only get item pairs from a mapping.");
  for (const Pair& pair : subject.map->all()) TRY(pairs.add(TRY(tuple_of(render, pair.key, pair.value))));
  return pairs.iterator();
}

Result<Value> dictsort(Render& render, const Value& subject, const Call& call) {
  if (!subject.is(Kind::kMap))
    return type_error(fmt::format("'{}' object has no attribute 'items'", type_name(subject)));
  const std::string_view by = call.has(1) ? TRY(text_argument(call[1], "by")) : "key";
  if (by != "key" && by != "value") return type_error("You can only sort by either \"key\" or \"value\"");
  const bool ignore_case = !truth(call[0]);
  Sortable* entries = TRY(render.heap().array<Sortable>(subject.map->size));
  for (std::size_t i = 0; i < subject.map->size; ++i) {
    const Pair& pair = subject.map->pairs[i];
    entries[i] = {TRY(sort_key(render, by == "key" ? pair.key : pair.value, ignore_case)),
                  TRY(tuple_of(render, pair.key, pair.value))};
  }
  TRY(sort_items(render, {entries, subject.map->size}, {.reverse = truth(call[2]), .ignore_case = ignore_case}));
  Collector sorted(render);
  for (std::size_t i = 0; i < subject.map->size; ++i) TRY(sorted.add(entries[i].item));
  return sorted.list();
}

Result<Value> groupby(Render& render, const Value& subject, const Call& call) {
  const bool ignore_case = !truth(call[2]);
  const Items all = TRY(items_of(render, subject));
  Sortable* entries = TRY(render.heap().array<Sortable>(all.size()));
  const auto key_of = [&](const Value& item) { return follow(render, item, call[0], call[1]); };
  for (std::size_t i = 0; i < all.size(); ++i) {
    entries[i] = {TRY(sort_key(render, TRY(key_of(all[i])), ignore_case)), all[i]};
  }
  TRY(sort_items(render, {entries, all.size()}, {.ignore_case = ignore_case}));
  Collector groups(render);
  for (std::size_t i = 0; i < all.size();) {
    Collector members(render);
    const std::size_t begin = i;
    while (i < all.size() && TRY(equal(render, entries[i].key, entries[begin].key)))
      TRY(members.add(entries[i++].item));
    if (i == begin) TRY(members.add(entries[i++].item));  // NaN, equal to nothing
    Value group = TRY(tuple_of(render, TRY(key_of(entries[begin].item)), members.list()));
    group.flag = 1;
    TRY(groups.add(group));
  }
  return groups.list();
}

/// The rest of a call's arguments, behind the first `n`.
Call rest_of(const Call& call, std::size_t n) {
  Call rest;
  rest.positional.assign(call.positional.begin() + static_cast<std::ptrdiff_t>(std::min(n, call.positional.size())),
                         call.positional.end());
  rest.named = call.named;
  return rest;
}

Result<Value> map(Render& render, const Value& subject, const Call& call) {
  const Items items = TRY(items_of(render, subject));
  Collector mapped(render);
  if (call.positional.empty()) {
    Value path = Value::missing();
    Value initial = Value::missing();
    for (const NamedValue& named : call.named) {
      if (named.name != "attribute" && named.name != "default") {
        return type_error(fmt::format("Unexpected keyword argument '{}'", named.name));
      }
      (named.name == "attribute" ? path : initial) = named.value;
    }
    if (path.is(Kind::kMissing)) return type_error("map requires a filter argument");
    for (const Value& item : items) TRY(mapped.add(TRY(follow(render, item, path, initial))));
    return mapped.iterator();
  }
  const std::string_view name = TRY(text_argument(call.positional[0], "filter"));
  const Builtin* filter = find_filter(name);
  if (filter == nullptr) return type_error(fmt::format("No filter named '{}'.", name));
  for (const Value& item : items) {
    Call inner = rest_of(call, 1);
    TRY(mapped.add(TRY(render.call(*filter, item, inner))));
  }
  return mapped.iterator();
}

/// select and reject (`with_path`: selectattr and rejectattr) keep the items for which a test says `wanted`.
Result<Value> chosen(Render& render, const Value& subject, const Call& call, bool with_path, bool wanted) {
  const std::size_t n_own = with_path ? 1 : 0;
  if (call.positional.size() < n_own) return type_error("Missing parameter for attribute name");
  const Builtin* test = nullptr;
  if (call.positional.size() > n_own) {
    const std::string_view name = TRY(text_argument(call.positional[n_own], "test"));
    test = find_test(name);
    if (test == nullptr) return type_error(fmt::format("No test named '{}'.", name));
  }
  Collector kept(render);
  for (const Value& item : TRY(items_of(render, subject))) {
    const Value value = with_path ? TRY(follow(render, item, call.positional[0])) : item;
    Call inner = rest_of(call, n_own + 1);
    const bool holds = test == nullptr ? truth(value) : truth(TRY(render.call(*test, value, inner)));
    if (holds == wanted) TRY(kept.add(item));
  }
  return kept.iterator();
}

Result<Value> select(Render& render, const Value& subject, const Call& call) {
  return chosen(render, subject, call, false, true);
}
Result<Value> reject(Render& render, const Value& subject, const Call& call) {
  return chosen(render, subject, call, false, false);
}
Result<Value> selectattr(Render& render, const Value& subject, const Call& call) {
  return chosen(render, subject, call, true, true);
}
Result<Value> rejectattr(Render& render, const Value& subject, const Call& call) {
  return chosen(render, subject, call, true, false);
}

constexpr Builtin kFilters[] = {
    {"first", "", first},
    {"last", "", last},
    {"length", "", length},
    {"count", "", length},
    {"list", "", list},
    {"reverse", "", reverse},
    {"join", "d?,attribute?", join},
    {"sum", "attribute?,start?", sum},
    {"sort", "reverse?,case_sensitive?,attribute?", sort},
    {"unique", "case_sensitive?,attribute?", unique},
    {"min", "case_sensitive?,attribute?", min},
    {"max", "case_sensitive?,attribute?", max},
    {"batch", "linecount,fill_with?", batch},
    {"slice", "slices,fill_with?", slice_filter},
    {"items", "", items},
    {"dictsort", "case_sensitive?,by?,reverse?", dictsort},
    {"groupby", "attribute,default?,case_sensitive?", groupby},
    {"map", "*", map},
    {"select", "*", select},
    {"reject", "*", reject},
    {"selectattr", "*", selectattr},
    {"rejectattr", "*", rejectattr},
};

}  // namespace

Builtins sequence_filters() { return kFilters; }

}  // namespace commissure::jinja
