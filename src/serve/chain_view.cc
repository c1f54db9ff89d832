#include "serve/chain_view.h"

#include <algorithm>
#include <functional>
#include <future>
#include <utility>

namespace commissure {

namespace {

constexpr std::chrono::milliseconds kFresh{100};
constexpr std::chrono::milliseconds kStale{3000};
constexpr std::chrono::milliseconds kStalePatience{250};  // what a new answer is worth where the last one is stale
constexpr std::chrono::milliseconds kFirstAnswer{1000};
constexpr std::chrono::milliseconds kLaterAnswer{3000};

/// Everything a stage says of itself.
Json stage_json(const StageInfo& info) {
  return {{"stage", info.plan.name()},
          {"state", load_state_name(info.state)},
          {"problem", info.problem},
          {"model", info.model},
          {"fingerprint", info.fingerprint},
          {"layers", {info.plan.layers.first, info.plan.layers.last}},
          {"n_model_layers", info.plan.n_model_layers},
          {"device", info.device},
          {"isa", info.isa},
          {"precision", info.precision},
          {"kv_dtype", info.kv_dtype},
          {"kv_blocks", info.n_kv_blocks},
          {"weight_bytes", info.weight_bytes},
          {"loaded_bytes", info.loaded_bytes},
          {"source_bytes_read", info.source_bytes_read},
          {"resident_bytes", info.resident_bytes},
          {"private_bytes", info.private_bytes},
          {"load_ms", info.load_ms},
          {"pid", info.pid}};
}

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
  if (age < kFresh || shared_->asking) return;
  const auto told = std::make_shared<std::promise<void>>();
  const std::future<void> answer = told->get_future();
  std::function<void(Result<std::vector<StageInfo>>)> done = [shared = shared_, self = self_.info(),
                                                              told](Result<std::vector<StageInfo>> stages) {
    shared->asking = false;  // first: memory may run out on the way
    shared->others.with([&](auto& others) {
      others = stages ? std::move(*stages) : std::vector{unreachable_stage(self, stages.error())};
    });
    shared->answered = Clock::now().time_since_epoch().count();
    told->set_value();
  };
  if (shared_->asking.exchange(true)) return;  // from here on nothing takes memory but what calls back
  next_->describe_later(kLaterAnswer, std::move(done));
  const bool may_differ = shared_->others.with([](const auto& others) {
    return !std::ranges::all_of(others, [](const StageInfo& stage) { return stage.state == LoadState::kReady; });
  });
  if (may_differ || age > kStale) answer.wait_for(kStalePatience);
}

Json ChainView::to_json() {
  if (next_ != nullptr) refresh();
  Json stages = Json::array({stage_json(self_.info())});
  for (const StageInfo& info : shared_->others.copy()) stages.push_back(stage_json(info));
  return {{"stages", std::move(stages)}};
}

}  // namespace commissure
