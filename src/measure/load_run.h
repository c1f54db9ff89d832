#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "client/client.h"
#include "measure/load_prompts.h"

namespace commissure {

/// What a load test sends, and when.
struct LoadOptions {
  ApiAddress endpoint;
  std::string model;  ///< as the server names it; "" leaves the field out
  bool chat = false;  ///< /v1/chat/completions instead of /v1/completions
  int n_requests = 100;
  int concurrency = 8;     ///< connections, and requests at once at most
  double rate = 0;         ///< requests per second, Poisson arrivals; 0: each as soon as a connection is free
  std::uint64_t seed = 0;  ///< seed of arrivals, prompts and sampling
  int max_tokens = 64;     ///< of each answer
  double temperature = 0;
  bool stop_at_eos = false;             ///< else every answer has max_tokens tokens
  std::function<void()> on_chunk = {};  ///< something came; called by any connection
};

/// How one request went. Times in seconds, from the moment it was sent.
struct RequestRecord {
  double sent = 0;           ///< since the start of the run
  double late = 0;           ///< how long after its arrival it was sent, since all connections were busy
  double first = 0;          ///< first chunk with text (TTFT)
  double last = 0;           ///< last chunk with text (E2E latency)
  std::vector<double> gaps;  ///< between chunks with text (ITL)
  int prompt_tokens = 0;
  int output_tokens = 0;  ///< the server's count, or chunks where it gives none
  std::string problem;    ///< what went wrong; empty: it succeeded

  bool ok() const { return problem.empty(); }
  /// Seconds per token after the first (TPOT); 0 with fewer than two tokens.
  double per_token() const { return output_tokens > 1 ? (last - first) / (output_tokens - 1) : 0; }
};

struct LoadResult {
  std::vector<RequestRecord> records;  ///< one per request
  double seconds = 0;                  ///< from the first request sent to the end of the last answer
};

/// Arrival times in seconds from the start: exponential gaps of mean 1 / rate, the same for the same seed.
std::vector<double> poisson_arrivals(int n, double rate, std::uint64_t seed);

/// Sends all requests and waits for their ends; `on_done` gets the number finished, on the calling thread, at least ten
/// times a second and at the end. A failed request is a record with a problem. Threads: one per connection, gone on
/// return.
LoadResult run_load(const LoadOptions& options, const LoadPrompts& prompts, const std::function<void(int)>& on_done);

}  // namespace commissure
