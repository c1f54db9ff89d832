#include "wire/stage_server.h"

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <list>
#include <thread>
#include <utility>

#include "core/mutex.h"
#include "core/queue.h"
#include "wire/channel.h"
#include "wire/server_call.h"

namespace commissure {
namespace {

/// Calls at once, of whatever method: health is asked without a token, and a question takes a thread.
constexpr std::size_t kMostCalls = 256;

}  // namespace

class StageServer::Impl final : public ServerCall::Host {
 public:
  Impl(StageService& stage_service, std::shared_ptr<CallQueue> queue)
      : service(stage_service), queue_(queue != nullptr ? std::move(queue) : std::make_shared<CallQueue>()) {}

  void add_to(grpc::ServerBuilder& builder) {
    builder.RegisterAsyncGenericService(&calls_of_all_methods_);
    calls_queue_ = &queue_->add_to(builder);
  }
  /// When the server is built.
  void begin() {
    await_call();
    queue_->poll();
    doorman_ = std::jthread([this] {
      while (const auto call = arrivals_.pop()) service.take(**call);
    });
  }
  /// When the server is shut down: waits until gRPC has let go of every call.
  void end() {
    arrivals_.close();
    if (doorman_.joinable()) doorman_.join();
    const MutexLock lock(mutex_);
    changed_.wait(mutex_, [this]() REQUIRES(mutex_) { return calls_.empty(); });
  }

  StageService& service;
  std::unique_ptr<grpc::Server> server;
  int port = 0;

 private:
  /// Returns how many calls there are besides.
  std::size_t await_call() {
    const MutexLock lock(mutex_);
    calls_.emplace_back(*this).await(calls_of_all_methods_, *calls_queue_);
    return calls_.size() - 1;
  }
  void on_arrived(ServerCall& call, bool ok) override {
    if (!ok) return on_over(call);
    const std::size_t n_calls = await_call();
    // Who calls is looked at on another thread: the keys to check a token may have to be fetched.
    if (n_calls > kMostCalls || !arrivals_.try_push(&call)) {
      call.finish(grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "too many calls at once"));
    }
  }
  void on_over(ServerCall& call) override {
    const MutexLock lock(mutex_);
    calls_.remove_if([&](const ServerCall& known) { return &known == &call; });
    changed_.notify_all();
  }

  const std::shared_ptr<CallQueue> queue_;
  grpc::ServerCompletionQueue* calls_queue_ = nullptr;
  grpc::AsyncGenericService calls_of_all_methods_;
  Mutex mutex_;
  Condition changed_;
  std::list<ServerCall> calls_ GUARDED_BY(mutex_);  // the one that is awaited and all that gRPC still knows
  BoundedQueue<ServerCall*> arrivals_{kMostCalls};
  std::jthread doorman_;
};

StageServer::StageServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<std::unique_ptr<StageServer>> StageServer::start(StageService& service, const std::vector<Endpoint>& endpoints,
                                                        const ServerSecurity& security,
                                                        std::shared_ptr<CallQueue> queue) {
  auto impl = std::make_unique<Impl>(service, std::move(queue));
  grpc::ServerBuilder builder;
  tune_server(builder);
  std::vector<int> ports(endpoints.size(), 0);  // gRPC fills them in while it binds
  std::string names;
  for (std::size_t i = 0; i < endpoints.size(); ++i) {
    builder.AddListeningPort(endpoints[i].target, server_credentials(endpoints[i], security), &ports[i]);
    names += (i > 0 ? ", " : "") + endpoints[i].target;
  }
  impl->add_to(builder);
  impl->server = builder.BuildAndStart();
  if (impl->server == nullptr) {
    return Error(Code::kUnavailable, "cannot listen on ", names,
                 ": another program has the port, or the socket's directory cannot be written");
  }
  for (std::size_t i = 0; i < endpoints.size() && impl->port == 0; ++i) {
    if (!endpoints[i].target.starts_with("unix:")) impl->port = ports[i];
  }
  impl->begin();
  return std::unique_ptr<StageServer>(new StageServer(std::move(impl)));
}

StageServer::~StageServer() { stop(std::chrono::milliseconds(0)); }

int StageServer::port() const { return impl_->port; }

void StageServer::stop(std::chrono::milliseconds grace) {
  if (impl_->server == nullptr) return;
  impl_->service.stop(grace);
  // Streams have been ended; what remains (a wake, a peer that reads no more) is cancelled shortly.
  impl_->server->Shutdown(std::chrono::system_clock::now() + std::chrono::milliseconds(500));
  impl_->server->Wait();
  impl_->end();
  impl_->server.reset();
}

}  // namespace commissure
