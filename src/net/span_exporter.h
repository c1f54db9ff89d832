#pragma once

#include <atomic>
#include <cstdint>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/json.h"
#include "core/queue.h"
#include "net/http.h"

namespace commissure {

/// One piece of work in a distributed trace. Ids are lower-case hexadecimal: 32 digits of the trace, 16 of a span.
struct Span {
  std::string trace_id;
  std::string span_id;
  std::string parent_id = {};  ///< may be empty
  std::string name;
  bool is_server = false;  ///< answers a request from outside
  bool is_error = false;
  std::int64_t start_unix_ns = 0;
  std::int64_t end_unix_ns = 0;
  std::vector<std::pair<std::string, Json>> attributes = {};  ///< texts and whole numbers
};

/// The body of an OTLP/HTTP export. Source: OpenTelemetry protocol 1.x, JSON encoding. `instance` says which process of
/// the service made the spans (service.instance.id).
Json otlp_body(const std::vector<Span>& spans, const std::string& service, const std::string& instance);

/// Sends spans to a collector from a thread of its own. A collector that is slow or away costs spans, never time: spans
/// that find the queue full are dropped, and the first loss of each kind is a warning in the log.
/// Threading: any thread may add.
class SpanExporter {
 public:
  /// `url`: where to POST, e.g. http://localhost:4318/v1/traces.
  SpanExporter(std::string url, std::string service, std::string instance);
  /// Sends the queued spans, unless the collector does not answer.
  ~SpanExporter();

  /// Queues the spans of one request. Never waits. Without memory for them they are lost.
  void add(std::vector<Span> spans);

 private:
  void run(const std::stop_token& stop);
  /// Adds what waits in the queue, as much as one export holds.
  void gather(std::vector<Span>& spans);
  bool send(const std::vector<Span>& spans);

  const std::string url_;
  const std::string service_;
  const std::string instance_;
  HttpClient client_;
  BoundedQueue<std::vector<Span>> queue_;
  std::atomic<bool> warned_full_ = false;
  bool warned_send_ = false;  // the thread's own
  std::jthread thread_;       // last: it uses the rest
};

}  // namespace commissure
