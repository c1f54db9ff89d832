#include "engine/held_answer.h"

#include <algorithm>
#include <utility>

#include "core/index.h"
#include "core/thread_clock.h"

namespace commissure {

namespace {

/// What one answer's grammar may take of the engine's thread, all calls together, and so much more for each token: it
/// holds up all answers, so who takes more is given up.
constexpr double kMostSeconds = 2.0;
constexpr double kSecondsPerToken = 0.002;

TokenMask with_tokens(const TokenMask& mask, const std::vector<TokenId>& more) {
  std::vector<std::uint32_t> words = mask.words();
  for (const TokenId token : more) {
    const std::size_t word = to_size(token.value) / TokenMask::kBits;
    if (word >= words.size()) words.resize(word + 1);
    words[word] |= 1u << (to_size(token.value) % TokenMask::kBits);
  }
  return TokenMask(std::move(words));
}

}  // namespace

HeldAnswer::HeldAnswer(const Tokenizer& tokenizer, AnswerGrammar asked, std::vector<TokenId> ends,
                       std::function<double()> seconds)
    : tokenizer_(&tokenizer),
      asked_(std::move(asked)),
      ends_(std::move(ends)),
      state_(asked_.is_thinking ? State::kThinking : State::kBeginning),
      matcher_(asked_.grammar->match()),
      thread_seconds_(std::move(seconds)) {
  if (!thread_seconds_) thread_seconds_ = thread_cpu_seconds;  // a busy machine does not count
}

template <typename Call>
auto HeldAnswer::counted(Call call) -> decltype(call()) {
  const double before = thread_seconds_();
  auto result = call();
  seconds_ += thread_seconds_() - before;
  if (!is_overdrawn()) return result;
  return Error(Code::kInvalidArgument, "the grammar takes too much work: ", seconds_, " s of a core for ", n_tokens_,
               " tokens");
}

bool HeldAnswer::is_overdrawn() const { return seconds_ > kMostSeconds + kSecondsPerToken * n_tokens_; }

Status HeldAnswer::begin() {
  return asked_.begun.empty() ? Status() : counted([&] { return matcher_->accept_text(asked_.begun); });
}

const Result<TokenMask>& HeldAnswer::next() {
  if (next_) return *next_;
  next_ = counted([&] { return matcher_->mask(); });
  return *next_;
}

Result<TokenMask> HeldAnswer::mask() {
  if (state_ == State::kThinking || state_ == State::kFree) return TokenMask();
  const Result<TokenMask>& found = next();
  if (!found) return Error(Code::kInvalidArgument, found.error().message());  // the request's own doing, in every case
  const TokenMask& allowed = *found;
  if (state_ == State::kHeld) return allowed;
  std::vector<TokenId> beginnings = asked_.free_beginnings;
  if (asked_.thought_begin) beginnings.push_back(*asked_.thought_begin);
  return beginnings.empty() ? allowed : with_tokens(allowed, beginnings);
}

Status HeldAnswer::accept(TokenId token) {
  if (state_ == State::kFree) return {};
  if (state_ == State::kThinking) return accept_thought(token);
  if (state_ == State::kBeginning && token == asked_.thought_begin) {
    state_ = State::kThinking;
    return {};
  }
  if (state_ == State::kBeginning && std::ranges::find(asked_.free_beginnings, token) != asked_.free_beginnings.end()) {
    state_ = State::kFree;
    return {};
  }
  state_ = State::kHeld;
  next_.reset();
  ++n_tokens_;
  bool is_allowed = true;
  TRY(counted([&]() -> Status {
    is_allowed = matcher_->accept(token).has_value();
    return {};
  }));
  return is_allowed ? Status() : Error(Code::kInternal, "the grammar has no place for token ", token.value, " here");
}

/// The grammar, or what may stand in its place, begins behind the mark that ends the thought, and the spaces that a
/// token may bring along.
Status HeldAnswer::accept_thought(TokenId token) {
  tail_ += tokenizer_->token_bytes(token, /*show_control=*/true);
  const std::size_t at = tail_.find(asked_.thought_end);
  if (at == std::string::npos) {
    const std::size_t most = asked_.thought_end.size() - 1;
    if (tail_.size() > most) tail_.erase(0, tail_.size() - most);
    return {};
  }
  state_ = State::kBeginning;
  asked_.thought_begin.reset();  // there was one
  const std::string behind = std::exchange(tail_, {}).substr(at + asked_.thought_end.size());
  const std::size_t first = behind.find_first_not_of(" \n\r\t");
  if (first == std::string::npos) return {};
  state_ = State::kHeld;
  next_.reset();
  bool is_allowed = true;
  TRY(counted([&]() -> Status {
    is_allowed = matcher_->accept_text(behind.substr(first)).has_value();
    return {};
  }));
  if (is_allowed) return {};
  return Error(Code::kInternal, "the thought's last token has more text than the grammar allows");
}

bool HeldAnswer::is_over() {
  if (state_ != State::kHeld || !matcher_->may_end()) return false;
  const Result<TokenMask>& allowed = next();
  // Nothing may follow, not even an end; or that could not be found out.
  if (!allowed) return allowed.error().code() == Code::kInvalidArgument && !is_overdrawn();
  if (allowed->n_tokens() > ends_.size()) return false;
  bool has_more = false;
  allowed->each([&](TokenId token) { has_more |= std::ranges::find(ends_, token) == ends_.end(); });
  return !has_more;
}

}  // namespace commissure
