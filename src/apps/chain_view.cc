#include "apps/chain_view.h"

#include <algorithm>
#include <future>

#include "apps/stage_table.h"

namespace commissure {

namespace {

constexpr std::chrono::milliseconds kFresh{100};
constexpr std::chrono::milliseconds kStale{3000};
constexpr std::chrono::milliseconds kStalePatience{250};  // what a new answer is worth where the last one is stale
constexpr std::chrono::milliseconds kFirstAnswer{1000};
constexpr std::chrono::milliseconds kLaterAnswer{3000};

}  // namespace

void ChainView::refresh() {
  if (shared_->answered == 0) {  // nothing to show yet: wait for the first answer, shortly
    auto stages = next_->describe(kFirstAnswer);
    shared_->others.with([&](auto& others) {
      others = stages ? std::move(*stages) : std::vector{unreachable_stage(self_.info(), stages.error())};
    });
    shared_->answered = Clock::now().time_since_epoch().count();
    return;
  }
  const auto age = Clock::now().time_since_epoch() - Clock::duration(shared_->answered.load());
  if (age < kFresh || shared_->asking.exchange(true)) return;
  const auto told = std::make_shared<std::promise<void>>();
  const std::future<void> answer = told->get_future();
  next_->describe_later(kLaterAnswer,
                        [shared = shared_, self = self_.info(), told](Result<std::vector<StageInfo>> stages) {
                          shared->others.with([&](auto& others) {
                            others = stages ? std::move(*stages) : std::vector{unreachable_stage(self, stages.error())};
                          });
                          shared->answered = Clock::now().time_since_epoch().count();
                          shared->asking = false;
                          told->set_value();
                        });
  const bool may_differ = shared_->others.with([](const auto& others) {
    return !std::ranges::all_of(others, [](const StageInfo& stage) { return stage.state == LoadState::kReady; });
  });
  if (may_differ || age > kStale) answer.wait_for(kStalePatience);
}

Json ChainView::to_json() {
  if (next_ != nullptr) refresh();
  Json stages = Json::array({commissure::to_json(self_.info())});
  for (const StageInfo& info : shared_->others.copy()) stages.push_back(commissure::to_json(info));
  return {{"stages", std::move(stages)}};
}

}  // namespace commissure
