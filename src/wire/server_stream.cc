#include "wire/server_stream.h"

#include <utility>

#include "wire/codec.h"

namespace commissure {

void ServerStream::send(grpc::ByteBuffer message) {
  const std::lock_guard lock(mutex_);
  if (end_) return;
  outgoing_.push_back(std::move(message));
  advance();
}

void ServerStream::finish(const Status& status) {
  const std::lock_guard lock(mutex_);
  if (end_) return;
  end_ = status;
  advance();
}

void ServerStream::resume() {
  const std::lock_guard lock(mutex_);
  if (!finished_) StartRead(&incoming_);
}

void ServerStream::advance() {
  if (writing_ || finished_) return;
  if (!outgoing_.empty()) {
    writing_ = true;
    StartWrite(&outgoing_.front());
  } else if (end_) {
    finished_ = true;
    Finish(*end_ ? grpc::Status() : to_grpc(end_->error()));
  }
}

void ServerStream::OnReadDone(bool ok) {
  if (!ok) return events_.on_peer_gone(*this);
  Result<Frame> frame = decode_frame(incoming_);
  incoming_.Clear();
  Result<Next> next = Next::kRead;
  if (frame) {
    next = events_.on_frame(*this, std::move(*frame));
  } else {
    next = frame.error();
  }
  if (!next) return finish(next.error());
  if (*next == Next::kRead) resume();
}

void ServerStream::OnWriteDone(bool ok) {
  const std::lock_guard lock(mutex_);
  outgoing_.pop_front();
  writing_ = false;
  if (!ok) outgoing_.clear();  // the call is dead; the read side tells
  advance();
}

void ServerStream::OnDone() { events_.on_done(*this); }

}  // namespace commissure
