#pragma once

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <chrono>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>

#include "wire/frame.h"

namespace commissure {

/// The server's end of one boundary stream.
///
/// Threading: send, finish and resume from any thread; events come on gRPC's threads, frames one at a time.
class ServerStream final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  enum class Next { kRead, kPause };

  class Events {
   public:
    virtual ~Events() = default;
    /// Says whether to read on; after kPause nothing is read until resume(). An error ends the stream.
    virtual Result<Next> on_frame(ServerStream& stream, Frame frame) = 0;
    /// The peer ended its side or went away. More sends are allowed, and finish() is still due.
    virtual void on_peer_gone(ServerStream& stream) = 0;
    /// The last event; the stream may be destroyed inside it.
    virtual void on_done(ServerStream& stream) = 0;
  };

  explicit ServerStream(Events& events) : events_(events), opened_(std::chrono::steady_clock::now()) {}
  void begin() { StartRead(&incoming_); }

  /// Queues a message behind those not yet written; dropped once finished.
  void send(grpc::ByteBuffer message);
  /// Ends the call after what was queued before. The first reason stays.
  void finish(const Status& status);
  void resume();

  std::chrono::steady_clock::time_point opened() const { return opened_; }

 private:
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnDone() override;
  void advance();

  Events& events_;
  const std::chrono::steady_clock::time_point opened_;
  grpc::ByteBuffer incoming_;

  // Operations are started with the lock held: gRPC completes them on threads of its own, never inside the call.
  std::mutex mutex_;
  std::deque<grpc::ByteBuffer> outgoing_;  // the front is being written
  bool writing_ = false;
  bool finished_ = false;  // Finish was called: no operation may start
  std::optional<Status> end_;
};

}  // namespace commissure
