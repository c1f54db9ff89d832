#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include "step/stage_link.h"
#include "wire/grpc_link.h"
#include "wire/stage_client.h"

namespace commissure {

class ServerCall;

struct StageServiceOptions {
  LocalStage self;
  /// Forget all but what `left` names: a new stream begins and nothing is in flight. Called before every stream, from
  /// the service's own thread.
  std::function<void(StageMemory left)> on_new_stream = [](StageMemory) {};
  GrpcLink* next = nullptr;            ///< the remote part of the link given to serve(); null on the last stage
  StageClient* next_client = nullptr;  ///< asks the same stage about itself; null on the last stage
  std::shared_ptr<IdentityCheck> callers = nullptr;  ///< who may call; null: anybody. Shared with its owner
  int max_in_flight = 32;                            ///< reading pauses while this many steps are unanswered
  std::chrono::milliseconds ready_wait{5'000};       ///< how long a stream waits for the chain before it is turned away
  std::chrono::milliseconds hello_wait{10'000};
  /// Whether this stage got on with its steps since the last call, or waits for its turn on shared cores. Called with a
  /// lock held, while a step takes long: the stage before is then told that work goes on.
  std::function<bool()> gets_on = [] { return false; };
  std::chrono::milliseconds busy_interval{1'000};  ///< how long a step may take before that, and between two such words
  /// A stage A whose latest step is longer ago gives way to one that began to run later, and in any case after so long.
  std::chrono::milliseconds head_silence{5'000};
  std::chrono::milliseconds head_patience{30'000};
};

/// The server side of one stage: takes steps from the stage before and answers with the tokens of the last one.
///
/// One stream is served at a time. A newer one of the same stage A replaces it: the old one ends with ABORTED, what was
/// in flight is awaited and dropped, and every stage from here on forgets its sequences before the new stream's first
/// step. Of two stages A the newer one is served, once the older one is silent, and the other refused (Succession).
/// When the stream to the next stage breaks, the stream from the stage before ends as well, so stage A learns of it.
///
/// Keys and values are kept for a stream that resumes the session of the last step that succeeded here, and for nobody
/// else. A stream whose session has no name yet decides nothing and carries no steps.
///
/// Opening a stream to a stage without weights starts loading here and behind it.
class StageService {
 public:
  explicit StageService(StageServiceOptions options);
  ~StageService();

  /// Connects what runs the steps (a local link, or a chain of it and `next`) and starts it; the service stops it too.
  /// Once, when the stage is loaded; until then streams wait and are turned away after `ready_wait`.
  void serve(StageLink& link);

  /// Says goodbye to the stage before, waits for what is in flight, at most `grace`, ends all streams and stops the
  /// link.
  void stop(std::chrono::milliseconds grace);

  /// Streams begun so far.
  int n_streams() const;

  /// For StageServer: answers a call that has just come, of whatever method. The service outlives it.
  void take(ServerCall& call);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace commissure
