#include "apps/chain_view.h"

#include "apps/stage_table.h"

namespace commissure {

namespace {

constexpr std::chrono::milliseconds kFresh{100};
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
  next_->describe_later(kLaterAnswer, [shared = shared_, self = self_.info()](Result<std::vector<StageInfo>> stages) {
    shared->others.with([&](auto& others) {
      others = stages ? std::move(*stages) : std::vector{unreachable_stage(self, stages.error())};
    });
    shared->answered = Clock::now().time_since_epoch().count();
    shared->asking = false;
  });
}

Json ChainView::to_json() {
  if (next_ != nullptr) refresh();
  Json stages = Json::array({commissure::to_json(self_.info())});
  for (const StageInfo& info : shared_->others.copy()) stages.push_back(commissure::to_json(info));
  return {{"stages", std::move(stages)}};
}

}  // namespace commissure
