#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/support/byte_buffer.h>

#include <deque>
#include <memory>
#include <optional>

#include "core/mutex.h"
#include "wire/call_queue.h"
#include "wire/frame.h"

namespace commissure {

/// The client's end of one boundary stream, from its opening to its end.
///
/// Threading: send and cancel from any thread; the events come on the queue's thread.
class LinkStream {
 public:
  class Events {
   public:
    virtual ~Events() = default;
    /// An error ends the stream, and so does a lack of memory. Nothing is read while this runs.
    virtual Status on_frame(Frame frame) = 0;
    /// The last event: no on_frame runs or follows. The stream may be destroyed by any thread from now on. Must not
    /// throw.
    virtual void on_closed(const Error& why) = 0;
  };

  /// `queue` and `events` outlive the stream.
  LinkStream(const std::shared_ptr<grpc::Channel>& channel, CallQueue& queue, Events& events);

  void open();
  /// Queues a message behind those not yet written; dropped when the stream is over.
  void send(grpc::ByteBuffer message);
  /// Ends the stream; on_closed gets `why`. Of several calls the first one's reason counts.
  void cancel(const Error& why);

 private:
  void on_started(bool ok);
  void on_read(bool ok);
  /// Whether to read on.
  bool take_frame();
  void on_written(bool ok);
  void on_finished(bool ok);
  void write_next() REQUIRES(mutex_);
  /// Asks gRPC how the call ended.
  void finish() REQUIRES(mutex_);
  /// Tells the end once gRPC has let go of the stream.
  void close_when_quiet();
  Error reason();

  Events& events_;
  grpc::ClientContext context_;
  // The generic stub hands raw messages through, so that rows are not copied into a protobuf string.
  const std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call_;
  grpc::ByteBuffer incoming_;
  grpc::Status status_;
  Completion started_ = Completion::of<&LinkStream::on_started>(this);
  Completion read_ = Completion::of<&LinkStream::on_read>(this);
  Completion written_ = Completion::of<&LinkStream::on_written>(this);
  Completion finished_ = Completion::of<&LinkStream::on_finished>(this);

  Mutex mutex_;
  std::deque<grpc::ByteBuffer> outgoing_ GUARDED_BY(mutex_);  // the front is being written
  bool writing_ GUARDED_BY(mutex_) = true;                    // nothing may be written before the call has started
  bool finishing_ GUARDED_BY(mutex_) = false;
  bool is_over_ GUARDED_BY(mutex_) = false;
  std::optional<Error> why_ GUARDED_BY(mutex_);
};

}  // namespace commissure
