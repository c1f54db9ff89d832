#include "wire/door.h"

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>

#include <utility>

#include "core/check.h"
#include "core/mutex.h"

namespace commissure {
namespace {

using Clock = std::chrono::steady_clock;

/// Counts a door's calls; gRPC owns it.
class Counter {
 public:
  Counter(const CallRate& rate, std::function<void()> on_flood) : rate_(rate), on_flood_(std::move(on_flood)) {}

  /// As grpc_auth_metadata_processor has it.
  static void process(void* self, grpc_auth_context*, const grpc_metadata*, std::size_t,
                      grpc_process_auth_metadata_done_cb done, void* data) {
    const bool allowed = static_cast<Counter*>(self)->count();
    done(data, nullptr, 0, nullptr, 0, allowed ? GRPC_STATUS_OK : GRPC_STATUS_RESOURCE_EXHAUSTED,
         allowed ? nullptr : "too many calls in a second");
  }
  static void destroy(void* self) { delete static_cast<Counter*>(self); }

 private:
  bool count() {
    {
      const MutexLock lock(mutex_);
      const Clock::time_point now = Clock::now();
      if (now - begin_ > rate_.window) {
        begin_ = now;
        n_calls_ = 0;
      }
      if (++n_calls_ <= rate_.most) return true;
    }
    on_flood_();
    return false;
  }

  const CallRate rate_;
  const std::function<void()> on_flood_;
  Mutex mutex_;
  Clock::time_point begin_ GUARDED_BY(mutex_);
  int n_calls_ GUARDED_BY(mutex_) = 0;
};

/// What gRPC's own credentials do, and a Counter beside: those without TLS refuse one in the C++ interface.
class CountingCredentials final : public grpc::ServerCredentials {
 public:
  CountingCredentials(const TlsPair* tls, const CallRate& rate, std::function<void()> on_flood) {
    if (tls != nullptr) {
      grpc_ssl_pem_key_cert_pair pair{tls->key.c_str(), tls->certificates.c_str()};
      credentials_ =
          grpc_ssl_server_credentials_create_ex(nullptr, &pair, 1, GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE, nullptr);
    } else {
      credentials_ = grpc_insecure_server_credentials_create();
    }
    auto* counter = new Counter(rate, std::move(on_flood));
    grpc_server_credentials_set_auth_metadata_processor(credentials_, {Counter::process, Counter::destroy, counter});
  }
  CountingCredentials(const CountingCredentials&) = delete;
  CountingCredentials& operator=(const CountingCredentials&) = delete;
  ~CountingCredentials() override { grpc_server_credentials_release(credentials_); }

  void SetAuthMetadataProcessor(const std::shared_ptr<grpc::AuthMetadataProcessor>&) override { CHECK(false); }

 private:
  int AddPortToServer(const std::string& address, grpc_server* server) override {
    return grpc_server_add_http2_port(server, address.c_str(), credentials_);
  }

  grpc_server_credentials* credentials_ = nullptr;
};

}  // namespace

Door::Door(grpc::ServerBuilder& builder, const Endpoint& endpoint, const ServerSecurity& security, const CallRate& rate,
           std::function<void()> on_flood) {
  const bool tls = security.tls && !endpoint.target.starts_with("unix:");
  auto credentials = std::make_shared<CountingCredentials>(tls ? &*security.tls : nullptr, rate, std::move(on_flood));
  using Experimental = grpc::ServerBuilder::experimental_type;
  acceptor_ = builder.experimental().AddExternalConnectionAcceptor(Experimental::ExternalConnectionType::FROM_FD,
                                                                   std::move(credentials));
}

void Door::take(int listener_fd, int fd) {
  grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters connection;
  connection.listener_fd = listener_fd;
  connection.fd = fd;
  acceptor_->HandleNewConnection(&connection);
}

}  // namespace commissure
