#include "http/http_parser.h"

#include <fmt/format.h>

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <utility>

namespace commissure {

namespace http = boost::beast::http;

struct HttpParser::Impl {
  http::request_parser<http::string_body> parser;
  std::size_t max_head_bytes = 0;
  std::size_t n_head_bytes = 0;  // that were put so far
  bool expectation_seen = false;
  bool head_checked = false;
  HttpHeaders head = {};  // the fields before the body; the library puts those behind it beside them

  std::size_t put(std::string_view bytes, boost::beast::error_code& error) {
    return parser.put(boost::asio::buffer(bytes.data(), bytes.size()), error);
  }
};

namespace {

std::string lower(boost::beast::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
  }
  return result;
}

/// "/v1/models?x=1" or "http://host/v1/models?x=1" to path and query.
bool split_target(std::string_view target, HttpRequest& request) {
  if (const auto scheme = target.find("://"); scheme != std::string_view::npos && target.front() != '/') {
    const auto path = target.find('/', scheme + 3);
    target = path == std::string_view::npos ? "/" : target.substr(path);
  }
  target = target.substr(0, target.find('#'));
  const auto mark = target.find('?');
  if (mark != std::string_view::npos) request.query = std::string(target.substr(mark + 1));
  auto path = percent_decode(target.substr(0, mark));
  if (!path || path->empty() || (path->front() != '/' && *path != "*")) return false;
  request.path = std::move(*path);
  return true;
}

/// What the library lets through and two servers in a row could read differently: one of them would then take a part of
/// the body for a request of its own (RFC 9112, sections 3.2 and 6.1).
template <typename Head>
HttpParser::Step check_head(const Head& head) {
  const auto refuse = [](int status, std::string problem) {
    return HttpParser::Step{.used = 0, .status = status, .problem = "malformed HTTP request: " + std::move(problem)};
  };
  const bool is_old = head.version() < 11;
  const auto n_encodings = head.count(http::field::transfer_encoding);
  if (n_encodings > 0 && is_old) return refuse(400, "HTTP/1.0 knows no Transfer-Encoding");
  if (n_encodings > 1 || (n_encodings == 1 && lower(head[http::field::transfer_encoding]) != "chunked")) {
    return refuse(501, "the only Transfer-Encoding understood here is 'chunked', once");
  }
  const auto n_hosts = head.count(http::field::host);
  if (n_hosts > 1 || (n_hosts == 0 && !is_old)) {
    return refuse(400, fmt::format("it has {} Host fields, but must have one", n_hosts));
  }
  if (head[http::field::host].find_first_of(" \t,/\\@?#\"<>") != std::string_view::npos) {
    return refuse(400, "its Host field is no host");
  }
  return {};
}

}  // namespace

HttpParser::HttpParser(std::size_t max_header_bytes, std::size_t max_body_bytes) : impl_(std::make_unique<Impl>()) {
  impl_->parser.eager(false);  // stops behind the head
  impl_->max_head_bytes = max_header_bytes;
  impl_->parser.header_limit(static_cast<std::uint32_t>(max_header_bytes));
  impl_->parser.body_limit(max_body_bytes);
}

HttpParser::~HttpParser() = default;

HttpParser::Step HttpParser::feed(std::string_view bytes) {
  Step step;
  boost::beast::error_code error;
  step.used = impl_->put(bytes, error);
  if (!impl_->head_checked) {
    // The library's own limit is one of what is left of the head, so it would depend on how the network cut it.
    impl_->n_head_bytes += step.used;
    const std::size_t n_waiting = impl_->parser.is_header_done() ? 0 : bytes.size() - step.used;
    if (impl_->n_head_bytes + n_waiting > impl_->max_head_bytes) error = http::error::header_limit;
  }
  if (error != http::error::header_limit && impl_->parser.is_header_done() &&
      !std::exchange(impl_->head_checked, true)) {
    if (Step refusal = check_head(impl_->parser.get()); refusal.status != 0) return refusal;
    for (const auto& field : impl_->parser.get())
      impl_->head.emplace_back(lower(field.name_string()), std::string(field.value()));
    impl_->parser.eager(true);
    if (!error && !done() && step.used < bytes.size()) step.used += impl_->put(bytes.substr(step.used), error);
  }
  if (!error || error == http::error::need_more) return step;
  step.problem = "malformed HTTP request: " + error.message();
  step.status = 400;
  if (error == http::error::header_limit) {
    step.status = 431;
    step.problem = "the request's header fields are too large";
  } else if (error == http::error::body_limit) {
    step.status = 413;
    step.problem = "the request's body is too large";
  }
  return step;
}

bool HttpParser::done() const { return impl_->parser.is_done(); }

std::size_t HttpParser::body_bytes() const { return impl_->parser.get().body().size(); }

bool HttpParser::take_expectation() {
  if (impl_->expectation_seen || !impl_->parser.is_header_done()) return false;
  impl_->expectation_seen = true;
  const auto field = impl_->parser.get()[http::field::expect];
  return !impl_->parser.is_done() && impl_->parser.get().version() >= 11 && lower(field) == "100-continue";
}

bool HttpParser::keep_alive() const { return impl_->parser.keep_alive(); }

bool HttpParser::knows_chunks() const { return impl_->parser.get().version() >= 11; }

bool HttpParser::take(HttpRequest& request) {
  auto message = impl_->parser.release();
  request.method = std::string(message.method_string());
  // Not the fields behind the body: a proxy that checks or sets a field has not seen them (RFC 9110, section 6.5.1).
  request.headers = std::move(impl_->head);
  request.body = std::move(message.body());
  return split_target(std::string_view(message.target().data(), message.target().size()), request);
}

}  // namespace commissure
