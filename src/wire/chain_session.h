#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <vector>

#include "step/held_rows.h"

namespace commissure {

/// Whose stream it is and which of them: the later one goes before. Streams of one stage A follow each other; of two
/// stages A the one that began to run later is the newer.
struct StreamEpoch {
  std::uint64_t head = 0;  ///< when stage A began to run, in microseconds since 1970; 0: no stage A is behind it yet
  std::uint32_t nth = 0;   ///< of its streams
  auto operator<=>(const StreamEpoch&) const = default;
};

/// In place of a stage A: a stream that only breaks the one that is served, for `verify`. A stage takes it from its own
/// machine's sockets alone, and gives way to any other again.
inline constexpr std::uint64_t kBreakingHead = ~std::uint64_t{0};

/// A stream of stage A and those that follow from it, one per hop (docs/wire.md, "Sessions").
struct ChainSession {
  std::string name;                  ///< never used before; empty: stage A has none yet
  std::vector<std::string> resumes;  ///< Hello::resumes
  StreamEpoch epoch = {};            ///< of the latest stream that carries it
  /// Whether a stream of this one may go on for the other.
  bool is_same(const ChainSession& other) const { return name == other.name && resumes == other.resumes; }
  bool operator==(const ChainSession&) const = default;
};

/// What a stage does with a stream that wants the place of the one it serves.
enum class Succession {
  kReplace,    ///< it is newer, and the other of the same stage A or of one that gives way
  kIsOlder,    ///< refused: a newer stage A is served
  kIsTooSoon,  ///< refused: it is of a newer stage A, but the one that is served is at work
  kIsNobodys,  ///< refused: no stage A is behind it
};

/// `gives_way`: the stage A that is served has been silent for a while, or had its time to finish. A stage goes from
/// one stage A to another at most once while both are there.
Succession succession(const ChainSession& served, bool gives_way, const ChainSession& newcomer);

/// A name that no session had before.
std::string new_session_name();

/// Stage A's side: which sessions a stage that is not behind may have had its last step in. Threading: none.
class SentSteps {
 public:
  /// The session of the next stream, after one of session `last`: the same again where that carried no step.
  ChainSession next(const ChainSession& last) const;
  /// A step is sent in `session`.
  void on_step(const ChainSession& session);
  /// A step was answered in `session`, so all stages ran it: what they had before counts no more.
  void on_answer(const ChainSession& session);

 private:
  std::vector<std::string> sessions_;  // the latest one with an answer, then those without
};

/// The side of a stage that serves: whose rows are in its cache. Threading: none.
class KeptRows {
 public:
  /// A stream of `session` begins: whether it may count on the rows. Unless it may, or has no name and decides nothing,
  /// they are nobody's from now on.
  bool begin(const ChainSession& session);
  /// A step succeeded, here and behind.
  void on_step(const ChainSession& session) { session_ = session.name; }
  /// What the stage still has between two streams.
  StageMemory left() const { return session_.empty() ? StageMemory::kNothing : StageMemory::kRows; }

 private:
  std::string session_;
};

}  // namespace commissure
