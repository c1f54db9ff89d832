#pragma once

#include <string>
#include <vector>

#include "step/held_rows.h"

namespace commissure {

/// A stream of stage A and those that follow from it, one per hop (docs/wire.md, "Sessions").
struct ChainSession {
  std::string name;                  ///< never used before; empty: stage A has none yet
  std::vector<std::string> resumes;  ///< Hello::resumes
  bool operator==(const ChainSession&) const = default;
};

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
