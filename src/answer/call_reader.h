#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "answer/answer_syntax.h"
#include "core/json.h"

namespace commissure {

/// Gets what a CallReader finds. For each call begin(), arguments() any number of times, end().
class CallSink {
 public:
  virtual ~CallSink() = default;
  virtual void begin(std::string name) = 0;
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
  /// The answer is over: ends a call that has begun.
  virtual void finish() = 0;
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
