#include "wire/stage_server.h"

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <new>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <utility>

#include "core/mutex.h"
#include "core/queue.h"
#include "core/scarce.h"
#include "wire/channel.h"
#include "wire/door.h"
#include "wire/server_call.h"

namespace commissure {
namespace {

constexpr auto kSilenceGlance = std::chrono::milliseconds(250);

/// What a call asks for; each kind has places of its own.
enum class Kind : std::uint8_t { kStream, kQuestion, kCheck, kWatch, kOther, kEnd };
constexpr std::array<std::size_t, static_cast<std::size_t>(Kind::kEnd)> kPlaces = {64, 64, 16, 16, 16};
constexpr std::size_t kAllPlaces = 64 + 64 + 16 + 16 + 16;

Kind kind_of(std::string_view method) {
  if (method == "/commissure.v1.Stage/Open") return Kind::kStream;
  if (method == "/commissure.v1.Stage/Describe" || method == "/commissure.v1.Stage/Wake" ||
      method == "/commissure.v1.Stage/LoadAdapter" || method == "/commissure.v1.Stage/DropAdapter")
    return Kind::kQuestion;
  if (method == "/grpc.health.v1.Health/Check") return Kind::kCheck;
  if (method == "/grpc.health.v1.Health/Watch") return Kind::kWatch;
  return Kind::kOther;
}

}  // namespace

class StageServer::Impl final : public ServerCall::Host {
 public:
  Impl(StageService& stage_service, std::shared_ptr<CallQueue> queue, std::unique_ptr<Listener> opened,
       const ServerLimits& limits)
      : service(stage_service),
        listener(std::move(opened)),
        limits_(limits),
        queue_(queue != nullptr ? std::move(queue) : std::make_shared<CallQueue>()) {}

  void add_to(grpc::ServerBuilder& builder) {
    builder.RegisterAsyncGenericService(&calls_of_all_methods_);
    calls_queue_ = &queue_->add_to(builder);
  }
  void add_doors(grpc::ServerBuilder& builder, const Endpoint& endpoint, const ServerSecurity& security) {
    for (std::size_t i = 0; i < Listener::kDoors; ++i) {
      const auto on_flood = [this, door = doors_.size()] { listener->on_flood(door); };
      doors_.push_back(std::make_unique<Door>(builder, endpoint, security, limits_.calls, on_flood));
    }
  }
  /// When the server is built.
  void begin() {
    await_call();
    queue_->poll();
    doorman_ = std::jthread([this](const std::stop_token& stop) { take_calls(stop); });
    listener->begin([this](std::size_t door, int listener_fd, int fd) { doors_[door]->take(listener_fd, fd); });
  }
  /// When the server is shut down: waits until gRPC has let go of every call.
  void end() {
    arrivals_.close();
    doorman_.request_stop();
    if (doorman_.joinable()) doorman_.join();
    const MutexLock lock(mutex_);
    changed_.wait(mutex_, [this]() REQUIRES(mutex_) { return calls_.empty(); });
  }

  StageService& service;
  const std::unique_ptr<Listener> listener;
  std::unique_ptr<grpc::Server> server;

 private:
  void await_call() {
    const MutexLock lock(mutex_);
    auto call = std::make_unique<ServerCall>(*this);
    ServerCall& awaited = *call;
    calls_.try_emplace(&awaited, std::move(call));
    try {
      awaited.await(calls_of_all_methods_, *calls_queue_);
    } catch (const std::bad_alloc&) {  // gRPC does not know it, so nothing would ever take it out again
      calls_.erase(&awaited);
      throw;
    }
  }
  void on_arrived(ServerCall& call, bool ok) override {
    if (!ok) return on_over(call);
    if (!done_unless_scarce([this] { await_call(); })) is_deaf_ = true;  // the doorman awaits the next one
    if (!done_unless_scarce([&] { let_in(call); })) call.fail();
  }
  void let_in(ServerCall& call) {
    listener->on_call(call.peer());
    // Who calls is looked at on another thread: the keys to check a token may have to be fetched.
    ServerCall* arrived = &call;
    if (find_place(call) && arrivals_.try_push(std::move(arrived))) return;
    listener->on_call_wasted(call.peer());
    call.finish(grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "too many calls at once"));
  }
  void on_dropped(ServerCall& call) override { listener->on_call_wasted(call.peer()); }
  void on_over(ServerCall& call) override {
    if (!call.peer().empty()) listener->on_call_over(call.peer());
    const MutexLock lock(mutex_);
    std::erase(places_of(call), &call);
    calls_.erase(&call);
    changed_.notify_all();
  }

