// Bytes off the wire to the HTTP parser and to what reads its fields. The first byte says into which pieces the network
// cut them.

#include <algorithm>

#include "api/cors.h"
#include "api/trace_context.h"
#include "core/trace_parent.h"
#include "fuzz/fuzz.h"
#include "http/http_parser.h"

namespace {

using namespace commissure;

constexpr std::size_t kMaxBody = 1000;

/// What came of the bytes: a request, or none: they are refused or not all there.
struct Outcome {
  bool is_done = false;
  bool is_taken = false;
  HttpRequest request = {};
};

/// Feeds the bytes as a connection does: each call sees what was left and the next piece.
Outcome feed(std::string_view text, std::size_t piece) {
  HttpParser parser(512, kMaxBody);
  Outcome outcome;
  std::string held;
  while (!outcome.is_done) {
    const bool is_last = text.empty();
    held += text.substr(0, piece);
    text.remove_prefix(std::min(piece, text.size()));
    const auto step = parser.feed(held);
    CHECK(step.used <= held.size() && parser.body_bytes() <= kMaxBody);
    CHECK(step.problem.size() < 500 && (step.status == 0) == step.problem.empty());
    held.erase(0, step.used);
    parser.take_expectation();
    if (step.status != 0 || (is_last && step.used == 0)) return outcome;
    outcome.is_done = parser.done();
  }
  (void)parser.keep_alive();
  outcome.is_taken = parser.take(outcome.request);
  return outcome;
}

void check_request(const HttpRequest& request) {
  CHECK(!request.path.empty() && (request.path.front() == '/' || request.path == "*"));
  CHECK(request.path.find('\0') == request.path.npos && request.body.size() <= kMaxBody);
  for (const auto& [name, value] : request.headers) {
    CHECK(std::ranges::none_of(name, [](char c) { return (c >= 'A' && c <= 'Z') || c == '\n' || c == ':'; }));
    CHECK(value.find('\n') == value.npos);
  }
  const TraceContext trace = read_trace_context(request);
  CHECK(trace.trace_id.empty() || trace.trace_id.size() == 32);
  (void)is_allowed_origin(request, {"https://a.example"});
  for (const auto& [name, value] : cors_headers(request, {"*"})) CHECK(value.find('\n') == value.npos);
}

void check_trace_parent(std::string_view text) {
  const auto parent = parse_traceparent(text);
  if (parent) CHECK(parse_traceparent(to_traceparent(*parent)) == parent);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return -1;
  const std::string_view text = fuzz::as_text(data + 1, size - 1);
  const Outcome whole = feed(text, text.size() + 1);
  const Outcome cut = feed(text, 1 + data[0] % 64);
  // The same request or none, however the bytes were cut. Which refusal it is may depend on what is seen first.
  CHECK(whole.is_done == cut.is_done && whole.is_taken == cut.is_taken);
  if (whole.is_taken) {
    CHECK(whole.request.method == cut.request.method && whole.request.path == cut.request.path);
    CHECK(whole.request.body == cut.request.body && whole.request.headers == cut.request.headers);
    check_request(whole.request);
  }
  check_trace_parent(text);
  return 0;
}
