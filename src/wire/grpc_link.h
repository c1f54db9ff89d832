#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <vector>

#include "step/stage_info.h"
#include "step/stage_link.h"
#include "wire/chain_session.h"
#include "wire/endpoint.h"
#include "wire/security.h"

namespace commissure {

class CallQueue;

struct GrpcLinkOptions {
  Endpoint endpoint;
  ClientSecurity security = {};
  std::function<StageInfo()> self;  ///< the stage that this link belongs to, for the handshake
  bool lazy = false;                ///< connect at the first submit or connect(), not at start
  int max_in_flight = 32;           ///< a submit waits while so many steps are unanswered
  /// Bounds of how long there may be no sign of work on a step (StepPace): after that the chain behind is dead and not
  /// slow. Signs are answers, what stages behind say while they compute (Busy), and `n_done` rising.
  std::chrono::milliseconds step_deadline{60'000};
  std::chrono::milliseconds step_deadline_floor{15'000};
  /// A count that rises with the work of the stage this link goes out from: where stages share cores, the ones behind
  /// wait for it. Called with a lock held.
  std::function<std::uint64_t()> n_done = [] { return 0; };
  std::chrono::milliseconds max_stream_age{0};           ///< then the link asks to be moved; 0: never
  std::chrono::milliseconds handshake_deadline{15'000};  ///< without a sign of work in the stages behind
  std::chrono::milliseconds min_backoff{50};
  std::chrono::milliseconds max_backoff{2'000};
  std::shared_ptr<CallQueue> queue = nullptr;  ///< shared with the server of this process; null: the link has its own
};

/// The link to the next process, and through it to all stages after it. Keeps one boundary stream open and opens a new
/// one, with exponential back-off, whenever it ends.
///
/// A stream that ends answers every step in flight with kUnavailable (kDeadlineExceeded when a step was overdue,
/// kDataLoss when the peer sent nonsense). Sequences live as long as their stream: a slice that continues a sequence
/// which this stream has not seen created is refused with kUnavailable. Their keys and values may outlive it: lost() is
/// what the stages behind answered when the present stream began.
///
/// On stage A a stream that carries steps is a session of its own, which resumes those that a stage may have had its
/// last step in: the latest one with an answer, and later ones without. Further down a stream carries the session that
/// restart() names; one that the link opens by itself after a loss has no name, and so carries no steps.
///
/// Threading: submit from one thread, everything else from any. The sink runs on the queue's thread.
class GrpcLink final : public StageLink {
 public:
  explicit GrpcLink(GrpcLinkOptions options);
  ~GrpcLink() override;

  /// Sets what is called, on another thread, when a stream that was in use ends, except through restart() and stop().
  /// Call it before start().
  void on_lost(std::function<void(const Error&)> call);

  /// Sets what is called, on another thread, when the link begins to ask for a move, because the stage says goodbye or
  /// the stream is about to reach its greatest age. Call it before start().
  void on_leaving(std::function<void(const std::string& reason)> call);

  void start(Sink sink) override;
  Status submit(StageInput input) override;
  /// Errors: the reason of the last failed attempt (kFailedPrecondition: a wrong chain, or the stage refuses this
  /// caller with a fresh token as well), or kUnavailable.
  Status health() const override;
  StageSpan lost() const override;
  bool wants_move() const override;
  void move() override;
  /// Calls apart from the stream.
  Result<std::uint64_t> load_adapter(const AdapterSource& source, std::chrono::milliseconds timeout,
                                     const std::stop_token& stop) override;
  void drop_adapter(AdapterId id) override;
  void stop() override;

  /// Starts connecting when lazy.
  void connect();
  /// Ends the stream if it is of another session or wants a move, and opens a fresh one: all stages behind forget
  /// their sequences. Not on stage A, whose sessions are its own.
  void restart(ChainSession session);

  /// The next stage and all stages behind it, as of the latest handshake; empty before the first handshake.
  std::vector<StageInfo> infos() const;
  /// Streams established so far.
  int n_streams() const override;
  /// A count that rises with every sign that the stages behind get on.
  std::uint64_t n_signs() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace commissure
