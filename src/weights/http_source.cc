#include "weights/http_source.h"

#include "net/http.h"
#include "weights/hub_access.h"
#include "weights/remote_source.h"

namespace commissure {

namespace {

std::string etag_of(const HttpReply& reply) {
  const auto it = reply.headers.find("etag");
  return it == reply.headers.end() ? "" : it->second;
}

class HttpSource final : public RemoteSource {
 public:
  HttpSource(const std::string& url, std::chrono::milliseconds first_pause)
      : RemoteSource(public_url(url), first_pause), authorization_(HubAccess::from_environment().authorization(url)) {
    set_url(url);
  }

  /// Asks for the first byte: the answer tells the size and whether ranges work (HEAD is refused by signed URLs).
  Status connect() {
    std::byte first{};
    return read_part({&first, 1}, 0, std::atomic<bool>(false));
  }

 private:
  Result<HttpReply> fetch(const HttpFetch& request, const HttpReceiver& receiver) override {
    if (authorization_.empty()) return client_.fetch(request, receiver);
    HttpFetch authorized = request;
    authorized.headers.emplace_back("Authorization", authorization_);
    return client_.fetch(authorized, receiver);
  }

  Error status_error(int status) const override { return http_status_error(name(), status); }

  Status check_version(const HttpReply& head, std::uint64_t size) override {
    if (this->size() == 0) {  // connect(), before any other thread sees this
      set_size(size);
      etag_ = etag_of(head);
    }
    if (size == this->size() && etag_of(head) == etag_) return {};
    return Error(Code::kFailedPrecondition, name(), ": has changed while it was being read");
  }

  HttpClient client_;
  const std::string authorization_;  // of the hub: gated models
  std::string etag_;
};

}  // namespace

Result<std::unique_ptr<ByteSource>> open_http_source(const std::string& url, std::chrono::milliseconds first_pause) {
  auto source = std::make_unique<HttpSource>(url, first_pause);
  TRY(source->connect());
  return source;
}

}  // namespace commissure
