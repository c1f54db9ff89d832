#include "jinja/value/heap.h"

#include <algorithm>
#include <cstring>

namespace commissure::jinja {

namespace {

constexpr std::size_t kBlockBytes = 32 << 10;

}  // namespace

Error Heap::exhausted() const {
  return Error(Code::kResourceExhausted, "the template needs more than ", limits_.memory_bytes >> 20, " MiB");
}

Status Heap::charge(std::size_t n_bytes) {
  if (n_bytes > limits_.memory_bytes - used_) return exhausted();
  used_ += n_bytes;
  return {};
}

Result<char*> Heap::take(std::size_t n_bytes, std::size_t alignment) {
  const std::size_t padding = (alignment - reinterpret_cast<std::uintptr_t>(top_) % alignment) % alignment;
  if (top_ == nullptr || n_bytes + padding > static_cast<std::size_t>(end_ - top_)) {
    // Blocks grow with what is used, so that there are few; the budget counts them whole.
    const std::size_t wanted = std::max({kBlockBytes, n_bytes, std::min<std::size_t>(used_ / 4, 1 << 20)});
    TRY(charge(wanted));
    blocks_.push_back(std::make_unique_for_overwrite<char[]>(wanted));
    top_ = blocks_.back().get();
    end_ = top_ + wanted;
  } else {
    top_ += padding;
  }
  char* result = top_;
  top_ += n_bytes;
  return result;
}

Result<Value> Heap::text(std::string_view text) { return concat(text, {}); }

Result<Value> Heap::concat(std::string_view a, std::string_view b) {
  const std::size_t size = a.size() + b.size();
  if (size > limits_.text_bytes) {
    return Error(Code::kResourceExhausted, "the template makes a text of more than ", limits_.text_bytes >> 20, " MiB");
  }
  if (b.empty() && a.empty()) return Value::of(std::string_view(""));
  if (a.data() + a.size() == top_ && !a.empty() && b.size() <= static_cast<std::size_t>(end_ - top_)) {
    std::memcpy(TRY(take(b.size(), 1)), b.data(), b.size());
    return Value::of(std::string_view(a.data(), size));
  }
  char* room = TRY(take(size, 1));
  if (!a.empty()) std::memcpy(room, a.data(), a.size());
  if (!b.empty()) std::memcpy(room + a.size(), b.data(), b.size());
  return Value::of(std::string_view(room, size));
}

}  // namespace commissure::jinja
