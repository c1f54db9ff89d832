#include "wire/link_stream.h"

#include <grpcpp/generic/generic_stub.h>

#include <utility>

#include "wire/codec.h"

namespace commissure {

LinkStream::LinkStream(std::shared_ptr<grpc::Channel> channel, Events& events)
    : channel_(std::move(channel)), events_(events) {}

void LinkStream::open() {
  // The generic stub hands raw messages through, so that rows are not copied into a protobuf string.
  grpc::TemplatedGenericStub<grpc::ByteBuffer, grpc::ByteBuffer> stub(channel_);
  stub.PrepareBidiStreamingCall(&context_, "/commissure.v1.Stage/Open", {}, this);
  AddHold();  // sends come from outside the reactions; close() gives it back
  StartRead(&incoming_);
  StartCall();
}

void LinkStream::send(grpc::ByteBuffer message) {
  const std::lock_guard lock(mutex_);
  if (closed_) return;
  outgoing_.push_back(std::move(message));
  if (!writing_) write_next();
}

void LinkStream::cancel(const Error& why) {
  const std::lock_guard lock(mutex_);
  if (!why_) why_ = why;
  context_.TryCancel();
}

void LinkStream::write_next() {
  writing_ = true;
  StartWrite(&outgoing_.front());
}

void LinkStream::OnReadDone(bool ok) {
  if (!ok) return close();
  Result<Frame> frame = decode_frame(incoming_);
  incoming_.Clear();
  Status handled;
  if (frame) {
    handled = events_.on_frame(std::move(*frame));
  } else {
    handled = frame.error();
  }
  if (!handled) {
    cancel(handled.error());
    return close();
  }
  StartRead(&incoming_);
}

void LinkStream::OnWriteDone(bool ok) {
  std::unique_lock lock(mutex_);
  outgoing_.pop_front();
  writing_ = false;
  if (closed_) {
    lock.unlock();
    RemoveHold();
    return;
  }
  if (!ok) {
    outgoing_.clear();  // the read side learns why and closes
    return;
  }
  if (!outgoing_.empty()) write_next();
}

void LinkStream::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  // A write in flight keeps the hold until it is done, since it uses this object.
  if (!writing_) RemoveHold();
}

void LinkStream::OnDone(const grpc::Status& status) {
  std::optional<Error> why;
  {
    const std::lock_guard lock(mutex_);
    why = why_;
  }
  if (!why) why = status.ok() ? Error(Code::kUnavailable, "the stage ended the stream") : from_grpc(status);
  events_.on_closed(*why);
}

}  // namespace commissure
