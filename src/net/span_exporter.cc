#include "net/span_exporter.h"

#include <iterator>

#include "core/log.h"
#include "core/scarce.h"

namespace commissure {

namespace {

constexpr std::size_t kQueuedRequests = 256;
constexpr std::size_t kSpansPerExport = 2048;
constexpr std::chrono::seconds kExportTimeout{5};

Json attribute_json(const std::string& key, const Json& value) {
  // 64-bit numbers are texts in protobuf's JSON.
  if (value.is_number_integer()) return {{"key", key}, {"value", {{"intValue", value.dump()}}}};
  return {{"key", key}, {"value", {{"stringValue", value}}}};
}

Json span_json(const Span& span) {
  constexpr int kInternal = 1, kServer = 2, kUnset = 0, kError = 2;
  Json attributes = Json::array();
  for (const auto& [key, value] : span.attributes) attributes.push_back(attribute_json(key, value));
  return {{"traceId", span.trace_id},
          {"spanId", span.span_id},
          {"parentSpanId", span.parent_id},
          {"name", span.name},
          {"kind", span.is_server ? kServer : kInternal},
          {"startTimeUnixNano", std::to_string(span.start_unix_ns)},
          {"endTimeUnixNano", std::to_string(span.end_unix_ns)},
          {"attributes", std::move(attributes)},
          {"status", {{"code", span.is_error ? kError : kUnset}}}};
}

}  // namespace

Json otlp_body(const std::vector<Span>& spans, const std::string& service, const std::string& instance) {
  Json list = Json::array();
  for (const Span& span : spans) list.push_back(span_json(span));
  const Json scope = {{"scope", {{"name", "commissure"}}}, {"spans", std::move(list)}};
  const Json resource = {{"attributes", Json::array({attribute_json("service.name", service),
                                                     attribute_json("service.instance.id", instance)})}};
  return {{"resourceSpans", Json::array({Json{{"resource", resource}, {"scopeSpans", Json::array({scope})}}})}};
}

SpanExporter::SpanExporter(std::string url, std::string service, std::string instance)
    : url_(std::move(url)),
      service_(std::move(service)),
      instance_(std::move(instance)),
      queue_(kQueuedRequests),
      thread_([this](const std::stop_token& stop) { run(stop); }) {}

SpanExporter::~SpanExporter() {
  thread_.request_stop();
  thread_.join();
}

void SpanExporter::add(std::vector<Span> spans) {
  done_unless_scarce([&] {
    if (queue_.try_push(std::move(spans)) || warned_full_.exchange(true)) return;
    log_warning("spans are dropped: the trace collector takes them too slowly", {{"collector", public_url(url_)}});
  });
}

void SpanExporter::run(const std::stop_token& stop) {
  while (auto spans = queue_.pop(stop)) {
    bool is_sent = false;
    done_unless_scarce([&] {  // else these are lost
      gather(*spans);
      is_sent = send(*spans);
    });
    if (!is_sent && stop.stop_requested()) return;
  }
}

void SpanExporter::gather(std::vector<Span>& spans) {
  while (spans.size() < kSpansPerExport) {
    auto more = queue_.try_pop();
    if (!more) return;
    spans.insert(spans.end(), std::make_move_iterator(more->begin()), std::make_move_iterator(more->end()));
  }
}

bool SpanExporter::send(const std::vector<Span>& spans) {
  HttpFetch request{.method = "POST", .url = url_};
  request.headers = {{"content-type", "application/json"}};
  request.body = dump_json(otlp_body(spans, service_, instance_));
  request.connect_timeout = kExportTimeout;
  request.timeout = kExportTimeout;
  const auto reply = client_.fetch(request);
  if (reply && reply->status < 300) return true;
  if (!warned_send_) {
    const Error problem = reply ? http_status_error(url_, reply->status) : reply.error();
    log_warning("spans are lost: the trace collector does not take them", {{"error", problem.message()}});
  }
  warned_send_ = true;
  return false;
}

}  // namespace commissure
