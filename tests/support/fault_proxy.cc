#include "support/fault_proxy.h"

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <functional>
#include <random>
#include <utility>

#include "core/check.h"
#include "wire/channel.h"
#include "wire/codec.h"
#include "wire/stage.grpc.pb.h"

namespace commissure::testing {

namespace {

using std::chrono::milliseconds;

constexpr milliseconds kDelay{150};
constexpr milliseconds kThrottle{15};
constexpr int kThrottledFrames = 20;
constexpr milliseconds kReorderPatience{300};  // a held frame goes on by itself when no other comes
constexpr bf16 kNan = 0x7fc0;

std::string kind_of(const Frame& frame) {
  constexpr const char* kNames[] = {"hello", "step", "result", "error", "goodbye", "busy"};
  return kNames[frame.index()];
}

grpc::ByteBuffer encode_any(const Frame& frame) {
  return std::visit(
      [](const auto& each) {
        if constexpr (std::is_same_v<std::decay_t<decltype(each)>, StageInput>) {
          return encode_frame(each.batch, each.boundary);
        } else {
          return encode_frame(each);
        }
      },
      frame);
}

grpc::ByteBuffer with_a_bit_flipped(const grpc::ByteBuffer& message, std::uint64_t chance) {
  std::vector<grpc::Slice> slices;
  CHECK(message.Dump(&slices).ok());
  std::string bytes;
  for (const grpc::Slice& slice : slices) bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  const std::uint64_t bit = chance % (bytes.size() * 8);
  bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
  const grpc::Slice slice(bytes);
  return {&slice, 1};
}

/// What a stage of another chain, or one whose counting or arithmetic is broken, would send.
Frame spoiled(Frame frame, const std::string& action) {
  if (auto* hello = std::get_if<Hello>(&frame); hello != nullptr && action == "foreign") {
    for (StageInfo& stage : hello->stages) stage.fingerprint = "another model";
  } else if (auto* input = std::get_if<StageInput>(&frame)) {
    const Boundary rows = std::move(input->boundary);
    std::vector<bf16> values(rows.values.begin(), rows.values.end());
    if (action == "nan") std::ranges::fill(values, kNan);
    const int fewer = action == "count" ? 1 : 0;
    const int width = action == "foreign" ? rows.d_model / 2 : rows.d_model;
    values.resize(static_cast<std::size_t>((rows.n_rows - fewer) * width));
    input->boundary = make_boundary(rows.step, rows.n_rows - fewer, width, std::move(values));
  } else if (auto* tokens = std::get_if<SampledTokens>(&frame)) {
    if (action == "count" && !tokens->results.empty()) tokens->results.pop_back();
    if (action == "foreign") {
      for (SequenceResult& result : tokens->results) result.sequence = SequenceId(result.sequence.value + 1'000'000);
    }
  }
  return frame;
}

}  // namespace

const std::vector<std::string>& fault_actions() {
  static const std::vector<std::string> actions = {
      "cut", "half_close", "delay", "throttle", "reorder", "duplicate", "corrupt", "foreign", "replay", "count", "nan"};
  return actions;
}

/// The earlier stage's end of a stream. By gRPC's callback API, which the stages do not use.
class FaultProxy::Near final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  explicit Near(Service& service) : service_(service) {}
  void begin() { StartRead(&incoming_); }
  /// Dropped once finished.
  void send(grpc::ByteBuffer message);
  /// Ends the stream after what was sent before. The first reason stays.
  void finish(const Status& status);

 private:
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnDone() override {}  // kept by the service: a tunnel may still use it
  void advance();

  Service& service_;
  grpc::ByteBuffer incoming_;
  std::mutex mutex_;
  std::deque<grpc::ByteBuffer> outgoing_;  // the front is being written
  bool writing_ = false;
  bool finished_ = false;
  std::optional<grpc::Status> end_;
};

