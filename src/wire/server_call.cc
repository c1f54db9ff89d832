#include "wire/server_call.h"

#include <utility>

#include "core/scarce.h"
#include "wire/codec.h"

namespace commissure {

void ServerCall::await(grpc::AsyncGenericService& service, grpc::ServerCompletionQueue& queue) {
  context_.AsyncNotifyWhenDone(&ended_);
  service.RequestCall(&context_, &call_, &queue, &queue, &arrived_);
}

void ServerCall::on_arrived(bool ok) {
  opened_ = std::chrono::steady_clock::now();
  {
    const MutexLock lock(mutex_);
    n_pending_ = 1;  // ended_, which comes for every call that came
  }
  if (ok) done_unless_scarce([&] { peer_ = context_.peer(); });
  host_.on_arrived(*this, ok);
}

void ServerCall::begin(Events& events) {
  const MutexLock lock(mutex_);
  events_ = &events;
  read();
}

void ServerCall::send(grpc::ByteBuffer message) {
  const MutexLock lock(mutex_);
  if (end_) return;
  outgoing_.push_back(std::move(message));
  advance();
}

void ServerCall::finish(const grpc::Status& status) {
  const MutexLock lock(mutex_);
  if (end_) return;
  end_ = status;
  advance();
}

bool ServerCall::finish_if_silent(const grpc::Status& status) {
  const MutexLock lock(mutex_);
  if (events_ == nullptr || spoke_ || end_) return false;
  end_ = status;
  advance();
  return true;
}

void ServerCall::resume() {
  const MutexLock lock(mutex_);
  if (!finishing_) read();
}

void ServerCall::wait_written(const std::stop_token& stop) {
  const MutexLock lock(mutex_);
  quiet_.wait(mutex_, stop, [this]() REQUIRES(mutex_) { return outgoing_.empty(); });
}

void ServerCall::read() {
  ++n_pending_;
  call_.Read(&incoming_, &read_);
}

void ServerCall::advance() {
  if (writing_ || finishing_) return;
  if (!outgoing_.empty()) {
    writing_ = true;
    ++n_pending_;
    call_.Write(outgoing_.front(), &written_);
  } else if (end_) {
    finishing_ = true;
    ++n_pending_;
    call_.Finish(*end_, &finished_);
  }
}

ServerCall::Events* ServerCall::events() {
  const MutexLock lock(mutex_);
  return events_;
}

void ServerCall::fail() { finish(to_grpc(no_memory())); }

/// A message that there is no memory or no thread for ends its call, and no other.
void ServerCall::take(Events& events, const grpc::ByteBuffer& message) {
  const auto taken = [&] {
    const Result<Next> next = events.on_message(*this, message);
    if (!next) finish(to_grpc(next.error()));
    if (next && *next == Next::kRead) resume();
  };
  if (!done_unless_scarce(taken)) fail();
}

void ServerCall::on_read(bool ok) {
  Events& events = *this->events();  // it was begun
  if (ok) {
    {
      const MutexLock lock(mutex_);
      spoke_ = true;
    }
    grpc::ByteBuffer message;
    message.Swap(&incoming_);  // resume() may come, and the next read with it, before on_message returns
    take(events, message);
  } else if (!done_unless_scarce([&] { events.on_peer_gone(*this); })) {
    fail();
  }
  leave();
}

void ServerCall::on_written(bool ok) {
  {
    const MutexLock lock(mutex_);
    outgoing_.pop_front();
    writing_ = false;
    if (!ok) outgoing_.clear();  // the call is dead; the read side tells
    advance();
    if (outgoing_.empty()) quiet_.notify_all();
  }
  leave();
}

void ServerCall::on_ended(bool) {
  Events* const events = this->events();
  if (context_.IsCancelled()) {
    done_unless_scarce([&] { host_.on_dropped(*this); });  // only counted there
    if (events != nullptr) events->on_cancelled(*this);
  }
  leave();
}

void ServerCall::on_finished(bool) { leave(); }

void ServerCall::leave() {
  Events* events = nullptr;
  {
    const MutexLock lock(mutex_);
    if (--n_pending_ > 0 || !finishing_) return;
    events = events_;
  }
  if (events != nullptr) events->on_done(*this);
  host_.on_over(*this);
}

}  // namespace commissure
