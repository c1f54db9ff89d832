#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace commissure {

/// Reads the lines that a person types. On a terminal libedit gives arrow keys and the history of this run, and a paste
/// of several lines stays one piece; elsewhere lines are read as they are.
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
  /// Waits for one line. kInterrupted: Ctrl-C was typed, and `text` is the unfinished line, for the caller to drop.
  /// kClosed: Ctrl-D on an empty line, or the end of the input.
  Line read();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;  ///< null off a terminal
};

/// How a paste is shown inside a line: itself where it is one line of at most 200 bytes, else "[pasted: 3 lines, 5000
/// characters]", with a number from the second paste of a line on. `n_before`: pastes shown that way in this line.
std::string shown_paste(const std::string& text, std::size_t n_before);

}  // namespace commissure
