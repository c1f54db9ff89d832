#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "answer/answer_function.h"
#include "answer/answer_syntax.h"

namespace commissure {

/// Gets what a CallReader finds. For each call begin(), arguments() any number of times, and end() where the call is
/// whole: one that is cut off or broken does not end, and has the arguments up to its last whole value or word.
class CallSink {
 public:
  virtual ~CallSink() = default;
  /// Whether there is such a function; if not, there is no call.
  virtual bool begin(const std::string& name) = 0;
  /// A piece of JSON text.
  virtual void arguments(std::string_view text) = 0;
  virtual void end() = 0;
  /// One among several behind a mark that is no call after all, as it is written.
  virtual void no_call(std::string_view text) = 0;
};

/// Reads the text behind one opening mark, however it is cut into pieces. A model may write anything there: what is no
/// call begins none, and ends the reading unless a call has begun. Work and memory are linear in the text.
class CallReader {
 public:
  virtual ~CallReader() = default;

  /// Takes text from the front up to and with the call's end; returns the bytes taken, all of them unless is_done().
  virtual std::size_t push(std::string_view text) = 0;
  virtual bool is_done() const = 0;
  /// Whether it was the closing mark that ended it.
  virtual bool is_closed() const = 0;
  /// Once it is done, or the text is over: the last bytes that were taken and belong to no call after all.
  virtual std::string rest() = 0;
  /// What was taken so far stands in the prompt, and is never given to CallSink::no_call.
  virtual void forget_prompt() {}
};

/// A reader that looks at each byte as it comes.
class ByteReader : public CallReader {
 public:
  explicit ByteReader(CallMark mark) : mark_(std::move(mark)) {}

  std::size_t push(std::string_view text) final;
  bool is_done() const final { return is_done_; }
  bool is_closed() const final { return is_closed_; }
  std::string rest() final { return is_done_ ? std::exchange(rest_, {}) : std::exchange(rest_, {}) + pending(); }

 protected:
  /// Whether the byte was used up; else it is looked at again, unless the reader is done.
  virtual bool take(char c) = 0;
  /// Gives the sink what it has for it.
  virtual void flush() = 0;
  /// The last bytes that were taken for something that did not come, the text being over.
  virtual std::string pending() { return std::exchange(held_, {}); }

  const CallMark& mark() const { return mark_; }
  /// Whether take() sees its byte for the first time.
  bool is_new() const { return is_new_; }
  bool ends_with(std::string_view mark) const { return !mark.empty() && recent_.ends_with(mark); }
  /// Whether the closing mark is behind a call, where brackets too many are passed over.
  bool take_behind(char c);
  bool may_be_closing() const { return !held_.empty(); }
  /// What a broken call has left, as far as the mark that closes it, or a mark that opens another. Only the mark that
  /// closes it tells that it was no text.
  bool take_passing(char c);

  /// The end, with or without the byte; for take() to return.
  bool close();
  bool stop();
  /// The end in front of the last bytes, `rest`, the current one included.
  bool stop_before(std::string rest);

  std::string rest_;

 private:
  const CallMark mark_;
  bool is_done_ = false;
  bool is_closed_ = false;
  bool is_new_ = true;
  std::string recent_;  // the last bytes, as many as the longer mark has
  std::string held_;    // perhaps the closing mark, or what a broken call has left
};

/// `functions` and `sink` outlive the reader.
std::unique_ptr<CallReader> make_call_reader(const AnswerSyntax& syntax, const CallMark& mark,
                                             const std::vector<AnswerFunction>& functions, CallSink& sink);

/// Longest text that is looked at for a function's name.
inline constexpr std::size_t kMaxNameBytes = 256;
/// Whether the byte may stand in a function's name.
bool is_name_byte(char c);

// The readers of the single forms, for make_call_reader.
std::unique_ptr<CallReader> make_json_calls(const CallMark& mark, CallSink& sink);
std::unique_ptr<CallReader> make_xml_calls(const CallMark& mark, const std::vector<AnswerFunction>& functions,
                                           CallSink& sink);
std::unique_ptr<CallReader> make_braced_call(const CallMark& mark, std::string quote, CallSink& sink);

}  // namespace commissure
