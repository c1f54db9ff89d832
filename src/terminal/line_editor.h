#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace commissure {

/// Lines that a person types: arrows, history of this run, and pastes as one piece, whatever lines they have. On a
/// terminal by libedit, elsewhere as they come.
/// Threading: the thread that made it.
class LineEditor {
 public:
  /// Reads standard input, prompts on standard output.
  explicit LineEditor(std::string prompt);
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  enum class End { kLine, kInterrupted, kClosed };
  struct Line {
    End end = End::kClosed;
    std::string text;
  };
  /// kInterrupted: Ctrl-C; `text` is what was typed, to be dropped. kClosed: Ctrl-D on an empty line, or the end of the input.
  Line read();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;  ///< null off a terminal
};

/// Pasted text as it is shown in a line: short ones as they are, others as "[pasted: 3 lines, 5000 characters]".
std::string shown_paste(const std::string& text, std::size_t n_before);

}  // namespace commissure
