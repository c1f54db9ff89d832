#include "wire/stage_queries.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <thread>
#include <utility>

#include "core/mutex.h"
#include "core/scarce.h"
#include "wire/codec.h"
#include "wire/codec_values.h"
#include "wire/health.pb.h"

namespace commissure {
namespace {

using std::chrono::milliseconds;
using Health = grpc::health::v1::HealthCheckResponse;

constexpr milliseconds kDescribeTimeout(2'000);
constexpr milliseconds kHealthGlance(250);

/// What is left of the caller's time, less a part for the way back.
milliseconds remaining(const grpc::GenericServerContext& context, milliseconds at_most) {
  const auto left = std::chrono::duration_cast<milliseconds>(context.deadline() - std::chrono::system_clock::now());
  return std::clamp(left - left / 8, milliseconds(1), at_most);
}

grpc::ByteBuffer to_bytes(const google::protobuf::MessageLite& message) {
  const grpc::Slice slice(message.SerializeAsString());
  return {&slice, 1};
}

grpc::ByteBuffer to_bytes(const std::vector<StageInfo>& chain) {
  v1::ChainDescription description;
  encode(chain, *description.mutable_stages());
  return to_bytes(description);
}

/// Answers one request on a thread of its own, and destroys itself when the call is over.
class Query final : public ServerCall::Events {
 public:
  /// Sends what there is to say; its result ends the call. `request` is the message as it came.
  using Answer = std::function<grpc::Status(ServerCall& call, const std::string& request, const std::stop_token& stop)>;

  explicit Query(Answer answer) : answer_(std::move(answer)) {}

 private:
  Result<ServerCall::Next> on_message(ServerCall& call, const grpc::ByteBuffer& message) override {
    grpc::Slice request;
    if (!message.DumpToSingleSlice(&request).ok()) return Error(Code::kDataLoss, "the request cannot be read");
    thread_ =
        std::jthread([this, &call, bytes = std::string(reinterpret_cast<const char*>(request.begin()), request.size())](
                         const std::stop_token& stop) {
          if (!done_unless_scarce([&] { call.finish(answer_(call, bytes, stop)); })) call.fail();
        });
    return ServerCall::Next::kPause;
  }
  void on_peer_gone(ServerCall& call) override {
    call.finish(grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "the call has no request"));
  }
  void on_cancelled(ServerCall&) override { thread_.request_stop(); }
  void on_done(ServerCall&) override {
    // Joins the thread, which has called finish and is about to return.
    delete this;
  }

  const Answer answer_;
  std::jthread thread_;
};

void answer_later(ServerCall& call, Query::Answer answer) { call.begin(*new Query(std::move(answer))); }

std::optional<Health::ServingStatus> health_of(const std::string& request, const std::function<bool()>& is_serving) {
  grpc::health::v1::HealthCheckRequest asked;
  if (!asked.ParseFromString(request)) return std::nullopt;
  if (asked.service() == "live") return Health::SERVING;
  if (!asked.service().empty()) return Health::SERVICE_UNKNOWN;
  return is_serving() ? Health::SERVING : Health::NOT_SERVING;
}

grpc::Status send_health(ServerCall& call, Health::ServingStatus status) {
  Health answer;
  answer.set_status(status);
  call.send(to_bytes(answer));
  return {};
}

grpc::Status watch_health(ServerCall& call, const std::string& request, const std::function<bool()>& is_serving,
                          const std::stop_token& stop) {
  Mutex mutex;
  StoppableCondition stopped;
  std::optional<Health::ServingStatus> told;
  while (!stop.stop_requested()) {
    const auto now = health_of(request, is_serving);
    if (!now) return {grpc::StatusCode::INVALID_ARGUMENT, "not a health check request"};
    if (now != told) send_health(call, *now);
    told = now;
    const MutexLock lock(mutex);
    stopped.wait_for(mutex, stop, kHealthGlance, [] { return false; });
  }
  return grpc::Status::CANCELLED;
}

Result<AdapterSource> read_source(const std::string& request) {
  v1::AdapterSource asked;
  if (!asked.ParseFromString(request)) return Error(Code::kInvalidArgument, "not a request about an adapter");
  return decode(asked);
}

}  // namespace

void answer_describe(ServerCall& call, const LocalStage& self, StageClient* next) {
  answer_later(call, [self, next](ServerCall& to, const std::string&, const std::stop_token& stop) {
    to.send(to_bytes(describe_chain(self, next, remaining(to.context(), kDescribeTimeout), stop)));
    return grpc::Status();
  });
}

void answer_wake(ServerCall& call, const LocalStage& self, StageClient* next) {
  answer_later(call, [self, next](ServerCall& to, const std::string&, const std::stop_token& stop) {
    const auto report = [&](const std::vector<StageInfo>& chain) {
      to.send(to_bytes(chain));
      to.wait_written(stop);
    };
    const Status status = wake_chain(self, next, remaining(to.context(), kWakeTimeout), report, stop);
    // A stage that failed is told in the report; the call itself went well.
    const bool told = status || status.error().code() == Code::kUnavailable;
    return told ? grpc::Status() : to_grpc(status.error());
  });
}

void answer_load_adapter(ServerCall& call, const LocalStage& self, StageClient* next) {
  answer_later(call, [self, next](ServerCall& to, const std::string& request, const std::stop_token& stop) {
    const auto source = read_source(request);
    if (!source) return to_grpc(source.error());
    const auto loaded = load_adapter_chain(self, next, *source, remaining(to.context(), kAdapterTimeout), stop);
    if (!loaded) return to_grpc(loaded.error());
    v1::LoadedAdapter answer;
    answer.set_bytes(*loaded);
    to.send(to_bytes(answer));
    return grpc::Status();
  });
}

void answer_drop_adapter(ServerCall& call, const LocalStage& self, StageClient* next) {
  answer_later(call, [self, next](ServerCall& to, const std::string& request, const std::stop_token&) {
    const auto source = read_source(request);
    if (!source) return to_grpc(source.error());
    self.drop_adapter(source->id);
    if (next != nullptr) next->drop_adapter(source->id);
    to.send(to_bytes(v1::LoadedAdapter()));
    return grpc::Status();
  });
}

void answer_health(ServerCall& call, std::function<bool()> is_serving, bool watch) {
  answer_later(call,
               [is_serving = std::move(is_serving), watch](ServerCall& to, const std::string& request,
                                                           const std::stop_token& stop) -> grpc::Status {
                 if (watch) return watch_health(to, request, is_serving, stop);
                 const auto status = health_of(request, is_serving);
                 if (!status) return {grpc::StatusCode::INVALID_ARGUMENT, "not a health check request"};
                 if (*status == Health::SERVICE_UNKNOWN) return {grpc::StatusCode::NOT_FOUND, "unknown service"};
                 return send_health(to, *status);
               });
}

}  // namespace commissure
