#include "wire/chain_session.h"

#include <fmt/format.h>

#include <algorithm>
#include <random>

#include "wire/frame.h"

namespace commissure {

std::string new_session_name() {
  std::random_device random;
  return fmt::format("{:08x}{:08x}", random(), random());
}

ChainSession SentSteps::next(const ChainSession& last) const {
  const bool is_used = !sessions_.empty() && sessions_.back() == last.name;
  return is_used || last.name.empty() ? ChainSession{new_session_name(), sessions_} : last;
}

void SentSteps::on_step(const ChainSession& session) {
  const bool is_known = !sessions_.empty() && sessions_.back() == session.name;
  // One that finds no place is not resumed: stages that ran a step in it compute again.
  if (!is_known && sessions_.size() < kMaxResumes) sessions_.push_back(session.name);
}

void SentSteps::on_answer(const ChainSession& session) {
  if (sessions_.size() != 1 || sessions_.front() != session.name) sessions_ = {session.name};
}

Succession succession(const ChainSession& served, bool gives_way, const ChainSession& newcomer) {
  if (newcomer.name.empty()) return Succession::kIsNobodys;
  if (served.name.empty() || served.epoch.head == kBreakingHead || newcomer.epoch.head == kBreakingHead)
    return Succession::kReplace;
  if (newcomer.epoch < served.epoch) return Succession::kIsOlder;
  const bool is_another = newcomer.epoch.head != served.epoch.head;
  return is_another && !gives_way ? Succession::kIsTooSoon : Succession::kReplace;
}

bool KeptRows::begin(const ChainSession& session) {
  // Its own name is there when the stage before came back by itself.
  const bool kept =
      left() == StageMemory::kRows && (session_ == session.name || std::ranges::count(session.resumes, session_) > 0);
  if (!kept && !session.name.empty()) session_.clear();
  return kept;
}

}  // namespace commissure
