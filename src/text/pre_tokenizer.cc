#include "text/pre_tokenizer.h"

#include <utility>

#include "text/utf8.h"

namespace commissure {

namespace {

using Behaviour = PreTokenizer::Behaviour;

/// Collects the pieces of one split, and what is missing of them.
class PieceBuilder {
 public:
  PieceBuilder(Behaviour behaviour, std::vector<std::uint32_t>& ends) : behaviour_(behaviour), ends_(ends) {}

  /// The next part of the piece; `is_match`: a delimiter.
  void add(std::size_t end, bool is_match) {
    const auto end32 = static_cast<std::uint32_t>(end);
    const bool joins = (behaviour_ == Behaviour::kMergedWithPrevious && is_match && !was_match_) ||
                       (behaviour_ == Behaviour::kMergedWithNext && !is_match && was_match_) ||
                       (behaviour_ == Behaviour::kContiguous && was_match_ == is_match);
    if (joins && has_part_) {
      ends_.back() = end32;
    } else {
      ends_.push_back(end32);
    }
    was_match_ = is_match;
    has_part_ = true;
  }

 private:
  const Behaviour behaviour_;
  std::vector<std::uint32_t>& ends_;
  bool has_part_ = false;
  bool was_match_ = false;
};

/// Splits one piece of valid or invalid text; what is no valid UTF-8 becomes a piece of its own.
void split_piece(const PreTokenizer::Split& step, std::string_view text, std::size_t begin, std::size_t end,
                 std::vector<std::uint32_t>& ends) {
  while (begin < end) {
    const std::string_view rest = text.substr(begin, end - begin);
    const std::string_view valid = rest.substr(0, valid_utf8_prefix(rest));
    PieceBuilder builder(step.behaviour, ends);
    step.pattern.split(valid, [&](std::size_t, std::size_t part_end, bool is_match) {
      builder.add(begin + part_end, is_match != step.is_inverted);
    });
    begin += valid.size();
    if (begin >= end) return;
    begin += decode_code_point(text.substr(0, end), begin).n_bytes;
    ends.push_back(static_cast<std::uint32_t>(begin));
  }
}

/// As split_piece, but the delimiters vanish, so the text is written anew.
void split_removing(const PreTokenizer::Split& step, std::string_view piece, Pieces& result) {
  const auto put = [&result](std::string_view part) {
    result.text += part;
    result.ends.push_back(static_cast<std::uint32_t>(result.text.size()));
  };
  while (!piece.empty()) {
    const std::string_view valid = piece.substr(0, valid_utf8_prefix(piece));
    step.pattern.split(valid, [&](std::size_t begin, std::size_t end, bool is_match) {
      if (is_match == step.is_inverted) put(valid.substr(begin, end - begin));
    });
    piece.remove_prefix(valid.size());
    if (piece.empty()) return;
    const std::size_t n_invalid = decode_code_point(piece, 0).n_bytes;
    put(piece.substr(0, n_invalid));
    piece.remove_prefix(n_invalid);
  }
}

void apply_split(const PreTokenizer::Split& step, Pieces& pieces) {
  Pieces result;
  std::size_t begin = 0;
  result.ends.reserve(pieces.ends.size() + pieces.text.size() / 4);
  for (const std::uint32_t end : pieces.ends) {
    if (step.behaviour == Behaviour::kRemoved) {
      split_removing(step, std::string_view(pieces.text).substr(begin, end - begin), result);
    } else {
      split_piece(step, pieces.text, begin, end, result.ends);
    }
    begin = end;
  }
  if (step.behaviour != Behaviour::kRemoved) result.text = std::move(pieces.text);
  pieces = std::move(result);
}

void apply_prefix_space(Pieces& pieces) {
  Pieces result;
  std::size_t begin = 0;
  for (const std::uint32_t end : pieces.ends) {
    const std::string_view piece = std::string_view(pieces.text).substr(begin, end - begin);
    if (!piece.starts_with(' ')) result.text += ' ';
    result.text += piece;
    result.ends.push_back(static_cast<std::uint32_t>(result.text.size()));
    begin = end;
  }
  pieces = std::move(result);
}

void apply_metaspace(const PreTokenizer::Metaspace& step, bool is_start, Pieces& pieces) {
  using Prepend = PreTokenizer::Metaspace::Prepend;
  Pieces result;
  std::size_t begin = 0;
  for (const std::uint32_t end : pieces.ends) {
    const bool is_first = is_start && begin == 0;
    const std::size_t start = result.text.size();
    for (const char c : std::string_view(pieces.text).substr(begin, end - begin)) {
      if (c == ' ') {
        result.text += step.replacement;
      } else {
        result.text += c;
      }
    }
    const bool wants_prefix = step.prepend == Prepend::kAlways || (step.prepend == Prepend::kFirst && is_first);
    if (wants_prefix && result.text.compare(start, step.replacement.size(), step.replacement) != 0) {
      result.text.insert(start, step.replacement);
    }
    // Every replacement begins a new piece.
    for (std::size_t cut = start; step.splits && !step.replacement.empty();) {
      cut = result.text.find(step.replacement, cut == start ? start + 1 : cut + 1);
      if (cut == std::string::npos) break;
      result.ends.push_back(static_cast<std::uint32_t>(cut));
    }
    result.ends.push_back(static_cast<std::uint32_t>(result.text.size()));
    begin = end;
  }
  pieces = std::move(result);
}

}  // namespace

Pieces PreTokenizer::run(std::string text, bool is_start) const {
  Pieces pieces{std::move(text), {}};
  if (pieces.text.empty()) return pieces;
  pieces.ends.push_back(static_cast<std::uint32_t>(pieces.text.size()));
  for (const Step& step : steps_) {
    if (const auto* split = std::get_if<Split>(&step)) {
      apply_split(*split, pieces);
    } else if (const auto* metaspace = std::get_if<Metaspace>(&step)) {
      apply_metaspace(*metaspace, is_start, pieces);
    } else {
      apply_prefix_space(pieces);
    }
  }
  return pieces;
}

}  // namespace commissure
