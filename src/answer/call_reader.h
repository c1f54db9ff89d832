#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "answer/answer_syntax.h"
#include "core/json.h"

namespace commissure {

/// Gets what a CallReader finds. For each call begin(), arguments() any number of times, and end() where the call is
/// whole: one that is cut off or broken does not end, and its arguments stay as they were written.
class CallSink {
 public:
  virtual ~CallSink() = default;
  /// Whether there is such a function; if not, there is no call.
  virtual bool begin(const std::string& name) = 0;
  /// A piece of JSON text.
  virtual void arguments(std::string_view text) = 0;
  virtual void end() = 0;
};

/// Reads the text behind a call's opening mark, however it is cut into pieces. A model may write anything there: what
/// is no call begins none. Work and memory are linear in the text.
class CallReader {
 public:
  virtual ~CallReader() = default;

  /// Takes text from the front up to and with the call's end; returns the bytes taken, all of them unless is_done().
  virtual std::size_t push(std::string_view text) = 0;
  virtual bool is_done() const = 0;
  /// Once it is done: text that was taken and belongs to no call after all.
  virtual std::string rest() { return {}; }
};

/// Looks behind a call for the mark that closes it, or that opens the next one.
class CallEnd {
 public:
  explicit CallEnd(const CallMark& mark) : mark_(mark) {}

  enum class Found { kNothingYet, kClose, kOpen, kText };
  /// `kText`: what follows is neither, and held() is what was taken of it, this byte included.
  Found push(char c);
  std::string take_held();

 private:
  const CallMark mark_;
  std::string held_;
};

/// `tools`: the request's, for the types of values that the form spells without quotes. `sink` and `tools` outlive the
/// reader.
std::unique_ptr<CallReader> make_call_reader(const AnswerSyntax& syntax, const CallMark& mark, const Json& tools,
                                             CallSink& sink);

/// Text as a JSON string, quotes included; invalid UTF-8 becomes U+FFFD.
std::string json_string(std::string_view text);

// The readers of the single forms, for make_call_reader.
std::unique_ptr<CallReader> make_json_calls(const CallMark& mark, CallSink& sink);
std::unique_ptr<CallReader> make_xml_calls(const CallMark& mark, const Json& tools, CallSink& sink);
std::unique_ptr<CallReader> make_braced_call(const CallMark& mark, std::string quote, CallSink& sink);

}  // namespace commissure
