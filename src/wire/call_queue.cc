#include "wire/call_queue.h"

#include <absl/synchronization/mutex.h>

#include <utility>

#include "core/check.h"

namespace commissure {

CallQueue::CallQueue() {
  // Distributions build Abseil with its debug checks: every lock that gRPC takes walks a graph, and a suspected cycle
  // ends the process.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
}

CallQueue::~CallQueue() {
  if (queue_ == nullptr) return;
  queue_->Shutdown();
  if (!thread_.joinable()) run(*queue_);
}

grpc::ServerCompletionQueue& CallQueue::add_to(grpc::ServerBuilder& builder) {
  const MutexLock lock(mutex_);
  CHECK(queue_ == nullptr);
  std::unique_ptr<grpc::ServerCompletionQueue> queue = builder.AddCompletionQueue();
  grpc::ServerCompletionQueue& added = *queue;
  queue_ = std::move(queue);
  return added;
}

void CallQueue::poll() {
  const MutexLock lock(mutex_);
  thread_ = std::jthread([&queue = *queue_] { run(queue); });
}

grpc::CompletionQueue& CallQueue::outgoing() {
  const MutexLock lock(mutex_);
  if (queue_ == nullptr) {
    queue_ = std::make_unique<grpc::CompletionQueue>();
    thread_ = std::jthread([&queue = *queue_] { run(queue); });
  }
  return *queue_;
}

void CallQueue::run(grpc::CompletionQueue& queue) {
  void* tag = nullptr;
  bool ok = false;
  while (queue.Next(&tag, &ok)) {
    const Completion completion = *static_cast<Completion*>(tag);  // which may go with its owner
    completion.call(completion.owner, ok);
  }
}

}  // namespace commissure