/// One stream through the relay.
class FaultProxy::Tunnel final : public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  Tunnel(Service& service, Near& near, std::shared_ptr<grpc::Channel> channel)
      : service_(service), near_(near), channel_(std::move(channel)) {}

  void open();
  /// A frame from the earlier stage.
  void from_near(const Frame& frame);
  void cut();
  void half_close();

 private:
  friend class Service;
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnDone(const grpc::Status& status) override;
  void send_down(grpc::ByteBuffer message);
  void send_up(grpc::ByteBuffer message);
  void send(bool down, grpc::ByteBuffer message) { down ? send_down(std::move(message)) : send_up(std::move(message)); }
  void advance();
  /// Passes a frame on, or spoils it.
  void pass(bool down, const Frame& frame);
  void apply(bool down, const Frame& frame, const std::string& action);
  void hold(bool down, grpc::ByteBuffer message);
  void release(bool down);

  Service& service_;
  Near& near_;  // kept by the service, takes calls when it is over
  const std::shared_ptr<grpc::Channel> channel_;
  grpc::ClientContext context_;
  grpc::ByteBuffer incoming_;
  std::mutex mutex_;
  std::deque<grpc::ByteBuffer> outgoing_;
  bool writing_ = false;
  bool no_more_ = false;  // writes are done
  bool closed_ = false;
  std::optional<grpc::ByteBuffer> held_[2];
  std::atomic<int> n_throttled_ = 0;
  std::jthread releaser_;
};

class FaultProxy::Service final
    : public v1::Stage::WithRawCallbackMethod_Open<v1::Stage::WithCallbackMethod_Describe<v1::Stage::Service>> {
 public:
  explicit Service(const Endpoint& target) : target_(target), client_(target) {}

  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Open(grpc::CallbackServerContext*) override {
    auto stream = std::make_unique<Near>(*this);
    Near* const near = stream.get();
    auto tunnel = std::make_unique<Tunnel>(*this, *near, open_channel(target_, {}));
    Tunnel* const opened = tunnel.get();
    {
      const std::lock_guard lock(mutex_);
      streams_.push_back(std::move(stream));
      tunnels_[near] = std::move(tunnel);
      ++n_streams_;
    }
    opened->open();
    near->begin();
    return near;
  }
  grpc::ServerUnaryReactor* Describe(grpc::CallbackServerContext* context, const v1::DescribeRequest*,
                                     v1::ChainDescription* answer) override {
    grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
    client_.describe_later(milliseconds(2000), [reactor, answer](const Result<std::vector<StageInfo>>& stages) {
      if (stages) encode(*stages, *answer->mutable_stages());
      reactor->Finish(stages ? grpc::Status() : to_grpc(stages.error()));
    });
    return reactor;
  }

  void on_frame(Near& stream, const Frame& frame) { tunnel_of(stream).from_near(frame); }
  void on_peer_gone(Near& stream) { tunnel_of(stream).cut(); }

  void arm(Fault fault) {
    const std::lock_guard lock(mutex_);
    fault_ = std::move(fault);
  }
  bool is_armed() const {
    const std::lock_guard lock(mutex_);
    return fault_.has_value();
  }
  /// The fault for this frame, once.
  std::optional<std::string> take_fault(bool down, const std::string& kind) {
    const std::lock_guard lock(mutex_);
    if (!fault_ || fault_->kind != kind || fault_->down != down) return std::nullopt;
    return std::exchange(fault_, std::nullopt)->action;
  }
  /// Keeps one frame of each kind and way; gives the one of an earlier stream.
  grpc::ByteBuffer swap_old(bool down, const std::string& kind, const grpc::ByteBuffer& fresh) {
    const std::lock_guard lock(mutex_);
    const auto it = old_.find({down, kind});
    return it == old_.end() ? fresh : it->second;
  }
  void remember(bool down, const std::string& kind, const grpc::ByteBuffer& message) {
    const std::lock_guard lock(mutex_);
    if (n_remembered_[{down, kind}]++ % 50 == 0) old_[{down, kind}] = message;
  }
  std::uint64_t chance() {
    const std::lock_guard lock(mutex_);
    return random_();
  }
  void cut_all() {
    const std::lock_guard lock(mutex_);
    for (auto& [stream, tunnel] : tunnels_) {
      tunnel->cut();
    }
  }
  int n_streams() const {
    const std::lock_guard lock(mutex_);
    return n_streams_;
  }

 private:
  Tunnel& tunnel_of(Near& stream) {
    const std::lock_guard lock(mutex_);
    return *tunnels_.at(&stream);
  }

  const Endpoint target_;
  StageClient client_;
  mutable std::mutex mutex_;
  std::list<std::unique_ptr<Near>> streams_;
  std::map<Near*, std::unique_ptr<Tunnel>> tunnels_;  // both kept to the end: gRPC's last calls may come late
  std::optional<Fault> fault_;
  std::map<std::pair<bool, std::string>, grpc::ByteBuffer> old_;
  std::map<std::pair<bool, std::string>, int> n_remembered_;
  std::mt19937_64 random_{20260101};
  int n_streams_ = 0;
};

