#pragma once

#include <grpcpp/completion_queue.h>
#include <grpcpp/server_builder.h>

#include <memory>
#include <thread>

#include "core/mutex.h"

namespace commissure {

/// Called when one of its owner's gRPC operations is complete; its address is the operation's tag.
struct Completion {
  void* owner = nullptr;
  void (*call)(void* owner, bool ok) = nullptr;

  /// Calls a member function `void f(bool ok)`.
  template <auto Function, typename Owner>
  static Completion of(Owner* owner) {
    return {owner, [](void* self, bool ok) { (static_cast<Owner*>(self)->*Function)(ok); }};
  }
};

/// The one completion queue of a process, and the one thread that polls it and runs every Completion.
///
/// There is one thread, because gRPC lets a single thread of a process wait for the network at a time and hands this
/// role on after every event. With two threads (gRPC's callback API has at least two) each event wakes both, and a step
/// through three stages on one machine loses twice the time that its messages take. So nothing of the wire uses the
/// callback API, and what a Completion calls must not wait for the network or for another Completion. It must not throw
/// either: where memory runs out, it ends its own call (core/scarce.h), so that nobody waits for that.
/// Threading: any thread.
class CallQueue {
 public:
  CallQueue();
  /// Waits for all operations in flight.
  ~CallQueue();
  CallQueue(const CallQueue&) = delete;
  CallQueue& operator=(const CallQueue&) = delete;

  /// The queue that a server takes its calls from; polled once poll() is called. Called at most once, and before
  /// outgoing().
  grpc::ServerCompletionQueue& add_to(grpc::ServerBuilder& builder);
  /// Starts to poll. Called when the server is built.
  void poll();

  /// The queue for calls to other processes: the server's queue where there is a server.
  grpc::CompletionQueue& outgoing();

 private:
  static void run(grpc::CompletionQueue& queue);

  Mutex mutex_;
  std::unique_ptr<grpc::CompletionQueue> queue_ GUARDED_BY(mutex_);
  std::jthread thread_ GUARDED_BY(mutex_);
};

}  // namespace commissure
