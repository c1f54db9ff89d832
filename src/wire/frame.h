#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "core/result.h"
#include "step/sampled_tokens.h"
#include "step/stage_info.h"
#include "step/stage_link.h"
#include "step/step_room.h"
#include "wire/chain_session.h"

namespace commissure {

/// Raised with every change of stage.proto or of its meaning; both sides of a stream must have the same.
inline constexpr std::uint32_t kProtocolVersion = 14;

/// Bounds of what is accepted from a peer; the header, which is everything but the rows, has its own (StepRoom).
inline constexpr std::size_t kMaxFrameBytes = std::size_t{64} << 20;
inline constexpr std::size_t kMaxResultBytes = std::size_t{8} << 20;
inline constexpr int kMaxRows = 1 << 16;
inline constexpr std::size_t kMaxResumes = 64;

/// The first frame in each direction.
struct Hello {
  std::uint32_t protocol_version = kProtocolVersion;
  std::uint32_t block_positions = kBlockPositions;
  /// Names stage A's stream and those that follow from it further down, in the logs too; empty: stage A has none yet.
  std::string session;
  std::vector<std::string> features;  ///< features the sender would like to use; unknown names are ignored
  std::vector<StageInfo> stages;      ///< client: itself; server: itself and every stage after it
  /// Client: a stage whose latest step was of one of these sessions has the rows of all answered steps.
  std::vector<std::string> resumes = {};
  std::vector<bool> kept = {};  ///< server, for each of its stages: whether it is one of those
  StreamEpoch epoch = {};       ///< client
  bool operator==(const Hello&) const = default;
};

/// One step failed; the stream goes on.
struct StepError {
  StepId step;
  Error error;
};

/// The sender takes no further steps; steps in flight are still answered.
struct Goodbye {
  std::string reason;
};

/// An answer, to a step or to a hello, takes long, but the stages from the sender on get on.
struct Busy {
  std::string reason;  ///< for people
};

/// One message of the boundary stream.
using Frame = std::variant<Hello, StageInput, SampledTokens, StepError, Goodbye, Busy>;

}  // namespace commissure