void FaultProxy::Near::send(grpc::ByteBuffer message) {
  const std::lock_guard lock(mutex_);
  if (end_) return;
  outgoing_.push_back(std::move(message));
  advance();
}

void FaultProxy::Near::finish(const Status& status) {
  const std::lock_guard lock(mutex_);
  if (end_) return;
  end_ = status ? grpc::Status() : to_grpc(status.error());
  advance();
}

void FaultProxy::Near::advance() {
  if (writing_ || finished_) return;
  if (!outgoing_.empty()) {
    writing_ = true;
    StartWrite(&outgoing_.front());
  } else if (end_) {
    finished_ = true;
    Finish(*end_);
  }
}

void FaultProxy::Near::OnReadDone(bool ok) {
  if (!ok) return service_.on_peer_gone(*this);
  const Result<Frame> frame = decode_frame(incoming_);
  incoming_.Clear();
  if (!frame) return finish(frame.error());
  service_.on_frame(*this, *frame);
  const std::lock_guard lock(mutex_);
  if (!finished_) StartRead(&incoming_);
}

void FaultProxy::Near::OnWriteDone(bool ok) {
  const std::lock_guard lock(mutex_);
  outgoing_.pop_front();
  writing_ = false;
  if (!ok) outgoing_.clear();
  advance();
}

void FaultProxy::Tunnel::open() {
  grpc::TemplatedGenericStub<grpc::ByteBuffer, grpc::ByteBuffer> stub(channel_);
  stub.PrepareBidiStreamingCall(&context_, "/commissure.v1.Stage/Open", {}, this);
  AddHold();
  StartRead(&incoming_);
  StartCall();
}

void FaultProxy::Tunnel::from_near(const Frame& frame) { pass(true, frame); }

void FaultProxy::Tunnel::OnReadDone(bool ok) {
  if (!ok) {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    if (!writing_) RemoveHold();
    return;
  }
  const Result<Frame> frame = decode_frame(incoming_);
  incoming_.Clear();
  if (frame) {
    pass(false, *frame);
  } else {
    context_.TryCancel();
  }
  StartRead(&incoming_);
}

void FaultProxy::Tunnel::OnWriteDone(bool ok) {
  std::unique_lock lock(mutex_);
  outgoing_.pop_front();
  writing_ = false;
  if (!ok) outgoing_.clear();
  if (closed_) {
    lock.unlock();
    return RemoveHold();
  }
  advance();
}

void FaultProxy::Tunnel::OnDone(const grpc::Status& status) {
  near_.finish(status.ok() ? Status() : from_grpc(status));
}

void FaultProxy::Tunnel::send_down(grpc::ByteBuffer message) {
  const std::lock_guard lock(mutex_);
  if (closed_ || no_more_) return;
  outgoing_.push_back(std::move(message));
  advance();
}

