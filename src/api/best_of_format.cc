#include <algorithm>
#include <limits>
#include <numeric>

#include "core/index.h"

#include "api/answer_format.h"

namespace commissure {

namespace {

class BestOfFormat final : public AnswerFormat {
 public:
  BestOfFormat(std::unique_ptr<AnswerFormat> inner, int n_prompts, int n, int best_of)
      : inner_(std::move(inner)), n_(to_size(n)), best_of_(to_size(best_of)), candidates_(n_prompts * best_of_) {}

  std::string stream_event(int choice, const GenerationEvent& event, const Usage&) override {
    collect(choice, event);
    return {};
  }
  std::string stream_end(const Usage& usage) override { return sse_data(whole(usage)); }

  void collect(int choice, const GenerationEvent& event) override {
    Candidate& candidate = candidates_[choice];
    for (const GeneratedToken& token : event.tokens) {
      if (!token.score) continue;
      candidate.logprob += double{token.score->chosen.logprob};
      ++candidate.n_tokens;
    }
    candidate.events.push_back(event);
  }

  Json whole(const Usage& usage) override {
    std::vector<std::size_t> order(best_of_);
    for (std::size_t first = 0; first < candidates_.size(); first += best_of_) {
      std::iota(order.begin(), order.end(), first);
      // Equal ones, greedy for instance, stay in the order of their seeds.
      std::ranges::stable_sort(order, std::ranges::greater(), [&](std::size_t i) { return candidates_[i].mean(); });
      for (std::size_t k = 0; k < n_; ++k) {
        const auto choice = static_cast<int>(first / best_of_ * n_ + k);
        for (const GenerationEvent& event : candidates_[order[k]].events) inner_->collect(choice, event);
      }
    }
    return inner_->whole(usage);
  }

 private:
  struct Candidate {
    std::vector<GenerationEvent> events;
    double logprob = 0.0;
    int n_tokens = 0;
    double mean() const { return n_tokens > 0 ? logprob / n_tokens : std::numeric_limits<double>::lowest(); }
  };

  const std::unique_ptr<AnswerFormat> inner_;
  const std::size_t n_, best_of_;
  std::vector<Candidate> candidates_;  // prompt after prompt
};

}  // namespace

std::unique_ptr<AnswerFormat> make_best_of_format(std::unique_ptr<AnswerFormat> inner, int n_prompts, int n,
                                                  int best_of) {
  return std::make_unique<BestOfFormat>(std::move(inner), n_prompts, n, best_of);
}

}  // namespace commissure