  /// The calls of this one's kind, the oldest first.
  std::vector<ServerCall*>& places_of(const ServerCall& call) REQUIRES(mutex_) {
    return places_[static_cast<std::size_t>(kind_of(call.method()))];
  }
  bool find_place(ServerCall& call) {
    const MutexLock lock(mutex_);
    std::vector<ServerCall*>& taken = places_of(call);
    if (taken.size() >= kPlaces[static_cast<std::size_t>(kind_of(call.method()))]) {
      const grpc::Status why(grpc::StatusCode::RESOURCE_EXHAUSTED,
                             "nothing was said, and another call needs the place");
      const auto silent = std::ranges::find_if(taken, [&](ServerCall* old) { return old->finish_if_silent(why); });
      if (silent == taken.end()) return false;
      taken.erase(silent);
    }
    taken.push_back(&call);
    return true;
  }

  void take_calls(const std::stop_token& stop) {
    auto next_glance = std::chrono::steady_clock::now() + kSilenceGlance;
    while (true) {
      if (const auto call = arrivals_.pop_for(kSilenceGlance)) {
        if (!done_unless_scarce([&] { service.take(**call); })) (*call)->fail();
      } else if (stop.stop_requested()) {
        return;
      }
      if (std::chrono::steady_clock::now() < next_glance) continue;
      next_glance = std::chrono::steady_clock::now() + kSilenceGlance;
      done_unless_scarce([this] { look_around(); });
    }
  }
  void look_around() {
    if (is_deaf_) {
      await_call();
      is_deaf_ = false;
    }
    drop_silent_questions();
  }
  void drop_silent_questions() {
    const auto too_old = std::chrono::steady_clock::now() - limits_.request_wait;
    const grpc::Status why(grpc::StatusCode::DEADLINE_EXCEEDED,
                           fmt::format("no request within {} ms", limits_.request_wait.count()));
    const MutexLock lock(mutex_);
    for (const Kind kind : {Kind::kQuestion, Kind::kCheck, Kind::kWatch}) {
      for (ServerCall* call : places_[static_cast<std::size_t>(kind)]) {
        if (call->opened() < too_old) call->finish_if_silent(why);
      }
    }
  }

  const ServerLimits limits_;
  const std::shared_ptr<CallQueue> queue_;
  grpc::ServerCompletionQueue* calls_queue_ = nullptr;
  grpc::AsyncGenericService calls_of_all_methods_;
  std::vector<std::unique_ptr<Door>> doors_;  // Listener::kDoors for each endpoint
  Mutex mutex_;
  Condition changed_;
  // The one that is awaited and all that gRPC still knows: found again in no time, however many a peer drops.
  std::unordered_map<const ServerCall*, std::unique_ptr<ServerCall>> calls_ GUARDED_BY(mutex_);
  std::array<std::vector<ServerCall*>, static_cast<std::size_t>(Kind::kEnd)> places_ GUARDED_BY(mutex_);
  BoundedQueue<ServerCall*> arrivals_{kAllPlaces};
  std::atomic<bool> is_deaf_ = false;  // there was no memory to await the next call
  std::jthread doorman_;
};

StageServer::StageServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<std::unique_ptr<StageServer>> StageServer::start(StageService& service, const std::vector<Endpoint>& endpoints,
                                                        const ServerSecurity& security,
                                                        std::shared_ptr<CallQueue> queue, const ServerLimits& limits) {
  auto listener = TRY(Listener::open(endpoints, limits.connections));
  auto impl = std::make_unique<Impl>(service, std::move(queue), std::move(listener), limits);
  grpc::ServerBuilder builder;
  tune_server(builder);
  for (const Endpoint& endpoint : endpoints) impl->add_doors(builder, endpoint, security);
  impl->add_to(builder);
  impl->server = builder.BuildAndStart();
  if (impl->server == nullptr) return Error(Code::kInternal, "gRPC did not start its server; its log says why");
  impl->begin();
  return std::unique_ptr<StageServer>(new StageServer(std::move(impl)));
}

StageServer::~StageServer() { stop(std::chrono::milliseconds(0)); }

int StageServer::port() const { return impl_->listener->port(); }

void StageServer::stop(std::chrono::milliseconds grace) {
  if (impl_->server == nullptr) return;
  impl_->service.stop(grace);
  impl_->listener->stop();
  // Streams have been ended; what remains (a wake, a peer that reads no more) is cancelled shortly.
  impl_->server->Shutdown(std::chrono::system_clock::now() + std::chrono::milliseconds(500));
  impl_->server->Wait();
  impl_->end();
  impl_->server.reset();
}

}  // namespace commissure
