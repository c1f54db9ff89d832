#pragma once

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/support/byte_buffer.h>

#include <chrono>
#include <deque>
#include <optional>
#include <stop_token>
#include <string>

#include "core/mutex.h"
#include "core/result.h"
#include "wire/call_queue.h"

namespace commissure {

/// The server's end of one call of any method, as raw messages.
///
/// Threading: send, finish, resume and wait_written from any thread; events come on the queue's thread, one at a time.
class ServerCall {
 public:
  enum class Next { kRead, kPause };

  /// Who answers the call. Where memory runs out in one of the first two events, the call ends.
  class Events {
   public:
    virtual ~Events() = default;
    /// Says whether to read on; after kPause nothing is read until resume(). An error ends the call.
    virtual Result<Next> on_message(ServerCall& call, const grpc::ByteBuffer& message) = 0;
    /// The peer ended its side or went away. More sends are allowed, and finish() is still due.
    virtual void on_peer_gone(ServerCall& call) = 0;
    /// The call is over for the peer as well. Must not throw.
    virtual void on_cancelled(ServerCall&) {}
    /// The last event; finish() was called before. Must not throw.
    virtual void on_done(ServerCall& call) = 0;
  };

  /// Who waits for calls.
  class Host {
   public:
    virtual ~Host() = default;
    /// A call has come, and begin() or finish() is due. Not ok: the server shuts down and no call will come. Must not
    /// throw, nor on_over.
    virtual void on_arrived(ServerCall& call, bool ok) = 0;
    /// The peer dropped the call before it had its end.
    virtual void on_dropped(ServerCall& call) = 0;
    /// gRPC has let go of it: the call may be destroyed.
    virtual void on_over(ServerCall& call) = 0;
  };

  explicit ServerCall(Host& host) : host_(host), call_(&context_) {}
  /// Waits for the next call of any kind.
  void await(grpc::AsyncGenericService& service, grpc::ServerCompletionQueue& queue);

  void begin(Events& events);
  /// Queues a message behind those not yet written; dropped once finished.
  void send(grpc::ByteBuffer message);
  /// Ends the call after what was queued before. Of several calls the first one's status counts.
  void finish(const grpc::Status& status);
  /// Ends the call for want of memory; needs none.
  void fail();
  /// Ends the call if it was begun and its peer has said nothing yet. False: it has, or the call ends anyway.
  bool finish_if_silent(const grpc::Status& status);
  void resume();
  /// Waits until all that was sent has been handed to the network, or never will be.
  void wait_written(const std::stop_token& stop);

  const std::string& method() const { return context_.method(); }
  const grpc::GenericServerContext& context() const { return context_; }
  /// The connection it came on, as gRPC names it.
  const std::string& peer() const { return peer_; }
  std::chrono::steady_clock::time_point opened() const { return opened_; }

 private:
  void on_arrived(bool ok);
  void on_ended(bool ok);
  void on_read(bool ok);
  void take(Events& events, const grpc::ByteBuffer& message);
  void on_written(bool ok);
  void on_finished(bool ok);
  // Operations are started with the lock held; gRPC never completes one inside the call.
  void read() REQUIRES(mutex_);
  void advance() REQUIRES(mutex_);
  Events* events();
  /// After each completion: tells the end when it was the last.
  void leave();

  Host& host_;
  std::chrono::steady_clock::time_point opened_;
  std::string peer_;
  grpc::GenericServerContext context_;
  grpc::GenericServerAsyncReaderWriter call_;
  grpc::ByteBuffer incoming_;
  Completion arrived_ = Completion::of<&ServerCall::on_arrived>(this);
  Completion ended_ = Completion::of<&ServerCall::on_ended>(this);
  Completion read_ = Completion::of<&ServerCall::on_read>(this);
  Completion written_ = Completion::of<&ServerCall::on_written>(this);
  Completion finished_ = Completion::of<&ServerCall::on_finished>(this);

  Mutex mutex_;
  StoppableCondition quiet_;
  Events* events_ GUARDED_BY(mutex_) = nullptr;               // from begin() on
  std::deque<grpc::ByteBuffer> outgoing_ GUARDED_BY(mutex_);  // the front is being written
  bool spoke_ GUARDED_BY(mutex_) = false;                     // the peer sent a message
  bool writing_ GUARDED_BY(mutex_) = false;
  bool finishing_ GUARDED_BY(mutex_) = false;  // Finish was called: no operation may start
  std::optional<grpc::Status> end_ GUARDED_BY(mutex_);
  int n_pending_ GUARDED_BY(mutex_) = 0;  // operations gRPC has yet to complete
};

}  // namespace commissure
