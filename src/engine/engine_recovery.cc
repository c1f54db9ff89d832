#include <algorithm>
#include <utility>

#include "core/log.h"
#include "engine/engine_loop.h"

// The part of the loop that deals with what goes wrong or ends: outages, last events, deadlines, drains.

namespace commissure {

namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

/// A request that saw the chain break more often than this, and for longer than the recovery limit, without progress
/// of its own is given up: it may be the cause.
constexpr int kMaxReplays = 3;

/// A planned move to an instance that is ready takes milliseconds. One that takes longer is an outage, which health()
/// tells of.
constexpr milliseconds kMovePatience{10'000};

/// For the log.
std::string replay_scope(StageSpan lost) {
  if (lost.empty()) return "nothing";
  if (lost.contains(0)) return "everything";
  const std::string first = stage_name(lost.first);
  return lost.first == lost.last ? "by stage " + first : "by stages " + first + " to " + stage_name(lost.last);
}

}  // namespace

void EngineLoop::begin_outage(const Error& cause) {
  log_warning("the chain broke, requests wait until it is back",
              {{"error", cause.to_string()}, {"running", scheduler_.n_running()}});
  const Time now = steady_clock::now();
  std::vector<RequestHandle> hopeless;
  for (auto& [handle, request] : requests_) {
    if (!scheduler_.is_running(request->sequence())) continue;
    if (request->n_replays++ == 0) request->first_replay = now;
    if (request->n_replays > kMaxReplays && now - request->first_replay > options_.recovery_limit) {
      hopeless.push_back(handle);
    }
  }
  for (OwedStep& step : owed_) step.wanted = false;
  outage_ = Outage{cause, now};
  shared_.moving = false;
  shared_.outage.with([&](auto& shared) { shared = EngineShared::Outage{cause}; });
  scheduler_.suspend();
  for (const RequestHandle handle : hopeless) fail(handle, cause);
}

/// Memory ran out while a step was planned or answered: its sequences are not what the stages believe. They fail, and
/// the others go on behind their answered rows.
void EngineLoop::give_up_step() {
  const Error error(Code::kUnavailable, "stage A had no memory for a step of this request, try again later");
  if (!outage_ || outage_->moving) begin_outage(error);
  const std::vector<SequenceId> sequences = scheduler_.latest();
  lost_step_ = false;
  for (const SequenceId sequence : sequences) fail(sequence.value, error);
}

/// A move may cost every running sequence a replay. Where streams live shorter than that takes, moves would follow each
/// other and nothing would get on: each sequence of the last replay has a new token first, or is gone.
bool EngineLoop::may_move() const {
  return std::ranges::none_of(requests_, [](const auto& entry) { return entry.second->catches_up; });
}

void EngineLoop::begin_move() {
  outage_ = Outage{Error(Code::kUnavailable, "the stages go over to fresh streams"), steady_clock::now(), true};
  shared_.moving = true;
}

/// What the stages still have is counted on, unless a request broke off twice without progress: whatever the reason,
/// computing everything again is what always helps. Where no stream was opened since the last look, the break was
/// within this stage: what lost() tells of the stream's beginning has been made good, or the scheduler knows that it is
/// not yet.
void EngineLoop::resume_sequences() {
  const auto is_stuck = [](const auto& entry) { return entry.second->n_replays > 1; };
  const int n_streams = chain_.n_streams();
  const bool is_within = n_streams > 0 && std::exchange(n_streams_seen_, n_streams) == n_streams;
  const bool is_any_stuck = std::ranges::any_of(requests_, is_stuck);
  const StageSpan lost = is_any_stuck ? kAllStages : is_within ? StageSpan{} : chain_.lost();
  const int n_running = scheduler_.n_running();
  (lost.empty() ? stats_.kept : stats_.replays) += static_cast<std::uint64_t>(n_running);
  for (auto& [handle, request] : requests_) {
    if (!lost.empty() && scheduler_.is_running(request->sequence())) request->catches_up = true;
  }
  scheduler_.resume(lost);
  if (n_running == 0) return;
  log_info("running requests go on", {{"requests", n_running}, {"computed_again", replay_scope(lost)}});
}

/// What happens to the chain while nothing runs fails no step. A break is noticed here, so that the limit of those who
/// come then counts from it; of a stream that broke and came back in between, what a stage lost with it is in no cache.
void EngineLoop::watch_idle_chain() {
  const Status health = chain_.health();
  if (health) shared_.was_ready = true;
  if (!health && shared_.was_ready && is_about_the_stream(health.error().code())) return begin_outage(health.error());
  const int n_streams = chain_.n_streams();
  if (std::exchange(n_streams_seen_, n_streams) == n_streams) return;
  if (!chain_.lost().empty()) scheduler_.forget_prefixes();
  if (adapters_ == nullptr) return;
  if (adapters_->has_users())
    return begin_outage(Error(Code::kUnavailable, "a stage came back, maybe without adapters"));
  adapters_->distrust();
}

void EngineLoop::try_recovery() {
  const auto lasted = std::chrono::duration_cast<milliseconds>(steady_clock::now() - outage_->since);
  if (outage_->moving && owed_.empty()) {
    outage_->moving = false;
    scheduler_.suspend();
    chain_.move();
  }
  if (lasted > kMovePatience && shared_.moving.exchange(false)) {
    shared_.outage.with([&](auto& shared) { shared = EngineShared::Outage{outage_->cause}; });
  }
  const Status health = outage_->moving ? Status(outage_->cause) : chain_.health();
  if (health && owed_.empty() && has_adapters_back()) {
    log_info("the chain is back", {{"outage_ms", lasted.count()}, {"waiting", scheduler_.n_waiting()}});
    outage_.reset();
    resume_sequences();
    shared_.moving = false;
    shared_.outage.with([](auto& shared) { shared.reset(); });
    return;
  }
  if (outage_->gave_up || lasted < options_.recovery_limit) return;
  outage_->gave_up = true;
  // The last reason is the better one: it says what is wrong now.
  if (!health) outage_->cause = health.error();
  outage_->cause = Error(Code::kUnavailable, "the stages did not come back within ", options_.recovery_limit.count(),
                         " ms: ", outage_->cause.message());
  log_error("gave up the requests that wait for the chain",
            {{"requests", requests_.size()}, {"error", outage_->cause.to_string()}});
  shared_.moving = false;
  shared_.outage.with([&](auto& shared) { shared = EngineShared::Outage{outage_->cause, true}; });
  fail_all(outage_->cause);
}

void EngineLoop::finish(Request& request, GenerationEvent event) {
  if (outbox_.size() == outbox_.capacity())
    outbox_.reserve(2 * outbox_.size() + 1);  // for the last event, which is due
  const std::unique_ptr<Request> last = std::move(requests_.extract(request.handle).mapped());
  scheduler_.remove(last->sequence());
  give_adapter_back(*last);
  shared_.gates.with([&](auto& gates) { gates.erase(last->handle); });
  --shared_.n_alive;
  try {
    note_end(*last, event);
  } catch (const std::bad_alloc&) {  // the numbers of one request are missing
  }
  send(*last, std::move(event));
}

/// What stays of a request: metrics, a log line, its trace, which goes with its last event. Before that event: who
/// reads it may look at the numbers next.
void EngineLoop::note_end(const Request& request, GenerationEvent& event) {
  const Time now = steady_clock::now();
  metrics_.on_finish(*event.finish, request.times, request.usage, now);
  const auto ms = [&](Time to) {
    return std::chrono::duration_cast<milliseconds>(to - request.times.submitted).count();
  };
  log(Severity::kDebug, "choice finished",
      {{"request_id", request.asked.id},
       {"prompt_tokens", request.usage.prompt_tokens},
       {"cached_tokens", request.usage.cached_tokens},
       {"completion_tokens", request.usage.completion_tokens},
       {"ttft_ms", request.times.first_token ? Json(ms(*request.times.first_token)) : Json(nullptr)},
       {"total_ms", ms(now)},
       {"finish", finish_reason_name(*event.finish)}});
  event.trace = tracer_.take(request.sequence());
  publish_state();
}

void EngineLoop::fail(RequestHandle handle, const Error& error) {
  const auto it = requests_.find(handle);
  if (it == requests_.end()) return;
  GenerationEvent event;
  event.finish = FinishReason::kError;
  event.error.emplace(error);
  finish(*it->second, std::move(event));
}

void EngineLoop::fail_all(const Error& error) {
  while (!requests_.empty()) fail(requests_.begin()->first, error);
}

void EngineLoop::expire(Time now) {
  std::vector<RequestHandle> late;
  for (const auto& [handle, request] : requests_) {
    if (request->deadline && now >= *request->deadline) late.push_back(handle);
  }
  for (const RequestHandle handle : late) {
    const Request& request = *requests_.at(handle);
    fail(handle, Error(Code::kDeadlineExceeded, "the request's timeout of ", request.asked.timeout->count(),
                       " ms passed after ", request.usage.completion_tokens, " tokens"));
  }
}

void EngineLoop::check_drains(Time now) {
  if (drains_.empty()) return;
  const bool over = std::ranges::any_of(drains_, [&](const DrainMessage& drain) { return now >= drain.until; });
  if (over) fail_all(Error(Code::kUnavailable, "the server is shutting down"));
  // n_alive also counts requests still on their way into the inbox.
  if (shared_.n_alive > 0 && now != Time::max()) return;
  deliver();
  for (DrainMessage& drain : drains_) drain.done.set_value();
  drains_.clear();
}

}  // namespace commissure
