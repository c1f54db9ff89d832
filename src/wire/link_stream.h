#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/client_callback.h>

#include <deque>
#include <memory>
#include <mutex>
#include <optional>

#include "wire/frame.h"

namespace commissure {

/// The client's end of one boundary stream, from its opening to its end.
///
/// Threading: send and cancel from any thread; the events come on gRPC's threads, one at a time.
class LinkStream final : public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  class Events {
   public:
    virtual ~Events() = default;
    /// An error ends the stream. Nothing is read while this runs.
    virtual Status on_frame(Frame frame) = 0;
    /// The last event: no on_frame runs or follows. The stream may be destroyed by any thread from now on.
    virtual void on_closed(const Error& why) = 0;
  };

  LinkStream(std::shared_ptr<grpc::Channel> channel, Events& events);

  void open();
  /// Queues a message behind those not yet written; dropped when the stream is over.
  void send(grpc::ByteBuffer message);
  /// Ends the stream; on_closed says `why`. The first reason stays.
  void cancel(const Error& why);

 private:
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnDone(const grpc::Status& status) override;
  void write_next();
  void close();

  const std::shared_ptr<grpc::Channel> channel_;
  Events& events_;
  grpc::ClientContext context_;
  grpc::ByteBuffer incoming_;

  // Operations are started with the lock held: gRPC completes them on threads of its own, never inside the call.
  std::mutex mutex_;
  std::deque<grpc::ByteBuffer> outgoing_;  // the front is being written
  bool writing_ = false;
  bool closed_ = false;
  std::optional<Error> why_;
};

}  // namespace commissure
