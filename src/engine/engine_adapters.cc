#include <algorithm>
#include <utility>

#include "core/scarce.h"
#include "engine/engine_loop.h"

// The part of the loop that deals with adapters: requests wait for theirs, and a chain that was lost gets them back.

namespace commissure {

namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

/// Between two tries to get an adapter that could not be loaded just now.
constexpr milliseconds kRetryPause{100};

/// Whether trying again may help: a stage is away or busy, or others use all the room.
bool may_pass(Code code) {
  return code == Code::kUnavailable || code == Code::kDeadlineExceeded || code == Code::kResourceExhausted;
}

}  // namespace

void EngineLoop::take_adapters() {
  if (parked_.empty() || steady_clock::now() < next_take_) return;
  const auto take = [this](RequestHandle handle) -> std::optional<AdapterId> {
    const auto it = requests_.find(handle);
    if (it == requests_.end()) return std::nullopt;  // its client left
    return adapters_->take(it->second->asked.adapter, [this, handle](const Result<AdapterId>& adapter) {
      do_once_possible([&] { shared_.inbox.push(AdapterMessage{handle, adapter}); });
    });
  };
  for (std::size_t n = parked_.size(); n > 0; --n) {  // some may park again
    const RequestHandle handle = parked_.front();
    parked_.erase(parked_.begin());
    std::optional<AdapterId> there;
    if (!done_unless_scarce([&] { there = take(handle); })) fail(handle, no_memory(Code::kUnavailable));
    if (there) on_adapter(handle, *there);
  }
}

void EngineLoop::on_adapter(RequestHandle handle, const Result<AdapterId>& adapter) {
  const auto it = requests_.find(handle);
  if (it == requests_.end()) {
    if (adapter) adapters_->give_back(*adapter);
    return;
  }
  Request& request = *it->second;
  if (adapter) {
    request.adapter = *adapter;
    const auto begin = [&] { schedule(request, {*adapter, request.asked.adapter_scale}); };
    if (!done_unless_scarce(begin)) fail(handle, no_memory(Code::kUnavailable));
    return;
  }
  const Time now = steady_clock::now();
  if (may_pass(adapter.error().code()) && now - request.times.submitted < options_.recovery_limit) {
    parked_.push_back(handle);
    next_take_ = now + kRetryPause;
    return;
  }
  const bool is_full = adapter.error().code() == Code::kResourceExhausted;  // to a client that is no full queue
  fail(handle, is_full ? Error(Code::kUnavailable, adapter.error().message()) : adapter.error());
}

/// A step in flight may still name it: a stage without it would refuse the step, and with it those of others.
void EngineLoop::give_adapter_back(const Request& request) {
  if (!request.adapter) return;
  left_adapters_.push_back({*request.adapter, n_submitted_});
  give_left_adapters();
}

void EngineLoop::give_left_adapters() {
  while (!left_adapters_.empty() && (owed_.empty() || left_adapters_.front().n_answers <= n_answered_)) {
    adapters_->give_back(left_adapters_.front().id);
    left_adapters_.pop_front();
  }
}

/// Whether the stages have the adapters in use again, after a break: before that no sequence goes on.
bool EngineLoop::has_adapters_back() {
  if (adapters_ == nullptr) return true;
  const int n_streams = chain_.n_streams();
  if (is_reloading_) return false;
  if (std::exchange(n_streams_reloaded_, std::nullopt) == n_streams) return true;
  if (steady_clock::now() < next_take_) return false;
  adapters_->distrust();
  if (!adapters_->has_users()) return true;
  is_reloading_ = true;
  n_streams_reloading_ = n_streams;
  adapters_->reload([this](AdapterKeeper::Failures failures) {
    do_once_possible([&] { shared_.inbox.push(ReloadMessage{failures}); });
  });
  return false;
}

void EngineLoop::on_reload(const AdapterKeeper::Failures& failures) {
  is_reloading_ = false;
  const auto is_passing = [](const auto& failure) { return may_pass(failure.second.code()); };
  if (std::ranges::any_of(failures, is_passing)) {
    next_take_ = steady_clock::now() + kRetryPause;
    return;  // try_recovery asks for all again
  }
  for (const auto& [id, error] : failures) {
    std::vector<RequestHandle> users;
    for (const auto& [handle, request] : requests_) {
      if (request->adapter == id) users.push_back(handle);
    }
    for (const RequestHandle handle : users) fail(handle, error);
  }
  n_streams_reloaded_ = n_streams_reloading_;
}

}  // namespace commissure
