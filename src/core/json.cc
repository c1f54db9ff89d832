#include "core/json.h"

#include <cstdint>
#include <set>
#include <utility>
#include <vector>

#include "core/index.h"
#include "core/short_text.h"

namespace commissure {

namespace {

constexpr std::size_t kMostProblemBytes =
    300;  // the library quotes what it read last, which may be all of a large text

/// Builds the value and refuses what a plain parse would let through. The library's own builder looks every new key of
/// an ordered object up by a linear search, which takes minutes for a vocabulary; here the set of keys decides.
class StrictHandler {
 public:
  StrictHandler(Json& root, int max_depth) : root_(root), max_depth_(max_depth) {}

  bool null() { return add(Json()); }
  bool boolean(bool value) { return add(Json(value)); }
  bool number_integer(std::int64_t value) { return add(Json(value)); }
  bool number_unsigned(std::uint64_t value) { return add(Json(value)); }
  bool number_float(double value, const std::string&) { return add(Json(value)); }
  bool string(std::string& value) { return add(Json(std::move(value))); }
  bool binary(Json::binary_t&) { return false; }  // not in JSON text

  bool start_object(std::size_t) {
    keys_.emplace_back();
    return open(Json::object());
  }
  bool key(std::string& name) {
    if (!keys_.back().insert(name).second) {
      problem_ = "key \"" + name + "\" appears twice";
      return false;
    }
    // The vector beneath, which takes the pair without looking for its key.
    Json::object_t::Container& members = open_.back()->get_ref<Json::object_t&>();
    slot_ = &members.emplace_back(std::move(name), nullptr).second;
    return true;
  }
  bool end_object() {
    keys_.pop_back();
    open_.pop_back();
    return true;
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

 private:
  /// Puts a value where the text has it: as the root, as the last key's value, or at the end of the open array.
  Json* place(Json value) {
    if (open_.empty()) return &(root_ = std::move(value));
    if (open_.back()->is_object()) return &(*slot_ = std::move(value));
    return &open_.back()->emplace_back(std::move(value));
  }
  bool add(Json value) {
    place(std::move(value));
    return true;
  }
  bool open(Json container) {
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
  std::vector<Json*> open_;  // the containers around the current place, outermost first
  Json* slot_ = nullptr;     // where the value of the last key goes
  std::vector<std::set<std::string>> keys_;
  std::string problem_;
  std::size_t position_ = 0;
};

}  // namespace

Result<Json> parse_json(std::string_view text, int max_depth) {
  // The library takes a NUL for the end and would leave what stands behind it unread.
  if (const std::size_t nul = text.find('\0'); nul != text.npos) {
    return Error(Code::kInvalidArgument, "invalid JSON at byte ", nul + 1, ": a NUL");
  }
  Json root;
  StrictHandler handler(root, max_depth);
  bool ok = false;
  try {
    ok = Json::sax_parse(text.begin(), text.end(), &handler);
  } catch (const std::exception& error) {  // numbers out of range
    return Error(Code::kInvalidArgument, "invalid JSON: ", short_text(error.what(), kMostProblemBytes));
  }
  if (!ok) {
    if (handler.position() > 0) {
      return Error(Code::kInvalidArgument, "invalid JSON at byte ", handler.position(), ": ", handler.problem());
    }
    return Error(Code::kInvalidArgument, "invalid JSON: ", handler.problem());
  }
  return root;
}

std::string dump_json(const Json& value) { return value.dump(-1, ' ', false, Json::error_handler_t::replace); }

std::string pretty_json(const Json& value) { return value.dump(2, ' ', false, Json::error_handler_t::replace); }

const Json* find_member(const Json& object, std::string_view key) {
  if (!object.is_object()) return nullptr;
  const auto it = object.find(std::string(key));
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

}  // namespace commissure