void FaultProxy::Tunnel::send_up(grpc::ByteBuffer message) { near_.send(std::move(message)); }

void FaultProxy::Tunnel::advance() {
  if (writing_ || outgoing_.empty()) return;
  writing_ = true;
  StartWrite(&outgoing_.front());
}

void FaultProxy::Tunnel::cut() {
  context_.TryCancel();
  near_.finish(Error(Code::kUnavailable, "the relay cut the stream"));
}

void FaultProxy::Tunnel::half_close() {
  const std::lock_guard lock(mutex_);
  if (closed_ || no_more_) return;
  no_more_ = true;
  StartWritesDone();
}

void FaultProxy::Tunnel::hold(bool down, grpc::ByteBuffer message) {
  {
    const std::lock_guard lock(mutex_);
    held_[down] = std::move(message);
  }
  releaser_ = std::jthread([this, down](const std::stop_token& stop) {
    for (auto left = kReorderPatience; left.count() > 0 && !stop.stop_requested(); left -= milliseconds(10)) {
      std::this_thread::sleep_for(milliseconds(10));
    }
    release(down);
  });
}

void FaultProxy::Tunnel::release(bool down) {
  std::optional<grpc::ByteBuffer> message;
  {
    const std::lock_guard lock(mutex_);
    message = std::exchange(held_[down], std::nullopt);
  }
  if (message) send(down, std::move(*message));
}

void FaultProxy::Tunnel::pass(bool down, const Frame& frame) {
  if (n_throttled_ > 0) {
    --n_throttled_;
    std::this_thread::sleep_for(kThrottle);
  }
  const std::string kind = kind_of(frame);
  service_.remember(down, kind, encode_any(frame));
  if (const auto* tokens = std::get_if<SampledTokens>(&frame)) {
    // What a healthy chain does not send is made up.
    if (const auto action = service_.take_fault(down, "error")) {
      return apply(down, StepError{tokens->step, Error(Code::kUnavailable, "made up by the relay")}, *action);
    }
    if (const auto action = service_.take_fault(down, "goodbye")) apply(down, Goodbye{"made up by the relay"}, *action);
  }
  if (const auto action = service_.take_fault(down, kind)) return apply(down, frame, *action);
  send(down, encode_any(frame));
  release(down);
}

void FaultProxy::Tunnel::apply(bool down, const Frame& frame, const std::string& action) {
  const grpc::ByteBuffer message = encode_any(frame);
  if (action == "cut") return cut();
  if (action == "half_close") {
    if (down) return half_close();
    near_.finish({});
    return;
  }
  if (action == "delay") std::this_thread::sleep_for(kDelay);
  if (action == "throttle") n_throttled_ = kThrottledFrames;
  if (action == "reorder") return hold(down, message);
  if (action == "duplicate") send(down, message);
  if (action == "corrupt") return send(down, with_a_bit_flipped(message, service_.chance()));
  if (action == "replay") return send(down, service_.swap_old(down, kind_of(frame), message));
  send(down, encode_any(spoiled(frame, action)));
}

FaultProxy::FaultProxy(const Endpoint& listen, const Endpoint& target) : service_(std::make_unique<Service>(target)) {
  grpc::ServerBuilder builder;
  tune_server(builder);
  builder.AddListeningPort(listen.target, grpc::InsecureServerCredentials());
  builder.RegisterService(service_.get());
  server_ = builder.BuildAndStart();
  CHECK(server_ != nullptr);
}

FaultProxy::~FaultProxy() {
  service_->cut_all();
  server_->Shutdown(std::chrono::system_clock::now() + milliseconds(500));
  server_->Wait();
}

void FaultProxy::arm(Fault fault) { service_->arm(std::move(fault)); }
bool FaultProxy::is_armed() const { return service_->is_armed(); }
void FaultProxy::cut() { service_->cut_all(); }
int FaultProxy::n_streams() const { return service_->n_streams(); }

}  // namespace commissure::testing
