#include "client/chain_watch.h"

#include <cstdio>
#include <optional>
#include <set>
#include <string>
#include <thread>

#include "client/stage_table.h"
#include "core/json_fields.h"
#include "terminal/progress.h"
#include "terminal/stop_signal.h"

namespace commissure {

namespace {

/// The bytes that all stages have loaded, with rate and time left; once every stage has told how many it has.
void show_loading(const Json& stages, std::optional<ProgressLine>& line) {
  double loaded = 0, total = 0;
  for (const Json& stage : stages) {
    if (number_of(stage, "weight_bytes") <= 0) return;
    loaded += number_of(stage, "loaded_bytes");
    total += number_of(stage, "weight_bytes");
  }
  if (!line) line.emplace("loading", static_cast<std::uint64_t>(total));
  line->update(static_cast<std::uint64_t>(loaded));
}

/// Prints stages that became ready. True when all are; `waits_for` says why one is not reachable (it may be starting).
/// Errors: kUnavailable, a stage cannot load.
Result<bool> all_ready(const Json& stages, std::set<std::string>& shown, std::optional<ProgressLine>& loading,
                       Error& waits_for) {
  bool ready = !stages.empty();
  for (const Json& stage : stages) {
    const std::string name = text_of(stage, "stage");
    const std::string state = text_of(stage, "state");
    const Error problem(Code::kUnavailable, "stage ", name, ": ", text_of(stage, "problem"));
    if (state == "failed") return problem;
    if (state == "unreachable") waits_for = problem;
    if (state != "ready") {
      ready = false;
    } else if (shown.insert(name).second) {
      if (loading) loading->hide();
      std::fprintf(stderr, "%s\n", stage_line(stage).c_str());
    }
  }
  return ready;
}

/// The stages that are not there, each with the reason; "" when all are.
std::string unreached(const Json& stages) {
  std::string text;
  for (const Json& stage : stages) {
    if (text_of(stage, "state") == "unreachable")
      text += (text.empty() ? "stage " : "; stage ") + text_of(stage, "stage") + ": " + text_of(stage, "problem");
  }
  return text;
}

/// What is waited for, told once it has been the same for a second.
class WaitLines {
 public:
  void show(const std::string& text) {
    const auto now = std::chrono::steady_clock::now();
    if (text != text_) {
      text_ = text;
      since_ = now;
      told_ = false;
    }
    if (told_ || text.empty() || now - since_ < std::chrono::seconds(1)) return;
    std::fprintf(stderr, "waiting: %s\n", text.c_str());
    told_ = true;
  }

 private:
  std::string text_;
  std::chrono::steady_clock::time_point since_;
  bool told_ = false;
};

}  // namespace

Result<Json> fetch_stages(const ApiAddress& endpoint) {
  const Json health = TRY(exchange_json(endpoint, "/health"));
  const Json* stages = find_member(health, "stages");
  if (stages == nullptr || !stages->is_array())
    return Error(Code::kDataLoss, endpoint.url, "/health names no stages; is it a Commissure endpoint?");
  return *stages;
}

Status warm_chain(const ApiAddress& endpoint, const WatchedProcesses& processes, std::chrono::seconds limit) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  bool asked = false;
  std::set<std::string> shown;
  std::optional<ProgressLine> loading;
  WaitLines waits;
  Error last(Code::kDeadlineExceeded, "the endpoint ", endpoint.url, " did not answer within ", limit.count(), " s");
  while (std::chrono::steady_clock::now() < deadline) {
    TRY(check_stopped());
    if (processes.check_alive) TRY(processes.check_alive());
    if (!asked) {
      const auto answer = exchange_json(endpoint, "/warm", Json::object());
      asked = answer.has_value();
      if (!asked && answer.error().code() != Code::kUnavailable) return Error(answer.error());
    }
    if (asked) {
      const auto stages = fetch_stages(endpoint);
      const bool complete = stages && (processes.n_stages == 0 || stages->size() == processes.n_stages);
      if (complete && TRY(all_ready(*stages, shown, loading, last))) return {};
      if (complete) show_loading(*stages, loading);
      if (!stages) last = stages.error();
      waits.show(complete && !loading ? unreached(*stages) : "");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return last;
}

}  // namespace commissure
