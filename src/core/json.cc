#include "core/json.h"

#include <algorithm>
#include <cstdint>
#include <new>
#include <utility>
#include <vector>

#include "core/index.h"
#include "core/json_limits.h"
#include "core/short_text.h"

namespace commissure {

namespace {

/// Of a message: the library quotes what it read last, which may be all of a large text.
constexpr std::size_t kMostProblemBytes = 300;

/// Builds the value and refuses what a plain parse would let through. The library's own builder looks every new key of
/// an ordered object up by a linear search, which takes minutes for a vocabulary; here an object's keys are compared
/// once it is whole.
class StrictHandler {
 public:
  /// `allowance` may be null: as many values as there are.
  StrictHandler(Json& root, int max_depth, JsonAllowance* allowance)
      : root_(root), max_depth_(max_depth), allowance_(allowance) {}

  bool null() { return add(Json()); }
  bool boolean(bool value) { return add(Json(value)); }
  bool number_integer(std::int64_t value) { return add(Json(value)); }
  bool number_unsigned(std::uint64_t value) { return add(Json(value)); }
  bool number_float(double value, const std::string&) { return add(Json(value)); }
  bool string(std::string& value) { return add(Json(std::move(value))); }
  bool binary(Json::binary_t&) { return false; }  // not in JSON text

  bool start_object(std::size_t) { return open(Json::object()); }
  bool key(std::string& name) {
    if (!take_other()) return false;
    // The vector beneath, which takes the pair without looking for its key.
    Json::object_t::Container& members = open_.back()->get_ref<Json::object_t&>();
    slot_ = &members.emplace_back(std::move(name), nullptr).second;
    return true;
  }
  bool end_object() {
    const Json& object = *open_.back();
    open_.pop_back();
    std::vector<std::string_view> names;
    names.reserve(object.size());
    for (const auto& [name, value] : object.get_ref<const Json::object_t&>()) names.push_back(name);
    std::ranges::sort(names);
    const auto twice = std::ranges::adjacent_find(names);
    if (twice == names.end()) return true;
    problem_ = "key \"" + std::string(*twice) + "\" appears twice";
    return false;
  }
  bool start_array(std::size_t) { return open(Json::array()); }
  bool end_array() {
    open_.pop_back();
    return true;
  }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception& error) {
    const std::string_view what = error.what();
    const auto cut = what.find("syntax error");
    problem_ = std::string(cut == std::string_view::npos ? what : what.substr(cut));
    position_ = position;
    return false;
  }

  std::string problem() const { return short_text(problem_, kMostProblemBytes); }
  std::size_t position() const { return position_; }
  bool is_too_much() const { return is_too_much_; }

 private:
  /// Puts a value where the text has it: as the root, as the last key's value, or at the end of the open array.
  Json* place(Json value) {
    if (open_.empty()) return &(root_ = std::move(value));
    if (open_.back()->is_object()) return &(*slot_ = std::move(value));
    return &open_.back()->emplace_back(std::move(value));
  }
  bool take(std::size_t JsonAllowance::* kind, std::size_t most, const char* what) {
    if (allowance_ == nullptr) return true;
    if (allowance_->*kind > 0) {
      --(allowance_->*kind);
      return true;
    }
    is_too_much_ = true;
    problem_ = "holds more than " + std::to_string(most) + " " + what + "; send it in several requests";
    return false;
  }
  bool take_item() { return take(&JsonAllowance::items, JsonAllowance::kMaxItems, "numbers in lists"); }
  bool take_other() {
    return take(&JsonAllowance::others, JsonAllowance::kMaxOthers, "members, texts, lists and objects");
  }
  bool add(Json value) {
    const bool is_listed = !open_.empty() && open_.back()->is_array();  // else its key was counted
    if (is_listed && !(value.is_string() ? take_other() : take_item())) return false;
    place(std::move(value));
    return true;
  }
  bool open(Json container) {
    if (!take_other()) return false;
    if (open_.size() == to_size(max_depth_)) {
      problem_ = "nested deeper than " + std::to_string(max_depth_) + " levels";
      return false;
    }
    // Stays valid while it is open: until it closes, nothing is added to the containers around it.
    open_.push_back(place(std::move(container)));
    return true;
  }

  Json& root_;
  const int max_depth_;
  JsonAllowance* const allowance_;
  std::vector<Json*> open_;  // the containers around the current place, outermost first
  Json* slot_ = nullptr;     // where the value of the last key goes
  std::string problem_;
  std::size_t position_ = 0;
  bool is_too_much_ = false;
};

Result<Json> parse(std::string_view text, int max_depth, JsonAllowance* allowance) {
  // The library takes a NUL for the end and would leave what stands behind it unread.
  if (const std::size_t nul = text.find('\0'); nul != text.npos) {
    return Error(Code::kInvalidArgument, "invalid JSON at byte ", nul + 1, ": a NUL");
  }
  Json root;
  StrictHandler handler(root, max_depth, allowance);
  bool ok = false;
  try {
    ok = Json::sax_parse(text.begin(), text.end(), &handler);
  } catch (const std::bad_alloc&) {  // the machine's fault, not the text's
    throw;
  } catch (const std::exception& error) {  // numbers out of range
    return Error(Code::kInvalidArgument, "invalid JSON: ", short_text(error.what(), kMostProblemBytes));
  }
  if (!ok) {
    if (handler.is_too_much()) return Error(Code::kResourceExhausted, handler.problem());
    if (handler.position() > 0) {
      return Error(Code::kInvalidArgument, "invalid JSON at byte ", handler.position(), ": ", handler.problem());
    }
    return Error(Code::kInvalidArgument, "invalid JSON: ", handler.problem());
  }
  return root;
}

}  // namespace

Result<Json> parse_json(std::string_view text, int max_depth) { return parse(text, max_depth, nullptr); }

Result<Json> parse_json_within(std::string_view text, JsonAllowance& allowance) {
  constexpr int kMaxDepth = 128;
  return parse(text, kMaxDepth, &allowance);
}

std::string dump_json(const Json& value) { return value.dump(-1, ' ', false, Json::error_handler_t::replace); }

std::string pretty_json(const Json& value) { return value.dump(2, ' ', false, Json::error_handler_t::replace); }

const Json* find_member(const Json& object, std::string_view key) {
  if (!object.is_object()) return nullptr;
  const auto it = object.find(std::string(key));
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

}  // namespace commissure
