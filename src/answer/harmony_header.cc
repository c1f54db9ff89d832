#include "answer/harmony_header.h"

#include <algorithm>
#include <utility>

#include "answer/call_reader.h"
#include "answer/spaces.h"

namespace commissure {

namespace {

constexpr std::string_view kRole = "assistant", kTo = "to=";
constexpr std::array<std::string_view, 3> kChannels = {"analysis", "commentary", "final"};

/// Reads from the front, part by part. Whether a part is there may depend on bytes to come.
class HeaderReader {
 public:
  using Match = HarmonyHeader::Match;

  explicit HeaderReader(std::string_view text) : rest_(text) {}

  HarmonyHeader read(bool follows_role) {
    const std::size_t n_all = rest_.size();
    if (starts(kHarmonyStart)) {
      rest_.remove_prefix(kHarmonyStart.size());
      const Match role = take(kRole);
      if (role != Match::kWhole) return {.match = role};
    } else if (may_become(kHarmonyStart)) {
      return {.match = Match::kBegun};
    } else if (!follows_role && !starts(kHarmonyChannel)) {
      return {.match = may_become(kHarmonyChannel) ? Match::kBegun : Match::kNone};
    }
    Match part = Match::kWhole;
    while (part == Match::kWhole && !is_complete_) part = take_part();
    header_.match = part;
    if (part == Match::kWhole) header_.n_bytes = n_all - rest_.size();
    return std::move(header_);
  }

 private:
  bool starts(std::string_view mark) const { return rest_.starts_with(mark); }
  bool may_become(std::string_view mark) const { return rest_.size() < mark.size() && mark.starts_with(rest_); }

  Match take(std::string_view mark) {
    if (!starts(mark)) return may_become(mark) ? Match::kBegun : Match::kNone;
    rest_.remove_prefix(mark.size());
    return Match::kWhole;
  }

  /// kBegun where it may go on.
  Match take_word(std::string& word) {
    const auto end = std::ranges::find_if_not(rest_, is_name_byte);
    const auto n = static_cast<std::size_t>(end - rest_.begin());
    word = rest_.substr(0, n);
    rest_.remove_prefix(n);
    return rest_.empty() ? Match::kBegun : n > 0 ? Match::kWhole : Match::kNone;
  }

  Match take_part() {
    rest_.remove_prefix(std::min(rest_.find_first_not_of(kSpaces), rest_.size()));
    if (rest_.empty()) return Match::kBegun;
    if (rest_.front() == '<') return take_mark();
    if (const Match to = take(kTo); to != Match::kNone) return to == Match::kWhole ? take_recipient() : to;
    return header_.channel.empty() && !has_constrain_ ? Match::kNone : take_type();
  }

  Match take_mark() {
    if (const Match channel = take(kHarmonyChannel); channel != Match::kNone)
      return channel == Match::kWhole ? take_channel() : channel;
    if (const Match constrain = take(kHarmonyConstrain); constrain != Match::kNone) {
      has_constrain_ = true;
      return constrain;
    }
    const Match message = take(kHarmonyMessage);
    is_complete_ = message == Match::kWhole;
    return message;
  }

  Match take_channel() {
    const Match word = take_word(header_.channel);
    const auto is_meant = [&](std::string_view channel) {
      return word == Match::kBegun ? channel.starts_with(header_.channel) : channel == header_.channel;
    };
    return std::ranges::any_of(kChannels, is_meant) ? word : Match::kNone;
  }

  Match take_recipient() {
    const std::string before = header_.recipient;
    const Match word = take_word(header_.recipient);
    return before.empty() || word != Match::kWhole || before == header_.recipient ? word : Match::kNone;
  }

  Match take_type() {
    if (std::exchange(has_type_, true)) return Match::kNone;
    std::string type;
    return take_word(type);
  }

  std::string_view rest_;
  HarmonyHeader header_;
  bool has_constrain_ = false;  // the mark of a type
  bool has_type_ = false;
  bool is_complete_ = false;
};

}  // namespace

HarmonyHeader read_harmony_header(std::string_view text, bool follows_role) {
  HarmonyHeader header = HeaderReader(text.substr(0, kMaxHarmonyHeaderBytes)).read(follows_role);
  if (header.match == HarmonyHeader::Match::kBegun && text.size() >= kMaxHarmonyHeaderBytes) return {};
  return header;
}

}  // namespace commissure
