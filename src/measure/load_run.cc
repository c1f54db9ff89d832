#include "measure/load_run.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <optional>
#include <random>
#include <thread>

#include "client/event_reader.h"
#include "core/mutex.h"

namespace commissure {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

Json make_body(const LoadOptions& options, const std::string& prompt, int request) {
  Json body = {{"stream", true},
               {"stream_options", {{"include_usage", true}}},
               {"temperature", options.temperature},
               {"seed", options.seed + static_cast<std::uint64_t>(request)},
               {"max_tokens", options.max_tokens}};
  if (!options.model.empty()) body["model"] = options.model;
  if (!options.stop_at_eos) body["ignore_eos"] = true;
  if (options.chat) {
    body["messages"] = Json::array({{{"role", "user"}, {"content", prompt}}});
  } else {
    body["prompt"] = prompt;
  }
  return body;
}

int count_of(const Json& usage, const char* key) {
  const Json* value = find_member(usage, key);
  return value != nullptr && value->is_number_integer() ? value->get<int>() : 0;
}

/// Takes the events of one answer down.
class Recorder {
 public:
  Recorder(RequestRecord& record, Clock::time_point sent) : record_(record), sent_(sent) {}

  Status on_event(const Json& event) {
    if (const Json* error = find_member(event, "error")) {
      const Json* text = find_member(*error, "message");
      return Error(Code::kUnavailable,
                   text != nullptr && text->is_string() ? text->get<std::string>() : "stream error");
    }
    if (const Json* usage = find_member(event, "usage")) {
      record_.prompt_tokens = count_of(*usage, "prompt_tokens");
      record_.output_tokens = count_of(*usage, "completion_tokens");
    }
    const Json* choices = find_member(event, "choices");
    if (choices == nullptr || !choices->is_array() || choices->empty()) return {};
    had_choice_ = true;
    if (!choice_text(choices->front(), true).empty()) on_chunk(seconds_since(sent_));
    return {};
  }

  void finish() {
    if (!had_choice_) record_.problem = "the answer had no choices; is it an OpenAI-compatible endpoint?";
    if (n_chunks_ == 0) record_.first = record_.last = seconds_since(sent_);
    if (record_.output_tokens == 0) record_.output_tokens = n_chunks_;
  }

 private:
  void on_chunk(double now) {
    if (n_chunks_++ == 0) {
      record_.first = now;
    } else {
      record_.gaps.push_back(now - record_.last);
    }
    record_.last = now;
  }

  RequestRecord& record_;
  const Clock::time_point sent_;
  int n_chunks_ = 0;
  bool had_choice_ = false;
};

void send_request(HttpClient& http, const HttpFetch& request, const std::function<void()>& on_chunk,
                  RequestRecord& record) {
  Recorder recorder(record, Clock::now());
  EventReader events([&](const Json& event) { return recorder.on_event(event); });
  std::string error_body;
  Status problem;
  const auto reply = http.fetch(request, [&](const HttpReply& head, std::string_view piece) {
    if (head.status >= 400) {
      error_body.append(piece.substr(0, 4096));
      return error_body.size() < 65536;
    }
    if (on_chunk) on_chunk();
    problem = events.push(piece);
    return problem.has_value();
  });
  if (!problem) {
    record.problem = problem.error().message();
  } else if (!reply) {
    record.problem = reply.error().message();
  } else if (reply->status >= 400) {
    record.problem = server_error(reply->status, error_body).message();
  } else {
    recorder.finish();
  }
}

/// The requests of one run, taken in order by its connections.
class Run {
 public:
  Run(const LoadOptions& options, const LoadPrompts& prompts) : options_(options), prompts_(prompts) {
    result_.records.resize(options.n_requests);
    if (options.rate > 0) arrivals_ = poisson_arrivals(options.n_requests, options.rate, options.seed);
  }

  void serve_connection() {
    for (int i = next_++; i < options_.n_requests; i = next_++) {
      RequestRecord& record = result_.records[i];
      const std::string path = options_.chat ? "/v1/chat/completions" : "/v1/completions";
      const HttpFetch request =
          streamed_post(options_.endpoint, path, make_body(options_, prompts_.make(static_cast<std::uint64_t>(i)), i));
      double due = 0;
      if (!arrivals_.empty()) {
        due = arrivals_[i];
        std::this_thread::sleep_until(start_ +
                                      std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(due)));
      }
      record.sent = seconds_since(start_);
      record.late = arrivals_.empty() ? 0 : record.sent - due;
      send_request(http_, request, options_.on_chunk, record);
      const MutexLock lock(mutex_);
      ++n_done_;
      changed_.notify_one();
    }
  }

  LoadResult run(const std::function<void(int)>& on_done) {
    start_ = Clock::now();
    const int n_threads = std::min(options_.concurrency, options_.n_requests);
    std::vector<std::jthread> connections;
    for (int i = 0; i < n_threads; ++i) connections.emplace_back([this] { serve_connection(); });
    report_until_done(on_done);
    result_.seconds = seconds_since(start_);
    connections.clear();
    return std::move(result_);
  }

 private:
  void report_until_done(const std::function<void(int)>& on_done) {
    const MutexLock lock(mutex_);
    for (int told = -1; told < options_.n_requests;) {
      changed_.wait_for(mutex_, std::chrono::milliseconds(100), [&]() REQUIRES(mutex_) { return n_done_ > told; });
      told = n_done_;
      const MutexUnlock free(mutex_);
      on_done(told);
    }
  }

  const LoadOptions& options_;
  const LoadPrompts& prompts_;
  HttpClient http_;  // keeps a connection per thread
  std::vector<double> arrivals_;
  Clock::time_point start_;
  std::atomic<int> next_ = 0;
  LoadResult result_;  // each record is its connection's until it is done
  Mutex mutex_;
  Condition changed_;
  int n_done_ GUARDED_BY(mutex_) = 0;
};

}  // namespace

std::vector<double> poisson_arrivals(int n, double rate, std::uint64_t seed) {
  std::mt19937_64 generator(seed);
  std::vector<double> times;
  double now = 0;
  for (int i = 0; i < n; ++i) {
    times.push_back(now);
    // 53 bits in (0, 1]: the library's distributions differ between implementations, this does not.
    const double uniform = (static_cast<double>(generator() >> 11) + 1) * 0x1p-53;
    now += -std::log(uniform) / rate;
  }
  return times;
}

LoadResult run_load(const LoadOptions& options, const LoadPrompts& prompts, const std::function<void(int)>& on_done) {
  Run run(options, prompts);
  return run.run(on_done);
}

}  // namespace commissure
