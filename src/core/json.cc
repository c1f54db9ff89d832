#include "core/json.h"

#include <set>
#include <vector>

namespace commissure {

namespace {

/// Builds the value and refuses what a plain parse would let through.
class StrictHandler : public nlohmann::detail::json_sax_dom_parser<Json> {
 public:
  using Base = nlohmann::detail::json_sax_dom_parser<Json>;
  StrictHandler(Json& root, int max_depth) : Base(root, false), max_depth_(max_depth) {}

  bool start_object(std::size_t n) {
    keys_.emplace_back();
    return deeper() && Base::start_object(n);
  }
  bool key(std::string& name) {
    if (!keys_.back().insert(name).second) {
      problem_ = "key \"" + name + "\" appears twice";
      return false;
    }
    return Base::key(name);
  }
  bool end_object() {
    keys_.pop_back();
    --depth_;
    return Base::end_object();
  }
  bool start_array(std::size_t n) { return deeper() && Base::start_array(n); }
  bool end_array() {
    --depth_;
    return Base::end_array();
  }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception& error) {
    const std::string_view what = error.what();
    const auto cut = what.find("syntax error");
    problem_ = std::string(cut == std::string_view::npos ? what : what.substr(cut));
    position_ = position;
    return false;
  }

  const std::string& problem() const { return problem_; }
  std::size_t position() const { return position_; }

 private:
  bool deeper() {
    if (++depth_ <= max_depth_) return true;
    problem_ = "nested deeper than " + std::to_string(max_depth_) + " levels";
    return false;
  }

  const int max_depth_;
  int depth_ = 0;
  std::vector<std::set<std::string>> keys_;
  std::string problem_;
  std::size_t position_ = 0;
};

}  // namespace

Result<Json> parse_json(std::string_view text, int max_depth) {
  Json root;
  StrictHandler handler(root, max_depth);
  bool ok = false;
  try {
    ok = Json::sax_parse(text.begin(), text.end(), &handler);
  } catch (const std::exception& error) {  // numbers out of range
    return Error(Code::kInvalidArgument, "invalid JSON: ", error.what());
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
